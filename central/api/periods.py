"""Periods in a query: ``start_date`` and ``end_date``, days by the site's calendar or moments."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query

from central.api.current import CurrentService, Service
from central.api.errors import ApiError
from central.shifts import parse_moment
from contracts.errors import SetupError

_DAY = "A day (2026-11-25, its shifts by the site's clock) or a moment (2026-11-25T14:00:00Z)"
_LONGEST = 40
Start = Annotated[str, Query(description=_DAY, max_length=_LONGEST, examples=["2026-11-01"])]
End = Annotated[str, Query(description=f"{_DAY}; the day itself counts", max_length=_LONGEST, examples=["2026-11-30"])]


@dataclass(frozen=True)
class Period:
    """From ``since`` up to, not including, ``until``."""

    since: datetime
    until: datetime


def period(service: Service, start_date: str, end_date: str) -> Period:
    """What two words of a query mean. Raises ApiError (422) naming the one that means nothing."""
    found = Period(
        moment(service, "start_date", start_date, end=False), moment(service, "end_date", end_date, end=True)
    )
    if found.until < found.since:
        raise _bad("end_date", "it lies before start_date")
    return found


def moment(service: Service, name: str, text: str, *, end: bool) -> datetime:
    """What a word of a query means. Raises ApiError (422) naming it."""
    try:
        return parse_moment(text, service.calendar, end=end)
    except (SetupError, OverflowError) as error:
        raise _bad(name, str(error)) from error


def _bad(name: str, message: str) -> ApiError:
    return ApiError(422, "VALIDATION_ERROR", [{"loc": ["query", name], "msg": message, "type": "period"}])


async def _between(service: CurrentService, start_date: Start, end_date: End) -> Period:
    return period(service, start_date, end_date)


Between = Annotated[Period, Depends(_between)]
"""Both have to be given."""
