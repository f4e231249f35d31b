"""The fold is a function of the set of facts (law 3), and permits and facts agree: for any history there is."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.digest import digest_of
from contracts.facts import (
    AnyDecision,
    LotChanged,
    LotClosed,
    LotCreated,
    LotDeleted,
    LotShortClosed,
    LotStarted,
    RecordCorrected,
    StatusDecided,
)
from contracts.route import fold_lot, fold_unit, may_rework, may_start
from contracts.route_model import (
    ExceptionCode,
    LotState,
    LotStatus,
    UnitDecision,
    UnitPermit,
    UnitRecord,
    UnitState,
    UnitStatus,
)
from tests.support.histories import CENTRAL, SERIAL, correction, decision, minute, permit, record

LOTS = ["WF-KR-241118D-001", "WF-KR-241118N-001"]
OPEN = LotState(lot_number=LOTS[0], created=True, status=LotStatus.IN_PROGRESS)

# Few processes, minutes and stations, so that facts contradict each other often.
steps = st.sampled_from(
    [f"{process}{letter}" for process in (1, 2, 3) for letter in "PPPFFFEA"] + ["7L", "3R2", "2R1", "9P"]
)
records = st.builds(
    lambda step, at, station, seq, permit, lot, model, within: record(
        step,
        at,
        seq=seq,
        station=station,
        stream_id={"A": "a", "B": "b"}[station] * 32,
        permit=permit,
        lot_number=lot,
        product_model=model,
        completed_within_s=within,
    ),
    steps,
    st.integers(0, 12),
    st.sampled_from("AB"),
    st.integers(1, 8),
    st.sampled_from([None, None, None, 1, 2, 3]),
    st.sampled_from([None, *LOTS]),
    st.sampled_from([None, "WR-1", "WR-2"]),
    st.sampled_from([0.1, 0.1, 90.0, None]),
)
words = ["R2", "R2", "R3", "R1", "O3", "S", "H", "h", "DP", "DF", "DI", "N", "X"]
made = st.tuples(st.sampled_from(words), st.integers(0, 12), st.integers(1, 8))
decisions = made.map(lambda one: _numbered(decision(one[0], one[1]), one[2]))
corrections = st.builds(
    correction, records, st.sampled_from(["PASS", "FAIL", "ERROR", None]), st.integers(0, 12), st.integers(9, 12)
)
facts = st.tuples(
    st.lists(records, max_size=14),
    st.tuples(st.lists(decisions, max_size=5), st.lists(corrections, max_size=2)).map(lambda both: both[0] + both[1]),
)
offline = st.lists(
    st.builds(
        lambda process, at, station, seq: permit(f"{process}Q", at, seq=seq, station=station, stream_id=station * 32),
        st.sampled_from([1, 2, 3, 9]),
        st.integers(0, 12),
        st.sampled_from("ab"),
        st.integers(9, 12),
    ),
    max_size=4,
)


def _numbered(fact: UnitDecision, seq: int) -> UnitDecision:
    return UnitDecision(stream_id=fact.stream_id, seq=seq, decision=fact.decision)


def fold(given_facts: tuple[list[UnitRecord], list[UnitDecision]]) -> UnitState:
    return fold_unit(SERIAL, *given_facts)


@given(given_facts=facts, data=st.data())
def test_any_order_and_any_repetition_gives_the_same_unit(
    given_facts: tuple[list[UnitRecord], list[UnitDecision]], data: st.DataObject
) -> None:
    """Also where two contents claim one number: the store lets none of them through, the fold does not waver."""
    again = tuple(
        data.draw(st.permutations(some + some[: data.draw(st.integers(0, len(some)))])) for some in given_facts
    )
    assert fold_unit(SERIAL, *again) == fold(given_facts)


@given(given_facts=facts, given_permits=offline, data=st.data())
def test_permits_without_central_are_told_in_any_order_and_move_nothing(
    given_facts: tuple[list[UnitRecord], list[UnitDecision]], given_permits: list[UnitPermit], data: st.DataObject
) -> None:
    with_them = fold_unit(SERIAL, *given_facts, permits=given_permits)
    again = [data.draw(st.permutations(some + some)) for some in (*given_facts, given_permits)]
    assert fold_unit(SERIAL, again[0], again[1], permits=again[2]) == with_them
    told = [one for one in with_them.exceptions if one.code is ExceptionCode.OFFLINE_PERMIT_WRONG]
    without = replace(with_them, exceptions=tuple(one for one in with_them.exceptions if one not in told))
    assert without == fold(given_facts)
    assert {one.about for one in told} <= {one.key for one in given_permits}


@given(facts, st.integers(0, 9))
def test_a_digest_decides_as_central_does(
    given_facts: tuple[list[UnitRecord], list[UnitDecision]], process: int
) -> None:
    """What a station knows of a unit offline gives the same answer, for the same cause."""
    unit = fold(given_facts)
    digest = digest_of(OPEN, [unit], "e", 1, minute(0))
    digest = type(digest).model_validate_json(digest.encoded())
    here, there = may_start(unit, OPEN, process), may_start(digest.unit(SERIAL), digest.lot(), process)
    assert (here and here.code) == (there and there.code)


@given(facts)
def test_what_holds_for_every_unit(given_facts: tuple[list[UnitRecord], list[UnitDecision]]) -> None:
    unit = fold(given_facts)
    assert unit.rework_count == unit.generation <= 3
    assert (unit.status is UnitStatus.FAILED) is (unit.failure_reason is not None)
    assert unit.final is False or unit.status is UnitStatus.FAILED
    begun = any(isinstance(fact.decision, StatusDecided) for fact in given_facts[1])
    assert unit.status is UnitStatus.CREATED or unit.attempts or unit.generation or unit.scrapped or begun
    assert unit.deleted_at is None or unit.started_at is None
    by_decision = any(one.code is ExceptionCode.PASSED_BY_DECISION for one in unit.exceptions)
    if unit.status is UnitStatus.PASSED and not by_decision:
        assert set(unit.passed) == set(range(1, 9))
        assert not unit.open_failures
        assert not any(exception.open for exception in unit.exceptions)
    assert not set(unit.passed) & {failure.process_number for failure in unit.open_failures}
    counted = {fact.key for fact in given_facts[0]}
    assert set(unit.passed.values()) <= counted
    assert {attempt.record for attempt in unit.attempts} <= counted
    for generation in range(unit.generation + 1):
        numbers: dict[int, int] = {}
        for attempt in unit.attempts:
            if attempt.generation == generation:
                assert attempt.number in (
                    numbers.get(attempt.process_number, 1),
                    numbers.get(attempt.process_number, 0) + 1,
                )
                numbers[attempt.process_number] = attempt.number


@given(facts, st.integers(1, 8))
def test_a_pass_by_permit_counts_and_is_no_exception(
    given_facts: tuple[list[UnitRecord], list[UnitDecision]], process: int
) -> None:
    """What a permit was given for is no surprise to the fold: both read the same rules."""
    before = fold(given_facts)
    if may_start(before, OPEN, process) is not None:
        return
    reject_label = before.status is UnitStatus.FAILED
    passed = record(f"{process}{'L' if reject_label else 'P'}", 99, stream_id="d" * 32, permit=99)
    after = fold((given_facts[0] + [passed], given_facts[1]))
    assert (process in after.passed) is not reject_label
    # A result of a station whose clock nobody knows may have come after this one, permit or not.
    doubt = any(one.completed_within_s is None and one.process_number == process for one in given_facts[0])
    known = {ExceptionCode.TWO_STATIONS_AT_ONCE} if doubt else set()
    known.add(ExceptionCode.WORK_AFTER_DELETED)  # a unit that was taken away is worked on: said, whatever was permitted
    new = [one for one in after.exceptions if one not in before.exceptions and one.code not in known]
    assert not [exception for exception in new if exception.open or process not in before.overridden]
    assert after.status is not UnitStatus.FAILED or reject_label


@given(facts, st.integers(1, 8))
def test_a_refused_permit_says_why(given_facts: tuple[list[UnitRecord], list[UnitDecision]], process: int) -> None:
    """And a PASS without it is never silently taken for one in order."""
    before = fold(given_facts)
    refusal = may_start(before, OPEN, process)
    if refusal is None:
        return
    assert refusal.detail
    after = fold((given_facts[0] + [record(f"{process}P", 99, stream_id="d" * 32, permit=99)], given_facts[1]))
    told = len(after.exceptions) > len(before.exceptions)
    assert told or after.on_hold or after.status is UnitStatus.FAILED


@given(facts, st.integers(1, 9))
def test_a_rework_that_may_be_authorised_opens_a_generation(
    given_facts: tuple[list[UnitRecord], list[UnitDecision]], process: int
) -> None:
    """The answer before and the fold after read the same rules."""
    before = fold(given_facts)
    if may_rework(before, process) is not None:
        return
    after = fold((given_facts[0], [*given_facts[1], _numbered(decision(f"R{process}", 99), 99)]))
    assert after.generation == before.generation + 1
    assert after.status is UnitStatus.IN_PROGRESS
    assert process not in after.passed


@given(facts)
def test_what_was_taken_away_counts_as_if_it_had_never_come(
    given_facts: tuple[list[UnitRecord], list[UnitDecision]],
) -> None:
    """Of every record with one content under its number."""
    records_once = list({one.key: one for one in given_facts[0]}.values())
    gone = [correction(one, None, 13, 20 + number) for number, one in enumerate(records_once)]
    without = fold(([], given_facts[1]))
    assert fold((records_once, given_facts[1] + gone)) == without


lot_decisions = st.lists(
    st.tuples(
        st.sampled_from([LotCreated, LotCreated, LotChanged, LotStarted, LotDeleted, LotShortClosed, LotClosed]),
        st.integers(0, 12),
        st.integers(1, 6),
    ),
    max_size=5,
).map(
    lambda all_made: [
        UnitDecision(
            stream_id=CENTRAL,
            seq=seq,
            decision=kind(lot_number=LOTS[0], author="kim", decided_at=minute(at), reason="because"),
        )
        for kind, at, seq in all_made
    ]
)


@given(units=st.lists(facts, max_size=4), own=st.lists(records, max_size=2), closing=lot_decisions, data=st.data())
def test_any_order_and_any_repetition_gives_the_same_lot(
    units: list[tuple[list[UnitRecord], list[UnitDecision]]],
    own: list[UnitRecord],
    closing: list[UnitDecision],
    data: st.DataObject,
) -> None:
    states = [fold_unit(f"SN-{number:03d}", *unit) for number, unit in enumerate(units)]
    parts: list[Any] = [data.draw(st.permutations(part + part)) for part in (states, own, closing)]
    lot = fold_lot(LOTS[0], states, own, closing)
    assert fold_lot(LOTS[0], *parts) == lot
    assert lot.passed_quantity + lot.failed_quantity <= len(states)
    assert lot.actual_quantity <= len(states)


def _moved(decision: AnyDecision, by: timedelta) -> AnyDecision:
    moved: dict[str, Any] = {"decided_at": decision.decided_at + by}
    if isinstance(decision, RecordCorrected):
        at = decision.record.completed_at + by
        moved["record"] = decision.record.model_copy(update={"completed_at": at})
    return decision.model_copy(update=moved)


@given(facts)
def test_a_clock_that_is_wrong_for_all_changes_nothing_but_the_times(
    given_facts: tuple[list[UnitRecord], list[UnitDecision]],
) -> None:
    """Only the order counts: no state depends on what time it was."""
    later = timedelta(days=400)
    moved = (
        [replace(fact, completed_at=fact.completed_at + later) for fact in given_facts[0]],
        [replace(fact, decision=_moved(fact.decision, later)) for fact in given_facts[1]],
    )
    here, there = fold(given_facts), fold(moved)
    assert (here.status, here.passed, here.holds, here.exceptions) == (
        there.status,
        there.passed,
        there.holds,
        there.exceptions,
    )
