"""Binary messages <-> the values in them. Pure."""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.errors import DataError
from contracts.measurement import Scalar
from drivers.fields.layout import SIZES, BinaryType, ByteOrder, Layout, LayoutItem, item_names
from drivers.float32 import shortest_float32

_FLOATS = {"float32": "f", "float64": "d"}


def size_of(kind: BinaryType, length: int | None) -> int:
    """Bytes of one value."""
    return SIZES.get(kind) or length or 0


def decoded(data: bytes, kind: BinaryType, order: ByteOrder, encoding: str) -> Scalar:
    """The value in these bytes. A text ends at its first NUL, blanks around it off; ``bytes`` are hexadecimal digits.

    Raises DataError for what is no text, no decimal digits, or no finite number.
    """
    if kind == "string":
        try:
            return data.split(b"\0", 1)[0].decode(encoding).strip()
        except UnicodeDecodeError as error:
            raise DataError(f"not {encoding} text: bytes {data.hex(' ')}") from error
    if kind == "bytes":
        return data.hex()
    if kind == "bcd":
        digits = (data if order == "big" else data[::-1]).hex()
        if not digits.isdecimal():
            raise DataError(f"no decimal digits: bytes {data.hex(' ')}")
        return int(digits)
    if kind not in _FLOATS:
        return int.from_bytes(data, order, signed=not kind.startswith("u"))
    (number,) = struct.unpack((">" if order == "big" else "<") + _FLOATS[kind], data)
    if not math.isfinite(number):
        raise DataError(f"{number} is not a finite number")
    return shortest_float32(number) if kind == "float32" else float(number)


def encoded(value: Scalar, kind: BinaryType, length: int | None, order: ByteOrder, encoding: str) -> bytes:
    """The bytes of a value; ``decoded()`` gives it again. Raises ValueError where it does not fit."""
    if kind == "string":
        data = str(value).encode(encoding)
        if length is not None and len(data) > length:
            raise ValueError(f"{value!r} is longer than {length} bytes")
        return data.ljust(length or len(data), b"\0")
    if kind == "bytes":
        data = bytes.fromhex(str(value))
        if length is not None and len(data) != length:
            raise ValueError(f"{value!r} is not {length} bytes")
        return data
    try:
        if kind == "bcd":
            data = bytes.fromhex(f"{int(value):0{(length or 1) * 2}d}")
            if int(value) < 0 or (length is not None and len(data) != length):
                raise ValueError(f"{value!r} has more digits than {length} bytes hold")
            return data if order == "big" else data[::-1]
        if kind in _FLOATS:
            return struct.pack((">" if order == "big" else "<") + _FLOATS[kind], float(value))
        return int(value).to_bytes(SIZES[kind], order, signed=not kind.startswith("u"))
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{value!r} does not fit {kind}") from error


@dataclass
class Items:
    """What a layout found in a message: values by name, those of repeated groups as lists, in their order."""

    values: dict[str, Scalar] = field(default_factory=dict)
    lists: dict[str, list[Scalar]] = field(default_factory=dict)


class LayoutReader:
    """Reads one message by a layout. ``read()`` raises DataError where the message is shorter, longer or otherwise."""

    def __init__(self, data: bytes, order: ByteOrder, encoding: str) -> None:
        self._data = data
        self._order = order
        self._encoding = encoding
        self._at = 0
        self.found = Items()

    def read(self, layout: Layout) -> Items:
        """Everything the layout names. All of the message has to be used."""
        self._read(layout, {}, None)
        if self._at != len(self._data):
            raise DataError(f"{len(self._data)} bytes, but the layout ends after {self._at}")
        return self.found

    def _read(self, layout: Layout, outer: Mapping[str, Scalar], group: str | None) -> None:
        known = dict(outer)
        for item in layout:
            if item.skip is not None:
                self._take(item.skip, "bytes without meaning")
            elif item.choose is not None:
                self._read(chosen(item, known[item.choose]), known, group)
            elif item.repeat is not None:
                self._read_group(item, known)
            else:
                known[str(item.name)] = self._value(item, known, group)

    def _read_group(self, item: LayoutItem, known: Mapping[str, Scalar]) -> None:
        times = count_of(item, known)
        for name in item_names(item.layout):
            self.found.lists.setdefault(f"{item.name}.{name}", [])
        begun = 0
        while begun < times if times is not None else self._at < len(self._data):
            before = self._at
            self._read(item.layout, known, str(item.name))
            begun += 1
            if self._at == before:
                raise DataError(f"group {item.name}: takes no bytes, so it has no end")

    def _value(self, item: LayoutItem, known: Mapping[str, Scalar], group: str | None) -> Scalar:
        assert item.type is not None
        name = str(item.name) if group is None else f"{group}.{item.name}"
        size = len(self._data) - self._at if item.length == "rest" else size_of(item.type, length_of(item, known))
        data = self._take(size, name)
        try:
            value = decoded(data, item.type, item.byte_order or self._order, self._encoding)
        except DataError as error:
            raise DataError(f"item {name}: {error}") from error
        if group is None:
            self.found.values[name] = value
        else:
            self.found.lists[name].append(value)
        return value

    def _take(self, size: int, what: str) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) < size:
            raise DataError(f"ends within {what}: {len(self._data)} bytes, {self._at + size} are needed")
        self._at += size
        return data


def chosen(item: LayoutItem, value: Scalar) -> Layout:
    """The items of the case for this value. Raises DataError where there is none."""
    for case in item.cases:
        if case.when == value:
            return case.layout
    known = ", ".join(str(case.when) for case in item.cases)
    raise DataError(f"item {item.choose} is {value}; the layout knows {known}")


def count_of(item: LayoutItem, known: Mapping[str, Scalar]) -> int | None:
    """How often a group comes; None: until the message ends."""
    if item.repeat == "rest":
        return None
    return _whole(item.repeat, known)


def length_of(item: LayoutItem, known: Mapping[str, Scalar]) -> int | None:
    """Bytes of an item whose length is told."""
    return None if item.length in (None, "rest") else _whole(item.length, known)


def _whole(wanted: int | str | None, known: Mapping[str, Scalar]) -> int:
    value = known[wanted] if isinstance(wanted, str) else wanted
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"item {wanted} is {value!r}, which is no count")
    return value
