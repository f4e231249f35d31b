"""Registers <-> values. The order of a value's words and bytes is each maker's own choice."""

import math
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal

from pymodbus.client.mixin import ModbusClientMixin

from contracts.measurement import Scalar
from drivers.base import PointValue, RawValue
from drivers.modbus.settings import ModbusPoint, Register, Write
from drivers.template import render

_TYPES = {
    "uint16": ModbusClientMixin.DATATYPE.UINT16,
    "int16": ModbusClientMixin.DATATYPE.INT16,
    "uint32": ModbusClientMixin.DATATYPE.UINT32,
    "int32": ModbusClientMixin.DATATYPE.INT32,
    "uint64": ModbusClientMixin.DATATYPE.UINT64,
    "int64": ModbusClientMixin.DATATYPE.INT64,
    "float32": ModbusClientMixin.DATATYPE.FLOAT32,
    "float64": ModbusClientMixin.DATATYPE.FLOAT64,
}


def decode(point: ModbusPoint, words: Sequence[int]) -> PointValue:
    """The value in a point's registers (or its one bit).

    What is not a finite number, or not text, is no value: it has a problem, and ``original`` tells what was there.
    A text ends at its first NUL; blanks around it are taken for padding.
    """
    if point.is_bit:
        return PointValue(bool(words[0]))
    words = _swapped(point, words)
    if point.type == "string":
        data = b"".join(word.to_bytes(2, "big") for word in words)[: point.length].split(b"\0", 1)[0]
        try:
            return PointValue(data.decode("utf-8").strip())
        except UnicodeDecodeError:
            return PointValue(None, original=data.hex(), problem=f"{point}: not a text: bytes {data.hex(' ')}")
    number = ModbusClientMixin.convert_from_registers(list(words), _TYPES[str(point.type)], point.word_order)
    assert isinstance(number, int | float)  # one value's registers give one value
    if isinstance(number, float):
        if not math.isfinite(number):
            return PointValue(None, original=str(number), problem=f"{point}: {number} is not a finite number")
        if point.type == "float32":
            number = shortest_float32(number)
    value = _scaled(number, point) if point.is_scaled else number
    if not math.isfinite(value):
        return PointValue(None, original=str(number), problem=f"{point}: {number} scaled is not a finite number")
    return PointValue(value)


def encode(register: Register, value: Scalar) -> list[int]:
    """The registers (or the one bit) of a value. Raises ValueError where it does not fit the type."""
    if register.is_bit:
        return [int(bool(value))]
    if register.length is not None:
        data = str(value).encode("utf-8")
        if len(data) > register.length:
            raise ValueError(f"{value!r} is longer than {register.length} characters")
        data = data.ljust(register.count * 2, b"\0")
        return _swapped(register, struct.unpack(f">{register.count}H", data))
    try:
        number = float(value) if register.type in ("float32", "float64") else _whole(value)
        words = ModbusClientMixin.convert_to_registers(number, _TYPES[str(register.type)], register.word_order)
    except (struct.error, ValueError, OverflowError) as error:
        raise ValueError(f"{value!r} does not fit {register.type}") from error
    return _swapped(register, words)


def encode_scaled(point: ModbusPoint, value: Scalar) -> list[int]:
    """The registers in which a machine shows this value: ``decode()`` gives it again, as near as the type allows."""
    if not point.is_scaled:
        return encode(point, value)
    raw = (Decimal(str(value)) - Decimal(str(point.offset))) / Decimal(str(point.scale))
    return encode(point, float(raw) if point.type in ("float32", "float64") else int(raw.to_integral_value()))


def encode_acknowledgement(write: Write, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> list[int]:
    """The registers that tell a machine that its result is kept.

    Raises KeyError for a name without a value, ValueError where the value does not fit the type.
    """
    if not isinstance(write.value, str):
        return encode(write, write.value)
    known = {name: value for name, value in values.items() if value is not None and not isinstance(value, list)}
    if cycle_key is not None:
        known["cycle_key"] = cycle_key
    return encode(write, render(write.value, known, _plain))


def shortest_float32(number: float) -> float:
    """The shortest decimal that reads back as the same float32: 1.2, not 1.2000000477."""
    wanted = struct.pack(">f", number)
    for digits in range(1, 9):
        shorter = float(f"{number:.{digits}g}")
        try:
            if struct.pack(">f", shorter) == wanted:
                return shorter
        except OverflowError:  # rounded up beyond the largest float32
            continue
    return float(f"{number:.9g}")  # nine digits always read back the same


def _scaled(number: int | float, point: ModbusPoint) -> int | float:
    value = Decimal(str(number)) * Decimal(str(point.scale)) + Decimal(str(point.offset))
    whole = all(isinstance(part, int) for part in (number, point.scale, point.offset))
    return int(value) if whole else float(value)


def _whole(value: Scalar) -> int:
    whole = int(value)
    if isinstance(value, float) and whole != value:
        raise ValueError(f"{value} is not a whole number")
    return whole


def _plain(value: Scalar) -> str:
    """A value as an acknowledgement's text holds it: true is 1, and a counter kept as a float is a whole number."""
    return str(int(value)) if isinstance(value, bool | float) and int(value) == value else str(value)


def _swapped(register: Register, words: Sequence[int]) -> list[int]:
    """Between the machine's order of bytes and ours; the same both ways."""
    if register.byte_order == "big":
        return list(words)
    return [(word & 0xFF) << 8 | word >> 8 for word in words]
