"""What every database must do with what stations deliver: each record once, nothing lost, nothing in silence."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from central.store import AlarmKind, Arrival, StationCommit, Store
from central.store.quarantined import OTHER_CONTENT
from contracts.envelope import Birth
from contracts.facts import UnitScrapped
from contracts.measurement import Measurement, Quality
from contracts.record import Defect, ProcessRecord, ReworkRequest, canonical
from contracts.route_model import MAX_RECORDS
from contracts.topics import StationTopics
from tests.support.stores import (
    LOT,
    MORNING,
    STREAM,
    NewDatabase,
    delivery,
    minutes,
    one,
    only_commit,
    record,
    reject,
    rows,
)

OTHER_STREAM = "0" * 31 + "2"


def birth(**changes: object) -> Birth:
    values = {
        "site": "gimcheon",
        "line": "KR01",
        "station": "P03-A",
        "online": True,
        "stream_id": STREAM,
        "last_seq": 7,
        "oldest_available": 1,
        "host": "pc-3",
        "software": "0.1.0",
        "at": MORNING,
    }
    return Birth.model_validate({**values, **changes})


def born(store: Store, said: Birth) -> StationCommit:
    answer = store.register_birth(said)
    assert answer is not None
    return answer.told


def test_a_record_is_kept_once_however_often_it_comes(store: Store) -> None:
    first = store.ingest([delivery([(1, record()), (2, record(completed_at=minutes(1)))])])
    again = store.ingest([delivery([(1, record())]), delivery([(1, record()), (2, record(completed_at=minutes(1)))])])

    assert (first.inserted, first.repeated) == (2, 0)
    assert (again.inserted, again.repeated, again.quarantined, again.conflicts) == (0, 3, 0, 0)
    assert only_commit(again).committed_seq == 2
    assert len(rows(store, "process_data")) == 2
    assert store.counts().records == 2


def test_the_same_record_twice_in_one_batch_is_one_record(store: Store) -> None:
    result = store.ingest([delivery([(1, record())]), delivery([(1, record())])])
    assert (result.inserted, result.repeated) == (1, 1)


def test_a_record_comes_back_exactly_as_it_was_sent(store: Store) -> None:
    sent = record(
        outcome="REWORK",
        rework=ReworkRequest(return_to="P02_LMA_ASSEMBLY", reason="spring loose"),
        operator="Kim-07",
        product_model="WR-1",
        measurements=(
            Measurement(name="text", value="a\x00b\\u0000 \u00e9", original="\x00"),
            Measurement(name="table", value=[{"x": 1.5, "y": None}, {"x": 2, "y": "far"}]),
            Measurement(name="bad", quality=Quality.BAD, problem="no signal"),
        ),
        defects=(Defect(code="SENSOR_TEMP_FAIL", measurement="table", detail="x"),),
        cycle_key="abc",
        permit=2**70,
        cycle_time_seconds=1e300,
        clock_offset_seconds=-1e300,
        raw=b"AAEC",
        problems=("late",),
    )
    store.ingest([delivery([(1, sent)])])
    assert store.record(STREAM, 1) == sent
    assert store.record(STREAM, 2) is None


def test_the_mes_sees_the_record(store: Store) -> None:
    seen = record(operator=" KIM-07 ", product_model="WR-1", defects=(Defect(code="PART_DEFECT"),), outcome="FAIL")
    store.ingest([delivery([(1, seen)])])
    row = one(store, "process_data")
    assert row["measurements"] == {"temperature": 60.5}
    assert row["defects"] == [{"code": "PART_DEFECT"}]
    assert row["started_at"] == MORNING - timedelta(seconds=12.5)
    assert (row["result"], row["outcome"], row["cycle_time_seconds"]) == ("FAIL", "FAIL", 12.5)
    assert (row["lot_number"], row["serial_number"]) == (LOT, "SN-261102-001")
    assert (row["process_code"], row["username"]) == ("P03_SENSOR_INSPECTION", "kim-07")
    assert one(store, "product_models")["status"] == "ACTIVE"


def test_what_a_record_names_is_made_and_cannot_log_in(store: Store) -> None:
    store.ingest([delivery([(1, record()), (2, record(operator="Lee")), (3, record(operator="LEE"))])])
    made = {user["username"]: user for user in store.canonical_rows()["users"]}
    assert set(made) == {"station-p03-a", "lee"}
    assert all(user["password_hash"] is None and not user["is_active"] for user in made.values())
    assert {user["role"] for user in made.values()} == {"OPERATOR"}
    lot = one(store, "lots")
    assert (str(lot["production_date"]), lot["shift"], lot["target_quantity"]) == ("2026-11-02", "D", 100)
    assert lot["created"] is False


def test_an_operators_name_of_any_length_is_kept_apart(store: Store) -> None:
    long = "x" * 5000
    store.ingest(
        [delivery([(1, record(operator=long)), (2, record(operator=long + "y")), (3, record(operator="\x00"))])]
    )
    assert len(store.canonical_rows()["users"]) == 3


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_other_content_under_one_number_takes_both_out_whichever_came_first(
    store: Store, order: tuple[int, int]
) -> None:
    contents = [record(serial_number="SN-A01"), record(serial_number="SN-B01", lot_number=None)]
    store.ingest([delivery([(1, contents[order[0]])])])
    result = store.ingest([delivery([(1, contents[order[1]])])])

    assert (result.conflicts, result.quarantined, result.inserted) == (1, 2, 0)
    assert only_commit(result).committed_seq == 1
    kept = store.canonical_rows()["quarantine"]
    assert sorted(row["payload"] for row in kept) == sorted(canonical(content) for content in contents)
    assert {row["reason"] for row in kept} == {OTHER_CONTENT}
    assert rows(store, "process_data") == []
    assert {row["serial_number"]: row["status"] for row in store.canonical_rows()["serials"]} == {
        "SN-A01": "CREATED",
        "SN-B01": "CREATED",
    }


def test_a_disputed_number_stays_disputed_and_its_contents_are_kept_once(store: Store) -> None:
    one_content, other = record(), record(outcome="FAIL")
    both = store.ingest([delivery([(1, one_content)]), delivery([(1, other)])])
    again = store.ingest([delivery([(1, one_content)]), delivery([(1, other)])])
    third = store.ingest([delivery([(1, record(outcome="ERROR"))])])

    assert (both.inserted, both.conflicts, both.quarantined) == (0, 2, 2)
    assert (again.repeated, again.conflicts, again.quarantined) == (2, 0, 0)
    assert (third.conflicts, third.quarantined) == (1, 1)
    assert store.counts().quarantine == {OTHER_CONTENT: 3}
    assert rows(store, "process_data") == []


def test_what_was_refused_to_another_station_does_not_hide_the_same_refused_to_its_own(store: Store) -> None:
    """A copied outbox brings it on its own topic first: under its own station it must be found, too, and once."""
    mine = reject(b'{"seq": 1}', first=1)
    others = replace(mine, topic=StationTopics("gimcheon", "KR01", "P03-B").records)
    moved = replace(mine, topic=StationTopics("gimcheon", "KR02", "P03-A").records)
    store.ingest([delivery([], rejected=[others], station="P03-B")])
    for again in (mine, mine, moved):
        store.ingest([delivery([], rejected=[again])])
    assert sorted(row["topic"] for row in rows(store, "quarantine")) == [mine.topic, others.topic]


def test_a_conflict_with_a_row_taken_out_by_hand_stops_nothing(store: Store) -> None:
    store.ingest([delivery([(1, record())])])
    with store.database.writing() as connection:
        connection.execute(sa.text("DELETE FROM process_data"))
    result = store.ingest([delivery([(1, record(outcome="FAIL"))])])
    assert (result.conflicts, result.quarantined) == (1, 1)


def test_numbers_out_of_order_are_told_as_ranges_until_the_gap_closes(store: Store) -> None:
    sparse = store.ingest([delivery([(seq, record(completed_at=minutes(seq))) for seq in (2, 3, 7)])])
    assert (only_commit(sparse).committed_seq, only_commit(sparse).ranges) == (0, ((2, 3), (7, 7)))
    closing = store.ingest([delivery([(seq, record(completed_at=minutes(seq))) for seq in (1, 5)])])
    assert (only_commit(closing).committed_seq, only_commit(closing).ranges) == (3, ((5, 5), (7, 7)))
    late = store.ingest([delivery([(seq, record(completed_at=minutes(seq))) for seq in (4, 6)])])
    assert (only_commit(late).committed_seq, only_commit(late).ranges) == (7, ())
    assert store.commit_of(STREAM) is not None
    assert store.commit_of(OTHER_STREAM) is None


def test_what_cannot_be_read_is_kept_whole_once_and_settles(store: Store) -> None:
    raw = b"\x00\xff{not json"
    first = store.ingest([delivery([], rejected=[reject(raw, first=1, last=3)])])
    again = store.ingest([delivery([], rejected=[reject(raw, first=1, last=3)])])
    assert (first.quarantined, only_commit(first).committed_seq) == (1, 3)
    assert (again.quarantined, only_commit(again).committed_seq) == (0, 3)
    assert one(store, "quarantine")["payload"] == raw


def test_what_names_no_stream_is_kept_and_settles_nothing(store: Store) -> None:
    nameless = Arrival(None, "gimcheon", "KR01", "P03-A", (), [reject(b"?", stream_id=None)])
    result = store.ingest([nameless, nameless])
    assert (result.quarantined, result.commits) == (1, ())


@pytest.mark.parametrize("valid_first", [True, False])
def test_a_valid_record_counts_beside_an_unreadable_one_of_its_number(store: Store, valid_first: bool) -> None:
    parts = [delivery([(1, record())]), delivery([], rejected=[reject(b"torn", first=1)])]
    for part in parts if valid_first else reversed(parts):
        store.ingest([part])
    assert store.record(STREAM, 1) == record()
    assert store.counts().quarantine == {"not JSON": 1}


def test_an_impossible_lot_number_goes_to_quarantine_and_settles(store: Store) -> None:
    result = store.ingest([delivery([(1, record(lot_number="WF-KR-269999D-001")), (2, record())])])
    assert (result.inserted, result.quarantined, only_commit(result).committed_seq) == (1, 1, 2)
    assert "WF-KR-269999D-001" in one(store, "quarantine")["reason"]


def test_a_station_in_anothers_stream_settles_there_and_not_for_the_owner(store: Store) -> None:
    """A disk copied for another station: its results are results, and it is told to begin a stream of its own."""
    store.ingest([delivery([(1, record())])])
    result = store.ingest([delivery([(2, record(station="P03-B"))], station="P03-B")])
    assert (result.foreign, result.quarantined, result.inserted) == (1, 0, 1)
    assert [alarm.kind for alarm in result.alarms] == [AlarmKind.FOREIGN_STREAM]
    [told] = result.commits
    assert (told.station, told.commit.ranges) == ("P03-B", ((2, 2),))
    mine = store.commit_of(STREAM)
    foreign = store.commit_of(STREAM, "P03-B")
    assert mine is not None
    assert foreign is not None
    assert (mine.committed_seq, mine.ranges, foreign.covers(2)) == (1, (), True)


def test_a_birth_makes_the_stream_known_and_keeps_what_the_station_says(store: Store) -> None:
    assert born(store, birth()).commit.committed_seq == 0
    store.ingest([delivery([(1, record())])])
    moved = born(store, birth(line="KR02", last_seq=9, online=False, host="pc\x00")).commit
    assert (moved.committed_seq, moved.epoch) == (1, store.epoch)
    [stream] = rows(store, "streams")
    assert (stream["line"], stream["last_seq"], bool(stream["online"])) == ("KR02", 9, False)


def test_a_record_without_lot_waits_and_attaches_when_the_lot_is_known(store: Store) -> None:
    store.ingest([delivery([(1, record(lot_number=None))])])
    assert one(store, "process_data")["lot_number"] is None
    store.ingest([delivery([(2, record(completed_at=minutes(2)))])])
    assert {row["lot_number"] for row in store.canonical_rows()["process_data"]} == {LOT}
    assert one(store, "serials")["lot_number"] == LOT
    assert one(store, "lots")["actual_quantity"] == 1


def test_golden_samples_are_kept_and_left_out(store: Store) -> None:
    store.ingest(
        [
            delivery(
                [(1, record(part="GOLDEN_SAMPLE")), (2, record(part="DRY_RUN", data_level="LOT", serial_number=None))]
            )
        ]
    )
    found = store.canonical_rows()
    assert len(found["process_data"]) == 2
    assert (found["serials"], found["lots"]) == ([], [])


def test_a_lot_record_belongs_to_its_lot_and_moves_no_serial(store: Store) -> None:
    store.ingest([delivery([(1, record(data_level="LOT", serial_number=None))])])
    assert one(store, "process_data")["lot_number"] == LOT
    assert store.canonical_rows()["serials"] == []


def test_a_process_central_does_not_know_is_an_exception_and_no_loss(store: Store) -> None:
    result = store.ingest([delivery([(1, record(process="P99_NEW"))])])
    assert result.inserted == 1
    assert one(store, "process_data")["process_code"] is None
    assert "UNKNOWN_PROCESS" in {found["code"] for found in one(store, "serials")["exceptions"]}


def test_counts_reconcile_station_by_station(store: Store) -> None:
    store.ingest(
        [
            delivery([(seq, record(completed_at=minutes(seq))) for seq in (1, 2, 4)]),
            delivery([(1, record(station="P03-B"))], stream_id=OTHER_STREAM, station="P03-B"),
        ]
    )
    counts = store.counts()
    assert [(s.station, s.records, s.committed_seq) for s in counts.streams] == [("P03-A", 3, 2), ("P03-B", 1, 1)]
    assert (counts.records, counts.quarantined) == (4, 0)


def test_a_value_the_database_refuses_goes_to_quarantine_and_the_rest_is_kept(store: Store) -> None:
    huge = record(cycle_time_seconds=1.0, judge_version=2**80)
    result = store.ingest(
        [delivery([(1, record()), (2, huge), (3, record(completed_at=minutes(3)))], rejected=[reject(b"x", first=4)])]
    )
    assert (result.inserted, result.quarantined, only_commit(result).committed_seq) == (2, 2, 4)
    assert canonical(huge) in {row["payload"] for row in store.canonical_rows()["quarantine"]}


def test_a_failing_transaction_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("power cut")

    before = store.canonical_rows()
    with monkeypatch.context() as patch:
        patch.setattr("central.store.ingest.keep", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            store.ingest([delivery([(1, record())])])
    assert store.canonical_rows() == before
    assert store.ingest([delivery([(1, record())])]).inserted == 1


def test_services_beside_each_other_lose_nothing(new_database: NewDatabase) -> None:
    """Two ingestors, the same units and LOT, each message given to both: no deadlock, every record once."""
    url = new_database()
    stores = [Store(url), Store(url)]
    stores[0].migrate()
    streams = [f"{number:032x}" for number in range(1, 5)]
    batches = [
        [
            delivery(
                [(seq, _of_station(number, seq)) for seq in range(first, first + 5)],
                stream_id=stream,
                station=f"P0{number}-A",
            )
            for number, stream in enumerate(streams, start=1)
        ]
        for first in range(1, 41, 5)
    ]

    def work(store: Store, order: int) -> int:
        return sum(store.ingest(batch[::order]).inserted for batch in batches)

    with ThreadPoolExecutor(2) as threads:
        inserted = list(threads.map(work, stores, (1, -1)))
    assert sum(inserted) == 160
    assert stores[0].counts().records == 160
    alone = Store(new_database())
    alone.migrate()
    alone.ingest([arrival for batch in batches for arrival in batch])
    assert stores[1].canonical_rows() == alone.canonical_rows()
    for used in (*stores, alone):
        used.close()


_CODES = ("P01_LASER_MARKING", "P02_LMA_ASSEMBLY", "P03_SENSOR_INSPECTION", "P04_FIRMWARE_UPLOAD")


def _of_station(number: int, seq: int) -> ProcessRecord:
    return record(
        station=f"P0{number}-A",
        process=_CODES[number - 1],
        serial_number=f"SN-{seq % 10:03d}",
        completed_at=minutes(seq * 10 + number),
        product_model="WR-1",
    )


def test_postgresql_keeps_each_month_in_its_own_partition(postgres_url: str) -> None:
    store = Store(postgres_url)
    store.migrate()
    months = [MORNING, MORNING + timedelta(days=40), MORNING.replace(year=1970), MORNING + timedelta(days=41)]
    store.ingest([delivery([(seq, record(completed_at=moment)) for seq, moment in enumerate(months, start=1)])])
    with store.database.reading() as connection:
        found = connection.execute(
            sa.text("SELECT tableoid::regclass::text AS place, count(*) FROM process_data GROUP BY 1 ORDER BY 1")
        ).all()
    assert [tuple(row) for row in found] == [
        ("process_data_2026_11", 1),
        ("process_data_2026_12", 2),
        ("process_data_default", 1),
    ]
    store.close()


@pytest.mark.parametrize(("within", "held"), [(0.02, False), (3600.0, True), (None, True)])
def test_what_two_stations_say_is_ordered_as_far_as_their_clocks_are_known(
    store: Store, within: float | None, held: bool
) -> None:
    known = {"clock_offset_seconds": 0.0, "completed_within_seconds": within}
    failed = record(outcome="FAIL", completed_at=minutes(1), **known)
    passed = record(station="P03-B", completed_at=minutes(9), **known)
    store.ingest([delivery([(1, failed)])])
    store.ingest([delivery([(1, passed)], stream_id="b" * 32, station="P03-B")])
    assert one(store, "serials")["on_hold"] is held


def test_a_number_with_records_without_end_is_held_and_costs_no_more_with_each(new_database: NewDatabase) -> None:
    """What a code reader says when it reads nothing, under which every station's results come together."""
    many = [
        (seq, record(serial_number="NOTHING", completed_at=minutes(seq), outcome="FAIL"))
        for seq in range(1, MAX_RECORDS + 20)
    ]
    found = []
    for batches in ([many], [many[300:], many[:300]]):
        store = Store(new_database())
        store.migrate()
        for batch in batches:
            store.ingest([delivery(batch)])
        before = rows(store, "serials")
        store.ingest([delivery([(len(many) + 1, record(serial_number="NOTHING", completed_at=minutes(9999)))])])
        assert rows(store, "serials") == before, "its row is not written again, nor audited, for each of them"
        found.append(store.canonical_rows())
        store.close()
    assert found[0] == found[1]
    [unit] = found[0]["serials"]
    assert unit["on_hold"]
    assert len(found[0]["process_data"]) == len(many) + 1


