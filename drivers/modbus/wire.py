"""One connection to a line: bytes out, answers in. It knows one request at a time and nothing of turns."""

import asyncio
import errno
import os
import ssl
import termios
from typing import Any, cast

from pymodbus.transport.serialtransport import create_serial_connection

from contracts.errors import LinkError, SetupError
from drivers.modbus.connect import (
    AsciiConnect,
    Connect,
    NetworkConnect,
    RtuConnect,
    SerialConnect,
    TcpConnect,
    TlsConnect,
    UdpConnect,
)
from drivers.modbus.frames import Ascii, Awaited, CorruptError, Framing, Numbered, Rtu

_PSEUDO_TERMINALS = "/dev/pts/"
_CHARACTER_BITS = 11
_SILENCE_CHARACTERS = 3.5
_SHORTEST_SILENCE_S = 0.00175
"""Between two frames on a serial line (Modbus over Serial Line V1.02, 2.5.1.1)."""


class Wire(asyncio.DatagramProtocol, asyncio.Protocol):
    """``open()``, then one request after the other, then ``close()``. Not to be opened again."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._transport: asyncio.Transport | asyncio.DatagramTransport | None = None
        self._framing = _framing(connect)
        self._awaited: Awaited | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._number = 0
        self.lost: str | None = None
        """Why there is no connection any more."""
        self.heard_at = 0.0
        """When the last byte came, by the loop's clock."""
        self.heard = 0
        """Bytes since the last request."""

    @property
    def numbered(self) -> bool:
        """Whether an answer carries its request's number."""
        return self._framing.numbered

    @property
    def silence_s(self) -> float:
        """How long the line has to be silent before the next frame."""
        if isinstance(self._connect, SerialConnect):
            return max(_SHORTEST_SILENCE_S, _SILENCE_CHARACTERS * _CHARACTER_BITS / self._connect.baudrate)
        return 0.0

    async def open(self, timeout_s: float) -> None:
        """Raises LinkError, or SetupError where trying again cannot help. It is closed then."""
        context = _tls(self._connect) if isinstance(self._connect, TlsConnect) else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._create(context)
        except BaseException as error:
            self.close("not connected")
            if isinstance(error, OSError | ValueError | termios.error):
                raise open_error(self._connect, error, timeout_s) from error
            raise

    def ask(self, device_id: int, request: Any) -> asyncio.Future[bytes]:
        """Send a request. The future is its answer, or fails with LinkError; ``forget()`` ends the waiting for it."""
        assert self._answer is None
        self._number = self._number % 0xFFFF + 1
        self._awaited = Awaited(device_id, request, self._number)
        self._answer = asyncio.get_running_loop().create_future()
        self._framing.forget()
        self.heard = 0
        frame = self._framing.frame(device_id, request.pdu, self._number)
        if self.lost is not None:
            self._fail(self.lost)
        elif isinstance(self._connect, UdpConnect):
            cast(asyncio.DatagramTransport, self._transport).sendto(frame)
        else:
            cast(asyncio.Transport, self._transport).write(frame)
        return self._answer

    def forget(self) -> None:
        """What comes from now on is no answer to the last request."""
        answer, self._answer, self._awaited = self._answer, None, None
        if answer is not None and answer.done() and not answer.cancelled():
            answer.exception()  # nobody may have looked

    def strangers(self) -> frozenset[int]:
        """Devices heard since the last request without being asked."""
        return self._framing.strangers()

    def close(self, reason: str) -> None:
        """Release everything; whoever waits for an answer gets the reason. Never raises."""
        self._fail(reason)
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    async def _create(self, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        connect = self._connect
        if isinstance(connect, SerialConnect):
            plain = _is_pseudo_terminal(connect.port)
            self._transport, _ = await create_serial_connection(
                loop,
                lambda: self,
                connect.port,
                baudrate=connect.baudrate,
                bytesize=8 if plain else connect.bits,
                parity="N" if plain else connect.parity,
                stopbits=connect.stopbits,
                timeout=connect.timeout,
            )
            await asyncio.sleep(0)  # the port begins to listen in the loop's next turn
        elif isinstance(connect, UdpConnect):
            await loop.create_datagram_endpoint(lambda: self, remote_addr=(connect.host, connect.port))
        else:
            name = connect.server_name if isinstance(connect, TlsConnect) else None
            server_hostname = None if context is None else name or connect.host
            await loop.create_connection(
                lambda: self, connect.host, connect.port, ssl=context, server_hostname=server_hostname
            )

    def _fail(self, reason: str) -> None:
        self.lost = self.lost or reason
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LinkError(self.lost))

    def _heard(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        self.heard += len(data)
        try:
            pdu = self._framing.heard(data, self._awaited)
        except CorruptError as error:
            self.close(f"{error}; does another protocol answer there? check host, port and transport")
            return
        if pdu is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(pdu)
            self._awaited = None

    # -- asyncio's callbacks -----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        if self.lost is not None:  # given up meanwhile
            transport.close()
            return
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard(data)

    def datagram_received(self, data: bytes, _addr: Any) -> None:
        self._heard(data)

    def error_received(self, exc: Exception) -> None:
        """A datagram was refused: nobody listens there."""
        self.close(f"{getattr(exc, 'strerror', None) or exc}; check host and port, and the machine's power")

    def connection_lost(self, _exc: Exception | None) -> None:
        self.close("connection lost; check the cable and the machine's power")


def _is_pseudo_terminal(port: str) -> bool:
    """It passes bytes on as they are, and refuses the parity and data bits of a real line."""
    return os.path.realpath(port).startswith(_PSEUDO_TERMINALS)


def _framing(connect: Connect) -> Framing:
    if isinstance(connect, AsciiConnect):
        return Ascii()
    if isinstance(connect, TcpConnect | TlsConnect):
        return Numbered()
    return Numbered(datagrams=True) if isinstance(connect, UdpConnect) else Rtu()


def _tls(connect: TlsConnect) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=connect.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(connect.cert, connect.key)
    except (OSError, ValueError) as error:
        raise SetupError(
            f"a certificate cannot be used: {error}; check connect.ca ({connect.ca}), cert ({connect.cert}) and key "
            f"({connect.key}) and their rights"
        ) from error
    return context


def open_error(
    connect: Connect, error: OSError | ValueError | termios.error, timeout_s: float
) -> LinkError | SetupError:
    """Why there is no connection, and what to do."""
    if isinstance(connect, NetworkConnect):
        return _network_error(error, timeout_s)
    return _port_error(connect, error)


def _network_error(error: Exception, timeout_s: float) -> LinkError | SetupError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return SetupError(
            f"the device's certificate is refused: {error.verify_message}; check connect.ca, and connect.server_name "
            "where the certificate names another host"
        )
    if isinstance(error, TimeoutError):
        told = f"no connection within {timeout_s:g} s"
    else:
        told = f"no connection: {error.strerror or error}" if isinstance(error, OSError) else str(error)
    return LinkError(f"{told}; check host and port, the cable and the machine's power")


def _port_error(connect: RtuConnect | AsciiConnect, error: Exception) -> LinkError | SetupError:
    cause = error.__context__ if isinstance(error.__context__, termios.error) else error
    code = cause.args[0] if cause.args else None
    if code in (errno.EACCES, errno.EPERM):
        return SetupError(
            "the port may not be used: permission denied; add the agent's user to the group dialout "
            "(usermod -aG dialout USER) and start the agent again"
        )
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return LinkError(
            "the port is not there: check that the adapter is plugged in and that connect.port is right; "
            "ls -l /dev/serial/by-id shows the ports there are"
        )
    if code in (errno.EAGAIN, errno.EBUSY):
        return LinkError("the port is in use: close the other program on it")
    if code in (errno.ENOTTY, errno.EISDIR, errno.EINVAL) or isinstance(error, ValueError):
        return SetupError(
            f"{connect.port} is no serial port, or cannot work with these line settings: {error}; check connect"
        )
    return LinkError(f"the port cannot be opened: {error}")
