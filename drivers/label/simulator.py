"""A label printer made of software: takes ZPL on a raw TCP socket and answers host status."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from contracts.measurement import Scalar
from drivers.base import RawValue
from drivers.label.settings import LabelSettings
from drivers.label.zpl import STATUS_QUERY, HostStatus, host_status

_START, _END = b"^XA", b"^XZ"
_IDLE = HostStatus(
    paper_out=False, paused=False, formats_waiting=0, head_open=False, ribbon_out=False, labels_remaining=0
)


class LabelSimulator:
    """Keeps what it printed in ``printed`` and tells ``on_printed`` of each label."""

    def __init__(self, machine: str, settings: LabelSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._status = _IDLE
        self.printed: list[str] = []
        self.on_printed: Callable[[str], None] | None = None

    async def start(self) -> Mapping[str, str | int]:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return {"connect.host": "127.0.0.1", "connect.port": self._server.sockets[0].getsockname()[1]}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:  # noqa: ARG002
        """Set what the printer says of itself: ``{"paper_out": True}`` takes the paper out."""
        for name, value in values.items():
            status = self._settings.points[name].status
            if status not in ("paper_out", "paused", "head_open", "ribbon_out"):
                raise ValueError(f"{self._machine}.{name}: {status} follows from printing, it cannot be set")
            self._status = replace(self._status, **{status: bool(value)})

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        waiting = b""
        try:
            while data := await reader.read(65536):
                waiting = self._take(waiting + data, writer)
                await writer.drain()
        except OSError:
            return
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _take(self, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Do what is complete, in its order; what is left waits for its end."""
        while True:
            query, start = data.find(STATUS_QUERY), data.find(_START)
            if query >= 0 and (start < 0 or query < start):
                writer.write(host_status(self._status))
                data = data[query + len(STATUS_QUERY) :]
                continue
            end = data.find(_END, start) if start >= 0 else -1
            if end < 0:
                return data if start >= 0 else data[-2:]
            self._print(data[start : end + len(_END)].decode("utf-8", errors="replace"))
            data = data[end + len(_END) :]

    def _print(self, zpl: str) -> None:
        if self._status.fault is None:
            self.printed.append(zpl)
            if self.on_printed is not None:
                self.on_printed(zpl)
