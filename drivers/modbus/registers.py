"""What stands in registers, and how it is to be understood."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from drivers.base import PointSettings
from drivers.fields.spelling import Encoding
from drivers.kinds import Kind, Kinds, kinds_of
from drivers.manuals import REGISTER_KEYS, REGISTER_ORDER, REGISTER_TYPE, called
from drivers.modbus.addresses import LAST_ADDRESS, Address
from drivers.template import Template, names_in

RegisterType = Literal[
    "bool",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
    "bcd16",
    "bcd32",
    "bcd64",
    "string",
    "epoch",
    "epoch_ms",
    "bcd_time",
]
Order = Annotated[Literal["big", "little"], called(REGISTER_ORDER)]
WIDTHS: Mapping[str, int] = {
    "uint16": 1,
    "int16": 1,
    "bcd16": 1,
    "uint32": 2,
    "int32": 2,
    "bcd32": 2,
    "float32": 2,
    "epoch": 2,
    "uint64": 4,
    "int64": 4,
    "bcd64": 4,
    "float64": 4,
    "epoch_ms": 4,
}
"""Registers of each type of fixed size."""
WHOLE = ("uint16", "int16", "uint32", "int32", "uint64", "int64", "bcd16", "bcd32", "bcd64")
NUMBERS = (*WHOLE, "float32", "float64")
TIMES = ("epoch", "epoch_ms", "bcd_time")
MAX_LENGTH = 246
"""Bytes in the 123 registers that one request can write."""
_UNSIGNED_BITS: Mapping[str, int] = {"uint16": 16, "uint32": 32, "uint64": 64}
TIME_FIELDS: Mapping[str, str] = {"YYYY": "year", "YY": "year", "MM": "month", "DD": "day"} | {
    "hh": "hour",
    "mm": "minute",
    "ss": "second",
}
_LAYOUT = re.compile(r"YYYY|YY|MM|DD|hh|mm|ss|--")


def layout_parts(layout: str) -> list[str]:
    """``YYMMDD`` as its parts. Raises ValueError where it names no moment."""
    parts = _LAYOUT.findall(layout)
    names = sorted(TIME_FIELDS[part] for part in parts if part != "--")
    if "".join(parts) != layout or len(layout) % 4 or names != sorted(set(names)):
        raise ValueError(
            "layout: write YYYY or YY, MM, DD, hh, mm, ss, each once, and -- for two digits of no meaning; "
            "four digits fill a register"
        )
    if not {"year", "month", "day"} <= set(names):
        raise ValueError("layout: a time needs year, month and day")
    return parts


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a name of no zone, of a directory, or of no form at all
        raise ValueError(f"{name!r} is no time zone; one is named as Asia/Seoul or UTC") from None
    return name


class Register(Address):
    """Where a value is, and how its registers are to be understood."""

    other_names = REGISTER_KEYS
    type: Annotated[RegisterType, called(REGISTER_TYPE)] | None = None
    """Of a register; a coil, a discrete input and a ``bit`` are always ``bool``."""
    bit: Annotated[int, Field(ge=0, le=63)] | None = None
    """One bit of an unsigned number (uint16 if ``type`` does not say otherwise), as true or false: 0 is the lowest."""
    length: Annotated[int, Field(ge=1, le=MAX_LENGTH)] | None = None
    """Of a string, in bytes: two in each register."""
    encoding: Encoding = "utf-8"
    """Of a string."""
    padding: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """What fills the rest of a string. By default a zero byte when written; when read a text ends at its first zero

    byte, and blanks around it are not part of it."""
    bytes_per_register: Literal[1, 2] = 2
    """Of a string: 1 where each register holds one letter, in its low byte."""
    layout: str | None = None
    """Of a bcd_time, its digits in the order they stand: ``YYMMDDhhmmss`` takes three registers. ``--`` are two

    digits of no meaning. Seconds, minutes and hours that are missing are 0."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """Of a bcd_time: what the machine's clock shows, as Asia/Seoul."""
    word_order: Order | None = None
    """Which of the value's registers comes first: the one of its highest digits (big) or of its lowest (little)."""
    byte_order: Order | None = None
    """Which byte of each register comes first."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.is_bit:
            self._check_bit()
        elif self.bit is not None:
            self._check_bit_of_word()
        elif self.type is None or self.type == "bool":
            raise ValueError(f"type: a {self.table} needs one of {', '.join([*WIDTHS, 'string', 'bcd_time'])}; or bit")
        if (self.length is not None) != (self.type == "string"):
            raise ValueError("length: a string has one, in bytes; nothing else has")
        if self.type != "string" and (self.encoding, self.padding, self.bytes_per_register) != ("utf-8", None, 2):
            raise ValueError("encoding, padding, bytes_per_register: only a string has them")
        self._check_time()
        if self.type == "string" and self.word_order is not None:
            raise ValueError("word_order: a string has none; if its letters are swapped in pairs, set byte_order")
        if self.word_order is not None and self.count == 1 and not self.is_bit:
            raise ValueError("word_order: the value takes one register and has none")
        if self.address + self.count - 1 > LAST_ADDRESS:
            raise ValueError(
                f"{self.table}: the value takes {self.count} registers and would end beyond {LAST_ADDRESS}"
            )
        return self

    def _check_bit(self) -> None:
        if self.type not in (None, "bool"):
            raise ValueError(f"type: a {self.table} is one bit: bool, or nothing")
        if (self.word_order, self.byte_order, self.bit) != (None, None, None):
            raise ValueError(f"word_order, byte_order, bit: a {self.table} is one bit and has none")

    def _check_bit_of_word(self) -> None:
        assert self.bit is not None
        width = _UNSIGNED_BITS.get(self.number_type)
        if width is None:
            raise ValueError(f"type: with bit it is one of {', '.join(_UNSIGNED_BITS)}")
        if self.bit >= width:
            raise ValueError(f"bit: a {self.number_type} has the bits 0 to {width - 1}")

    def _check_time(self) -> None:
        if (self.layout is not None) != (self.type == "bcd_time"):
            raise ValueError("layout: a bcd_time has one, as YYMMDDhhmmss; nothing else has")
        if self.layout is not None:
            layout_parts(self.layout)
        elif self.time_zone != "UTC":
            raise ValueError("time_zone: only a bcd_time has one")

    @property
    def is_truth(self) -> bool:
        """True where the value is true or false."""
        return self.is_bit or self.bit is not None

    @property
    def number_type(self) -> str:
        """The type of what stands in the registers, also where one bit of it is meant."""
        return "uint16" if self.type in (None, "bool") else str(self.type)

    @property
    def count(self) -> int:
        """Registers (or bits) the value takes."""
        if self.is_bit:
            return 1
        if self.length is not None:
            return -(-self.length // self.bytes_per_register)
        if self.layout is not None:
            return len(self.layout) // 4
        return WIDTHS[self.number_type]

    def __str__(self) -> str:
        return super().__str__() + (f" bit {self.bit}" if self.bit is not None else "")


Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


class ModbusPoint(Register, PointSettings):
    """A configured signal. Its value is the number in its registers ``* scale + offset``, computed in decimal."""

    scale: float | int = 1
    """What the number is multiplied by: 0.1 where 605 means 60.5."""
    offset: float | int = 0
    """What is added then."""
    values: Annotated[Mapping[str, Scalar], Field(min_length=1)] | None = None
    """What each whole number means: ``{"1": OK, "2": NG}``. One that is not listed is a problem."""

    @model_validator(mode="after")
    def _scaled_number(self) -> Self:
        if self.scale == 0:
            raise ValueError("scale: 0 would make every value the same")
        if self.is_scaled and (self.is_truth or self.type not in NUMBERS):
            raise ValueError("scale, offset: only a number has them")
        if self.values is not None:
            if self.is_truth or self.type not in WHOLE or self.is_scaled:
                raise ValueError("values: only a whole number that is not scaled has meanings")
            wrong = next((code for code in self.values if not re.fullmatch(r"-?(?:0|[1-9][0-9]{0,19})", code)), None)
            if wrong is not None:
                raise ValueError(f'values: the code {wrong} is no whole number; write it as "1"')
        return self

    @property
    def is_scaled(self) -> bool:
        """True where the value is not the plain number."""
        return self.scale != 1 or self.offset != 0

    @property
    def kinds(self) -> Kinds:
        """See PointSettings.kinds."""
        if self.is_truth:
            return frozenset({Kind.TRUTH})
        if self.values is not None:
            return kinds_of(*self.values.values())
        return frozenset({Kind.NUMBER if self.type in NUMBERS else Kind.TEXT})

    @property
    def is_whole(self) -> bool:
        """True where the value counts: a whole number that is not scaled and has no other meaning."""
        return not self.is_truth and self.type in WHOLE and not self.is_scaled and self.values is None


class Write(Register):
    """What is written to acknowledge: a text with ``{cycle_key}`` or ``{point}``, or always the same value."""

    value: Template | bool | int = "{cycle_key}"
    """What is written; ``{cycle_key}`` and ``{point}`` are filled in. Always the same value, true for a coil, is a flag

    that the machine has to take back by itself before its next result."""

    @model_validator(mode="after")
    def _writable(self) -> Self:
        if not self.is_writable:
            raise ValueError(f"{self.table}: cannot be written; acknowledge with a holding_register or a coil")
        if self.bit is not None:
            raise ValueError("bit: an echo fills its registers; a single bit is a signal of four_phase")
        if self.type in ("float32", "float64", *TIMES):
            raise ValueError("type: an acknowledgement is a whole number or a string")
        if self.is_bit and not isinstance(self.value, bool):
            raise ValueError("value: a coil is written true or false")
        return self


class AnswerWrite(Register):
    """One value of an answer to a request: a text with names of the answer's values, or always the same value."""

    value: Template | bool | int
    """What is written: a name such as ``{serial_number}``, a text with names, or always the same."""

    @model_validator(mode="after")
    def _writable(self) -> Self:
        if not self.is_writable:
            raise ValueError(f"{self.table}: cannot be written; answer with a holding_register or a coil")
        if self.bit is not None:
            raise ValueError("bit: an answer fills its registers; use a register or a coil of its own")
        if self.type in TIMES:
            raise ValueError("type: an answer is a number or a string")
        return self

    @property
    def names(self) -> frozenset[str]:
        """The answer's values it names."""
        return names_in(self.value) if isinstance(self.value, str) else frozenset()


