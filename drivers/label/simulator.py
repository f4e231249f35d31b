"""A label printer made of software: takes ZPL on a raw TCP socket and answers host status."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.label.settings import LabelSettings
from drivers.label.zpl import CANCEL_ALL, STATUS_QUERY, HostStatus, host_status

_COMMAND = re.compile(rb"~HS|~JA|\^XA.*?\^XZ", re.DOTALL)
_START = b"^XA"


class LabelSimulator:
    """Keeps what it printed in ``printed`` (the ZPL of each label) and tells ``on_printed`` of each.

    While something is wrong with it labels wait, as in a real one; they are printed when it is put right.
    """

    faults: frozenset[Fault] = frozenset()

    def __init__(self, machine: str, settings: LabelSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._state = HostStatus()
        self._waiting: list[str] = []
        self.printed: list[str] = []
        self.on_printed: Callable[[str], None] | None = None

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return {"connect.host": "127.0.0.1", "connect.port": self._server.sockets[0].getsockname()[1]}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:  # noqa: ARG002
        """Set what the printer says of itself: ``{"paper_out": True}`` takes the paper out. Returns at once.

        Raises ValueError for a point that follows from printing.
        """
        for name, value in values.items():
            status = self._settings.points[name].status
            if status in ("printed", "labels_remaining"):
                raise ValueError(f"machine {self._machine}, point {name}: {status} follows from printing")
            self._state = replace(self._state, **{status: bool(value)})
        self._print()

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")

    async def stop(self) -> None:
        """See Simulator.stop."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = b""
        try:
            with contextlib.suppress(OSError):  # the station is gone; it comes back when it wants
                while data := await reader.read(65536):
                    received = self._obey(received + data, writer)
                    await writer.drain()
        finally:
            writer.transport.abort()

    def _obey(self, received: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Do every command that is complete, in order; return what is not."""
        done = 0
        for command in _COMMAND.finditer(received):
            done = command.end()
            if command[0] == STATUS_QUERY:
                partial = _START in received[done:]
                writer.write(
                    host_status(replace(self._state, formats_waiting=len(self._waiting), partial_format=partial))
                )
            elif command[0] == CANCEL_ALL:
                self._waiting.clear()
            else:
                self._waiting.append(command[0].decode("utf-8", errors="replace"))
                self._print()
        return received[done:]

    def _print(self) -> None:
        while self._waiting and self._state.fault is None:
            label = self._waiting.pop(0)
            self.printed.append(label)
            if self.on_printed is not None:
                self.on_printed(label)
