"""May this unit start here? Answered by central from the facts, for one station at a time, and kept."""

import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from central.settings import PermitSettings
from central.store import Arrival, Store
from central.store import product_models as models
from central.store.tables import leases, lots, processes, product_models, store_meta
from contracts.criteria import Criteria, Criterion
from contracts.facts import (
    AnyDecision,
    HoldPlaced,
    LotClosed,
    LotCreated,
    OrderOverridden,
    ReworkAuthorised,
    UnitScrapped,
)
from contracts.firmware import Firmware
from contracts.interlock import NumbersAnswer, NumbersRequest, PermitAnswer, PermitRequest, PermitReturned
from contracts.processes import BY_NUMBER
from contracts.refusals import RefusalCode
from tests.contract.test_store_laws import opened
from tests.support.stores import LOT, MORNING, NewDatabase, delivery, minutes, permit, record, rows

UNIT = "SN-261102-001"
OTHER = "SN-261102-002"
form = PermitSettings().serial_number
STATIONS = {number: f"P{number:02d}-A" for number in range(1, 9)}


def ask(store: Store, process: int, serial: str = UNIT, **changes: Any) -> PermitAnswer:
    """A station's question, and the answer."""
    values: dict[str, Any] = {
        "site": "gimcheon",
        "line": "KR01",
        "station": STATIONS.get(process, "P09-A"),
        "request_id": uuid.uuid4().hex,
        "asked_at": datetime.now(UTC),
        "process": BY_NUMBER[process].code if process in BY_NUMBER else "P09_NOWHERE",
        "machine": "tester",
        "serial_number": serial,
    }
    return store.answer_permit(PermitRequest(**{**values, **changes}))


def numbers(store: Store, count: int, station: str = "P01-A", **changes: Any) -> NumbersAnswer:
    """A marking station's question for numbers, and the answer."""
    values: dict[str, Any] = {
        "site": "gimcheon",
        "line": "KR01",
        "station": station,
        "request_id": uuid.uuid4().hex,
        "asked_at": datetime.now(UTC),
        "lot_number": LOT,
        "count": count,
    }
    return store.reserve_numbers(NumbersRequest(**{**values, **changes}), form)


