"""The values of points -> a message: what a simulated machine sends. Pure, and the inverse of ``messages``."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from contracts.measurement import Scalar
from contracts.patterns import compiled
from drivers.base import RawValue
from drivers.fields.binary import encoded, size_of
from drivers.fields.binary_build import written
from drivers.fields.settings import FieldPoint, FieldSettings, MessageSettings
from drivers.fields.spelling import columns_of
from drivers.fields.values import scalar_for
from drivers.template import as_text

_Values = Mapping[str, RawValue | None]


def built(values: _Values, settings: FieldSettings, kind: str | None = None) -> bytes:
    """The message of this kind a machine with these values sends, without marks.

    A point without a value is left out (a field stays empty). Where the message has an ``example`` the values are put
    into that. Raises ValueError for a value this form of message cannot carry, or a form that needs an example.
    """
    message = settings.message_of(kind)
    points = {n: p for n, p in settings.points.items() if kind in settings.kinds_of(p) and values.get(n) is not None}
    if not message.is_text:
        return _binary(values, points, settings, kind)
    searched = sorted(name for name, point in points.items() if point.pattern is not None)
    if searched and message.example is None:
        raise ValueError(f"point {searched[0]}: to send what a pattern finds, message.example is needed")
    texts = {name: _text(name, values[name], point, message) for name, point in points.items() if point.path is None}
    for name in searched:
        message = message.model_copy(update={"example": _replaced(name, points.pop(name), texts, message)})
    text = _TEXTS[message.format](texts, values, points, message)
    return text.encode(message.encoding)


def _text(name: str, value: RawValue | None, point: FieldPoint, message: MessageSettings) -> str:
    if value is None or isinstance(value, list):
        raise ValueError(f"point {name}: a {message.format} message holds no list: {value!r}")
    text = as_text(scalar_for(value, point))
    if message.decimal == "," and point.type == "float":
        text = text.replace(".", ",")
    return text


def _whole(texts: Mapping[str, str], _values: _Values, points: Mapping[str, FieldPoint], m: MessageSettings) -> str:
    # What patterns find stands in the example already.
    return next((texts[name] for name in points), m.example or "")


def _key_value(texts: Mapping[str, str], _v: _Values, points: Mapping[str, FieldPoint], m: MessageSettings) -> str:
    pairs = dict(part.split(m.assign, 1) for part in (m.example or "").split(m.parts_separator) if m.assign in part)
    for name, point in points.items():
        pairs[str(point.key)] = _without(name, texts[name], m.parts_separator)
    return m.parts_separator.join(f"{key}{m.assign}{text}" for key, text in pairs.items())


def _fields(texts: Mapping[str, str], _v: _Values, points: Mapping[str, FieldPoint], m: MessageSettings) -> str:
    fields = m.example.split(m.parts_separator) if m.example else []
    if m.merge_separators:
        fields = [field for field in fields if field]
    for name, point in points.items():
        place = point.field or 1
        fields += [""] * (place - len(fields))
        fields[place - 1] = texts[name] if m.quote else _without(name, texts[name], m.parts_separator)
    if m.quote is not None:
        text = io.StringIO()
        csv.writer(text, delimiter=m.parts_separator, quotechar=m.quote, lineterminator="").writerow(fields)
        return text.getvalue()
    if m.merge_separators and "" in fields:
        raise ValueError("an empty field cannot be told where separators are merged")
    return m.parts_separator.join(fields)


def _fixed(texts: Mapping[str, str], _v: _Values, points: Mapping[str, FieldPoint], m: MessageSettings) -> str:
    line = list(m.example or "")
    for name, point in points.items():
        place = columns_of(str(point.columns))
        width = place.stop - place.start
        if len(texts[name]) > width:
            raise ValueError(f"point {name}: {texts[name]!r} is wider than its {width} columns")
        line += " " * (place.stop - len(line))
        line[place] = texts[name].rjust(width)
    return "".join(line)


def _regex(texts: Mapping[str, str], _v: _Values, points: Mapping[str, FieldPoint], m: MessageSettings) -> str:
    pattern = compiled(m.pattern or "")
    match = pattern.fullmatch(m.example or "")
    if match is None:
        raise ValueError("message.example is needed to send such a message, and has to match message.pattern")
    spans = sorted((match.span(pattern.groupindex[str(point.group)]), texts[name]) for name, point in points.items())
    return _spliced(match.string, [(span, text) for span, text in spans if span[0] >= 0])


def _json(_texts: Mapping[str, str], values: _Values, points: Mapping[str, FieldPoint], m: MessageSettings) -> str:
    tree: Any = json.loads(m.example) if m.example else {}
    for name, point in points.items():
        value = values[name]
        content = [scalar_for(one, point) for one in value] if isinstance(value, list) else _scalar(value, point)
        _put(tree, str(point.path).split("."), content)
    return json.dumps(tree, ensure_ascii=False)


def _binary(values: _Values, points: Mapping[str, FieldPoint], settings: FieldSettings, kind: str | None) -> bytes:
    message = settings.message_of(kind)
    items: dict[str, RawValue | None] = {}
    for name, point in points.items():
        value = values[name]
        if point.item is not None:
            raw = [scalar_for(one, point) for one in value] if isinstance(value, list) else _scalar(value, point)
            items[point.item] = _joined(items.get(point.item), raw, point)
    data = bytearray(written(message.layout, items, message.byte_order, message.encoding))
    for point in settings.points.values():  # its own places too, where nothing is to be said
        if kind in settings.kinds_of(point) and point.at is not None:
            end = point.at + size_of(point.binary_type, point.length) if point.at >= 0 else -point.at
            data += bytes(max(0, end - len(data)))
    for name, point in points.items():
        if point.at is None:
            continue
        order = point.byte_order or message.byte_order
        raw = _scalar(values[name], point)
        begin = point.at if point.at >= 0 else len(data) + point.at
        size = size_of(point.binary_type, point.length)
        if point.bit is not None or point.mask is not None:
            raw = int(raw) | int.from_bytes(data[begin : begin + size], order)
        data[begin : begin + size] = encoded(raw, point.binary_type, point.length, order, message.encoding)
    return bytes(data)


def _joined(before: RawValue | None, raw: RawValue, point: FieldPoint) -> RawValue:
    """Several points may be bits of one item."""
    if point.bit is None and point.mask is None:
        return raw
    assert not isinstance(raw, list)
    return int(raw) | (before if isinstance(before, int) else 0)


def _scalar(value: RawValue | None, point: FieldPoint) -> Scalar:
    if value is None or isinstance(value, list):
        raise ValueError(f"a single value stands there, no list: {value!r}")
    return scalar_for(value, point)


def _replaced(name: str, point: FieldPoint, texts: Mapping[str, str], message: MessageSettings) -> str:
    pattern = compiled(str(point.pattern), lines=True)
    match = pattern.search(message.example or "")
    if match is None:
        raise ValueError(f"point {name}: its pattern is not in message.example")
    return _spliced(match.string, [(match.span(pattern.groups), texts[name])])


def _spliced(text: str, pieces: list[tuple[tuple[int, int], str]]) -> str:
    for (begin, end), piece in reversed(pieces):
        text = text[:begin] + piece + text[end:]
    return text


def _without(name: str, text: str, separator: str) -> str:
    if separator in text:
        raise ValueError(f"point {name}: {text!r} holds the separator of the message")
    return text


def _put(tree: Any, steps: list[str], value: Any) -> None:
    step, below = steps[0], steps[1:]
    if step == "*":
        for place, one in enumerate(value):
            _put(tree, [str(place), *below], one)
    elif not below:
        _child(tree, step, None)
        tree[int(step) if isinstance(tree, list) else step] = value
    else:
        _put(_child(tree, step, [] if below[0] == "*" or below[0].isdecimal() else {}), below, value)


def _child(tree: Any, step: str, following: Any) -> Any:
    if isinstance(tree, list):
        tree += [None] * (int(step) + 1 - len(tree))
        if tree[int(step)] is None:
            tree[int(step)] = following
        return tree[int(step)]
    return tree.setdefault(step, following)


_TEXTS = {
    "whole": _whole,
    "key_value": _key_value,
    "fields": _fields,
    "fixed": _fixed,
    "regex": _regex,
    "json": _json,
}
