"""A line made of software with the devices on it: a server on a free port, or the far end of a serial cable.

pymodbus's own server is no use for a machine that misbehaves: it answers a late request with the number of the next.
"""

import asyncio
import binascii
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from pymodbus.transport.serialtransport import create_serial_connection

from drivers.cable import PtyCable
from drivers.modbus.connect import AsciiConnect, Connect, SerialConnect, TcpConnect, TlsConnect, UdpConnect
from drivers.modbus.frames import Ascii, Framing, Numbered, Rtu, ascii_message, checksum
from drivers.modbus.memory import Memory

NOISE = bytes.fromhex("00 ff 81 03 55 aa 01 83 0a 3a 30 31 30 33 0d")
"""Bytes of no meaning, with what looks like the beginning of an answer among them."""
_LARGEST_REQUEST = 300


class SimulatedDevice:
    """One device of a line. Requests are answered in their order, also when one of them takes long."""

    def __init__(self) -> None:
        self.memory = Memory()
        self._late_s = 0.0
        self._waiting: list[Callable[[], None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def answer_late(self, seconds: float) -> None:
        """The next answer takes so long."""
        self._late_s = seconds

    def ask(self, pdu: bytes, answered: Callable[[bytes], None]) -> None:
        """One request; ``answered`` is called with the answer."""
        if self._timer is None and not self._late_s:
            answered(self.memory.answer(pdu))
            return
        self._waiting.append(lambda: answered(self.memory.answer(pdu)))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._late_s, self._go_on)
            self._late_s = 0.0

    def stop(self) -> None:
        """Answer nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._waiting.clear()

    def _go_on(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, []
        for answer in waiting:
            answer()


class SimulatedLine:
    """``join()`` for every machine on it; the first opens it, the last one to ``leave()`` closes it.

    ``link`` is a lasting name for the station's end of a serial cable. Registers outlive ``drop()`` and ``unplug()``.
    """

    _known: ClassVar[WeakValueDictionary[str, "SimulatedLine"]] = WeakValueDictionary()

    def __init__(self, connect: Connect, link: Path | None) -> None:
        self._connect = connect
        self._link = link
        self._machines = 0
        self._devices: dict[int, SimulatedDevice] = {}
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._cable: PtyCable | None = None
        self._reached: Mapping[str, str | int] = {}
        self._opening = asyncio.Lock()

    @classmethod
    def of(cls, connect: Connect, link: Path | None) -> "SimulatedLine":
        """The line these settings speak of: one for all machines that name it, while anybody holds it."""
        name = connect.line().name
        line = cls._known.get(name)
        if line is None:
            line = cls._known[name] = cls(connect, link)
        return line

    def device(self, device_id: int) -> SimulatedDevice:
        """The device of this id."""
        return self._devices.setdefault(device_id, SimulatedDevice())

    async def join(self) -> Mapping[str, str | int]:
        """Be there. Returns the settings that reach it."""
        async with self._opening:
            self._known.setdefault(self._connect.line().name, self)
            if not self._machines:
                self._reached = await self._open()
            self._machines += 1
        return self._reached

    async def leave(self) -> None:
        """The last one takes the line with it. Never raises."""
        self._machines -= 1
        if self._machines > 0:
            return
        if self._known.get(self._connect.line().name) is self:
            del self._known[self._connect.line().name]
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._hang_up()
        for device in self._devices.values():
            device.stop()
        if self._cable is not None:
            self._cable.unplug()
        if self._folder is not None:
            self._folder.cleanup()
        await asyncio.sleep(0)  # transports let go of their sockets in the loop's next turn

    async def plug(self) -> None:
        """Put the serial cable in (again)."""
        connect = self._connect
        if self._cable is not None and isinstance(connect, SerialConnect) and not self._cable.plugged:
            self._cable.plug()
            connection = _Connection(self)
            far = self._cable.b
            await create_serial_connection(
                asyncio.get_running_loop(),
                lambda: connection,
                far,
                baudrate=connect.baudrate,
                bytesize=8,
                parity="N",
                stopbits=1,
                timeout=1,
            )
            await asyncio.sleep(0)  # the port begins to listen in the loop's next turn

    def unplug(self) -> None:
        """Pull the serial cable out: the station's port vanishes."""
        if self._cable is not None:
            self._hang_up()
            self._cable.unplug()

    async def drop(self) -> None:
        """The connection ends in the middle; the line can be reached again at once."""
        if self._cable is not None:
            self.unplug()
            await self.plug()
        else:
            self._hang_up()

    def say(self, data: bytes) -> None:
        """Bytes on the wire that nobody asked for."""
        for connection in self._connections:
            connection.send(data, None)

    async def _open(self) -> Mapping[str, str | int]:
        loop = asyncio.get_running_loop()
        connect = self._connect
        if isinstance(connect, SerialConnect):
            self._folder = tempfile.TemporaryDirectory(prefix="neurohub-modbus-")
            folder = Path(self._folder.name)
            self._cable = PtyCable(link_a=self._link or folder / "station", link_b=folder / "machine")
            await self.plug()
            return {"connect.port": self._cable.a}
        here: dict[str, str | int] = {"connect.host": "127.0.0.1"}
        if isinstance(connect, UdpConnect):
            transport, _ = await loop.create_datagram_endpoint(lambda: _Connection(self), local_addr=("127.0.0.1", 0))
            return here | {"connect.port": int(transport.get_extra_info("sockname")[1])}
        context = None
        if isinstance(connect, TlsConnect):
            from drivers.modbus.simulated_certificates import (  # noqa: PLC0415  # cryptography costs memory
                make_certificates,
                server_context,
            )

            self._folder = tempfile.TemporaryDirectory(prefix="neurohub-modbus-")
            files = make_certificates(Path(self._folder.name))
            context = server_context(files)
            here |= {"connect.ca": str(files.ca), "connect.cert": str(files.cert), "connect.key": str(files.key)}
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=context)
        return here | {"connect.port": int(self._server.sockets[0].getsockname()[1])}

    def _hang_up(self) -> None:
        for connection in list(self._connections):
            connection.end()

    # -- for its connections -----------------------------------------------------------------------------------------

    def joined(self, connection: "_Connection") -> None:
        """A station is there."""
        self._connections.add(connection)

    def left(self, connection: "_Connection") -> None:
        """A station has gone."""
        self._connections.discard(connection)

    def parts(self) -> "tuple[Framing, Callable[[bytearray], _Asked | None]]":
        """How this line writes answers and finds requests."""
        if isinstance(self._connect, AsciiConnect):
            return Ascii(), _next_ascii
        if isinstance(self._connect, TcpConnect | TlsConnect | UdpConnect):
            return Numbered(), _next_numbered
        return Rtu(), _next_rtu

    def ask(self, device_id: int, pdu: bytes, answered: Callable[[bytes], None]) -> None:
        """A request came. A device that is not meant, or not there, is silent."""
        device = self._devices.get(device_id)
        if device is not None:
            device.ask(pdu, answered)