class SignalRegister(Address):
    """A signal of a handshake: a coil or discrete input, a bit of a register, or a register with two values."""

    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    """The bit of a register, 0 the lowest. Without it the whole register is the signal."""
    on: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None
    """The register's value for on (1 if not given)."""
    off: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None
    """The register's value for off when it is written (0 if not given)."""

    @model_validator(mode="after")
    def _one_signal(self) -> Self:
        if (self.on, self.off) != (None, None) and (self.is_bit or self.bit is not None):
            raise ValueError("on, off: only a whole register has values; a bit is on when it is 1")
        if self.is_bit and self.bit is not None:
            raise ValueError(f"bit: a {self.table} is one bit and has none")
        if self.on_value == self.off_value:
            raise ValueError("on, off: they must differ")
        return self

    @property
    def on_value(self) -> int:
        """What a whole register holds when the signal is on."""
        return 1 if self.on is None else self.on

    @property
    def off_value(self) -> int:
        """What is written into a whole register to take the signal off."""
        return 0 if self.off is None else self.off

    @property
    def count(self) -> int:
        """Registers (or bits) it takes."""
        return 1

    def is_on(self, word: int) -> bool:
        """Whether this content of its register (or bit) is on."""
        if self.is_bit:
            return bool(word)
        return bool(word >> self.bit & 1) if self.bit is not None else word == self.on_value

    def __str__(self) -> str:
        return super().__str__() + (f" bit {self.bit}" if self.bit is not None else "")
