"""What becomes of a LOT, by its units and by what people decided."""

from datetime import datetime
from typing import Any

import pytest

from contracts.facts import (
    AnyDecision,
    HoldPlaced,
    HoldReleased,
    LotChanged,
    LotClosed,
    LotCreated,
    LotDeleted,
    LotShortClosed,
    LotStarted,
)
from contracts.record import DataLevel
from contracts.route import fold_lot, fold_unit
from contracts.route_model import ExceptionCode, LotState, LotStatus, UnitDecision, UnitRecord, UnitState
from tests.support.histories import CENTRAL, history, minute, record

LOT = "WF-KR-241118D-001"
PASSED = "1P 2P 3P 4P 5P 6P 7P 8P"
FAILED = "1P 2P 3F 3F 3F"
E = ExceptionCode


def unit(number: int, text: str) -> UnitState:
    return fold_unit(f"{LOT}-{number:04d}", *history(text))


def decisions(*made: tuple[type[Any], int, dict[str, Any]]) -> list[UnitDecision]:
    found = []
    for seq, (kind, at, content) in enumerate(made, start=1):
        named = content if kind is HoldReleased else {"lot_number": LOT, **content}
        decision: AnyDecision = kind(author="kim", decided_at=minute(at), reason="because", **named)
        found.append(UnitDecision(stream_id=CENTRAL, seq=seq, decision=decision))
    return found


def created(target: int = 2) -> tuple[type[Any], int, dict[str, Any]]:
    return LotCreated, 0, {"target_quantity": target, "product_model": "WR-1"}


def folded(units: list[UnitState], made: list[UnitDecision], own: tuple[UnitRecord, ...] = ()) -> LotState:
    return fold_lot(LOT, units, own, made)


def codes(lot: LotState) -> list[ExceptionCode]:
    return [exception.code for exception in lot.exceptions]


@pytest.mark.parametrize(
    ("units", "status", "counts"),
    [
        ([], LotStatus.CREATED, (0, 0, 0)),
        ([""], LotStatus.CREATED, (0, 0, 0)),
        (["1P"], LotStatus.IN_PROGRESS, (1, 0, 0)),
        ([PASSED], LotStatus.IN_PROGRESS, (1, 1, 0)),
        ([PASSED, "1P"], LotStatus.IN_PROGRESS, (2, 1, 0)),
        ([PASSED, PASSED], LotStatus.COMPLETED, (2, 2, 0)),
        ([PASSED, "1P S"], LotStatus.COMPLETED, (2, 1, 1)),
        ([PASSED, "1F 1F 1F"], LotStatus.COMPLETED, (2, 1, 1)),
        ([PASSED, FAILED], LotStatus.IN_PROGRESS, (2, 1, 0)),  # may still be reworked
    ],
)
def test_a_lot_is_as_far_as_its_units(units: list[str], status: LotStatus, counts: tuple[int, int, int]) -> None:
    lot = folded([unit(n, text) for n, text in enumerate(units, start=1)], decisions(created()))
    assert lot.status is status
    assert (lot.actual_quantity, lot.passed_quantity, lot.failed_quantity) == counts
    assert (lot.created, lot.target_quantity, lot.product_model) == (True, 2, "WR-1")
    assert not lot.exceptions


def test_a_lot_nobody_created_waits_for_it() -> None:
    lot = folded([unit(1, "1P")], [])
    assert (lot.created, lot.status, lot.target_quantity) == (False, LotStatus.IN_PROGRESS, None)


def test_a_lots_own_record_begins_it_and_counts_no_unit() -> None:
    own = (record("2P", 3, data_level=DataLevel.LOT, product_model="WR-2"),)
    lot = folded([], decisions((LotCreated, 0, {})), own)
    assert (lot.status, lot.actual_quantity, lot.product_model) == (LotStatus.IN_PROGRESS, 0, "WR-2")


def test_a_lot_closed_short_is_completed_below_its_target() -> None:
    lot = folded([unit(1, PASSED)], decisions(created(100), (LotShortClosed, 20, {})))
    assert (lot.status, lot.short_closed) == (LotStatus.COMPLETED, True)


def test_a_completed_lot_can_be_closed() -> None:
    lot = folded([unit(1, PASSED), unit(2, PASSED)], decisions(created(), (LotClosed, 20, {})))
    assert (lot.status, lot.closed_at, codes(lot)) == (LotStatus.CLOSED, minute(20), [])


def test_closed_too_early_is_told() -> None:
    lot = folded([unit(1, PASSED)], decisions(created(), (LotClosed, 20, {})))
    assert (lot.status, codes(lot)) == (LotStatus.CLOSED, [E.LOT_CLOSED_INCOMPLETE])


