"""Histories of units, written by hand from the rules of the line, and what has to become of each.

How to read them: ``tests/support/histories.py``.
"""

from dataclasses import dataclass

import pytest

from contracts.record import DataLevel
from contracts.route import fold_unit
from contracts.route_model import MAX_EXCEPTIONS, MAX_RECORDS, ExceptionCode, RouteLimits, UnitState, UnitStatus
from tests.support.histories import SERIAL, correction, history, minute, record, unit_after


@dataclass(frozen=True)
class Expected:
    """What has to come of a history; ``passed`` are the processes whose pass counts."""

    status: UnitStatus
    passed: str = ""
    reworks: int = 0
    final: bool = False
    exceptions: tuple[ExceptionCode, ...] = ()
    holds: int = 0


CREATED, IN_PROGRESS, PASSED, FAILED = UnitStatus
E = ExceptionCode
ALL = "1P 2P 3P 4P 5P 6P 7P 8P"
REFUSED_ORDER = (E.PREVIOUS_PROCESS_NOT_COMPLETED,)

HISTORIES: dict[str, Expected] = {
    # in order
    "": Expected(CREATED),
    "1P": Expected(IN_PROGRESS, "1"),
    "1P 2P 3P 4P 5P 6P 7P": Expected(IN_PROGRESS, "1234567"),
    ALL: Expected(PASSED, "12345678"),
    # what the station could not judge is no attempt
    "1E": Expected(IN_PROGRESS),
    "1P 2P 3E 3E 3A 3E 3P": Expected(IN_PROGRESS, "123"),
    # what people say of the status
    "DI": Expected(IN_PROGRESS),
    "1P DI": Expected(IN_PROGRESS, "1"),
    "DP": Expected(PASSED, exceptions=(E.PASSED_BY_DECISION,)),
    "1P 2P 3F DP": Expected(PASSED, "12", exceptions=(E.PASSED_BY_DECISION,)),
    "1P DF": Expected(FAILED, "1"),
    "1P 2P DF R2 2P": Expected(IN_PROGRESS, "12", 1),
    "1P DF DP": Expected(FAILED, "1", exceptions=(E.STATUS_MOVE_NOT_ALLOWED,)),
    "1P DP DI": Expected(PASSED, "1", exceptions=(E.PASSED_BY_DECISION, E.STATUS_MOVE_NOT_ALLOWED)),
    "1P DP DF": Expected(PASSED, "1", exceptions=(E.PASSED_BY_DECISION, E.STATUS_MOVE_NOT_ALLOWED), holds=1),
    "1P DP 2P": Expected(PASSED, "1", exceptions=(E.PASSED_BY_DECISION, E.SECOND_PASS)),
    "1P DP 2F": Expected(PASSED, "1", exceptions=(E.FAIL_AFTER_PASS, E.PASSED_BY_DECISION), holds=1),
    "1P DP 2F R2 2P": Expected(IN_PROGRESS, "12", 1, exceptions=(E.FAIL_AFTER_PASS, E.PASSED_BY_DECISION), holds=1),
    "1P 2P R2 R2 R2 DF": Expected(FAILED, "1", 3, True),
    # entered before any work, and taken away again
    "N": Expected(CREATED),
    "N X": Expected(CREATED),
    "N X 1P": Expected(IN_PROGRESS, "1", exceptions=(E.WORK_AFTER_DELETED,)),
    "N X N 1P": Expected(IN_PROGRESS, "1"),
    # out of order
    "2P": Expected(IN_PROGRESS, "2", exceptions=REFUSED_ORDER),
    "1P 3P": Expected(IN_PROGRESS, "13", exceptions=REFUSED_ORDER),
    "1P 3F": Expected(IN_PROGRESS, "1", exceptions=REFUSED_ORDER),
    "1P 2P 3P 5P 6P 7P 8P": Expected(IN_PROGRESS, "1235678", exceptions=REFUSED_ORDER * 2),
    "1P 2P 3P 5P 4P 6P 7P 8P": Expected(IN_PROGRESS, "12345678", exceptions=REFUSED_ORDER),
    "1P O3 3P": Expected(IN_PROGRESS, "13", exceptions=REFUSED_ORDER),
    "1P O3 3P 2P 4P 5P 6P 7P 8P": Expected(PASSED, "12345678", exceptions=REFUSED_ORDER),
    "1P 3P O3 2P 4P 5P 6P 7P 8P": Expected(IN_PROGRESS, "12345678", exceptions=REFUSED_ORDER),
    # retests: 2 at most processes, 1 at process 6
    "1P 2P 3F": Expected(IN_PROGRESS, "12"),
    "1P 2P 3F 3F": Expected(IN_PROGRESS, "12"),
    "1P 2P 3F 3F 3P": Expected(IN_PROGRESS, "123"),
    "1P 2P 3F 3F 3F": Expected(FAILED, "12"),
    "1P 2P 3F 3F 3F 3P": Expected(FAILED, "12", exceptions=(E.RETEST_LIMIT_REACHED,)),
    "1P 2P 3F 3F 3F 3F": Expected(FAILED, "12", exceptions=(E.RETEST_LIMIT_REACHED,)),
    "1P 2P 3P 4P 5P 6F": Expected(IN_PROGRESS, "12345"),
    "1P 2P 3P 4P 5P 6F 6P 7P 8P": Expected(PASSED, "12345678"),
    "1P 2P 3P 4P 5P 6F 6F": Expected(FAILED, "12345"),
    # process 1 is read again, never made again
    "1F 1F": Expected(IN_PROGRESS),
    "1F 1P": Expected(IN_PROGRESS, "1"),
    "1F 1F 1F": Expected(FAILED, final=True),
    "1F 1F 1F R1": Expected(FAILED, final=True, exceptions=(E.REWORK_NOT_ALLOWED,)),
    "1F 1F 1F R2": Expected(FAILED, final=True, exceptions=(E.REWORK_NOT_ALLOWED,)),
    "1P 2F R1": Expected(IN_PROGRESS, "1", exceptions=(E.REWORK_NOT_ALLOWED,)),
    # a rework opens a new generation, and voids the passes from the named process on
    "1P 2P 3F 3F 3F R3": Expected(IN_PROGRESS, "12", reworks=1),
    "1P 2P 3F 3F 3F R2": Expected(IN_PROGRESS, "1", reworks=1),
    "1P 2P 3F 3F 3F R3 3P 4P 5P 6P 7P 8P": Expected(PASSED, "12345678", reworks=1),
    "1P 2P 3F 3F R3 3F 3F 3P": Expected(IN_PROGRESS, "123", reworks=1),
    "1P 2P 3P 4P 5P 6P 7P 8F 8F 8F R5": Expected(IN_PROGRESS, "1234", reworks=1),
    "1P 2P 3P 4P 5P 6P 7P 8F 8F 8F R5 5P 6P 8P": Expected(IN_PROGRESS, "1234568", reworks=1, exceptions=REFUSED_ORDER),
    "1P 2P 3F 3F 3F R4": Expected(FAILED, "12", exceptions=(E.REWORK_NOT_ALLOWED,)),
    "1P 2P 4P R4 3P 4P 5P 6P 7P 8P": Expected(PASSED, "12345678", reworks=1, exceptions=REFUSED_ORDER),
    "1P 2P 4P R5 3P 5P 6P 7P 8P": Expected(IN_PROGRESS, "12345678", reworks=1, exceptions=REFUSED_ORDER),
    # three times at most
    "1P 2F R2 2F R2 2F R2 2P": Expected(IN_PROGRESS, "12", reworks=3),
    "1P 2F R2 2F R2 2F R2 2F R2": Expected(IN_PROGRESS, "1", reworks=3, exceptions=(E.REWORK_LIMIT_REACHED,)),
    "1P 2F R2 2F R2 2F R2 2F 2F 2F": Expected(FAILED, "1", reworks=3, final=True),
    "1P 2F R2 2F R2 2F R2 2F 2F 2F R2": Expected(
        FAILED, "1", reworks=3, final=True, exceptions=(E.REWORK_LIMIT_REACHED,)
    ),
    # a station may ask for it by a record
    "1P 2P 3F 3R2": Expected(IN_PROGRESS, "1", reworks=1),
    "1P 2P 2R8": Expected(IN_PROGRESS, "12", exceptions=(E.REWORK_NOT_ALLOWED,)),  # nothing has failed
    "1P 2P 2R2": Expected(IN_PROGRESS, "12", exceptions=(E.REWORK_NOT_ALLOWED,)),
    "1P 2F 2P 2R2": Expected(IN_PROGRESS, "12", exceptions=(E.REWORK_NOT_ALLOWED,)),  # it passed when measured again
    "1P 2F 2R2 2R2": Expected(IN_PROGRESS, "1", reworks=1, exceptions=(E.REWORK_NOT_ALLOWED,)),
    "1P 2P 3F 3R4": Expected(IN_PROGRESS, "12", exceptions=(E.REWORK_NOT_ALLOWED,)),  # beyond what failed
    "1P 2P 2F 2R2": Expected(IN_PROGRESS, "1", reworks=1, exceptions=(E.FAIL_AFTER_PASS,), holds=1),
    "1P 2F 2R1": Expected(IN_PROGRESS, "1", exceptions=(E.REWORK_NOT_ALLOWED,)),
    "1P 2F 2R9": Expected(IN_PROGRESS, "1", exceptions=(E.UNKNOWN_PROCESS,)),
    # one PASS a generation; a FAIL after it contradicts it
    "1P 2P 2P": Expected(IN_PROGRESS, "12", exceptions=(E.SECOND_PASS,)),
    # one number on two units: nobody knows which of them is meant
    "1P 1P": Expected(IN_PROGRESS, "1", exceptions=(E.NUMBER_GIVEN_TWICE,), holds=1),
    "1P 2P 1P": Expected(IN_PROGRESS, "12", exceptions=(E.NUMBER_GIVEN_TWICE,), holds=1),
    "1P 2P 3F R2 1P": Expected(IN_PROGRESS, "1", 1, exceptions=(E.NUMBER_GIVEN_TWICE,), holds=1),
    f"{ALL} 8P": Expected(PASSED, "12345678", exceptions=(E.SECOND_PASS,)),
    "1P 2P 3P 3F": Expected(IN_PROGRESS, "123", exceptions=(E.FAIL_AFTER_PASS,), holds=1),
    f"{ALL} 6F": Expected(PASSED, "12345678", exceptions=(E.FAIL_AFTER_PASS,), holds=1),
    # a process that is not in the route
    "9P": Expected(CREATED, exceptions=(E.UNKNOWN_PROCESS,)),
    # a label for what failed is no pass of the label's process
    "1P 2P 3F 3F 3F 7L": Expected(FAILED, "12"),
    "1P 2P 3F 7L": Expected(IN_PROGRESS, "12"),
    "1P 2P 3P 4P 5P 6P 7L": Expected(IN_PROGRESS, "123456", exceptions=(E.REJECT_LABEL_NOT_FAILED,)),
    "1P 2P 3P 4P 5P 6F 7L 6P 7F 7F 7P 8P": Expected(PASSED, "12345678"),  # and no attempt at it
    "1P S 7L": Expected(FAILED, "1", final=True),
    # a disposition
    "1P S": Expected(FAILED, "1", final=True),
    "1P S 2P": Expected(FAILED, "12", final=True, exceptions=(E.WORK_AFTER_SCRAPPED,)),
    "1P S R2": Expected(FAILED, "1", final=True, exceptions=(E.REWORK_NOT_ALLOWED,)),
    # permits given without central: the wrong ones are told, and move nothing
    "1Q 1P 2Q 2P": Expected(IN_PROGRESS, "12"),
    "1P 2P 3Q": Expected(IN_PROGRESS, "12"),
    "3Q": Expected(CREATED, exceptions=(E.OFFLINE_PERMIT_WRONG,)),
    "1P 3Q 3P": Expected(IN_PROGRESS, "13", exceptions=(E.OFFLINE_PERMIT_WRONG, *REFUSED_ORDER)),
    "1P 3Q 2P 3P": Expected(IN_PROGRESS, "123", exceptions=(E.OFFLINE_PERMIT_WRONG,)),
    "1P O3 3Q 3P": Expected(IN_PROGRESS, "13", exceptions=REFUSED_ORDER),
    "1P 2P 2Q": Expected(IN_PROGRESS, "12", exceptions=(E.OFFLINE_PERMIT_WRONG,)),
    "1P 2P 3F 3Q 3F 3Q 3F 3Q": Expected(FAILED, "12", exceptions=(E.OFFLINE_PERMIT_WRONG,)),
    "1P 2P 3F 3F 3F 7Q 7L": Expected(FAILED, "12"),
    "1P H 2Q": Expected(IN_PROGRESS, "1", exceptions=(E.OFFLINE_PERMIT_WRONG,), holds=1),
    "1P H h 2Q": Expected(IN_PROGRESS, "1"),
    "1P S 2Q": Expected(FAILED, "1", final=True, exceptions=(E.OFFLINE_PERMIT_WRONG,)),
    f"{ALL} 8Q": Expected(PASSED, "12345678", exceptions=(E.OFFLINE_PERMIT_WRONG,)),
    "1P 9Q": Expected(IN_PROGRESS, "1", exceptions=(E.OFFLINE_PERMIT_WRONG,)),
    # holds
    "1P H": Expected(IN_PROGRESS, "1", holds=1),
    "1P H h": Expected(IN_PROGRESS, "1"),
    "1P H 2P": Expected(IN_PROGRESS, "12", holds=1),
}


