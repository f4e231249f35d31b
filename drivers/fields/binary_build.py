"""Values -> a binary message: the half a simulated machine needs. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from contracts.measurement import Scalar
from drivers.base import RawValue
from drivers.fields.binary import chosen, encoded, length_of
from drivers.fields.layout import ByteOrder, Layout, LayoutItem

_Values = Mapping[str, RawValue | None]


def written(layout: Layout, values: _Values, order: ByteOrder, encoding: str) -> bytes:
    """The message that holds these values by name (a repeated group's as lists); what is not given is 0 or empty.

    A count or length that is not given follows from what it counts. Raises ValueError for what does not fit.
    """
    return _Writer(values, order, encoding).write(layout, {}, None)


class _Writer:
    def __init__(self, values: _Values, order: ByteOrder, encoding: str) -> None:
        self._values = values
        self._order: ByteOrder = order
        self._encoding = encoding
        self._rows: dict[str, Iterator[Scalar]] = {}

    def write(self, layout: Layout, outer: Mapping[str, Scalar], group: str | None) -> bytes:
        known = dict(outer)
        data = b""
        for place, item in enumerate(layout):
            if item.skip is not None:
                data += bytes(item.skip)
            elif item.choose is not None:
                data += self.write(chosen(item, known[item.choose]), known, group)
            elif item.repeat is not None:
                count = known[item.repeat] if isinstance(item.repeat, str) and item.repeat != "rest" else item.repeat
                times = int(count) if isinstance(count, int) else self._count(item)
                data += b"".join(self.write(item.layout, known, str(item.name)) for _ in range(times))
            else:
                value = self._given(item, group)
                if value is None:
                    value = self._implied(item, layout[place + 1 :], group)
                known[str(item.name)] = value
                assert item.type is not None
                length = length_of(item, known)
                data += encoded(value, item.type, length, item.byte_order or self._order, self._encoding)
        return data

    def _given(self, item: LayoutItem, group: str | None) -> Scalar | None:
        if group is None:
            value = self._values.get(str(item.name))
            return None if isinstance(value, list) else value
        name = f"{group}.{item.name}"
        if name not in self._rows:
            self._rows[name] = iter(self._column(name))
        return next(self._rows[name], None)

    def _column(self, name: str) -> Sequence[Scalar]:
        column = self._values.get(name)
        return column if isinstance(column, list) else []

    def _implied(self, item: LayoutItem, after: Layout, group: str | None) -> Scalar:
        for later in after:
            if later.repeat == item.name and group is None:
                return self._count(later)
            if later.length == item.name and group is None:
                return self._size(later)
            if later.choose == item.name:
                return later.cases[0].when
        if item.type == "bytes":
            return "00" * item.length if isinstance(item.length, int) else ""
        return "" if item.type == "string" else 0

    def _count(self, group: LayoutItem) -> int:
        prefix = f"{group.name}."
        return max((len(v) for n, v in self._values.items() if n.startswith(prefix) and isinstance(v, list)), default=0)

    def _size(self, item: LayoutItem) -> int:
        value = self._values.get(str(item.name))
        if value is None or isinstance(value, list) or item.type is None:
            return 0
        return len(encoded(value, item.type, None, self._order, self._encoding))