class Line:
    """Writes a history as stations do: ``line.went("1P 2P 3F")``."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._seqs: dict[str, int] = {}
        self._minute = 0

    def went(self, text: str, serial: str = UNIT, lot: str = LOT) -> None:
        for step in text.split():
            self._minute += 1
            if not step[0].isdigit():
                self.decide(_decision(step, serial, self._minute))
                continue
            number, station = int(step[0]), STATIONS[int(step[0])]
            seq = self._seqs[station] = self._seqs.get(station, 0) + 1
            one = record(
                station=station,
                process=BY_NUMBER[number].code,
                serial_number=serial,
                lot_number=lot,
                product_model="WR-1",
                outcome={"P": "PASS", "F": "FAIL"}[step[1]],
                completed_at=minutes(self._minute),
            )
            self.store.ingest([delivery([(seq, one)], stream_id=f"{number:032x}", station=station)])

    def decide(self, decision: AnyDecision) -> None:
        self.store.add_decision(decision)


def _decision(step: str, serial: str, minute: int) -> AnyDecision:
    who: dict[str, Any] = {"author": "kim", "decided_at": minutes(minute), "reason": "because"}
    if step == "S":
        return UnitScrapped(serial_number=serial, **who)
    if step == "H":
        return HoldPlaced(serial_number=serial, hold_id="h", **who)
    if step == "C":
        return LotClosed(lot_number=LOT, **who)
    code = BY_NUMBER[int(step[1])].code
    if step[0] == "R":
        return ReworkAuthorised(serial_number=serial, return_to=code, **who)
    return OrderOverridden(serial_number=serial, process=code, **who)


def lot_of(store: Store, number: str = LOT, target: int = 100) -> None:
    store.add_decision(
        LotCreated(author="kim", decided_at=MORNING, reason="r", lot_number=number, target_quantity=target)
    )


@pytest.fixture
def line(store: Store) -> Line:
    lot_of(store)
    return Line(store)


ALL = "1P 2P 3P 4P 5P 6P 7P 8P"
R = RefusalCode
REFUSALS = {
    ("1P", 3): R.PREVIOUS_PROCESS_NOT_COMPLETED,
    ("1P", 1): R.PROCESS_ALREADY_PASSED,
    (ALL, 8): R.DUPLICATE_PASS_COMPLETE,
    ("1P 2P 3F 3F 3F", 3): R.RETEST_LIMIT_REACHED,
    ("1P 2F R2 2F R2 2F R2 2F 2F 2F", 2): R.REWORK_LIMIT_REACHED,
    ("1P S", 2): R.REWORK_NOT_ALLOWED,
    ("1P H", 2): R.ON_HOLD,
    ("1P C", 2): R.LOT_CLOSED,
    ("1P", 9): R.INVALID_PROCESS_SEQUENCE,
    ("", 2): R.SERIAL_NOT_FOUND,
}


@pytest.mark.parametrize(("history", "process"), REFUSALS)
def test_a_refusal_names_its_cause(line: Line, history: str, process: int) -> None:
    line.went(history)
    answer = ask(line.store, process)
    assert (answer.granted, answer.refusal) == (False, REFUSALS[history, process])
    assert answer.detail
    assert rows(line.store, "leases") == []


def test_the_causes_that_lie_in_the_lot(line: Line) -> None:
    store = line.store
    assert ask(store, 1, f"{LOT[:-3]}009-0001").refusal is R.LOT_NOT_FOUND
    assert ask(store, 1, "SN-UNBORN").refusal is R.LOT_NOT_FOUND
    line.went("1P", "SN-STRAY", "WF-KR-261102D-004")  # a LOT that a record names, and nobody has opened
    assert ask(store, 2, "SN-STRAY").refusal is R.LOT_NOT_FOUND
    lot_of(store, "WF-KR-261102D-002", target=1)
    line.went("1P", OTHER, "WF-KR-261102D-002")
    assert ask(store, 1, "WF-KR-261102D-002-0002").refusal is R.LOT_FULL
    assert ask(store, 2, OTHER).granted


def test_a_unit_is_refused_where_the_machine_names_another_lot(line: Line) -> None:
    other = "WF-KR-261102D-002"
    lot_of(line.store, other)
    line.went("1P")
    answer = ask(line.store, 2, lot_number=other)
    assert (answer.refusal, answer.detail) == (
        R.SERIAL_NOT_FOUND,
        f"the unit belongs to {LOT}, the request names {other}",
    )
    assert ask(line.store, 1, f"{LOT}-0007", lot_number=other).refusal is R.SERIAL_NOT_FOUND, "its number says it"
    assert ask(line.store, 2, lot_number=LOT).granted


def test_a_process_that_is_switched_off_is_not_in_the_route(line: Line) -> None:
    line.went("1P")
    with line.store.database.writing() as connection:
        connection.execute(sa.update(processes).where(processes.c.process_number == 2).values(is_active=False))
    assert ask(line.store, 2).refusal is R.INVALID_PROCESS_SEQUENCE


def test_a_permit_says_what_the_machine_has_to_know(line: Line) -> None:
    line.went("1P 2P 3F")
    with line.store.database.writing() as connection:
        wanted = {"firmware": {"version": "v1.2.3", "checksum": "9f86d081"}}
        connection.execute(sa.update(product_models).values(specifications=wanted))
    answer = ask(line.store, 3)
    assert (answer.granted, answer.attempt, answer.product_model, answer.lot_number) == (True, 2, "WR-1", LOT)
    assert (answer.firmware, answer.firmware_checksum, answer.reject_label) == ("v1.2.3", "9f86d081", False)
    assert answer.criteria_revision is None
    three = Criteria(process=BY_NUMBER[3].code, criteria={"temperature": Criterion(lower=1, unit="degC")})
    line.store.criteria.add(three, "kim", "first")
    line.store.criteria.add(three, "kim", "later", datetime.now(UTC) + timedelta(hours=1))
    assert ask(line.store, 3).criteria_revision == "1", "the second one has not begun"
    line.went("3F 3F")
    assert ask(line.store, 7).reject_label


def test_an_override_of_a_manager_lets_a_unit_start(line: Line) -> None:
    line.went("1P")
    assert ask(line.store, 3).refusal is R.PREVIOUS_PROCESS_NOT_COMPLETED
    line.went("O3")
    assert ask(line.store, 3).granted


# -- leases ----------------------------------------------------------------------------------------------------------


def test_one_station_at_a_time_until_the_result_comes(line: Line) -> None:
    line.went("1P 2P")
    first = ask(line.store, 3)
    assert ask(line.store, 3, station="P03-B").refusal is R.BUSY_ELSEWHERE
    again = ask(line.store, 3)
    assert again.granted, "the station itself may ask again: its machine may have lost the answer"
    assert again.permit > first.permit
    line.store.ingest(
        [delivery([(7, record(outcome="FAIL", completed_at=minutes(50), permit=again.permit))], stream_id="3" * 32)]
    )
    assert ask(line.store, 3, station="P03-B").granted


def test_a_late_result_of_an_earlier_permit_ends_no_later_lease(line: Line) -> None:
    line.went("1P 2P")
    first, again = ask(line.store, 3), ask(line.store, 3)
    late = record(outcome="FAIL", completed_at=minutes(50), permit=first.permit)
    line.store.ingest([delivery([(7, late)], stream_id="3" * 32)])
    assert ask(line.store, 3, station="P03-B").refusal is R.BUSY_ELSEWHERE
    without = record(outcome="FAIL", completed_at=minutes(51))
    line.store.ingest([delivery([(8, without)], stream_id="3" * 32)])
    assert ask(line.store, 3, station="P03-B").granted
    assert again.granted


def test_a_lease_ends_when_it_is_given_back_or_its_time_is_over(line: Line) -> None:
    line.went("1P 2P")
    given = ask(line.store, 3)
    back = PermitReturned(
        site="gimcheon",
        line="KR01",
        station="P03-A",
        request_id="f" * 32,
        asked_at=MORNING,
        serial_number=UNIT,
        permit=given.permit,
    )
    assert not line.store.return_permit(back.model_copy(update={"permit": given.permit - 1}))
    assert line.store.return_permit(back)
    assert not line.store.return_permit(back)
    assert ask(line.store, 3, station="P03-B").granted
    its_time_is_over(line.store)
    assert ask(line.store, 3).granted


def its_time_is_over(store: Store) -> None:
    with store.database.writing() as connection:
        connection.execute(sa.update(leases).values(expires_at=datetime.now(UTC)))


def offline(seq: int, *, ago_s: float = 1.0, station: str = "P03-A", **changes: Any) -> Arrival:
    """A station let the unit start without central, so long ago."""
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    given = permit(station=station, serial_number=UNIT, asked_at=at, answered_at=at, **changes)
    return delivery([(seq, given)], stream_id=("a" if station == "P03-A" else "b") * 32, station=station)


def finished(seq: int) -> Arrival:
    made = record(station="P03-A", serial_number=UNIT, outcome="FAIL", completed_at=datetime.now(UTC))
    return delivery([(seq, made)], stream_id="a" * 32, station="P03-A")


def test_a_permit_given_without_central_keeps_the_unit_for_its_station(line: Line) -> None:
    line.went("1P 2P")
    line.store.ingest([offline(1)])
    assert ask(line.store, 3, station="P03-B").refusal is R.BUSY_ELSEWHERE
    assert ask(line.store, 3).granted, "the station itself may ask again"
    line.store.ingest([finished(2)])
    assert ask(line.store, 3, station="P03-B").granted


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_permit_whose_result_is_there_keeps_nothing(line: Line, order: list[int]) -> None:
    """Also where the result came first: what is new goes before a backlog."""
    line.went("1P 2P")
    arrivals = [offline(1), finished(2)]
    for place in order:
        line.store.ingest([arrivals[place]])
    assert ask(line.store, 3, station="P03-B").granted


@pytest.mark.parametrize(
    "given",
    [
        {"ago_s": 3600.0},
        {"ago_s": 1.0, "granted": False, "refusal": "ON_HOLD"},
        {"ago_s": 1.0, "part": "GOLDEN_SAMPLE"},
        {"ago_s": 1.0, "decided_by": "CENTRAL"},  # it has its lease, or gave it back
        {"ago_s": 1.0, "clock_offset_seconds": 3600.0},  # by a clock that is an hour ahead: it was an hour ago
    ],
)
def test_what_is_over_or_was_no_permit_keeps_nothing(line: Line, given: dict[str, Any]) -> None:
    line.went("1P 2P")
    line.store.ingest([offline(1, **given)])
    assert ask(line.store, 3, station="P03-B").granted


def test_a_unit_that_another_station_has_stays_there(line: Line) -> None:
    line.went("1P 2P")
    assert ask(line.store, 3, station="P03-B").granted
    line.store.ingest([offline(1)])
    assert ask(line.store, 3).refusal is R.BUSY_ELSEWHERE
    its_time_is_over(line.store)
    assert ask(line.store, 3).granted


def test_the_site_says_how_long_a_lease_is(new_database: NewDatabase) -> None:
    store = Store(new_database(), lease_s=90.0)
    store.migrate()
    try:
        lot_of(store)
        Line(store).went("1P 2P")
        store.ingest([offline(1, ago_s=60.0)])
        assert ask(store, 3, station="P03-B").refusal is R.BUSY_ELSEWHERE
        assert ask(store, 3).lease_seconds == 90.0
    finally:
        store.close()


def test_a_lease_is_as_long_as_the_process_takes(line: Line) -> None:
    line.went("1P")
    assert ask(line.store, 2).lease_seconds == 7200  # an hour by hand, twice
    line.went("2P")
    assert ask(line.store, 3).lease_seconds == 600


def test_two_stations_that_ask_at_once_get_one_permit(new_database: NewDatabase) -> None:
    url = new_database()
    with opened(url) as store:
        lot_of(store)
        Line(store).went("1P 2P")
        for _ in range(5):
            begin = threading.Barrier(2)
            granted: list[str] = []

            def one(station: str, begin: threading.Barrier = begin, granted: list[str] = granted) -> None:
                with opened(url) as own:
                    begin.wait()
                    if ask(own, 3, station=station).granted:
                        granted.append(station)

            threads = [threading.Thread(target=one, args=(name,)) for name in ("P03-A", "P03-B")]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(granted) == 1
            with store.database.writing() as connection:
                connection.execute(sa.delete(leases))


def test_a_question_that_comes_over_both_ways_at_once_has_one_answer(new_database: NewDatabase) -> None:
    url = new_database()
    with opened(url) as store:
        lot_of(store)
        Line(store).went("1P 2P")
        for turn in range(5):
            begin = threading.Barrier(2)
            answers: list[PermitAnswer] = []

            def one(request_id: str, begin: threading.Barrier = begin, answers: list[PermitAnswer] = answers) -> None:
                with opened(url) as own:
                    begin.wait()
                    answers.append(ask(own, 3, request_id=request_id))

            threads = [threading.Thread(target=one, args=(f"{turn:032x}",)) for _ in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(answers) == 2
            assert answers[0] == answers[1]
        assert len(rows(store, "permits")) == 5


# -- answers are kept ------------------------------------------------------------------------------------------------


def test_a_question_said_again_gets_the_same_answer(line: Line) -> None:
    line.went("1P")
    first = ask(line.store, 2, request_id="a" * 32)
    line.went("2P")
    assert ask(line.store, 2, request_id="a" * 32) == first
    refused = ask(line.store, 2, request_id="b" * 32)
    assert not refused.granted
    kept = rows(line.store, "permits")
    assert [row["refusal"] for row in kept] == [None, "PROCESS_ALREADY_PASSED"]
    assert PermitAnswer.model_validate_json(kept[0]["answer"]) == first


def test_permit_numbers_rise_whatever_the_clock_does(line: Line) -> None:
    line.went("1P")
    first = ask(line.store, 2).permit
    ahead = first + 10**9
    with line.store.database.writing() as connection:
        mine = store_meta.c.key == "permit_number"
        connection.execute(sa.update(store_meta).where(mine).values(value=str(ahead)))
    assert ask(line.store, 2).permit == ahead + 1
    assert first == pytest.approx(datetime.now(UTC).timestamp() * 1000, rel=1e-3)


# -- numbers ---------------------------------------------------------------------------------------------------------


def test_a_number_is_reserved_once(line: Line) -> None:
    first, second = numbers(line.store, 3), numbers(line.store, 2, station="P01-B")
    assert first.numbers == (f"{LOT}-0001", f"{LOT}-0002", f"{LOT}-0003")
    assert second.numbers == (f"{LOT}-0004", f"{LOT}-0005")
    repeated = numbers(line.store, 5, request_id="a" * 32)
    assert numbers(line.store, 5, request_id="a" * 32) == repeated
    assert numbers(line.store, 1).numbers == (f"{LOT}-0011",)


def test_a_number_that_a_unit_bears_already_is_not_reserved(line: Line) -> None:
    """Marked by hand, or reserved before this database was restored from a backup."""
    line.went("1P", f"{LOT}-0002")
    assert numbers(line.store, 2).numbers == (f"{LOT}-0001", f"{LOT}-0003")
    assert numbers(line.store, 1).numbers == (f"{LOT}-0004",)


def test_no_more_numbers_are_reserved_at_once_than_the_lot_lacks_units(store: Store) -> None:
    lot_of(store, target=3)
    line = Line(store)
    assert len(numbers(store, 50).numbers) == 3
    line.went("1P", f"{LOT}-0001")
    assert len(numbers(store, 50).numbers) == 2, "those of before may have come to nothing"
    line.went("1P", f"{LOT}-0002")
    line.went("1P", f"{LOT}-0003")
    assert numbers(store, 50).refusal is R.LOT_FULL


def test_numbers_of_a_lot_that_must_not_be_worked_on_are_refused(line: Line) -> None:
    assert numbers(line.store, 1, lot_number="WF-KR-261102D-009").refusal is R.LOT_NOT_FOUND
    line.decide(HoldPlaced(author="kim", decided_at=MORNING, reason="r", hold_id="h", lot_number=LOT))
    assert numbers(line.store, 1).refusal is R.ON_HOLD
    line.went("C")
    assert numbers(line.store, 1).refusal is R.LOT_CLOSED


# -- what stations are told, and what is not finished ----------------------------------------------------------------


def test_stations_are_told_of_every_change_once(line: Line) -> None:
    store = line.store
    line.went("1P 2P 3F")
    [(changed, digest)] = store.route_digests()
    assert (digest.lot_number, digest.actual_quantity, digest.units[UNIT].attempts) == (LOT, 1, {1: 1, 2: 1, 3: 1})
    line.went("H")
    store.digest_published(changed)
    [(changed, digest)] = store.route_digests()
    assert digest.units[UNIT].hold == "because"
    store.digest_published(changed)
    assert store.route_digests() == []
    store.publish_again()
    assert [one.lot_number for one, _ in store.route_digests()] == [LOT]
    line.went("C")
    [(changed, digest)] = store.route_digests()
    assert (digest.status, digest.units) == ("CLOSED", {})
    store.digest_published(changed)
    store.publish_again()
    assert store.route_digests() == []


def test_a_lot_that_nobody_has_touched_for_long_is_not_told_again(line: Line) -> None:
    [(changed, _)] = line.store.route_digests()
    line.store.digest_published(changed)
    with line.store.database.writing() as connection:
        connection.execute(sa.update(lots).values(updated_at=datetime.now(UTC) - timedelta(days=61)))
    line.store.publish_again()
    assert line.store.route_digests() == []


def test_incomplete_is_a_permit_without_a_result(line: Line) -> None:
    store = line.store
    first = permit(decided_by="CENTRAL", permit=7, asked_at=minutes(1))
    second = permit(asked_at=minutes(2))
    store.ingest([delivery([(1, first), (2, second), (3, permit(serial_number=OTHER, asked_at=minutes(3)))])])
    store.ingest([delivery([(4, permit(granted=False, refusal="ON_HOLD", asked_at=minutes(4)))])])
    found = [(one.serial_number, one.permit, one.offline) for one in store.incomplete()]
    assert found == [(UNIT, None, True), (OTHER, None, True)]
    store.ingest(
        [delivery([(5, record(completed_at=minutes(1)))])]
    )  # by its number after the permit, whatever the time
    assert [one.serial_number for one in store.incomplete("P03-A")] == [OTHER]
    assert store.incomplete("P04-A") == []


def test_stations_are_told_of_other_firmware(line: Line) -> None:
    """A change of the specifications is a change of every LOT that has units of the model."""
    store = line.store
    line.went("1P 2P")
    [(told, digest)] = store.route_digests()
    store.digest_published(told)
    assert (digest.product_model, digest.firmware) == ("WR-1", {})
    wanted = {"firmware": {"version": "v2.0.0", "checksum": "aa"}}
    with store.database.writing() as connection:
        model = models.by_code(connection, "WR-1")
        assert model is not None
        models.update(connection, model["id"], {"specifications": wanted}, datetime.now(UTC))
    [(_, digest)] = store.route_digests()
    assert digest.firmware == {"WR-1": Firmware(version="v2.0.0", checksum="aa")}
