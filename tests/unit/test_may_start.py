"""A permit is refused for exactly one named cause, or given: the table of causes."""

from dataclasses import replace

import pytest

from contracts.route import RefusalCode, may_start
from contracts.route_model import Hold, LotState, LotStatus, RouteLimits, UnitState
from tests.support.histories import unit_after

OPEN = LotState(lot_number="WF-KR-241118D-001", created=True, status=LotStatus.IN_PROGRESS, target_quantity=100)
CLOSED = replace(OPEN, status=LotStatus.CLOSED)
HELD = replace(OPEN, holds=(Hold(hold_id="h", reason="because"),))
FULL = replace(OPEN, target_quantity=2, actual_quantity=2)
ALL = "1P 2P 3P 4P 5P 6P 7P 8P"
R = RefusalCode

CASES: list[tuple[str | None, LotState | None, int, RefusalCode | None]] = [
    # history of the unit (None: not known), its LOT, the process, the refusal
    (None, OPEN, 1, None),
    ("", OPEN, 1, None),
    ("1P", OPEN, 2, None),
    ("1P 2P 3P 4P 5P 6P 7P", OPEN, 8, None),
    ("1P 2P 3F", OPEN, 3, None),
    ("1P 2P 3F 3F", OPEN, 3, None),
    ("1P 2P 3E 3E 3E", OPEN, 3, None),
    ("1P 2P 3F 3F 3F R3", OPEN, 3, None),
    ("1P 2P 3F 3F 3F R2", OPEN, 2, None),
    ("1P 2P 3F 3F 3F", OPEN, 7, None),  # a reject label
    ("1P O3", OPEN, 3, None),
    ("1P H h", OPEN, 2, None),
    ("1P", FULL, 2, None),
    ("1P", OPEN, 9, R.INVALID_PROCESS_SEQUENCE),
    (None, OPEN, 0, R.INVALID_PROCESS_SEQUENCE),
    (None, OPEN, 2, R.SERIAL_NOT_FOUND),
    ("N X", OPEN, 1, R.SERIAL_NOT_FOUND),  # taken away
    ("N X N", OPEN, 1, None),
    (None, None, 1, R.LOT_NOT_FOUND),
    ("1P", None, 2, R.LOT_NOT_FOUND),
    ("1P", CLOSED, 2, R.LOT_CLOSED),
    (None, CLOSED, 1, R.LOT_CLOSED),
    ("1P", HELD, 2, R.ON_HOLD),
    ("1P H", OPEN, 2, R.ON_HOLD),
    ("1P 2P 3P 3F", OPEN, 4, R.ON_HOLD),  # failed after it passed
    (None, FULL, 1, R.LOT_FULL),
    ("", FULL, 1, R.LOT_FULL),
    ("1P", OPEN, 1, R.PROCESS_ALREADY_PASSED),
    ("1P 2P", OPEN, 2, R.PROCESS_ALREADY_PASSED),
    (ALL, OPEN, 8, R.DUPLICATE_PASS_COMPLETE),
    (ALL, OPEN, 1, R.DUPLICATE_PASS_COMPLETE),
    ("1P", OPEN, 3, R.PREVIOUS_PROCESS_NOT_COMPLETED),
    ("1P 2F", OPEN, 3, R.PREVIOUS_PROCESS_NOT_COMPLETED),
    ("1P 2P 3P 5P 6P 7P", OPEN, 8, R.PREVIOUS_PROCESS_NOT_COMPLETED),
    ("1P 2P 3F 3F 3F R2", OPEN, 3, R.PREVIOUS_PROCESS_NOT_COMPLETED),
    ("1P O3 2P 3F R2", OPEN, 3, R.PREVIOUS_PROCESS_NOT_COMPLETED),  # the opening ended with its generation
    ("1P 2P 3F 3F 3F", OPEN, 3, R.RETEST_LIMIT_REACHED),
    ("1P 2P 3F 3F 3F", OPEN, 4, R.RETEST_LIMIT_REACHED),
    ("1P 2P 3P 4P 5P 6F 6F", OPEN, 6, R.RETEST_LIMIT_REACHED),
    ("1P 2F R2 2F R2 2F R2 2F 2F 2F", OPEN, 2, R.REWORK_LIMIT_REACHED),
    ("1F 1F 1F", OPEN, 1, R.REWORK_NOT_ALLOWED),
    ("1P S", OPEN, 2, R.REWORK_NOT_ALLOWED),
    ("1P 2F R2 2F R2 2F R2 S", OPEN, 2, R.REWORK_NOT_ALLOWED),
]


def unit_of(text: str | None) -> UnitState | None:
    return None if text is None else unit_after(text)


@pytest.mark.parametrize(("text", "lot", "process", "code"), CASES)
def test_a_permit_is_given_or_refused_for_its_cause(
    text: str | None, lot: LotState | None, process: int, code: RefusalCode | None
) -> None:
    refusal = may_start(unit_of(text), lot, process)
    assert (refusal.code if refusal else None) is code
    assert refusal is None or refusal.detail


def test_every_cause_has_its_case() -> None:
    """But those that are no matter of facts: a lease, and what a station says on its own."""
    others = {R.BUSY_ELSEWHERE, *(code for code in RefusalCode if code.is_of_station)}
    assert {code for *_, code in CASES} == {None, *RefusalCode} - others


def test_a_site_with_fewer_processes_has_another_first_and_last() -> None:
    some = RouteLimits(processes=tuple(p for p in RouteLimits().processes if p.number in (3, 5, 6)))
    assert may_start(None, OPEN, 3, some) is None
    refusal = may_start(unit_after("3P", some), OPEN, 6, some)
    assert refusal is not None
    assert refusal.code is R.PREVIOUS_PROCESS_NOT_COMPLETED
    assert may_start(unit_after("3P 5P", some), OPEN, 6, some) is None