_Asked = tuple[int, int, bytes]
"""Number, device and request."""


class _Connection(asyncio.DatagramProtocol, asyncio.Protocol):
    """One station's end, or the socket all datagrams come to."""

    def __init__(self, line: SimulatedLine) -> None:
        self._line = line
        self._transport: Any = None
        self._buffer = bytearray()
        self._framing, self._next = line.parts()

    def send(self, data: bytes, addr: Any) -> None:
        """Bytes to the station, if it is still there."""
        if self._transport is None:
            return
        if addr is not None:
            self._transport.sendto(data, addr)
        else:
            self._transport.write(data)

    def end(self) -> None:
        """Hang up."""
        transport, self._transport = self._transport, None
        self._line.left(self)
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._line.joined(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._line.left(self)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._buffer = bytearray(data)
        self._take(addr)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._take(None)

    def _take(self, addr: Any) -> None:
        while (asked := self._next(self._buffer)) is not None:
            number, device_id, pdu = asked

            def answered(answer: bytes, number: int = number, device_id: int = device_id) -> None:
                self.send(self._framing.frame(device_id, answer, number), addr)

            self._line.ask(device_id, pdu, answered)
        del self._buffer[:-_LARGEST_REQUEST]


def _next_numbered(buffer: bytearray) -> _Asked | None:
    if len(buffer) < 8:
        return None
    number, _, length, device_id = struct.unpack(">HHHB", buffer[:7])
    if len(buffer) < 6 + length:
        return None
    pdu = bytes(buffer[7 : 6 + length])
    del buffer[: 6 + length]
    return number, device_id, pdu


def _next_rtu(buffer: bytearray) -> _Asked | None:
    """The first sound frame; what is before it is skipped."""
    for start in range(len(buffer) - 3):
        function = buffer[start + 1]
        size = {5: 5, 6: 5, 22: 7}.get(function, 5)
        if function in (15, 16):
            if len(buffer) < start + 7:
                continue
            size = 6 + buffer[start + 6]
        end = start + 1 + size
        frame = bytes(buffer[start:end])
        if len(buffer) >= end + 2 and checksum(frame) == buffer[end : end + 2]:
            del buffer[: end + 2]
            return 0, frame[0], frame[1:]
    return None


def _next_ascii(buffer: bytearray) -> _Asked | None:
    while b"\r\n" in buffer:
        line, _, rest = bytes(buffer).partition(b"\r\n")
        buffer[:] = rest
        try:
            message = ascii_message(line)
        except binascii.Error:
            continue
        if message is not None:
            return 0, *message
    return None