@pytest.mark.parametrize("text", HISTORIES)
def test_a_history_has_its_end(text: str) -> None:
    expected, unit = HISTORIES[text], unit_after(text)
    assert unit.status is expected.status
    assert "".join(map(str, unit.passed)) == expected.passed
    assert (unit.rework_count, unit.generation) == (expected.reworks, expected.reworks)
    assert unit.final is expected.final
    assert sorted(exception.code for exception in unit.exceptions) == sorted(expected.exceptions)
    assert len(unit.holds) == expected.holds
    assert unit.on_hold is bool(expected.holds)
    assert (unit.failure_reason is not None) is (expected.status is FAILED)
    assert (unit.completed_at is not None) is (expected.status in (PASSED, FAILED))


def test_a_failed_unit_says_by_what() -> None:
    assert unit_after("1P 2P 3F 3F 3F").failure_reason == "SOME_FAIL"
    assert unit_after("1P S").failure_reason == "scrapped"


def test_an_open_failure_says_how_often_it_may_be_measured_again() -> None:
    left = [
        [(failure.process_number, failure.retests_left) for failure in unit_after(text).open_failures]
        for text in ("1P 2P 3F", "1P 2P 3F 3F", "1P 2P 3F 3F 3F", "1P 2P 3F 3F 3F 3F", "1P 2P 3F 3P")
    ]
    assert left == [[(3, 2)], [(3, 1)], [(3, 0)], [(3, 0)], []]


