"""What people change is checked as things stand; where many do it at once, on both databases."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa

from central.store import Author, Store, product_models
from central.store import production_lots as lots
from central.store import production_units as units
from central.store.decisions import Decisions
from central.store.refusing import NotThereError, RefusedError, RoleError
from contracts.processes import PROCESSES
from contracts.serial_form import SerialForm
from tests.support.stores import delivery, minutes, record

KIM = Author(name="kim", user_id=7, ip_address="10.1.2.3", user_agent="tablet")
DAY = date(2026, 11, 2)
FORM = SerialForm()
Made = TypeVar("Made")


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    """One database is enough for what only one does at a time."""
    opened_store = Store(f"sqlite:///{tmp_path}/people.db")
    opened_store.migrate()
    yield opened_store
    opened_store.close()


def people(store: Store, change: Callable[[Decisions], Made]) -> Made:
    with store.writing(KIM) as connection:
        return change(store.decisions(connection))


def model(store: Store, code: str = "WR-1", status: str = "ACTIVE") -> int:
    values = {"model_code": code, "model_name": code, "specifications": {}, "status": status}
    with store.writing(KIM) as connection:
        made: int = product_models.create(connection, values, datetime.now(UTC))["id"]
        return made


def opened(store: Store, model_id: int, target: int = 100) -> int:
    return people(store, lambda by: lots.open_lot(by, "kim", model_id, target, day=DAY, shift="D"))


def entered(store: Store, lot_id: int, sequence: int) -> int:
    def enter(by: Decisions) -> int:
        number = lots.by_id(by.connection, lot_id)["lot_number"]
        return units.enter(by, "kim", lot_id, sequence, f"{number}-{sequence:04d}", FORM, "entered")

    return people(store, enter)


def at_once(changes: list[Callable[[], object]]) -> Counter[str]:
    """What came of each: ``done``, or the code it was refused by."""

    def tried(change: Callable[[], object]) -> str:
        try:
            change()
        except RefusedError as error:
            return error.code
        return "done"

    with ThreadPoolExecutor(len(changes)) as pool:
        return Counter(pool.map(tried, changes))


def lot_row(store: Store, lot_id: int) -> sa.RowMapping:
    with store.reading() as connection:
        return lots.by_id(connection, lot_id)


def unit_row(store: Store, serial_id: int) -> sa.RowMapping:
    with store.reading() as connection:
        return units.by_id(connection, serial_id)


def code_of(change: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as refused:
        change()
    return refused.value.code


def test_fifty_at_once_are_given_fifty_numbers_without_a_gap(store: Store) -> None:
    model_id = model(store)
    assert at_once([lambda: opened(store, model_id)] * 50) == {"done": 50}
    with store.reading() as connection:
        numbers = [row["lot_number"] for row in connection.execute(lots.listing()).mappings()]
    assert sorted(numbers) == [f"WF-KR-261102D-{number:03d}" for number in range(1, 51)]


def test_the_next_number_comes_after_one_that_a_station_named(store: Store) -> None:
    store.ingest([delivery([(1, record(lot_number="WF-KR-261102D-007"))])])
    made = opened(store, model(store))
    assert lot_row(store, made)["lot_number"] == "WF-KR-261102D-008"


def test_of_fifty_at_once_one_is_the_hundredth_unit_and_none_the_hundred_and_first(store: Store) -> None:
    lot_id = opened(store, model(store))

    def first_ones(by: Decisions) -> None:
        number = lots.by_id(by.connection, lot_id)["lot_number"]
        for sequence in range(1, 100):
            units.enter(by, "kim", lot_id, sequence, f"SN-{sequence:03d}", FORM, f"entered in {number}")

    people(store, first_ones)

    def one_more(name: int) -> Callable[[], object]:
        return lambda: people(store, lambda by: units.enter(by, "kim", lot_id, 100, f"SN-MORE-{name}", FORM, "entered"))

    assert at_once([one_more(name) for name in range(50)]) == {"done": 1, "SEQUENCE_TAKEN": 49}
    people(store, lambda by: lots.change_lot(by, "kim", lot_id, {"status": "IN_PROGRESS"}, "begun"))
    with store.reading() as connection:
        assert lots.units_of(connection, lot_id) == 100


def test_a_full_lot_takes_no_more_and_its_target_stays_above_its_units(store: Store) -> None:
    lot_id = opened(store, model(store), target=2)
    assert at_once([lambda n=n: entered(store, lot_id, n) for n in range(1, 21)]) == {"done": 2, "LOT_FULL": 18}

    def lower() -> None:
        people(store, lambda by: lots.change_lot(by, "kim", lot_id, {"target_quantity": 1}, "fewer"))

    assert code_of(lower) == "TARGET_BELOW_UNITS"
    people(store, lambda by: lots.change_lot(by, "kim", lot_id, {"target_quantity": 3}, "more"))
    assert lot_row(store, lot_id)["target_quantity"] == 3


def failed_unit(store: Store) -> int:
    """A unit that failed for good at process 3 until it is reworked."""
    lot_id = opened(store, model(store))
    serial_id = entered(store, lot_id, 1)
    number = unit_row(store, serial_id)["serial_number"]
    steps = [(1, "PASS"), (2, "PASS"), (3, "FAIL"), (3, "FAIL"), (3, "FAIL")]
    store.ingest(
        [
            delivery(
                [
                    (
                        seq,
                        record(
                            process=PROCESSES[process - 1].code,
                            serial_number=number,
                            lot_number=None,
                            outcome=outcome,
                            completed_at=minutes(seq),
                        ),
                    )
                    for seq, (process, outcome) in enumerate(steps, start=1)
                ]
            )
        ]
    )
    return serial_id


def test_of_fifty_reworks_at_once_one_is_authorised(store: Store) -> None:
    serial_id = failed_unit(store)

    def authorise() -> None:
        people(store, lambda by: units.rework(by, "kim", serial_id, None, "sensor changed"))

    assert at_once([authorise] * 50) == {"done": 1, "REWORK_NOT_ALLOWED": 49}
    row = unit_row(store, serial_id)
    assert (row["rework_count"], row["status"], row["passed_processes"]) == (1, "IN_PROGRESS", [1, 2])


def test_people_and_stations_change_the_same_units_at_once_and_nobody_is_stopped(store: Store) -> None:
    """Both lock units and then LOTs: no circle, no lost update."""
    lot_id = opened(store, model(store), target=20)
    number = lot_row(store, lot_id)["lot_number"]
    serials = [entered(store, lot_id, sequence) for sequence in range(1, 5)]

    def station(name: int) -> Callable[[], object]:
        sent = [
            (
                seq,
                record(
                    process=PROCESSES[0].code, serial_number=f"{number}-{1 + (name + seq) % 8:04d}", lot_number=None
                ),
            )
            for seq in range(1, 9)
        ]
        return lambda: store.ingest([delivery(sent, stream_id=f"{name:032x}", station=f"P01-{name}")])

    def person(name: int) -> Callable[[], object]:
        if name % 2:
            return lambda: entered(store, lot_id, 10 + name)
        return lambda: decide(store, serials[name % 4], "PASSED")

    counted = at_once([one for name in range(1, 9) for one in (station(name), person(name))])
    assert counted["done"] == 16, counted
    row = lot_row(store, lot_id)
    with store.reading() as connection:
        assert lots.units_of(connection, lot_id) == 12
    assert row["actual_quantity"] == 8
    people(store, lambda by: by.fold_again(number))
    again = lot_row(store, lot_id)
    assert {name: row[name] for name in row if name != "updated_at"} == {
        name: again[name] for name in again if name != "updated_at"
    }


def test_reworks_of_one_unit_end_with_the_third(sqlite: Store) -> None:
    serial_id = failed_unit(sqlite)
    for count in range(1, 4):
        people(sqlite, lambda by: units.rework(by, "kim", serial_id, "P02_LMA_ASSEMBLY", "again"))
        assert unit_row(sqlite, serial_id)["rework_count"] == count
        people(
            sqlite,
            lambda by: units.decide_status(
                by, "kim", serial_id, "FAILED", failure_reason="still bad", manager=False, reason="looked at"
            ),
        )
    assert unit_row(sqlite, serial_id)["final"] is True

    def once_more() -> None:
        people(sqlite, lambda by: units.rework(by, "kim", serial_id, 2, "again"))

    assert at_once([once_more] * 8) == {"REWORK_LIMIT_REACHED": 8}


def test_a_rework_is_refused_with_its_reason(sqlite: Store) -> None:
    serial_id = failed_unit(sqlite)
    for process, code in ((1, "REWORK_NOT_ALLOWED"), (9, "INVALID_PROCESS_SEQUENCE"), (4, "REWORK_NOT_ALLOWED")):

        def authorise(to: int = process) -> None:
            people(sqlite, lambda by: units.rework(by, "kim", serial_id, to, "why not"))

        assert code_of(authorise) == code
    with pytest.raises(NotThereError):
        people(sqlite, lambda by: units.rework(by, "kim", serial_id, "P99", "why not"))


def decide(store: Store, serial_id: int, status: str, *, manager: bool = True) -> None:
    people(
        store,
        lambda by: units.decide_status(
            by,
            "kim",
            serial_id,
            status,
            failure_reason="dented" if status == "FAILED" else None,
            manager=manager,
            reason="looked at",
        ),
    )


def test_a_person_decides_the_status_by_the_rules(sqlite: Store) -> None:
    lot_id = opened(sqlite, model(sqlite))
    first, second = entered(sqlite, lot_id, 1), entered(sqlite, lot_id, 2)
    decide(sqlite, first, "IN_PROGRESS", manager=False)
    with pytest.raises(RoleError):
        decide(sqlite, first, "PASSED", manager=False)
    decide(sqlite, first, "PASSED")
    row = unit_row(sqlite, first)
    assert (row["status"], [one["code"] for one in row["exceptions"]]) == ("PASSED", ["PASSED_BY_DECISION"])
    decide(sqlite, first, "PASSED", manager=False)  # it is so already
    assert code_of(lambda: decide(sqlite, first, "FAILED")) == "INVALID_STATUS_MOVE"
    decide(sqlite, second, "FAILED")
    assert unit_row(sqlite, second)["failure_reason"] == "dented"
    for status in ("IN_PROGRESS", "PASSED", "CREATED"):
        assert code_of(lambda to=status: decide(sqlite, second, to)) == "INVALID_STATUS_MOVE"


def test_a_lot_moves_forward_only_and_is_closed_once(sqlite: Store) -> None:
    lot_id = opened(sqlite, model(sqlite), target=1)

    def move(status: str) -> None:
        people(sqlite, lambda by: lots.change_lot(by, "kim", lot_id, {"status": status}, "moved"))

    def close() -> None:
        people(sqlite, lambda by: lots.close_lot(by, "kim", lot_id, "done"))

    assert code_of(close) == "LOT_NOT_COMPLETED"
    assert code_of(lambda: move("COMPLETED")) == "LOT_EMPTY"
    move("IN_PROGRESS")
    assert code_of(lambda: move("CREATED")) == "INVALID_STATUS_MOVE"
    unit = entered(sqlite, lot_id, 1)
    decide(sqlite, unit, "PASSED")
    row = lot_row(sqlite, lot_id)
    assert (row["status"], row["passed_quantity"], row["pass_rate"], row["defect_rate"]) == ("COMPLETED", 1, 100, 0)
    close()
    assert lot_row(sqlite, lot_id)["closed_at"] is not None
    assert code_of(close) == "LOT_CLOSED"
    assert code_of(lambda: entered(sqlite, lot_id, 2)) == "LOT_CLOSED"
    assert code_of(lambda: move("COMPLETED")) == "INVALID_STATUS_MOVE"


def test_what_was_not_worked_on_can_be_taken_away(sqlite: Store) -> None:
    lot_id = opened(sqlite, model(sqlite))
    unit = entered(sqlite, lot_id, 1)

    def delete_lot() -> None:
        people(sqlite, lambda by: lots.delete_lot(by, "kim", lot_id, "by mistake"))

    assert code_of(delete_lot) == "LOT_IN_USE"
    people(sqlite, lambda by: units.delete(by, "kim", unit, "by mistake"))
    with pytest.raises(NotThereError):
        unit_row(sqlite, unit)
    assert entered(sqlite, lot_id, 1) == unit  # the number comes back to its row
    people(sqlite, lambda by: units.delete(by, "kim", unit, "by mistake"))
    delete_lot()
    with pytest.raises(NotThereError):
        lot_row(sqlite, lot_id)


def test_a_number_that_cannot_be_meant_is_refused(sqlite: Store) -> None:
    lot_id = opened(sqlite, model(sqlite))
    number = lot_row(sqlite, lot_id)["lot_number"]

    def enter(name: str, sequence: int = 1) -> str:
        return code_of(
            lambda: people(sqlite, lambda by: units.enter(by, "kim", lot_id, sequence, name, FORM, "entered"))
        )

    assert enter("NOREAD") == "SERIAL_NUMBER_FORM"
    assert enter(f"{number}-0002") == "SERIAL_LOT_MISMATCH"
    assert enter("WF-KR-261102N-001-0001") == "SERIAL_LOT_MISMATCH"
    entered(sqlite, lot_id, 1)
    assert enter("SN-001") == "SEQUENCE_TAKEN"
    assert enter(f"{number}-0001") == "ALREADY_EXISTS"


def test_a_model_that_is_not_made_any_more_opens_no_lot(sqlite: Store) -> None:
    assert code_of(lambda: opened(sqlite, model(sqlite, "WR-0", "DISCONTINUED"))) == "PRODUCT_MODEL_INACTIVE"
    with pytest.raises(NotThereError):
        opened(sqlite, 10**9)


def test_a_change_leaves_its_author_in_the_audit_trail(sqlite: Store) -> None:
    opened(sqlite, model(sqlite))
    wanted = sa.text(
        "SELECT author, user_id, ip_address, user_agent, seq FROM audit_logs"
        " WHERE entity_type = 'lots' AND action = 'UPDATE'"
    )
    with sqlite.reading() as connection:
        [row] = connection.execute(wanted).all()
    assert tuple(row) == ("kim", 7, "10.1.2.3", "tablet", 1)