@pytest.mark.parametrize(("closed", "told"), [(7, []), (6, [E.WORK_AFTER_CLOSED])])
def test_work_after_closing_is_kept_and_told(closed: int, told: list[ExceptionCode]) -> None:
    """The last record is of minute 7."""
    lot = folded([unit(1, PASSED)], decisions(created(1), (LotClosed, closed, {})))
    assert (lot.status, codes(lot)) == (LotStatus.CLOSED, told)
    assert lot.passed_quantity == 1


def test_the_first_closing_counts() -> None:
    lot = folded([unit(1, PASSED)], decisions(created(1), (LotClosed, 8, {}), (LotClosed, 9, {})))
    assert lot.closed_at == minute(8)


def test_units_beyond_the_target_are_named() -> None:
    lot = folded([unit(n, "1P") for n in (3, 1, 2)], decisions(created(2)))
    assert [(e.code, e.serial_number) for e in lot.exceptions] == [(E.UNIT_BEYOND_TARGET, f"{LOT}-0003")]


def test_a_lot_holds_a_hundred_units_where_nobody_said_less() -> None:
    lot = folded([unit(n, "1P") for n in range(1, 102)], [])
    assert [(e.code, e.serial_number) for e in lot.exceptions] == [(E.UNIT_BEYOND_TARGET, f"{LOT}-0101")]


def test_a_lot_created_twice_keeps_its_first_target() -> None:
    lot = folded([], decisions(created(5), created(7)))
    assert (lot.target_quantity, codes(lot)) == (5, [E.LOT_CREATED_TWICE])


def test_a_lot_is_on_hold_until_that_hold_is_released() -> None:
    held = decisions(created(), (HoldPlaced, 1, {"hold_id": "h1"}), (HoldPlaced, 2, {"hold_id": "h2"}))
    assert folded([], held).on_hold
    one_left = decisions(
        created(),
        (HoldPlaced, 1, {"hold_id": "h1"}),
        (HoldPlaced, 2, {"hold_id": "h2"}),
        (HoldReleased, 3, {"hold_id": "h1"}),
    )
    assert [hold.hold_id for hold in folded([], one_left).holds] == ["h2"]
    none_left = [*one_left, *decisions((HoldReleased, 4, {"hold_id": "h2"}))]
    none_left[-1] = UnitDecision(stream_id=CENTRAL, seq=9, decision=none_left[-1].decision)
    assert not folded([], none_left).on_hold


def test_a_hold_of_one_unit_is_not_the_lots() -> None:
    placed = decisions(created(), (HoldPlaced, 1, {"hold_id": "h1", "serial_number": f"{LOT}-0001"}))
    assert not folded([unit(1, "1P")], placed).on_hold


def test_the_same_units_in_any_order_are_the_same_lot() -> None:
    units = [unit(n, text) for n, text in enumerate([PASSED, FAILED, "1P", "1P S"], start=1)]
    made = decisions(created(3), (LotShortClosed, 4, {}), (LotClosed, 5, {}), (HoldPlaced, 6, {"hold_id": "h"}))
    straight = folded(units, made)
    assert folded(units[::-1] + units, made[::-1] + made) == straight


def test_moments_of_the_calendar_are_not_compared_with_none() -> None:
    """A unit that has only decisions has worked at no moment."""
    scrapped = fold_unit(f"{LOT}-0001", [], history("S")[1])
    lot = folded([scrapped], decisions(created(1), (LotClosed, 9, {})))
    assert (lot.actual_quantity, lot.failed_quantity) == (0, 1)
    assert isinstance(lot.closed_at, datetime)


def test_a_lot_is_as_it_was_changed_last() -> None:
    made = decisions(
        created(2),
        (LotChanged, 1, {"target_quantity": 5}),
        (LotChanged, 2, {"product_model": "WR-2"}),
        (LotStarted, 3, {}),
    )
    lot = folded([], made)
    assert (lot.target_quantity, lot.product_model, lot.status) == (5, "WR-2", LotStatus.IN_PROGRESS)


def test_a_lot_that_was_taken_away_may_be_opened_again() -> None:
    gone = folded([], decisions(created(), (LotStarted, 1, {}), (LotDeleted, 2, {})))
    assert (gone.created, gone.deleted_at, gone.status) == (False, minute(2), LotStatus.CREATED)
    again = folded([], decisions(created(), (LotDeleted, 1, {}), (LotCreated, 2, {"target_quantity": 9})))
    assert (again.created, again.deleted_at, again.target_quantity, again.exceptions) == (True, None, 9, ())


def test_work_in_a_lot_that_was_taken_away_brings_it_back_and_is_told() -> None:
    lot = folded([unit(1, "1P")], decisions(created(), (LotDeleted, 1, {})))
    assert (lot.deleted_at, lot.status) == (None, LotStatus.IN_PROGRESS)
    assert codes(lot) == [E.WORK_AFTER_DELETED]
