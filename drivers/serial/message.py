"""The text of a frame <-> the values of points. Pure; one half is the driver's, the inverse half the simulator's."""

import math
import re
from collections.abc import Mapping

from contracts.measurement import Quality
from drivers.base import PointValue, RawValue
from drivers.serial.settings import SerialPoint, SerialSettings
from drivers.template import as_text

_UNIT = r"(?P<unit>\s*[A-Za-z%°µμΩ℃][A-Za-z0-9%°µμΩ℃/²³^*·.-]{0,19})?"
_WHOLE_NUMBER = re.compile(r"(?P<number>[+-]?[0-9]{1,18})" + _UNIT)
_NUMBER = re.compile(r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)" + _UNIT)


def parse(payload: bytes, settings: SerialSettings, problem: str | None = None) -> dict[str, PointValue]:
    """Every configured point of one frame (marks included), each with a value or a problem. Never raises.

    A frame with a ``problem`` of its own gives no value at all: half a number looks like a number.
    """
    frame, message = settings.frame, settings.message
    if problem is None and not (payload.startswith(frame.start_bytes) and payload.endswith(frame.end_bytes)):
        problem = f"frame without its marks: begins with {frame.start!r}, ends with {frame.end!r}"
    text = ""
    if problem is None:
        body = payload.removeprefix(frame.start_bytes).removesuffix(frame.end_bytes)
        try:
            text = body.decode(message.encoding).strip()
        except UnicodeDecodeError as error:
            problem = (
                f"not {message.encoding} text: byte 0x{body[error.start]:02x} at place {error.start + 1}; "
                "check message.encoding and connect.baudrate"
            )
    if problem is None and "\0" in text:
        problem = "holds a zero byte, so it is no text; check connect.baudrate and parity"
    if problem is not None:
        return {name: _without_value(problem) for name in settings.points}
    if message.format == "whole":
        return {name: _value(text, point) for name, point in settings.points.items()}
    parts = [part.strip() for part in text.split(message.parts_separator)]
    if message.format == "fields":
        return {name: _of_field(parts, point) for name, point in settings.points.items()}
    pairs = [part.partition(message.assign) for part in parts]
    return {name: _of_key(pairs, point) for name, point in settings.points.items()}


def build(values: Mapping[str, RawValue | None], settings: SerialSettings) -> bytes:
    """The frame a machine with these values sends; a point without a value is left out (a field stays empty).

    Raises ValueError for a value this message format cannot carry.
    """
    message = settings.message
    texts = {n: _written(v, settings.points[n]) for n, v in values.items() if v is not None and n in settings.points}
    forbidden = [settings.frame.start, settings.frame.end]
    if message.format == "whole":
        text = next(iter(texts.values()), "")
    elif message.format == "fields":
        by_field = {settings.points[name].field or 0: text for name, text in texts.items()}
        width = max((point.field or 0 for point in settings.points.values()), default=0)
        text = message.parts_separator.join(by_field.get(place, "") for place in range(1, width + 1))
    else:
        pairs = (f"{settings.points[name].key}{message.assign}{value}" for name, value in texts.items())
        text = message.parts_separator.join(pairs)
    if message.format != "whole":
        forbidden.append(message.parts_separator)
    for name, value in texts.items():
        if any(mark and mark in value for mark in forbidden):
            raise ValueError(f"point {name}: {value!r} holds a mark or separator of the message")
    return settings.frame.start_bytes + text.encode(message.encoding) + settings.frame.end_bytes


def _of_field(parts: list[str], point: SerialPoint) -> PointValue:
    place = point.field or 0
    if place > len(parts):
        return _without_value(f"field {place} is missing: the frame has {len(parts)}")
    return _value(parts[place - 1], point)


def _of_key(pairs: list[tuple[str, str, str]], point: SerialPoint) -> PointValue:
    found = [value.strip() for key, assign, value in pairs if assign and key.strip() == point.key]
    if not found:
        return _without_value(f"key {point.key!r} is not in the frame")
    if len(found) > 1:
        return _without_value(f"key {point.key!r} is in the frame {len(found)} times", "; ".join(found))
    return _value(found[0], point)


def _value(text: str, point: SerialPoint) -> PointValue:
    if point.type == "string":
        return PointValue(text)
    if point.type == "boolean":
        return _boolean(text, point)
    match = (_WHOLE_NUMBER if point.type == "int" else _NUMBER).fullmatch(text)
    if match is None:
        return _without_value(f"{text!r} is no {'whole ' if point.type == 'int' else ''}number", text)
    number: int | float = int(match["number"]) if point.type == "int" else float(match["number"])
    if not math.isfinite(number):
        return _without_value(f"{text!r} is too large a number", text)
    if match["unit"]:
        return PointValue(text)  # the text with its unit is the value: who knows the units reads it
    return PointValue(number, original=text if text != str(number) else None)


def _boolean(text: str, point: SerialPoint) -> PointValue:
    folded = text.casefold()
    for truth, texts in ((True, point.true_text), (False, point.false_text)):
        if any(folded == known.casefold() for known in texts):
            return PointValue(truth, original=text)
    return _without_value(f"{text!r} is in neither true_text nor false_text", text)


def _without_value(problem: str, original: str | None = None) -> PointValue:
    return PointValue(None, quality=Quality.BAD, original=original, problem=problem)


def _written(value: RawValue, point: SerialPoint) -> str:
    if isinstance(value, list):
        raise ValueError(f"a serial message holds no list: {value!r}")  # noqa: TRY004 - as every value it cannot carry
    if point.type == "boolean" and isinstance(value, bool):
        return point.true_text[0] if value else point.false_text[0]
    return as_text(value)
