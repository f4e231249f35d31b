"""Registers <-> values. The order of a value's words and bytes is each maker's own choice.

Everything here takes registers whose orders are known: ``ModbusSettings.ordered()``. Pure; it imports no client.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from decimal import Decimal

from contracts.measurement import Scalar
from drivers.base import PointValue, RawValue
from drivers.float32 import shortest_float32
from drivers.interlock import TEXT_NAMES
from drivers.modbus.registers import TIMES, AnswerWrite, ModbusPoint, Register, Write
from drivers.modbus.times import decode_time, encode_time
from drivers.template import render

_FLOATS: Mapping[str, str] = {"float32": ">f", "float64": ">d"}


def decode(point: ModbusPoint, words: Sequence[int]) -> PointValue:
    """The value in a point's registers (or its one bit).

    What is not a finite number, no digits, not text, no moment or no listed code is no value: it has a problem, and
    ``original`` tells what was there.
    """
    if point.is_bit:
        return PointValue(bool(words[0]))
    data = _bytes(point, words)
    if point.bit is not None:
        return PointValue(bool(int.from_bytes(data, "big") >> point.bit & 1))
    if point.type == "string":
        return _decode_text(point, data)
    if point.type in TIMES:
        moment = decode_time(point, data)
        if moment is None:
            return PointValue(None, original=data.hex(), problem=f"{point}: no moment: bytes {data.hex(' ')}")
        return PointValue(moment.isoformat())
    number = _number(point, data)
    if number is None:
        return PointValue(None, original=data.hex(), problem=f"{point}: not decimal digits: bytes {data.hex(' ')}")
    if not math.isfinite(number):
        return PointValue(None, original=str(number), problem=f"{point}: {number} is not a finite number")
    if point.values is not None:
        return _meaning(point, number, point.values)
    value = _scaled(number, point) if point.is_scaled else number
    if not math.isfinite(value):
        return PointValue(None, original=str(number), problem=f"{point}: {number} scaled is not a finite number")
    return PointValue(value)


def encode(register: Register, value: Scalar) -> list[int]:
    """The registers (or the one bit) of a value. Raises ValueError where it does not fit the type."""
    if (register.is_bit or register.bit is not None) and isinstance(value, str):
        raise ValueError(f"{value!r} is neither true nor false")
    if register.is_bit:
        return [int(bool(value))]
    if register.bit is not None:
        return _words(register, (int(bool(value)) << register.bit).to_bytes(register.count * 2, "big"))
    if register.length is not None:
        return _words(register, _encode_text(register, str(value)))
    if register.type in TIMES:
        return _words(register, encode_time(register, value))
    try:
        if register.type in _FLOATS:
            data = struct.pack(_FLOATS[str(register.type)], float(value))
        elif str(register.type).startswith("bcd"):
            data = _digits(_whole(value), register.count * 2)
        else:
            signed = not str(register.type).startswith("u")
            data = _whole(value).to_bytes(register.count * 2, "big", signed=signed)
    except (struct.error, ValueError, OverflowError) as error:
        raise ValueError(f"{value!r} does not fit {register.type}") from error
    return _words(register, data)


def encode_point(point: ModbusPoint, value: Scalar) -> list[int]:
    """The registers in which a machine shows this value: ``decode()`` gives it again, as near as the type allows."""
    if point.values is not None:
        for code, meaning in point.values.items():
            if meaning == value and isinstance(meaning, bool) == isinstance(value, bool):
                return encode(point, int(code))
        raise ValueError(f"{value!r} is the meaning of no code in values")
    if not point.is_scaled:
        return encode(point, value)
    raw = (Decimal(str(value)) - Decimal(str(point.offset))) / Decimal(str(point.scale))
    return encode(point, float(raw) if point.type in _FLOATS else int(raw.to_integral_value()))


def encode_write(write: Write, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> list[int]:
    """The registers that tell a machine that its result is kept.

    Raises KeyError for a name without a value, ValueError where the value does not fit the type.
    """
    if not isinstance(write.value, str):
        return encode(write, write.value)
    known = {name: value for name, value in values.items() if value is not None and not isinstance(value, list)}
    if cycle_key is not None:
        known["cycle_key"] = cycle_key
    return encode(write, render(write.value, known, _plain))


def encode_answer(write: AnswerWrite, values: Mapping[str, Scalar]) -> list[int]:
    """The registers of one value of an answer. A text for people that is too long is cut off.

    Raises KeyError for a name without a value, ValueError where the value does not fit the type.
    """
    if not isinstance(write.value, str):
        return encode(write, write.value)
    text = render(write.value, values, _plain)
    if write.is_bit:
        return encode(write, text not in ("", "0", "false"))
    if write.type == "string":
        if write.names & TEXT_NAMES:
            assert write.length is not None
            text = text.encode(write.encoding, "replace")[: write.length].decode(write.encoding, "ignore")
        return encode(write, text)
    number = text or "0"  # a value that is not there
    return encode(write, float(number) if write.type in _FLOATS else int(number))


def _number(point: ModbusPoint, data: bytes) -> int | float | None:
    """The plain number; None where digits are none."""
    kind = str(point.type)
    if kind in _FLOATS:
        (number,) = struct.unpack(_FLOATS[kind], data)
        if kind == "float32" and math.isfinite(number):
            return shortest_float32(number)
        return float(number)
    if kind.startswith("bcd"):
        digits = data.hex()
        return int(digits) if digits.isdecimal() else None
    return int.from_bytes(data, "big", signed=not kind.startswith("u"))


def _meaning(point: ModbusPoint, number: int | float, values: Mapping[str, Scalar]) -> PointValue:
    code = str(number)
    if code in values:
        return PointValue(values[code], original=code)
    return PointValue(None, original=code, problem=f"{point}: {code} is not in values: {', '.join(values)}")


def _decode_text(point: ModbusPoint, data: bytes) -> PointValue:
    assert point.length is not None
    data = (data if point.bytes_per_register == 2 else data[1::2])[: point.length]
    try:
        text = data.split(b"\0", 1)[0].decode(point.encoding)
    except UnicodeDecodeError:
        problem = f"{point}: not {point.encoding} text: bytes {data.hex(' ')}"
        return PointValue(None, original=data.hex(), problem=problem)
    return PointValue(text.strip() if point.padding is None else text.rstrip(point.padding))


def _encode_text(register: Register, text: str) -> bytes:
    assert register.length is not None
    try:
        data = text.encode(register.encoding)
        padding = (register.padding or "\0").encode(register.encoding)
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r} cannot be written in {register.encoding}") from error
    if len(data) > register.length:
        raise ValueError(f"{text!r} is longer than {register.length} bytes")
    data += (padding * register.length)[: register.length - len(data)]
    if register.bytes_per_register == 1:
        return b"".join(bytes((0, letter)) for letter in data)
    return data.ljust(register.count * 2, b"\0")


def _digits(number: int, size: int) -> bytes:
    digits = f"{number:0{size * 2}d}"
    if number < 0 or len(digits) > size * 2:
        raise ValueError(digits)
    return bytes.fromhex(digits)


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


def _bytes(register: Register, words: Sequence[int]) -> bytes:
    """A value's bytes, the highest first."""
    ordered = words[::-1] if register.word_order == "little" and register.type != "string" else words
    return b"".join(word.to_bytes(2, register.byte_order or "big") for word in ordered)


def _words(register: Register, data: bytes) -> list[int]:
    """The inverse of ``_bytes()``."""
    words = [int.from_bytes(data[place : place + 2], register.byte_order or "big") for place in range(0, len(data), 2)]
    return words[::-1] if register.word_order == "little" and register.type != "string" else words
