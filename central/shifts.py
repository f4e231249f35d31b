"""The site's shifts: which shift a moment belongs to, and where each begins and ends. Pure; times are UTC.

A shift belongs to the date it began on, by the site's clock: the night shift of the 24th ends on the 25th.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from contracts.errors import SetupError

_SHIFT = re.compile(r"\s*([A-Za-z0-9]{1,8})\s*=\s*(\d{1,2}):(\d{2})\s*")


@dataclass(frozen=True)
class Shift:
    """One shift of one day: from ``begins_at`` up to, not including, ``ends_at``."""

    date: date
    name: str
    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True)
class ShiftCalendar:
    """The shifts of every day: names and starts by the clock of ``zone``, in the order of the day."""

    zone: ZoneInfo
    starts: Sequence[tuple[str, time]]

    def between(self, since: datetime, until: datetime) -> list[Shift]:
        """The shifts that any moment from ``since`` up to ``until`` belongs to, in order."""
        first = since.astimezone(self.zone).date() - timedelta(days=1)
        days = (until.astimezone(self.zone).date() - first).days + 2
        begins = [
            (begin, day, name)
            for day in (first + timedelta(days=number) for number in range(days))
            for name, begin in ((name, self._at(day, start)) for name, start in self.starts)
        ]
        begins.sort()
        shifts = [
            Shift(day, name, begin, following[0])
            for (begin, day, name), following in pairwise(begins)
            if begin < following[0]  # a clock that jumps can leave nothing of a shift
        ]
        return [shift for shift in shifts if shift.begins_at < until and shift.ends_at > since]

    def of(self, moment: datetime) -> Shift:
        """The shift this moment belongs to."""
        [shift] = self.between(moment, moment + timedelta(microseconds=1))
        return shift

    def last_date(self, until: datetime) -> date:
        """The last date that has a shift before ``until``."""
        return self.of(until - timedelta(microseconds=1)).date

    def day(self, day: date) -> tuple[datetime, datetime]:
        """Where a day's first shift begins and its last one ends."""
        return self._at(day, self.starts[0][1]), self._at(day + timedelta(days=1), self.starts[0][1])

    def _at(self, day: date, start: time) -> datetime:
        return datetime.combine(day, start, tzinfo=self.zone).astimezone(UTC)


def parse_moment(text: str, calendar: ShiftCalendar, *, end: bool) -> datetime:
    """``2026-11-25`` is where that day's first shift begins (``end``: where its last one ends); ``2026-11-25T14:00`` is
    a moment by the site's clock unless it says otherwise. Raises SetupError."""
    try:
        if len(text) <= len("2026-11-25"):
            return calendar.day(date.fromisoformat(text))[1 if end else 0]
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SetupError(f"{text!r} is no day and no time; 2026-11-25 or 2026-11-25T14:00 is needed") from error
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=calendar.zone)).astimezone(UTC)


def parse_calendar(zone: str, shifts: str) -> ShiftCalendar:
    """A calendar from settings: ``Asia/Seoul`` and ``D=08:00,N=20:00``. Raises SetupError saying what is wrong."""
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SetupError(f"SITE_TIMEZONE: {zone!r} is no time zone; one like Asia/Seoul is needed") from error
    starts: list[tuple[str, time]] = []
    for part in shifts.split(","):
        match = _SHIFT.fullmatch(part)
        if match is None or not (int(match[2]) < 24 and int(match[3]) < 60):
            raise SetupError(
                f"SITE_SHIFTS: {part.strip()!r} is no shift; names and starts like D=08:00,N=20:00 are needed"
            )
        starts.append((match[1], time(int(match[2]), int(match[3]))))
    if len({name for name, _ in starts}) < len(starts) or len({start for _, start in starts}) < len(starts):
        raise SetupError(f"SITE_SHIFTS: {shifts!r} names a shift or a start twice")
    return ShiftCalendar(known, tuple(sorted(starts, key=lambda shift: shift[1])))
