"""Registers <-> values (Modbus Application Protocol V1.1b3, 4.2; the order of words is each maker's own)."""

import math
import struct
from collections.abc import Sequence
from decimal import Decimal

from contracts.measurement import Scalar
from drivers.base import PointValue
from drivers.modbus.settings import ModbusPoint, Register

_FORMS = {
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "uint64": "Q",
    "int64": "q",
    "float32": "f",
    "float64": "d",
}


def decode(point: ModbusPoint, words: Sequence[int]) -> PointValue:
    """The value of a point's registers. What is not a finite number or a text has a problem, and its original."""
    data = _ordered(point, struct.pack(f">{len(words)}H", *words))
    if point.type == "string":
        try:
            return PointValue(data[: point.length].split(b"\0", 1)[0].decode("utf-8").strip())
        except UnicodeDecodeError:
            return PointValue(None, original=data.hex(), problem=f"{point}: not a text: {data.hex()}")
    assert point.type is not None
    number = struct.unpack(f">{_FORMS[point.type]}", data)[0]
    if isinstance(number, float):
        if not math.isfinite(number):
            return PointValue(None, original=str(number), problem=f"{point}: {number} is not a number")
        if point.type == "float32":
            number = shortest_float32(number)
    return PointValue(_scaled(number, point))


def encode(register: Register, value: Scalar) -> list[int]:
    """The registers of a value. Raises ValueError where it does not fit the type."""
    if register.type == "string":
        assert register.length is not None
        text = str(value).encode("utf-8")
        if len(text) > register.length:
            raise ValueError(f"{value!r} is longer than {register.length} characters")
        data = text.ljust(register.count * 2, b"\0")
    else:
        assert register.type is not None
        form = _FORMS[register.type]
        try:
            data = struct.pack(f">{form}", float(value) if form in "fd" else int(value))
        except (struct.error, ValueError, OverflowError) as error:
            raise ValueError(f"{value!r} does not fit {register.type}") from error
    ordered = _ordered(register, data)
    return list(struct.unpack(f">{len(ordered) // 2}H", ordered))


def unscaled(point: ModbusPoint, value: Scalar) -> Scalar:
    """The raw number behind a scaled one: what a simulator puts into the registers."""
    if isinstance(value, str) or (point.scale == 1 and point.offset == 0):
        return value
    raw = (Decimal(str(value)) - Decimal(str(point.offset))) / Decimal(str(point.scale))
    return float(raw) if point.type in ("float32", "float64") else int(raw)


def shortest_float32(number: float) -> float:
    """The shortest decimal that reads back as the same float32: 1.2, not 1.2000000477."""
    for digits in range(1, 10):
        candidate = float(f"{number:.{digits}g}")
        if struct.pack(">f", candidate) == struct.pack(">f", number):
            return candidate
    return number


def _scaled(number: int | float, point: ModbusPoint) -> int | float:
    if point.scale == 1 and point.offset == 0:
        return number
    value = Decimal(str(number)) * Decimal(str(point.scale)) + Decimal(str(point.offset))
    return float(value)


def _ordered(register: Register, data: bytes) -> bytes:
    """Between the wire's order and big-endian; the same both ways. Words of a string stay in their places."""
    words = [data[place : place + 2] for place in range(0, len(data), 2)]
    if register.byte_order == "little":
        words = [word[::-1] for word in words]
    if register.word_order == "little" and register.type != "string":
        words.reverse()
    return b"".join(words)
