"""OPC-UA values -> readings: of a builtin type (OPC 10000-6, 5.1) what a record can hold, else why not."""

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncua import ua

from contracts.measurement import Quality, Scalar
from drivers.base import PointValue, RawValue
from drivers.float32 import shortest_float32
from drivers.opcua.addresses import field_steps
from drivers.opcua.settings import OpcUaPoint

Kind = ua.VariantType
_LONGEST_ORIGINAL = 1000
"""Characters kept of a value that cannot be used."""
_NEVER = datetime(1601, 1, 1, tzinfo=UTC)
"""A DateTime of 0: no time."""


class UnusableError(Exception):
    """What is there is no value for a record. The text says what it is."""


class Enumerated(int):
    """A number of an enumeration, with the server's names for all of them."""

    names: Mapping[int, str] = {}

    @classmethod
    def of(cls, number: int, names: Mapping[int, str]) -> "Enumerated":
        """``number``, by these names."""
        found = cls(number)
        found.names = names
        return found


class Undescribed:
    """A structure whose layout nobody told."""

    def __init__(self, why: str, body: bytes | None) -> None:
        self.why = why
        self.body = body or b""

    def __repr__(self) -> str:
        return self.body.hex()


def point_value(data: ua.DataValue, content: Any, point: OpcUaPoint, where: str) -> PointValue:
    """A node's answer as a point: value, quality, and when the machine says it was.

    ``content`` is its value, with structures taken apart: mappings, lists and plain values.
    """
    status = data.StatusCode or ua.StatusCode(ua.UInt32(0))
    quality = Quality.BAD if status.is_bad() else Quality.UNCERTAIN if status.is_uncertain() else Quality.GOOD
    value: RawValue | None = None
    original: str | None = None
    problem: str | None = None
    if status.is_bad():
        problem = status_name(status)
    else:
        try:
            kind = data.Value.VariantType if data.Value is not None else Kind.Null
            value = usable(selected(content, point), point, single=kind is Kind.Float)
        except UnusableError as error:
            problem = str(error)
            original = None if content is None else repr(content)[:_LONGEST_ORIGINAL]
    return PointValue(
        value,
        quality,
        source_timestamp=as_utc(data.SourceTimestamp),
        server_timestamp=as_utc(data.ServerTimestamp),
        status_code=None if status.value == ua.StatusCodes.Good else status_name(status),
        original=original,
        problem=None if problem is None else f"{where}: {problem}",
    )


def status_name(status: ua.StatusCode) -> str:
    """A status code's name; one the standard does not have, or with info bits, with its number."""
    return status.name if status.value & 0xFFFF == 0 else f"{status.name} (0x{status.value:08X})"


def selected(content: Any, point: OpcUaPoint) -> Any:
    """What ``field`` means of a value. Raises UnusableError."""
    if point.field is None:
        return content
    for step in field_steps(point.field):
        content = _member(content, step) if isinstance(step, str) else _place(content, step)
    return content


def usable(content: Any, point: OpcUaPoint, *, single: bool = False) -> RawValue:
    """A value as a record holds it. Raises UnusableError.

    ``single``: numbers are float32, told by the shortest decimal that reads back the same.
    """
    if point.text is not None:
        return _text(content, point.text)
    if not isinstance(content, list):
        return _plain(content, point, single)
    if any(isinstance(item, list) for item in content):
        raise UnusableError(f'a matrix of {_shape(content)}; choose a row or an element, field: "[0]" or "[0,1]"')
    found: list[Scalar] = []
    for place, item in enumerate(content):
        try:
            found.append(_plain(item, point, single))
        except UnusableError as error:
            raise UnusableError(f"[{place}]: {error}") from None
    return found


