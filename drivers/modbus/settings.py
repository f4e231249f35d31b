"""How a Modbus machine is described. No client library is imported here."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.duration import Duration
from contracts.measurement import Scalar
from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.template import Template

RegisterType = Literal["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "string"]
Order = Literal["big", "little"]
Table = Literal["holding_register", "input_register", "coil", "discrete_input"]
TABLES: tuple[Table, ...] = ("holding_register", "input_register", "coil", "discrete_input")
REGISTERS: Mapping[str, int] = {
    "uint16": 1,
    "int16": 1,
    "uint32": 2,
    "int32": 2,
    "float32": 2,
    "uint64": 4,
    "int64": 4,
    "float64": 4,
}
RegisterAddress = Annotated[int, Field(ge=0, le=65535)]


class TcpConnect(Strict):
    """Modbus TCP. ``timeout`` is the longest wait for one answer."""

    transport: Literal["tcp"]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    device_id: Annotated[int, Field(ge=0, le=255)] = 1
    timeout: Annotated[Duration, Field(gt=0)] = 1.0


class RtuConnect(Strict):
    """Modbus RTU on a serial line."""

    transport: Literal["rtu"]
    port: Annotated[str, Field(min_length=1)]
    baudrate: Annotated[int, Field(ge=300, le=4_000_000)] = 19200
    bytesize: Literal[7, 8] = 8
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1
    device_id: Annotated[int, Field(ge=1, le=247)] = 1
    timeout: Annotated[Duration, Field(gt=0)] = 1.0


class Trigger(Strict):
    """What says that a result is there: any change of ``point``, or its rising edge, looked at every ``poll``."""

    point: str
    on: Literal["change", "rising"] = "change"
    poll: Annotated[Duration, Field(ge=0.01)] = 0.1


class Register(Strict):
    """Where a value is, and how its registers are to be understood.

    ``length`` is a string's length in characters (two in a register). ``scale`` and ``offset`` give
    ``value * scale + offset``, computed in decimal.
    """

    holding_register: RegisterAddress | None = None
    input_register: RegisterAddress | None = None
    coil: RegisterAddress | None = None
    discrete_input: RegisterAddress | None = None
    type: RegisterType | None = None
    length: Annotated[int, Field(ge=1, le=240)] | None = None
    word_order: Order = "big"
    byte_order: Order = "big"

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        given = [table for table in TABLES if getattr(self, table) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one address: {', '.join(TABLES)}")
        bits = given[0] in ("coil", "discrete_input")
        if bits and self.type is not None:
            raise ValueError(f"type: a {given[0]} is one bit and has no type")
        if not bits and self.type is None:
            raise ValueError(f"type: a {given[0]} needs one of {', '.join([*REGISTERS, 'string'])}")
        if (self.length is not None) != (self.type == "string"):
            raise ValueError("length: a string has one, in characters; nothing else has")
        if self.address + self.count > 65536:
            raise ValueError(f"{given[0]}: the value ends beyond register 65535")
        return self

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
        return REGISTERS[self.type] if self.type is not None else 1

    def __str__(self) -> str:
        return f"{self.table} {self.address}"


class ModbusPoint(Register, PointSettings):
    """A configured signal."""

    scale: float | int = 1
    offset: float | int = 0


class Write(Register):
    """What is written to acknowledge: a text with ``{cycle_key}`` or ``{point}``, or a plain value."""

    value: Template | bool | int = "{cycle_key}"

    @model_validator(mode="after")
    def _writable(self) -> Self:
        if self.table in ("input_register", "discrete_input"):
            raise ValueError(f"a {self.table} cannot be written; acknowledge with a holding_register or a coil")
        if self.type in ("float32", "float64"):
            raise ValueError("type: an acknowledgement is a whole number, a bit or a string")
        return self


class Acknowledge(Strict):
    """How the machine is told that its result is kept."""

    write: Write


class ModbusSettings(ProtocolSettings):
    """A machine's Modbus keys."""

    connect: Annotated[TcpConnect | RtuConnect, Field(discriminator="transport")]
    trigger: Trigger
    points: Annotated[Mapping[str, ModbusPoint], Field(min_length=1)]
    acknowledge: Acknowledge | None = None

    def referenced_points(self) -> Mapping[str, str]:
        return {"trigger.point": self.trigger.point}


def plain(value: Scalar) -> str:
    """A value as an acknowledgement's text holds it."""
    return str(int(value)) if isinstance(value, bool | float) else str(value)