def test_attempts_are_numbered_in_their_generation() -> None:
    attempts = unit_after("1P 2F 2E 2F R2 2P").attempts
    assert [(a.process_number, a.generation, a.number) for a in attempts] == [
        (1, 0, 1),
        (2, 0, 1),
        (2, 0, 1),  # could not be judged: no attempt of its own
        (2, 0, 2),
        (2, 1, 1),
    ]


def test_a_site_sets_its_own_limits() -> None:
    own = RouteLimits(max_reworks=1, station_rework=False)
    assert unit_after("1P 2F R2 2F R2", own).rework_count == 1
    refused = unit_after("1P 2F 2R2", own)
    assert refused.rework_count == 0
    assert [exception.code for exception in refused.exceptions] == [E.REWORK_NOT_ALLOWED]


# -- which came first ------------------------------------------------------------------------------------------------


def test_permits_say_the_order_whatever_the_clocks_say() -> None:
    """The FAIL of the first permit came before the PASS of the second, by a clock that is an hour ahead."""
    records, decisions = history("1P 2P")
    records.append(record("3F", 99, permit=11))
    records.append(record("3P", 5, permit=12, station="P03-B", stream_id="b" * 32))
    unit = fold_unit(SERIAL, records, decisions)
    assert set(unit.passed) == {1, 2, 3}
    assert not unit.exceptions


