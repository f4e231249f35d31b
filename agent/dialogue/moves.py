"""What may become of a dialogue's state, and how a scanned text is looked at: the parts of ``steps.Dialogue``. Pure."""

from datetime import UTC, datetime, time, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

from agent.dialogue.settings import BadgeSettings, StepSettings
from agent.dialogue.state import Event, Phase, Said, State
from contracts.criteria import fits
from contracts.measurement import Scalar
from contracts.patterns import compiled
from contracts.quantity import parse_quantity

LONGEST_CODE = 200
"""Characters of a scan."""


def accepted(state: State, code: str, at: datetime, **update: Any) -> State:
    """The scan was understood."""
    return state.model_copy(update={"last_code": code, "last_code_at": at, **update})


def saying(state: State, event: Event, message: str, **about: str) -> State:
    """What the operator is told now."""
    return state.model_copy(update={"said": Said(event=event, message=message, about=about)})


def taken_back(state: State, what: str, **update: Any) -> State:
    """An answer was taken back; the record will say so."""
    return state.model_copy(update={"taken_back": (*state.taken_back, what[:LONGEST_CODE]), **update})


def done(state: State, at: datetime, aborted: str | None, message: str = "KEEPING") -> State:
    """The unit is done: a result, or given up (``aborted`` says why)."""
    done = {"phase": Phase.DONE, "number": state.number + 1, "aborted": aborted, "finished_at": at, "step": None}
    return saying(state.model_copy(update=done), Event.WAIT, message, serial_number=state.serial_number or "")


def idle(state: State, said: Said) -> State:
    """No unit is in hand any more; who works here, and the counters, stay."""
    return State(
        rules=state.rules,
        number=state.number,
        request=state.request,
        operator=state.operator,
        operator_until=state.operator_until,
        last_code=state.last_code,
        last_code_at=state.last_code_at,
        passed=state.passed,
        said=said,
    )


def stopped(state: State, said: Said) -> State:
    """The unit may be scanned again at once: that is another try, and no double read."""
    return idle(state, said).model_copy(update={"last_code": None, "last_code_at": None})


def operator_of(badge: BadgeSettings, code: str) -> str | None:
    """Who a badge is; None where this is none."""
    found = compiled(badge.pattern).fullmatch(code)
    if found is None:
        return None
    return (found.groups() or (None,))[0] or code


def shift_end(badge: BadgeSettings, at: datetime) -> datetime:
    """When the next shift begins, by the clock of its zone."""
    zone = None if badge.timezone is None else ZoneInfo(badge.timezone)
    day = at.astimezone(zone).date()
    starts = [
        datetime.combine(day + timedelta(days=days), time.fromisoformat(start), tzinfo=zone).astimezone(UTC)
        for days, start in product(range(3), badge.shifts)
    ]
    return min(start for start in starts if start > at)


def no_number(code: str, step: StepSettings) -> str | None:
    """Why this is no number in the step's unit; None where it is one."""
    quantity = parse_quantity(code)
    if quantity is None:
        return "NO_NUMBER"
    return None if quantity[1] is None or fits(quantity[1], step.unit) else "WRONG_UNIT"


def same(one: Scalar | None, other: Scalar) -> bool:
    """Whether these are one value: 1 is not true."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def printable(text: str) -> str:
    """For people: what cannot be printed is shown as U+FFFD."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)[:LONGEST_CODE]
