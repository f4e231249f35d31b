"""A machine made of software on a serial line: it sends its result again until the station has acknowledged it."""

import asyncio
import contextlib
import os
import tty
from collections.abc import Mapping
from pathlib import Path

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.cable import PtyCable
from drivers.fields.build import built
from drivers.serial.settings import SerialSettings
from drivers.template import as_text, render

_CHUNK = 4096


class SerialSimulator:
    """Sits at the far end of a cable of its own, or listens as a serial server where the settings give a url.

    ``resend`` is in seconds. ``link`` is a lasting name for the station's end of the cable, as
    ``/dev/serial/by-id/...`` is.
    """

    faults: frozenset[Fault] = frozenset()

    def __init__(self, machine: str, settings: SerialSettings, resend: float = 1.0, link: Path | None = None) -> None:
        self._machine = machine
        self._settings = settings
        self._resend_s = resend
        self._cable = PtyCable(link_a=link) if settings.connect.url is None else None
        self._end: int | None = None
        self._server: asyncio.Server | None = None
        self._stations: set[asyncio.StreamWriter] = set()
        self._listening: set[asyncio.Task[None]] = set()
        self._values: dict[str, RawValue | None] = {}
        self._heard = bytearray()
        self._changed = asyncio.Event()

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start."""
        if self._cable is not None:
            self.plug()
            return {"connect.port": self._cable.a}
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return {"connect.url": f"socket://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:
        """Send one frame; with ``acknowledge`` in the settings send it again and again until the text arrives.

        Raises ValueError for values the message format cannot carry.
        """
        self._values.update(values)
        frame = self.frame(self._values)
        awaited = self._awaited(cycle_key)
        self._heard.clear()
        self.send(frame)
        while awaited is not None and awaited not in self._heard:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self._resend_s)
            except TimeoutError:
                self.send(frame)

    def frame(self, values: Mapping[str, RawValue | None]) -> bytes:
        """What the machine sends for these values. Raises ValueError for what the message cannot carry."""
        marks = self._settings.frame
        return marks.start_bytes + built(values, self._settings) + marks.end_bytes

    def send(self, data: bytes) -> None:
        """Put bytes on the line as they are. With nobody at the other end they are lost, as on a real line."""
        for station in self._stations:
            station.write(data)
        if self._end is not None:
            with contextlib.suppress(OSError):
                os.write(self._end, data)

    def plug(self) -> None:
        """Put the cable in (again). Only for a simulator with a cable."""
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

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")

    async def stop(self) -> None:
        """See Simulator.stop."""
        self.unplug()
        if self._server is not None:
            self._server.close()
            self._server = None
        listening = list(self._listening)
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)

    def _awaited(self, cycle_key: Scalar | None) -> bytes | None:
        if self._settings.acknowledge is None:
            return None
        known = {n: v for n, v in self._values.items() if v is not None and not isinstance(v, list)}
        if cycle_key is not None:
            known["cycle_key"] = cycle_key
        try:
            text = render(self._settings.acknowledge.send, known, as_text)
        except KeyError as missing:
            raise ValueError(
                f"machine {self._machine}: the acknowledgement names {missing}, which has no value"
            ) from None
        return text.encode(self._settings.message.encoding)

    def _take(self, data: bytes) -> None:
        self._heard += data
        self._changed.set()

    def _readable(self, end: int) -> None:
        with contextlib.suppress(OSError):
            self._take(os.read(end, _CHUNK))

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._listen(reader, writer))
        self._listening.add(task)
        task.add_done_callback(self._listening.discard)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._stations.add(writer)
        try:
            while data := await reader.read(_CHUNK):
                self._take(data)
        except OSError:
            pass  # the station is gone; it comes back when it wants
        finally:
            self._stations.discard(writer)
            writer.transport.abort()