def test_without_permits_the_corrected_time_says_the_order() -> None:
    records, decisions = history("1P 2P")
    records.append(record("3P", 8, station="P03-B", stream_id="b" * 32))
    records.append(record("3F", 9))
    assert [e.code for e in fold_unit(SERIAL, records, decisions).exceptions] == [E.FAIL_AFTER_PASS]


@pytest.mark.parametrize("permits", [(None, None), (11, None), (None, 12), (11, 11)])
def test_two_stations_that_cannot_be_ordered_put_the_unit_on_hold(permits: tuple[int | None, int | None]) -> None:
    records, decisions = history("1P 2P")
    records.append(record("3F", 9, permit=permits[0]))
    records.append(record("3P", 9, permit=permits[1], station="P03-B", stream_id="b" * 32))
    unit = fold_unit(SERIAL, records, decisions)
    assert E.TWO_STATIONS_AT_ONCE in [exception.code for exception in unit.exceptions]
    assert unit.on_hold


SECONDS = 1 / 60


@pytest.mark.parametrize(
    ("apart_s", "within", "ordered"),
    [
        (0.000001, (0.1, 0.1), False),
        (2.1, (0.1, 0.1), False),
        (2.3, (0.1, 0.1), True),  # carried over and measured again: longer than that, however near the stations are
        (60, (0.1, 0.1), True),
        (60, (40.0, 20.0), False),  # days without central, and the clocks ran apart
        (600, (0.1, None), False),  # a clock that was never measured says nothing
        (600, (None, None), False),
    ],
)
def test_two_stations_clocks_are_believed_as_far_as_they_are_known(
    apart_s: float, within: tuple[float | None, float | None], ordered: bool
) -> None:
    """The PASS came second by the clocks; where that is not certain the unit does not go on."""
    records, decisions = history("1P 2P")
    records.append(record("3F", 9, completed_within_s=within[0]))
    later = {"completed_at": minute(9 + apart_s * SECONDS), "completed_within_s": within[1]}
    records.append(record("3P", 9, station="P03-B", stream_id="b" * 32, **later))
    unit = fold_unit(SERIAL, records[::-1], decisions)
    assert unit.on_hold is not ordered
    assert (E.TWO_STATIONS_AT_ONCE in [exception.code for exception in unit.exceptions]) is not ordered


