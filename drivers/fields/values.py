"""One raw value, as a message holds it -> the value of a point. Pure."""

import math
import re
from decimal import Decimal

from contracts.measurement import Quality, Scalar
from drivers.base import PointValue, RawValue
from drivers.fields.settings import FieldPoint
from drivers.template import as_text

_UNIT = r"(?P<unit>\s*[A-Za-z%°µμΩ℃][A-Za-z0-9%°µμΩ℃/²³^*·.-]{0,19})?"
_WHOLE_NUMBER = re.compile(r"(?P<sign>[+-]?)\s*(?P<number>[0-9]{1,18})" + _UNIT)
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<number>(?:[0-9]{1,100}(?:\.[0-9]{0,100})?|\.[0-9]{1,100})(?:[eE][+-]?[0-9]{1,4})?)" + _UNIT
)
_COMMA_FOR_POINT = str.maketrans(",.", ".,")
"""A point in a number with a decimal comma would be one between thousands: it is no number then."""


def without_value(problem: str, original: str | None = None) -> PointValue:
    """A point that has none, and why."""
    return PointValue(None, quality=Quality.BAD, original=original, problem=problem)


def value_of_text(text: str, point: FieldPoint, decimal: str = ".") -> PointValue:
    """What a piece of text means. A number with its unit stays a text: who knows the units reads it."""
    if point.values is not None:
        return _meaning(text, point)
    if point.type in (None, "string", "bytes"):
        return PointValue(text)
    if point.type == "boolean":
        return _boolean(text, point)
    plain = text.translate(_COMMA_FOR_POINT) if decimal == "," else text
    match = (_WHOLE_NUMBER if point.type == "int" else _NUMBER).fullmatch(plain)
    if match is None:
        return without_value(f"{text!r} is no {'whole ' if point.type == 'int' else ''}number", text)
    digits = match["sign"] + match["number"]
    number: int | float = int(digits) if point.type == "int" else float(digits)
    if not math.isfinite(number):
        return without_value(f"{text!r} is too large a number", text)
    if match["unit"]:
        if point.is_scaled:
            return without_value(f"{text!r} has a unit of its own, and would be scaled", text)
        return PointValue(plain)
    if point.is_scaled or point.bit is not None or point.mask is not None:
        return _of_number(number, point, text)
    return PointValue(number, original=text if text != str(number) else None)


def value_of_scalar(value: Scalar, point: FieldPoint) -> PointValue:
    """What a typed value (of JSON, of a binary message) means."""
    if isinstance(value, str):
        return value_of_text(value, point)
    if point.values is not None:
        return _meaning(as_text(value), point)
    if isinstance(value, bool):
        if point.type in (None, "boolean"):
            return PointValue(value)
        return value_of_text(as_text(value), point)
    if not math.isfinite(value):
        return without_value(f"{value} is not a finite number", str(value))
    if point.type == "boolean":
        return _boolean(as_text(value), point)
    if point.type == "string" and point.at is None:
        return PointValue(as_text(value))
    if point.type == "int" and isinstance(value, float) and not value.is_integer():
        return without_value(f"{value} is no whole number", str(value))
    return _of_number(value, point, str(value))


def scalar_for(value: Scalar, point: FieldPoint) -> Scalar:
    """What a machine sends for this value: the inverse, as near as there is one."""
    if point.values is not None:
        for code, meaning in point.values.items():
            if meaning == value and isinstance(meaning, bool) == isinstance(value, bool):
                return code
        raise ValueError(f"{value!r} is the meaning of no code in values")
    if isinstance(value, bool) and point.type == "boolean":
        return point.true_text[0] if value else point.false_text[0]
    if isinstance(value, bool) and point.bit is not None:
        return int(value) << point.bit
    if isinstance(value, str):
        return value
    if point.mask is not None:
        return int(value) << _lowest(point.mask)
    if not point.is_scaled:
        return value
    raw = (Decimal(str(value)) - Decimal(str(point.offset))) / Decimal(str(point.scale))
    return int(raw) if raw == raw.to_integral_value() else float(raw)


def _of_number(number: int | float, point: FieldPoint, original: str) -> PointValue:
    value: RawValue = number
    if point.bit is not None or point.mask is not None:
        if not isinstance(number, int):
            return without_value(f"{original} is no whole number, so it has no bits", original)
        value = bool(number >> point.bit & 1) if point.bit is not None else _masked(number, point.mask or 0)
    elif point.is_scaled:
        value = _scaled(number, point)
        if not math.isfinite(value):
            return without_value(f"{original} scaled is not a finite number", original)
    return PointValue(value, original=original if original != str(value) else None)


def _meaning(text: str, point: FieldPoint) -> PointValue:
    assert point.values is not None
    if text in point.values:
        return PointValue(point.values[text], original=text)
    return without_value(f"code {text!r} is not in values: {', '.join(point.values)}", text)


def _boolean(text: str, point: FieldPoint) -> PointValue:
    folded = text.casefold()
    for truth, texts in ((True, point.true_text), (False, point.false_text)):
        if any(folded == known.casefold() for known in texts):
            return PointValue(truth, original=text)
    return without_value(f"{text!r} is in neither true_text nor false_text", text)


def _scaled(number: int | float, point: FieldPoint) -> int | float:
    value = Decimal(str(number)) * Decimal(str(point.scale)) + Decimal(str(point.offset))
    whole = all(isinstance(part, int) for part in (number, point.scale, point.offset))
    return int(value) if whole else float(value)


def _masked(number: int, mask: int) -> int:
    return (number & mask) >> _lowest(mask)


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1
