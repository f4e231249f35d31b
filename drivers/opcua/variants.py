"""Values of settings and readings -> the type a node wants (OPC 10000-6, 5.2.2). What does not fit is refused."""

import math
import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncua import ua

from contracts.measurement import Scalar
from drivers.base import RawValue
from drivers.opcua.values import as_utc

Kind = ua.VariantType
_INTEGERS: Mapping[Kind, tuple[int, int]] = {
    Kind.SByte: (-(2**7), 2**7 - 1),
    Kind.Byte: (0, 2**8 - 1),
    Kind.Int16: (-(2**15), 2**15 - 1),
    Kind.UInt16: (0, 2**16 - 1),
    Kind.Int32: (-(2**31), 2**31 - 1),
    Kind.UInt32: (0, 2**32 - 1),
    Kind.Int64: (-(2**63), 2**63 - 1),
    Kind.UInt64: (0, 2**64 - 1),
}
_LARGEST_FLOAT = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


def variant_of(value: RawValue, kind: Kind) -> ua.Variant:
    """A value in the type a node has. Raises ValueError where it does not fit."""
    if isinstance(value, list):
        return ua.Variant([_typed(item, kind) for item in value], kind, is_array=True)
    return ua.Variant(_typed(value, kind), kind)


def _typed(value: Scalar, kind: Kind) -> Any:
    if kind in _INTEGERS:
        whole = _whole(value)
        least, most = _INTEGERS[kind]
        if not least <= whole <= most:
            raise ValueError(f"{value!r} does not fit {kind.name} ({least} to {most})")
        return whole
    if kind in (Kind.Float, Kind.Double):
        number = float(value)
        if kind is Kind.Float and math.isfinite(number) and abs(number) > _LARGEST_FLOAT:
            raise ValueError(f"{value!r} does not fit Float")
        return number
    if kind is Kind.Boolean:
        return _truth(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if kind is Kind.String:
        return text
    if kind is Kind.LocalizedText:
        return ua.LocalizedText(text)
    if kind is Kind.DateTime:
        moment = datetime.fromisoformat(text)
        return as_utc(moment)
    if kind is Kind.Guid:
        return UUID(text)
    if kind is Kind.ByteString:
        return bytes.fromhex(text)
    raise ValueError(f"a node of type {kind.name} cannot be written from {value!r}")


def _whole(value: Scalar) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            value = float(value)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value} is not a whole number")
    return int(value)


def _truth(value: Scalar) -> bool:
    text = str(value).lower()
    if text in ("true", "1", "1.0"):
        return True
    if text in ("false", "0", "0.0"):
        return False
    raise ValueError(f"{value!r} is neither true nor false")