def test_a_result_in_between_hides_no_doubt() -> None:
    """A's FAIL and B's PASS are the doubt, whatever A measured between them."""
    records, decisions = history("1P 2P")
    records += [record("3F", 9), record("3P", 9, seq=11, completed_at=minute(9 + SECONDS))]
    records.append(record("3P", 9, station="P03-B", stream_id="b" * 32, completed_at=minute(9 + 1.5 * SECONDS)))
    assert fold_unit(SERIAL, records, decisions).on_hold


def test_one_station_at_one_moment_is_ordered_by_its_stream() -> None:
    records, decisions = history("1P 2P")
    records += [record("3F", 9), record("3P", 9, seq=11)]
    unit = fold_unit(SERIAL, records, decisions)
    assert set(unit.passed) == {1, 2, 3}
    assert not unit.on_hold


# -- what is no unit -------------------------------------------------------------------------------------------------


def test_a_unit_of_too_many_records_is_held_and_its_later_records_move_nothing() -> None:
    """A code reader's word for "nothing read" collects them without end."""
    many = [record("1F", 0, seq=number, completed_at=minute(number)) for number in range(1, MAX_RECORDS + 3)]
    unit = fold_unit(SERIAL, many[::-1], [])
    assert unit == fold_unit(SERIAL, many[: MAX_RECORDS + 1], []), "what comes later costs nothing more"
    assert [hold.code for hold in unit.holds] == [E.TOO_MANY_RECORDS]
    assert len(unit.attempts) == MAX_RECORDS
    assert len(unit.exceptions) == MAX_EXCEPTIONS
    assert {E.TOO_MANY_RECORDS, E.MORE_EXCEPTIONS} <= {exception.code for exception in unit.exceptions}
    assert not fold_unit(SERIAL, many[:MAX_RECORDS], []).on_hold


