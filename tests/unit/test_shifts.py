"""Every moment belongs to one shift, by the site's clock."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.shifts import ShiftCalendar, parse_calendar, parse_moment
from contracts.errors import SetupError

SEOUL = parse_calendar("Asia/Seoul", "N=20:00, D=08:00")
BERLIN = parse_calendar("Europe/Berlin", "early=06:00,late=14:00,night=22:00")  # a clock that jumps twice a year

moments = st.integers(0, 4 * 366 * 86400).map(
    lambda passed: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=passed)
)


@pytest.mark.parametrize(
    ("moment", "day", "name"),
    [
        ("2024-11-18T08:00", "2024-11-18", "D"),
        ("2024-11-18T19:59:59.999999", "2024-11-18", "D"),
        ("2024-11-18T20:00", "2024-11-18", "N"),
        ("2024-11-19T07:59", "2024-11-18", "N"),
    ],
)
def test_a_night_shift_belongs_to_the_day_it_began(moment: str, day: str, name: str) -> None:
    shift = SEOUL.of(parse_moment(moment, SEOUL, end=False))
    assert (str(shift.date), shift.name) == (day, name)


@given(moment=moments, hours=st.integers(0, 400))
@pytest.mark.parametrize("known", [SEOUL, BERLIN])
def test_shifts_follow_each_other_without_gap_and_cover_what_was_asked(
    known: ShiftCalendar, moment: datetime, hours: int
) -> None:
    until = moment + timedelta(hours=hours, microseconds=1)
    shifts = known.between(moment, until)
    assert shifts[0].begins_at <= moment < shifts[0].ends_at
    assert shifts[-1].begins_at < until <= shifts[-1].ends_at
    assert all(earlier.ends_at == later.begins_at for earlier, later in pairwise(shifts))
    assert known.of(moment) == shifts[0]


def test_a_day_is_from_its_first_shift_to_the_next_days() -> None:
    begin, end = (parse_moment("2024-11-18", SEOUL, end=end) for end in (False, True))
    assert (begin.isoformat(), end.isoformat()) == ("2024-11-17T23:00:00+00:00", "2024-11-18T23:00:00+00:00")
    assert [(shift.date, shift.name) for shift in SEOUL.between(begin, end)] == [
        (date(2024, 11, 18), "D"),
        (date(2024, 11, 18), "N"),
    ]
    assert parse_moment("2024-11-18T10:00:00+00:00", SEOUL, end=False) == datetime(2024, 11, 18, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "shifts", "says"),
    [
        ("Asia/Gimcheon", "D=08:00", "SITE_TIMEZONE.*Asia/Seoul"),
        ("../../etc/passwd", "D=08:00", "SITE_TIMEZONE"),
        ("Asia/Seoul", "D=8", "SITE_SHIFTS.*D=08:00"),
        ("Asia/Seoul", "D=24:00", "SITE_SHIFTS"),
        ("Asia/Seoul", "", "SITE_SHIFTS"),
        ("Asia/Seoul", "D=08:00,D=20:00", "twice"),
        ("Asia/Seoul", "D=08:00,N=08:00", "twice"),
    ],
)
def test_a_calendar_that_cannot_be_is_refused(zone: str, shifts: str, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        parse_calendar(zone, shifts)


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "2024-11-18Tnoon", ""])
def test_a_moment_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="no day and no time"):
        parse_moment(text, SEOUL, end=False)