def test_two_stations_under_one_number_are_disputed_whoever_came_first(new_database: NewDatabase) -> None:
    """Neither is another's word; so both are in quarantine, whole, and there is an alarm."""
    ours = delivery([(1, record(serial_number="SN-AAA"))])
    theirs = delivery([(1, record(station="P03-B", serial_number="SN-BBB"))], station="P03-B")
    torn = delivery([], rejected=[reject(b"torn", first=9)], station="P03-B")
    found = []
    for order in ([ours, theirs, torn], [torn, theirs, ours], [theirs, ours, torn, ours, theirs]):
        store = Store(new_database())
        store.migrate()
        told = [store.ingest([arrival]) for arrival in order]
        assert AlarmKind.OTHER_CONTENT in [alarm.kind for result in told for alarm in result.alarms]
        found.append(store.canonical_rows())
        store.close()
    assert found[0] == found[1] == found[2]
    assert [row["serial_number"] for row in found[0]["process_data"]] == []
    assert len(found[0]["quarantine"]) == 3


def test_what_cannot_be_read_claims_no_stream(store: Store) -> None:
    """Anybody can write a stream's name beside garbage: its station must not lose it."""
    store.ingest([delivery([], rejected=[reject(b"torn", first=1)], station="P03-B")])
    result = store.ingest([delivery([(1, record())])])
    assert (result.inserted, result.foreign, result.alarms) == (1, 0, ())
    again = store.ingest([delivery([(2, record(station="P03-B"))], station="P03-B")])
    assert (again.inserted, again.foreign) == (1, 1)


def test_a_station_whose_first_word_is_torn_owns_its_stream_after_all(store: Store) -> None:
    store.ingest([delivery([], rejected=[reject(b"torn", first=1)])])
    store.ingest([delivery([(2, record())])])
    assert store.commit_of(STREAM) is not None
    assert store.ingest([delivery([(3, record())])]).foreign == 0


def test_nobody_writes_in_the_stream_of_peoples_decisions(store: Store) -> None:
    scrapped = UnitScrapped(author="p", decided_at=minutes(1), reason="bent", serial_number="SN-261102-001")
    store.add_decision(scrapped)
    result = store.ingest([delivery([(1, record())], stream_id=store.central_stream)])
    assert (result.inserted, result.quarantined) == (0, 1)
    assert one(store, "serials")["scrapped"] is True
