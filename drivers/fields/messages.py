"""Messages -> the values of points. Pure: it never raises, whatever the bytes are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.errors import DataError
from contracts.measurement import Scalar
from contracts.patterns import compiled
from drivers.base import PointValue
from drivers.fields.binary import LayoutReader, decoded, size_of
from drivers.fields.settings import FieldPoint, FieldSettings, MessageSettings
from drivers.fields.text import NotThereError, Text
from drivers.fields.values import value_of_scalar, value_of_text, without_value

_Found = list[PointValue | list[PointValue]]
"""Each place a value was found at: a single value, or a list of its own (a repeated group, a list in JSON)."""


@dataclass(frozen=True)
class Message:
    """One message without its marks, and its kind where there are several."""

    body: bytes
    kind: str | None = None


def text_of(body: bytes, message: MessageSettings) -> str:
    """The characters of a message, as they came. Raises DataError where it is no text."""
    try:
        text = body.decode(message.encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"not {message.encoding} text: byte 0x{body[error.start]:02x} at place {error.start + 1}; "
            "check message.encoding and connect.baudrate"
        ) from error
    except UnicodeError as error:
        raise DataError(f"not {message.encoding} text: {error}; check message.encoding") from error
    if "\0" in text:
        raise DataError("holds a zero byte, so it is no text; check connect.baudrate and parity")
    return text


def kind_of(body: bytes, settings: FieldSettings) -> str | None:
    """The first kind that matches this message. Raises DataError where none does. None: there is one kind only."""
    if not settings.kinds:
        return None
    problem = ""
    for name, kind in settings.kinds.items():
        message = settings.message_of(name)
        pattern = kind.match
        whole = pattern is None and message.format == "regex"
        if whole:
            pattern = message.pattern
        if pattern is None:
            return name
        try:
            text = text_of(body, message) if message.is_text else body.decode("latin-1")
        except DataError as error:
            problem = f"; {error}"
            continue
        if compiled(pattern).fullmatch(text.strip()) if whole else compiled(pattern).search(text):
            return name
    raise DataError(f"no kind of message matches ({', '.join(settings.kinds)}){problem}")


def values_of(
    messages: Sequence[Message], settings: FieldSettings, problem: str | None = None
) -> dict[str, PointValue]:
    """Every configured point of the messages of one result, each with a value or a problem.

    With a ``problem`` there is no value at all: half a number looks like a number.
    """
    if problem is not None:
        return {name: without_value(problem) for name in settings.points}
    opened = [_open(message, settings) for message in messages]
    found = {name: _value(point, opened, settings) for name, point in settings.points.items()}
    return {name: _in_unit(value, settings.points[name], found) for name, value in found.items()}


def _open(message: Message, settings: FieldSettings) -> tuple[str | None, "Text | _Binary | str"]:
    """A message taken apart, or why that cannot be."""
    form = settings.message_of(message.kind)
    try:
        opened = Text(text_of(message.body, form), form) if form.is_text else _Binary(message.body, form)
    except DataError as error:
        return message.kind, str(error)
    return message.kind, opened


def _value(
    point: FieldPoint, opened: Sequence[tuple[str | None, "Text | _Binary | str"]], settings: FieldSettings
) -> PointValue:
    kinds = set(settings.kinds_of(point))
    problem = "no message of its kind came" if point.kind is not None else "no message has it"
    found: _Found = []
    for kind, message in opened:
        if kind not in kinds:
            continue
        if isinstance(message, str):
            return without_value(message)
        try:
            if isinstance(message, Text):
                decimal = settings.message_of(kind).decimal
                found += [_understood(raw, point, decimal) for raw in message.found(point)]
            else:
                found += [_understood(raw, point, ".") for raw in message.found(point)]
        except NotThereError as error:
            problem = str(error)
        except DataError as error:
            return without_value(str(error))
    return _taken(found, point, problem)


def _understood(raw: Scalar | list[Scalar], point: FieldPoint, decimal: str) -> PointValue | list[PointValue]:
    if isinstance(raw, list):
        return [value_of_scalar(one, point) for one in raw]
    return value_of_text(raw, point, decimal) if isinstance(raw, str) else value_of_scalar(raw, point)


def _taken(found: _Found, point: FieldPoint, problem: str) -> PointValue:
    if point.take == "all":
        return _as_list([one for some in found for one in (some if isinstance(some, list) else [some])], point)
    if not found:
        return without_value(problem)
    if point.take == "one" and len(found) > 1:
        told = "; ".join("a list" if isinstance(one, list) else one.original or str(one.value) for one in found[:10])
        return without_value(f"{point.address} {getattr(point, point.address)!r} is there {len(found)} times", told)
    one = found[0 if point.take == "first" else -1]
    return _as_list(one, point) if isinstance(one, list) else one


def _as_list(values: list[PointValue], point: FieldPoint) -> PointValue:
    scalars: list[Scalar] = []
    for place, one in enumerate(values):
        if one.value is None or isinstance(one.value, list):
            return without_value(f"value {place + 1} of the list: {one.problem}", one.original)
        if isinstance(one.value, str) and point.type in ("int", "float"):
            return without_value(f"value {place + 1} of the list: {one.value!r} has a unit of its own", one.value)
        scalars.append(one.value)
    return PointValue(scalars)


def _in_unit(value: PointValue, point: FieldPoint, found: Mapping[str, PointValue]) -> PointValue:
    if point.unit_point is None or value.value is None:
        return value
    said = found[point.unit_point].value
    if said == point.unit:
        return value
    told = f"the machine says {said}" if said is not None else f"point {point.unit_point} has no value"
    return without_value(f"not in {point.unit}: {told}", value.original or str(value.value))


class _Binary:
    """The bytes of one message, taken apart by its layout where it has one. Raises DataError where it does not fit."""

    def __init__(self, body: bytes, message: MessageSettings) -> None:
        self._body = body
        self._message = message
        self._items = (
            LayoutReader(body, message.byte_order, message.encoding).read(message.layout) if message.layout else None
        )

    def found(self, point: FieldPoint) -> list[Scalar | list[Scalar]]:
        """The raw values at this point's place. Raises DataError, NotThereError where the message is too short."""
        if point.item is not None:
            assert self._items is not None
            if point.item in self._items.lists:
                return [list(self._items.lists[point.item])]
            if point.item not in self._items.values:
                raise NotThereError(f"item {point.item} is not in this message")
            return [self._items.values[point.item]]
        assert point.at is not None
        kind = point.binary_type
        size = size_of(kind, point.length)
        begin = point.at if point.at >= 0 else len(self._body) + point.at
        data = self._body[max(begin, 0) : begin + size]
        if begin < 0 or len(data) < size:
            raise NotThereError(f"no {size} bytes at {point.at}: the message has {len(self._body)}")
        return [decoded(data, kind, point.byte_order or self._message.byte_order, self._message.encoding)]