# -- what a unit is --------------------------------------------------------------------------------------------------


def test_a_serial_number_made_of_its_lot_belongs_there_whatever_records_say() -> None:
    lot = "WF-KR-241118D-001"
    records = [record("1P", 0, lot_number=lot), record("2P", 1, lot_number="WF-KR-241118N-002")]
    unit = fold_unit(f"{lot}-0007", records, [])
    assert (unit.lot_number, unit.sequence_in_lot) == (lot, 7)
    assert [e.code for e in unit.exceptions] == [E.LOT_MISMATCH]


def test_else_the_first_record_that_names_one_says_the_lot_and_the_model() -> None:
    named = {"lot_number": "WF-KR-241118D-001", "product_model": "WR-1"}
    records = [record("1P", 0), record("2P", 1, **named), record("3P", 2, product_model="WR-2")]
    unit = fold_unit(SERIAL, records, [])
    assert (unit.lot_number, unit.sequence_in_lot, unit.product_model) == ("WF-KR-241118D-001", None, "WR-1")
    assert [e.code for e in unit.exceptions] == [E.PRODUCT_MODEL_MISMATCH]


def test_a_lot_record_moves_no_serial() -> None:
    unit = fold_unit(SERIAL, [record("1P", 0, data_level=DataLevel.LOT)], [])
    assert unit == UnitState(serial_number=SERIAL)


def test_what_counts_is_the_last_correction_and_the_record_stays_where_it_was() -> None:
    records, decisions = history("1P 2P 3F")
    made = [
        correction(records[2], "ERROR", 10, 90),
        correction(records[2], "PASS", 11, 91),
    ]
    unit = fold_unit(SERIAL, records, [*decisions, *made])
    assert unit.passed == {one.process_number: one.key for one in records}
    assert unit.open_failures == ()
    assert len(unit.attempts) == 3


def test_a_record_taken_away_is_no_attempt_and_nothing_brings_it_back() -> None:
    records, decisions = history("1P 2P 3P")
    made = [correction(records[2], None, 10, 90), correction(records[2], "PASS", 11, 91)]
    unit = fold_unit(SERIAL, records, [*decisions, *made])
    assert sorted(unit.passed) == [1, 2]
    assert len(unit.attempts) == 2


def test_a_unit_that_was_entered_belongs_where_it_was_entered_last() -> None:
    records, decisions = history("N")
    unit = fold_unit(SERIAL, [record("1P", 3, lot_number="WF-KR-241118D-001")], decisions)
    assert (unit.lot_number, unit.sequence_in_lot) == ("WF-KR-241118N-001", 7)
    assert [one.code for one in unit.exceptions] == [E.LOT_MISMATCH]
    assert records == []
    taken_away = unit_after("N X")
    assert taken_away.deleted_at == minute(1)
    assert unit_after("N X N").deleted_at is None