def as_utc(moment: datetime | None) -> datetime | None:
    """asyncua's times are UTC, said or not."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def members(content: Any) -> Mapping[str, Any] | None:
    """The members of a structure; None for what is none."""
    if isinstance(content, Mapping):
        return content
    if dataclasses.is_dataclass(content) and not isinstance(content, _PLAIN_CLASSES):
        names = [field.name for field in dataclasses.fields(content) if field.name != "Encoding"]
        return {name: getattr(content, name) for name in names}
    return None


_PLAIN_CLASSES = (
    ua.LocalizedText,
    ua.QualifiedName,
    ua.NodeId,
    ua.StatusCode,
    ua.Variant,
    ua.DataValue,
    ua.XmlElement,
    ua.ExtensionObject,
    ua.DiagnosticInfo,
)


def _member(content: Any, name: str) -> Any:
    if isinstance(content, list):
        return [_member(item, name) for item in content]
    if isinstance(content, Undescribed):
        raise UnusableError(content.why)
    known = members(content)
    if known is None:
        raise UnusableError(f"no structure, so it has no member {name}" if content is not None else "no value")
    if name not in known:
        raise UnusableError(f"the structure has no member {name}; it has {', '.join(known)}")
    return known[name]


def _place(content: Any, place: tuple[int, ...]) -> Any:
    for index in place:
        if not isinstance(content, list):
            raise UnusableError(f"no array, so it has no place [{','.join(map(str, place))}]")
        if index >= len(content):
            raise UnusableError(f"no place [{','.join(map(str, place))}] in an array of {_shape(content)}")
        content = content[index]
    return content


def _shape(content: list[Any]) -> str:
    sizes: list[int] = []
    inner: Any = content
    while isinstance(inner, list):
        sizes.append(len(inner))
        inner = inner[0] if inner else None
    return " x ".join(map(str, sizes))


def _plain(value: Any, point: OpcUaPoint, single: bool) -> Scalar:
    if isinstance(value, ua.Variant | ua.DataValue):
        value = value.Value if not isinstance(value.Value, ua.Variant) else value.Value.Value
    if value is None:
        raise UnusableError("no value")
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return _number_or_name(value, point)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnusableError(f"{value} is not a finite number")
        return shortest_float32(value) if single else float(value)
    if isinstance(value, datetime):
        moment = as_utc(value)
        if moment is None or moment <= _NEVER:
            raise UnusableError("no time (the DateTime is 0)")
        return moment.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, ua.LocalizedText):
        return value.Text or ""
    if isinstance(value, ua.QualifiedName):
        return value.Name or ""
    if isinstance(value, ua.XmlElement):
        return str(value.Value or "")
    if isinstance(value, ua.NodeId):
        return str(value.to_string())
    if isinstance(value, ua.StatusCode):
        return status_name(value)
    if isinstance(value, Undescribed):
        raise UnusableError(value.why)
    known = members(value)
    if known is not None:
        raise UnusableError(f"a structure of {', '.join(known)}; choose one with field")
    raise UnusableError(f"a {type(value).__name__}, which no record can hold")


def _number_or_name(value: int, point: OpcUaPoint) -> Scalar:
    if point.enumeration == "number":
        return int(value)
    names = value.names if isinstance(value, Enumerated) else {}
    if value not in names:
        told = f"it has names for {', '.join(map(str, names))}" if names else "the server gives no names for it"
        raise UnusableError(f"{int(value)} has no name; {told}")
    return names[value]


def _text(content: Any, encoding: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(item, int) and 0 <= item < 256 for item in content):
        content = bytes(content)
    if not isinstance(content, bytes):
        raise UnusableError("no value" if content is None else "no bytes, so they are no text")
    data = content.split(b"\0", 1)[0]
    try:
        return data.decode(encoding).strip()
    except UnicodeDecodeError:
        raise UnusableError(f"no {encoding} text: bytes {data.hex(' ')}") from None


def as_content(value: Any) -> Any:
    """asyncua's value with every array a list."""
    if isinstance(value, tuple | list):
        return [as_content(item) for item in value]
    return value
