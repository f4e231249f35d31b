"""Revisions of criteria on both databases: numbered, never changed, in force from their time on, told to stations."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from central.store import Store
from central.store.tables import processes
from central.verifying import verify
from contracts.criteria import Criteria, Criterion
from contracts.errors import DataError, StoreError
from tests.support.stores import MORNING, delivery, record, rows

P03 = "P03_SENSOR_INSPECTION"
SOON = timedelta(hours=1)


def upto(limit: int, process: str = P03) -> Criteria:
    return Criteria(process=process, criteria={"temperature": Criterion(upper=limit), "a": Criterion(lower=0)})


def test_revisions_are_numbered_by_process_and_kept_as_they_were_written(store: Store) -> None:
    first = store.criteria.add(upto(61), "park", "start")
    second = store.criteria.add(upto(62), "lee", "drift", datetime.now(UTC) + SOON)
    other = store.criteria.add(upto(5, "P01_LASER_MARKING"), "park", "start")
    assert [first.number, second.number, other.number] == [1, 2, 1]
    kept = store.criteria.kept(P03)
    assert [one.revision for one in kept] == [first, second]
    assert list(kept[0].revision.criteria.criteria) == ["temperature", "a"], "verdicts stand in this order"
    assert [one.process for one in store.criteria.kept()] == ["P01_LASER_MARKING", P03, P03]


def test_two_writers_never_take_one_number(store: Store) -> None:
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda limit: store.criteria.add(upto(limit), "park", "r"), range(8)))
    assert sorted(one.number for one in made) == list(range(1, 9))


@pytest.mark.parametrize("statement", ["UPDATE criteria_revisions SET author = 'x'", "DELETE FROM criteria_revisions"])
def test_a_revision_is_never_changed(store: Store, statement: str) -> None:
    store.criteria.add(upto(61), "park", "start")
    with pytest.raises(StoreError, match="append only"), store.database.writing() as connection:
        connection.execute(sa.text(statement))
    assert len(store.criteria.kept()) == 1


def test_what_cannot_be_is_refused(store: Store) -> None:
    with pytest.raises(DataError, match="unknown process"):
        store.criteria.add(upto(1, "P09_NOWHERE"), "park", "r")
    with pytest.raises(DataError, match="past"):
        store.criteria.add(upto(1), "park", "r", datetime.now(UTC) - SOON)
    many = {f"m{number}": Criterion(pattern="x" * 400) for number in range(200)}
    with pytest.raises(DataError, match="more than"):
        store.criteria.add(Criteria(process=P03, criteria=many), "park", "r")
    assert store.criteria.kept() == []
    assert store.criteria.publications() == []


def test_stations_are_told_what_is_in_force_and_what_is_to_come(store: Store) -> None:
    first = store.criteria.add(upto(61), "park", "start")
    later = store.criteria.add(upto(62), "park", "drift", datetime.now(UTC) + SOON)
    [told] = store.criteria.publications()
    assert (told.process, told.epoch, told.issued, told.revisions) == (P03, store.epoch, 2, (first, later))
    with store.database.reading() as connection:
        stands = connection.execute(
            sa.select(processes.c.quality_criteria).where(processes.c.process_code == P03)
        ).scalar_one()
    assert (stands["revision"], stands["criteria"]["temperature"]) == (1, {"upper": 61})

    third = store.criteria.add(upto(63), "park", "at once")
    [told] = store.criteria.publications()
    assert told.revisions == (third, later)
    trail = [row for row in rows(store, "audit_logs") if row["entity_type"] in ("processes", "criteria_revisions")]
    assert [row["author"] for row in trail if row["entity_type"] == "criteria_revisions"] == ["park"] * 3
    assert [row["action"] for row in trail if row["author"] == "criteria"] == ["UPDATE", "UPDATE"]


def test_a_process_is_named_by_its_code_or_its_beginning(store: Store) -> None:
    assert store.criteria.code_of("P03") == store.criteria.code_of(P03) == P03
    for unknown in ("P3", "p03", "P03_", "SENSOR", ""):
        with pytest.raises(DataError, match="P03_SENSOR_INSPECTION"):
            store.criteria.code_of(unknown)


def test_what_is_measured_at_a_process_is_told_by_its_records(store: Store) -> None:
    assert store.criteria.measured(P03) == set()
    stored = record()
    store.ingest([delivery([(1, stored)])])
    [process] = [one for one in ("P01_LASER_MARKING", P03) if one == stored.process]
    assert store.criteria.measured(process) == {"temperature"}


def test_stored_records_are_read_unit_by_unit_and_their_verdicts_proved(store: Store) -> None:
    again = record(completed_at=MORNING + timedelta(minutes=2))
    other = record(serial_number="SN-261102-002", completed_at=MORNING + timedelta(minutes=1))
    store.ingest([delivery([(1, record()), (2, other), (3, again)])])
    since, until = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    with store.records(since, until) as found:
        read = list(found)
    assert [one.serial_number for one in read] == [again.serial_number, again.serial_number, other.serial_number]
    assert read[0].completed_at < read[1].completed_at
    with store.records(since, until) as found:
        proved = verify(found, {})
    assert (proved.records, proved.different) == (3, 0)
    with store.records(since, until, process="P08_PACKAGING_INSPECTION") as found:
        assert list(found) == []
    with store.records(since, until, station="P99-X") as found:
        assert list(found) == []
    process = read[0].process
    assert store.measured_by_machines(since, until, process) == {(again.station, again.machine): {"temperature"}}
