"""Moments of the contract: in UTC, and refused where UTC has no such year."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.base import UtcTime

_time: TypeAdapter[datetime] = TypeAdapter(UtcTime)


def test_a_moment_is_kept_in_utc() -> None:
    assert _time.validate_json('"2026-11-23T09:00:00+09:00"') == datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+09:00", "9999-12-31T23:59:59-09:00", "2026-11-23T09:00:00"])
def test_a_moment_that_has_no_utc_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        _time.validate_python(datetime.fromisoformat(text))
