"""One connection to a printer, whatever the wire: bytes out, answers back, one question at a time."""

import asyncio
import os
from dataclasses import dataclass
from typing import Any, cast

from contracts.errors import DataError
from drivers.label.answers import Answer, Question
from drivers.label.device import DeviceTransport
from drivers.label.settings import Connect, SerialConnect, TcpConnect, UsbConnect

_LONGEST_ANSWER = 4096
_QUIET_S = 0.1
"""A device is listened to this long before the first question: it may still hold the answer to somebody's last."""


@dataclass(frozen=True)
class _Asked:
    question: Question[Any]
    answer: asyncio.Future[object | Exception]


class PrinterConnection(asyncio.Protocol):
    """Knows at once when the link is lost: ``lost`` is done then, its result is the reason or None after close().

    A question that was given up still takes its answer off the line, so that the next one gets its own.
    """

    def __init__(self) -> None:
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._asked: _Asked | None = None
        self._received = b""
        self._refused: DataError | None = None
        self._settling = False

    async def ask(self, question: Question[Answer], timeout_s: float) -> Answer:
        """Ask, once whoever asked before has been answered.

        Raises ConnectionError, TimeoutError, or DataError for an answer that is none.
        """
        async with asyncio.timeout(timeout_s):
            while self._asked is not None:
                await asyncio.wait({self._asked.answer})
            self.send(question.sent)
            asked = _Asked(question, asyncio.get_running_loop().create_future())
            self._asked = asked
            found = await asyncio.shield(asked.answer)
        if isinstance(found, Exception):
            raise found
        return cast(Answer, found)  # made by this question's own parse

    def send(self, data: bytes) -> None:
        """Hand bytes to the printer. Raises ConnectionError when the link is lost already."""
        if self._transport is None or self.lost.done():
            raise ConnectionError("the printer has closed the connection")
        self._transport.write(data)

    async def settle(self) -> None:
        """Throw away what still comes of an earlier conversation, until the line is quiet."""
        self._settling = True
        try:
            while True:
                self._received = b""
                await asyncio.wait({self.lost}, timeout=_QUIET_S)
                if not self._received or self.lost.done():
                    return
        finally:
            self._settling = False

    async def close(self, grace_s: float) -> None:
        """Send what was handed over, at most for ``grace_s``, and release the wire. Never raises."""
        if self._transport is None:
            return
        self._transport.close()
        await asyncio.wait({self.lost}, timeout=grace_s)
        self._transport.abort()
        await asyncio.wait({self.lost})

    def abort(self) -> None:
        """Release the wire at once."""
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio's callbacks -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        self._received += data
        if self._settling:
            return
        asked = self._asked
        whole = asked.question.whole.match(self._received) if asked is not None else None
        if asked is not None and whole is not None:
            self._received = self._received[whole.end() :]
            try:
                self._answered(asked.question.parse(whole[0]))
            except DataError as error:
                self._answered(error)
        if self._received.strip() and self._asked is None:
            self._refuse(DataError(f"the printer says what it was not asked: {self._received[:40]!r}"))
        elif len(self._received) > _LONGEST_ANSWER:
            self._refuse(DataError(f"this is no answer of a printer: {self._received[:40]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The link is gone: whoever waits is told."""
        reason = self._refused or exc
        if not self.lost.done():
            self.lost.set_result(reason)
        self._answered(reason or ConnectionError("the printer closed the connection"))

    def _answered(self, found: object | Exception) -> None:
        asked, self._asked = self._asked, None
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(found)

    def _refuse(self, error: DataError) -> None:
        self._refused = error
        self.abort()


async def connected(connect: Connect) -> PrinterConnection:
    """Connect to a printer. Raises OSError (and pyserial's, which are ones) or TimeoutError."""
    if isinstance(connect, TcpConnect):
        async with asyncio.timeout(connect.timeout):
            _, connection = await asyncio.get_running_loop().create_connection(
                PrinterConnection, connect.host, connect.port
            )
        return connection
    connection = PrinterConnection()
    if isinstance(connect, SerialConnect):
        _open_serial(connect, connection)
    else:
        _open_usb(connect, connection)
    try:
        async with asyncio.timeout(connect.timeout):
            await connection.settle()
    except BaseException:
        connection.abort()
        raise
    return connection


def _open_serial(connect: SerialConnect, connection: PrinterConnection) -> None:
    import serial  # noqa: PLC0415 - only a printer on a serial port needs it

    port = serial.Serial(
        connect.port,
        baudrate=connect.baudrate,
        bytesize=connect.bytesize,
        parity=connect.parity,
        stopbits=connect.stopbits,
        xonxoff=connect.flow_control == "xonxoff",
        rtscts=connect.flow_control == "rtscts",
        dsrdtr=connect.flow_control == "dsrdtr",
        timeout=0,
        exclusive=True,
    )
    DeviceTransport(connection, port.fileno(), port.close)


def _open_usb(connect: UsbConnect, connection: PrinterConnection) -> None:
    device = os.open(connect.device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    DeviceTransport(connection, device, lambda: os.close(device), pausing=True)
