"""A TCP relay to put between two programs: a cable that can be cut, plugged in again, go silent, or be slow."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST, not FIN


class Relay:
    """Forwards every connection to ``host``:``port``; ``async with Relay(host, port) as relay``.

    ``relay.host`` and ``relay.port`` are where to connect; the port stays the same over ``cut()`` and ``restore()``.
    A new ``target`` holds for the connections made from then on. ``split`` takes the whole packets off the front of
    what has arrived: only a relay that knows packets can let them overtake each other. ``may_be_overtaken`` says
    which ones.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        split: Callable[[bytearray], list[bytes]] | None = None,
        may_be_overtaken: Callable[[bytes], bool] = lambda _packet: True,
    ) -> None:
        self.target = (host, port)
        self._split = split
        self._may_be_overtaken = may_be_overtaken
        self._slowness_s = 0.0
        self._overtaking_s = 0.0
        self._random = random.Random(1)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.restore()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.cut()

    async def restore(self) -> None:
        """Accept connections (again), at the same port. Does nothing when it already does."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self.host, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Abort every connection with a reset and refuse new ones, until ``restore()``."""
        if self._server is not None:
            self._server.close()
            self._server = None
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def freeze(self) -> None:
        """Keep connections open and accept new ones, and pass nothing on: a machine that hangs."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Pass on what waited, and everything after it."""
        self._flowing.set()

    def slow(self, up_to_s: float) -> None:
        """Hold back everything for up to this long, a different time for each piece; 0: not at all."""
        self._slowness_s = up_to_s

    def shuffle(self, up_to_s: float) -> None:
        """Hold back each packet that may be overtaken for up to this long while others go on; 0: not at all."""
        if self._split is None:
            raise RuntimeError("only a relay that can split packets can change their order")
        self._overtaking_s = up_to_s

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Both directions of one connection, until either side closes or the relay is cut."""
        target: asyncio.StreamWriter | None = None
        try:
            there, target = await asyncio.open_connection(*self.target)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, target))
                both.create_task(self._pump(there, writer))
        except asyncio.CancelledError:
            for end in (writer, target):
                if end is not None:
                    _reset(end)
        except (OSError, ExceptionGroup):
            pass  # one side is gone: the other is closed below
        finally:
            for end in (writer, target):
                if end is not None:
                    end.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        arrived = bytearray()
        while data := await source.read(_CHUNK):
            await self._flowing.wait()
            if self._slowness_s:
                await asyncio.sleep(self._random.uniform(0, self._slowness_s))
            if self._split is None:
                sink.write(data)
            else:
                arrived += data
                for packet in self._split(arrived):
                    self._pass_on(packet, sink)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()

    def _pass_on(self, packet: bytes, sink: asyncio.StreamWriter) -> None:
        if self._overtaking_s and self._may_be_overtaken(packet):
            asyncio.get_running_loop().call_later(self._random.uniform(0, self._overtaking_s), _write, sink, packet)
        else:
            sink.write(packet)


def _write(sink: asyncio.StreamWriter, packet: bytes) -> None:
    with contextlib.suppress(RuntimeError):  # the other side has said its last word meanwhile: the packet is lost
        sink.write(packet)


def _reset(end: asyncio.StreamWriter) -> None:
    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    end.transport.abort()
