"""OPC-UA values -> readings, and back into the type a node wants (OPC 10000-6, 5.1)."""

import math
import struct
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from asyncua import ua

from contracts.measurement import Quality, Scalar
from drivers.base import PointValue, RawValue

_INTEGERS = {
    ua.VariantType.SByte,
    ua.VariantType.Byte,
    ua.VariantType.Int16,
    ua.VariantType.UInt16,
    ua.VariantType.Int32,
    ua.VariantType.UInt32,
    ua.VariantType.Int64,
    ua.VariantType.UInt64,
}
_FLOATS = {ua.VariantType.Float, ua.VariantType.Double}


def point_value(data: ua.DataValue, where: str) -> PointValue:
    """A node's answer as a point: value, quality, and when the machine says it was."""
    status = data.StatusCode or ua.StatusCode(ua.UInt32(0))
    quality = Quality.BAD if status.is_bad() else Quality.UNCERTAIN if status.is_uncertain() else Quality.GOOD

    def point(value: RawValue | None, original: str | None = None, problem: str | None = None) -> PointValue:
        return PointValue(
            value,
            quality,
            source_timestamp=_utc(data.SourceTimestamp),
            server_timestamp=_utc(data.ServerTimestamp),
            status_code=None if status.value == ua.StatusCodes.Good else status.name,
            original=original,
            problem=None if problem is None else f"{where}: {problem}",
        )

    if status.is_bad():
        return point(None, problem=status.name)
    variant = data.Value
    if variant is None or variant.Value is None:
        return point(None, problem="no value")
    single = variant.VariantType is ua.VariantType.Float
    if isinstance(variant.Value, list):
        items = [_plain(item, single) for item in variant.Value]
        if any(item is None for item in items):
            return point(None, original=str(variant.Value), problem="not only finite numbers")
        return point([item for item in items if item is not None])
    value = _plain(variant.Value, single)
    if value is None:
        return point(None, original=str(variant.Value), problem=str(variant.Value))
    return point(value)


def variant_of(value: RawValue, kind: ua.VariantType) -> ua.Variant:
    """A value in the type a node has. Raises ValueError where it does not fit."""
    if isinstance(value, list):
        return ua.Variant([_typed(item, kind) for item in value], kind)
    return ua.Variant(_typed(value, kind), kind)


def _typed(value: Scalar, kind: ua.VariantType) -> Any:
    if kind in _INTEGERS:
        return int(value)
    if kind in _FLOATS:
        return float(value)
    if kind is ua.VariantType.Boolean:
        return value not in ("0", "false", "", 0, False)
    return str(value)


def _plain(value: Any, single: bool) -> Scalar | None:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, Enum):
        return int(value.value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return _shortest_float32(value) if single else float(value)
    if isinstance(value, datetime):
        moment = _utc(value)
        return moment.isoformat() if moment is not None else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, ua.LocalizedText):
        return value.Text or ""
    return str(value)


def _shortest_float32(number: float) -> float:
    """1.2, not 1.2000000477: the shortest decimal that reads back as the same float32."""
    for digits in range(1, 10):
        candidate = float(f"{number:.{digits}g}")
        if struct.pack(">f", candidate) == struct.pack(">f", number):
            return candidate
    return number


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
