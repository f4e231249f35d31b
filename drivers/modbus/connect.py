"""How a device is reached. No client library is imported here."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from contracts.duration import Duration
from drivers.base import NeededFile, SharedLine, Strict
from drivers.manuals import DEVICE_KEYS, LINE_KEYS, PARITY, line_format
from drivers.ports import host_alone, needed

Host = Annotated[str, Field(min_length=1), AfterValidator(host_alone)]
Port = Annotated[int, Field(ge=1, le=65535)]
TcpDeviceId = Annotated[int, Field(ge=0, le=255)]
LineDeviceId = Annotated[int, Field(ge=1, le=247)]
Timeout = Annotated[Duration, Field(gt=0)]


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("an absolute path is needed, one that begins with /")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


class _Connect(Strict):
    other_names = DEVICE_KEYS
    device_id: int
    timeout: Timeout = 1.0
    """The longest wait for a connection, and for one answer, its way over the line included."""

    @abstractmethod
    def line(self) -> SharedLine:
        """What several machines may share, and what they have to agree on then."""

    def needed_files(self) -> Mapping[str, NeededFile]:
        """See ProtocolSettings.needed_files."""
        return {}

    def __str__(self) -> str:
        return self.line().name


class _Network(_Connect):
    transport: str
    host: Host
    """Name or address of the machine or its gateway."""
    port: Port
    device_id: TcpDeviceId = 1
    """Which device behind this address: a gateway has several. Also called unit or slave."""

    def line(self) -> SharedLine:
        return SharedLine(f"{self.host}:{self.port}", self.model_dump(include={"transport"}))


class TcpConnect(_Network):
    """Modbus TCP, to a device or a gateway."""

    transport: Literal["tcp"]
    """Over the network, to a device or a gateway."""
    port: Port = 502
    """TCP port."""


class UdpConnect(_Network):
    """Modbus over UDP: a datagram that is lost is sent again, three times in all."""

    transport: Literal["udp"]
    """Over the network, in datagrams."""
    port: Port = 502
    """UDP port."""


class RtuOverTcpConnect(_Network):
    """The frames of a serial line through a TCP connection, as simple converters pass them on."""

    transport: Literal["rtu_over_tcp"]
    """A serial line behind a converter that passes its frames on as they are."""
    port: Port
    """TCP port."""
    device_id: LineDeviceId = 1
    """Which device on the line. Also called unit, slave or station number."""


class TlsConnect(_Network):
    """Modbus/TCP Security: TLS with certificates on both sides. The device's certificate is always checked."""

    transport: Literal["tls"]
    """Over the network, encrypted, with certificates on both sides."""
    port: Port = 802
    """TCP port."""
    ca: AbsolutePath
    """The certificate that signed the device's, or the device's own."""
    cert: AbsolutePath
    """The station's certificate."""
    key: AbsolutePath
    """The station's private key."""
    server_name: Host | None = None
    """The name in the device's certificate, where it is not ``host``."""

    def line(self) -> SharedLine:
        agreed = {"transport", "ca", "cert", "key", "server_name"}
        return SharedLine(f"{self.host}:{self.port}", self.model_dump(include=agreed))

    def needed_files(self) -> Mapping[str, NeededFile]:
        files = {"ca": self.ca, "cert": self.cert, "key": self.key}
        return {f"connect.{key}": NeededFile(path, "put it there, or correct the name") for key, path in files.items()}


_OF_LINE = line_format({}, bits=False)


class _SerialPort(_Connect):
    other_names = DEVICE_KEYS | LINE_KEYS
    transport: str
    port: Annotated[str, Field(min_length=1)]
    """Device file; the names below ``/dev/serial/by-id/`` stay the same over a restart."""
    baudrate: Annotated[int, Field(ge=300, le=4_000_000), _OF_LINE] = 19200
    """Bits per second."""
    parity: Annotated[Literal["N", "E", "O"], line_format(PARITY, bits=False)] = "N"
    """None, even or odd."""
    stopbits: Annotated[Literal[1, 2], _OF_LINE] = 1
    """Stop bits of a character."""
    device_id: LineDeviceId = 1
    """Which device on the line. Also called unit, slave or station number."""

    @property
    @abstractmethod
    def bits(self) -> Literal[7, 8]:
        """Data bits of a character."""

    @property
    @abstractmethod
    def overhead(self) -> tuple[int, int]:
        """Characters of a request and its answer beside the data, silences included; characters for a byte of it."""

    def exchange_s(self, count: int) -> float:
        """How long one request for ``count`` bytes and its answer occupy the line, the device's thinking left out."""
        around, each = self.overhead
        character = 1 + self.bits + (self.parity != "N") + self.stopbits
        return (around + each * count) * character / self.baudrate

    def line(self) -> SharedLine:
        agreed = {"transport", "baudrate", "bytesize", "parity", "stopbits"}
        return SharedLine(self.port, self.model_dump(include=agreed))

    def needed_files(self) -> Mapping[str, NeededFile]:
        return {"connect.port": needed(self.port)}


class RtuConnect(_SerialPort):
    """Modbus RTU on a serial port: binary frames, eight data bits."""

    transport: Literal["rtu"]
    """A serial line with binary frames."""

    @property
    def bits(self) -> Literal[7, 8]:
        return 8

    @property
    def overhead(self) -> tuple[int, int]:
        # 8 asked, 5 answered, 3.5 of silence behind each (Modbus over Serial Line V1.02, 2.5.1).
        return 8 + 5 + 7, 1


class AsciiConnect(_SerialPort):
    """Modbus ASCII on a serial port: frames of hexadecimal digits."""

    transport: Literal["ascii"]
    """A serial line with frames of hexadecimal digits."""
    bytesize: Literal[7, 8] = 7
    """Data bits of a character."""

    @property
    def bits(self) -> Literal[7, 8]:
        return self.bytesize

    @property
    def overhead(self) -> tuple[int, int]:
        # A colon, two digits a byte, CR and LF (Modbus over Serial Line V1.02, 2.5.2).
        return 17 + 11, 2


Connect = TcpConnect | RtuConnect | RtuOverTcpConnect | AsciiConnect | UdpConnect | TlsConnect
SerialConnect = RtuConnect | AsciiConnect
NetworkConnect = TcpConnect | RtuOverTcpConnect | UdpConnect | TlsConnect
NUMBERED = (TcpConnect, UdpConnect, TlsConnect)
"""Transports whose answers carry the number of their request."""
