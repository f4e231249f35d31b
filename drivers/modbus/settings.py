"""How a Modbus machine is described. No client library is imported here."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.duration import Duration
from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.template import Template

RegisterType = Literal["bool", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "string"]
Order = Literal["big", "little"]
Table = Literal["holding_register", "input_register", "coil", "discrete_input"]
TABLES: tuple[Table, ...] = ("holding_register", "input_register", "coil", "discrete_input")
LAST_ADDRESS = 65535
MAX_LENGTH = 246
"""Characters in the 123 registers that one request can write."""
_REGISTERS: Mapping[str, int] = {
    "uint16": 1,
    "int16": 1,
    "uint32": 2,
    "int32": 2,
    "float32": 2,
    "uint64": 4,
    "int64": 4,
    "float64": 4,
}
Address = Annotated[int, Field(ge=0, le=LAST_ADDRESS)]


class TcpConnect(Strict):
    """Modbus TCP. ``timeout`` is the longest wait for a connection or one answer."""

    transport: Literal["tcp"]
    """Over the network."""
    host: Annotated[str, Field(min_length=1)]
    """Name or address of the machine or its gateway."""
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    """TCP port."""
    device_id: Annotated[int, Field(ge=0, le=255)] = 1
    """Which device behind that address (unit identifier, slave address)."""
    timeout: Annotated[Duration, Field(gt=0)] = 1.0
    """Longest wait for a connection or for one answer."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class RtuConnect(Strict):
    """Modbus RTU on a serial port. ``timeout`` is the longest wait for one answer, its way over the line included."""

    transport: Literal["rtu"]
    """Over a serial line."""
    port: Annotated[str, Field(min_length=1)]
    """Device file; the names below ``/dev/serial/by-id/`` stay the same over a restart."""
    baudrate: Annotated[int, Field(ge=300, le=4_000_000)] = 19200
    """Bits per second."""
    bytesize: Literal[7, 8] = 8
    """Data bits of a character."""
    parity: Literal["N", "E", "O"] = "N"
    """None, even or odd."""
    stopbits: Literal[1, 2] = 1
    """Stop bits of a character."""
    device_id: Annotated[int, Field(ge=1, le=247)] = 1
    """Which device on the line (slave address)."""
    timeout: Annotated[Duration, Field(gt=0)] = 1.0
    """Longest wait for one answer, its way over the line included."""

    def __str__(self) -> str:
        return self.port


class Trigger(Strict):
    """What says that a result is there: any change of ``point``, or its rising edge, looked at every ``poll``."""

    point: str
    """Name of the point that is watched."""
    on: Literal["change", "rising"] = "change"
    """``change``: any new value. ``rising``: from false (or 0) to true."""
    poll: Annotated[Duration, Field(ge=0.01)] = 0.1
    """How often it is read; at least every ``10ms``."""


class Register(Strict):
    """Where a value is, and how its registers are to be understood."""

    holding_register: Address | None = None
    """Address in the table of holding registers, from 0 (4xxxx in manuals)."""
    input_register: Address | None = None
    """Address in the table of input registers, from 0 (3xxxx in manuals)."""
    coil: Address | None = None
    """Address in the table of coils, from 0 (0xxxx in manuals)."""
    discrete_input: Address | None = None
    """Address in the table of discrete inputs, from 0 (1xxxx in manuals)."""
    type: RegisterType | None = None
    """Of a register; a coil or discrete input is always ``bool``."""
    length: Annotated[int, Field(ge=1, le=MAX_LENGTH)] | None = None
    """Of a string, in characters of one byte: two in each register."""
    word_order: Order = "big"
    """Which of the value's registers comes first: the one of its highest digits (big) or of its lowest (little)."""
    byte_order: Order = "big"
    """Which byte of each register comes first."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        given = [table for table in TABLES if getattr(self, table) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one address: {', '.join(TABLES)}")
        table = given[0]
        if self.is_bit:
            self._check_bit(table)
        elif self.type is None or self.type == "bool":
            raise ValueError(f"type: a {table} needs one of {', '.join([*_REGISTERS, 'string'])}")
        if (self.length is not None) != (self.type == "string"):
            raise ValueError("length: a string has one, in characters; nothing else has")
        if self.type == "string" and self.word_order != "big":
            raise ValueError("word_order: a string has none; if its letters are swapped in pairs, set byte_order")
        if self.address + self.count - 1 > LAST_ADDRESS:
            raise ValueError(f"{table}: the value takes {self.count} registers and would end beyond {LAST_ADDRESS}")
        return self

    def _check_bit(self, table: Table) -> None:
        if self.type not in (None, "bool"):
            raise ValueError(f"type: a {table} is one bit: bool, or nothing")
        if (self.word_order, self.byte_order) != ("big", "big"):
            raise ValueError(f"word_order, byte_order: a {table} is one bit and has none")

    @property
    def table(self) -> Table:
        """Which of the four tables."""
        return next(table for table in TABLES if getattr(self, table) is not None)

    @property
    def address(self) -> int:
        """The address in its table, from 0."""
        return int(getattr(self, self.table))

    @property
    def is_bit(self) -> bool:
        """True for a coil or a discrete input."""
        return self.table in ("coil", "discrete_input")

    @property
    def count(self) -> int:
        """Registers (or bits) the value takes."""
        if self.length is not None:
            return (self.length + 1) // 2
        return _REGISTERS.get(self.type or "bool", 1)

    def __str__(self) -> str:
        return f"{self.table} {self.address}"


class ModbusPoint(Register, PointSettings):
    """A configured signal. Its value is the number in its registers ``* scale + offset``, computed in decimal."""

    scale: float | int = 1
    """The number in the registers is multiplied by it."""
    offset: float | int = 0
    """Added after scaling."""

    @model_validator(mode="after")
    def _scaled_number(self) -> Self:
        if self.scale == 0:
            raise ValueError("scale: 0 would make every value the same")
        if self.is_scaled and (self.is_bit or self.type == "string"):
            raise ValueError("scale, offset: only a number has them")
        return self

    @property
    def is_scaled(self) -> bool:
        """True where the value is not the plain number."""
        return self.scale != 1 or self.offset != 0


class Write(Register):
    """What is written to acknowledge: a text with ``{cycle_key}`` or ``{point}``, or always the same value."""

    value: Template | bool | int = "{cycle_key}"
    """What is written; ``{cycle_key}`` and ``{point}`` are filled in, a coil takes true or false."""

    @model_validator(mode="after")
    def _writable(self) -> Self:
        if self.table in ("input_register", "discrete_input"):
            raise ValueError(f"{self.table}: cannot be written; acknowledge with a holding_register or a coil")
        if self.type in ("float32", "float64"):
            raise ValueError("type: an acknowledgement is a whole number or a string")
        if self.is_bit and not isinstance(self.value, bool):
            raise ValueError("value: a coil is written true or false")
        return self


class Acknowledge(Strict):
    """How the machine is told that its result is kept."""

    write: Write


class ModbusSettings(ProtocolSettings):
    """A machine's Modbus keys."""

    connect: Annotated[TcpConnect | RtuConnect, Field(discriminator="transport")]
    """Where the machine is, and how it is reached."""
    trigger: Trigger
    points: Annotated[Mapping[str, ModbusPoint], Field(min_length=1)]
    acknowledge: Acknowledge | None = None

    def referenced_points(self) -> Mapping[str, str]:
        return {"trigger.point": self.trigger.point}
