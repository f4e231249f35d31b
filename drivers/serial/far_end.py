"""The far end of a line, for a machine made of software: a cable of its own, or a serial server's socket."""

import asyncio
import contextlib
import os
import tempfile
import tty
from collections.abc import Callable
from pathlib import Path

from drivers.cable import PtyCable

_CHUNK = 4096


class FarEnd:
    """Sends and hears bytes, over a cable of its own or TCP.

    ``link`` is the name of the station's end of the cable, which lasts over ``unplug()``; None: one is made up.
    """

    def __init__(self, heard: Callable[[bytes], None], *, cable: bool, link: Path | None) -> None:
        self._heard = heard
        self._has_cable, self._link = cable, link
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._cable: PtyCable | None = None
        self._end: int | None = None
        self._server: asyncio.Server | None = None
        self._stations: set[asyncio.StreamWriter] = set()
        self._listening: set[asyncio.Task[None]] = set()

    @property
    def stations(self) -> int:
        """Connections there are now, over TCP."""
        return len(self._stations)

    async def start(self) -> dict[str, str | int]:
        """Be reachable. Returns the settings that lead here."""
        if self._has_cable:
            link = self._link
            if link is None:
                self._folder = tempfile.TemporaryDirectory(prefix="neurohub-serial-")
                link = Path(self._folder.name) / "station"
            self._cable = PtyCable(link_a=link)
            self.plug()
            return {"connect.port": self._cable.a}
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return {"connect.url": f"socket://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"}

    def send(self, data: bytes) -> None:
        """Put bytes on the line as they are. With nobody at the other end they are lost, as on a real line."""
        for station in self._stations:
            station.write(data)
        if self._end is not None:
            with contextlib.suppress(OSError):
                os.write(self._end, data)

    def plug(self) -> None:
        """Put the cable in (again). Only for one with a cable."""
        if self._cable is None or self._end is not None:
            return
        self._cable.plug()
        self._end = os.open(self._cable.b, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._end)
        asyncio.get_running_loop().add_reader(self._end, self._readable, self._end)

    def unplug(self) -> None:
        """Pull the cable out: the station's port vanishes."""
        if self._cable is None or self._end is None:
            return
        end, self._end = self._end, None
        asyncio.get_running_loop().remove_reader(end)
        os.close(end)
        self._cable.unplug()

    def drop(self) -> None:
        """End the connection; the far end can be reached again at once."""
        self.unplug()
        self.plug()
        for station in list(self._stations):
            station.transport.abort()

    async def stop(self) -> None:
        """Release everything. Never raises."""
        self.unplug()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        if self._server is not None:
            self._server.close()
            self._server = None
        listening = list(self._listening)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)

    def _readable(self, end: int) -> None:
        with contextlib.suppress(OSError):
            self._heard(os.read(end, _CHUNK))

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._listen(reader, writer))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stations.add(writer)
        try:
            while data := await reader.read(_CHUNK):
                self._heard(data)
        except OSError:
            pass  # the station is gone; it comes back when it wants
        finally:
            self._stations.discard(writer)
            writer.transport.abort()
