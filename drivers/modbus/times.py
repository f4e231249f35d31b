"""Moments in registers: seconds or milliseconds since 1970, or decimal digits. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from contracts.measurement import Scalar
from drivers.modbus.registers import TIME_FIELDS, Register, layout_parts

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND: Mapping[str, int] = {"epoch": 1, "epoch_ms": 1000}
_CENTURY = 2000
"""What two digits of a year are counted from; no machine on a line is older."""


def decode_time(register: Register, data: bytes) -> datetime | None:
    """The moment in UTC, or None where there is none: month 13, digits that are none, beyond the year 9999."""
    try:
        if register.layout is None:
            ticks = int.from_bytes(data, "big")
            return _EPOCH + timedelta(milliseconds=ticks * 1000 // _PER_SECOND[str(register.type)])
        digits = data.hex()
        fields = {"hour": 0, "minute": 0, "second": 0}
        for part in layout_parts(register.layout):
            text, digits = digits[: len(part)], digits[len(part) :]
            if part != "--":
                fields[TIME_FIELDS[part]] = (_CENTURY if part == "YY" else 0) + int(text)
        return datetime(**fields, tzinfo=ZoneInfo(register.time_zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def encode_time(register: Register, value: Scalar) -> bytes:
    """The bytes of a moment in ISO 8601 (UTC where it names no zone). Raises ValueError where it does not fit."""
    moment = datetime.fromisoformat(str(value))
    moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(ZoneInfo(register.time_zone))
    if register.layout is None:
        ticks = (moment - _EPOCH) // timedelta(milliseconds=1) * _PER_SECOND[str(register.type)] // 1000
        try:
            return ticks.to_bytes(register.count * 2, "big")
        except OverflowError as error:
            raise ValueError(f"{value!r} does not fit {register.type}") from error
    digits = ""
    for part in layout_parts(register.layout):
        number = 0 if part == "--" else getattr(moment, TIME_FIELDS[part])
        if part == "YY":
            number -= _CENTURY
            if not 0 <= number <= 99:
                raise ValueError(f"{value!r} does not fit two digits of a year")
        digits += f"{number:0{len(part)}d}"
    return bytes.fromhex(digits)
