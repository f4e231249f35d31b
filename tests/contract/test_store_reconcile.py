"""Reconciliation on both databases: gaps reported are the gaps that were made."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central.shifts import Shift, parse_calendar
from central.store import MachineCount, Reconciliation, Store, schema
from contracts.envelope import Birth
from contracts.record import ProcessRecord
from tests.support.stores import STREAM, delivery, record

CALENDAR = parse_calendar("Asia/Seoul", "D=08:00,N=20:00")
EVENING = datetime(2026, 11, 2, 10, 50, tzinfo=UTC)  # ten minutes before the night shift, by the site's clock
OTHER_STREAM = "0" * 31 + "2"


def cycle(minute: int, key: int | str | None, **changes: object) -> ProcessRecord:
    return record(completed_at=EVENING + timedelta(minutes=minute), cycle_key=key, **changes)


def shifts(hours: int = 24) -> list[Shift]:
    return CALENDAR.between(EVENING - timedelta(hours=12), EVENING + timedelta(hours=hours))


def counts(found: Reconciliation) -> list[tuple[object, ...]]:
    return [
        (row.station, row.machine, str(row.date), row.shift, row.first, row.last, row.made, row.committed)
        for row in found.machines
    ]


def only(found: Reconciliation) -> MachineCount:
    [row] = found.machines
    return row


def test_each_machine_is_counted_shift_by_shift(store: Store) -> None:
    store.ingest(
        [
            delivery([(1, cycle(0, 41)), (2, cycle(1, 42)), (3, cycle(15, 43)), (4, cycle(2, 7, machine="oven"))]),
            delivery([(1, cycle(3, 900, station="P03-B"))], stream_id=OTHER_STREAM, station="P03-B"),
            delivery([(5, cycle(60 * 24 * 9, 44))]),
        ]
    )
    found = store.reconcile(shifts())
    assert counts(found) == [
        ("P03-A", "oven", "2026-11-02", "D", 7, 7, 1, 1),
        ("P03-A", "tester", "2026-11-02", "D", 41, 42, 2, 2),
        ("P03-A", "tester", "2026-11-02", "N", 43, 43, 1, 1),
        ("P03-B", "tester", "2026-11-02", "D", 900, 900, 1, 1),
    ]
    assert found.missing == ()
    assert counts(store.reconcile(shifts(), "P03-B")) == [("P03-B", "tester", "2026-11-02", "D", 900, 900, 1, 1)]
    assert store.reconcile([]).machines == ()
    assert store.reconcile(shifts(), "P99-Z") == Reconciliation((), (), ())


def test_a_clock_that_runs_ahead_does_not_move_a_result_into_the_next_shift(store: Store) -> None:
    store.ingest([delivery([(1, cycle(15, 1, clock_offset_seconds=3600.0))])])
    assert only(store.reconcile(shifts())).shift == "D"


def test_numbers_never_read_and_numbers_on_their_way_are_told_apart(store: Store) -> None:
    # The station missed 43 and 44; what it kept as seq 4 (number 46) and 5 (47) has not arrived.
    store.ingest(
        [delivery([(2, cycle(0, 42)), (3, cycle(1, 45, missed_before=2)), (6, cycle(2, 48)), (7, cycle(3, 48))])]
    )
    found = store.reconcile(shifts())
    row = only(found)
    assert (row.made, row.stored, row.committed, row.never_read, row.not_here, row.doubled) == (7, 6, 4, 2, 2, 1)
    assert [(gap.numbers, gap.count, gap.never_read, gap.number, gap.seq) for gap in found.missing] == [
        (((43, 44),), 2, True, 45, 3),
        (((46, 47),), 2, False, 48, 6),
    ]
    [station] = found.stations
    assert [(gap.first, gap.last) for gap in station.stream.missing] == [(1, 1), (4, 5)]


def test_what_a_restored_image_has_forgotten_is_here_and_not_missing(store: Store) -> None:
    """The newer disk read 43 to 45, and 47 moved to another stream because an agent on a copy used its number."""
    newer = [(2, cycle(0, 42)), (3, cycle(1, 43)), (4, cycle(2, 44)), (5, cycle(3, 45))]
    image = [(1, cycle(4, 46, missed_before=3)), (2, cycle(6, 48)), (3, cycle(7, 51, missed_before=2))]
    moved = [(2, cycle(5, 47))]
    store.ingest([delivery(newer), delivery(image, stream_id=OTHER_STREAM), delivery(moved, stream_id="5" * 32)])
    found = store.reconcile(shifts())
    row = only(found)
    assert (row.made, row.committed, row.never_read, row.not_here, row.doubled) == (10, 8, 2, 0, 0)
    assert [(gap.numbers, gap.count) for gap in found.missing] == [(((49, 50),), 2)]


def test_a_counter_that_wraps_and_one_that_is_reset(store: Store) -> None:
    store.ingest(
        [
            delivery(
                [
                    (1, cycle(0, 65_533)),
                    (2, cycle(1, 1, missed_before=3)),
                    (3, cycle(2, 1, cycle_epoch=1, missed_before=None)),
                    (4, cycle(3, 3, cycle_epoch=1, missed_before=1)),
                ]
            )
        ]
    )
    found = store.reconcile(shifts())
    row = only(found)
    assert (row.first, row.last, row.made, row.never_read, row.restarts, row.doubled) == (65_533, 3, None, 4, 1, 0)
    assert [(gap.numbers, gap.count) for gap in found.missing] == [
        (((65_534, 65_535), (0, 0)), 3),
        ((), None),
        (((2, 2),), 1),
    ]


def test_a_machine_without_a_counter_is_counted_all_the_same(store: Store) -> None:
    store.ingest([delivery([(1, cycle(0, None)), (2, cycle(1, "lot-7/1")), (3, cycle(2, 2**70))])])
    row = only(store.reconcile(shifts()))
    assert (row.first, row.last, row.made, row.committed) == (None, None, None, 3)


def test_quarantine_and_backlog_stand_by_their_station(store: Store) -> None:
    store.register_birth(
        Birth(
            site="gimcheon", line="KR01", station="P03-A", online=True, stream_id=STREAM, last_seq=9,
            oldest_available=1, parked=1, host="pc", software="0", at=EVENING,
        )
    )  # fmt: skip
    store.ingest([delivery([(1, cycle(0, 1)), (2, cycle(1, 2))])])
    store.ingest([delivery([(2, cycle(1, 2, outcome="FAIL"))])])
    found = store.reconcile(shifts())
    [station] = found.stations
    assert (station.stream.backlog, station.stream.parked, station.quarantined) == (7, 1, 2)
    assert (only(found).committed, only(found).last) == (1, 1), "what is in dispute does not count"


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(fate=st.lists(st.sampled_from(["here", "here", "never read", "on its way"]), min_size=1, max_size=20))
def test_gaps_reported_are_gaps_made(store: Store, fate: list[str]) -> None:
    """Whatever became of each cycle, what lies before the last record that is here is told apart exactly."""
    with store.database.writing() as connection:
        for table in ("facts", "process_data", "streams"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    items: list[tuple[int, ProcessRecord]] = []
    seq = missed = 0
    for number, what in enumerate(["here", *fate, "here"], start=100):
        if what == "never read":
            missed += 1
            continue
        seq += 1
        if what == "here":
            items.append((seq, cycle(number, number, missed_before=missed)))
        missed = 0
    store.ingest([delivery(items)])
    found = store.reconcile(shifts())
    made = dict(enumerate(fate, start=101))
    lost = {number for gap in found.missing for first, last in gap.numbers for number in range(first, last + 1)}
    assert lost == {number for number, what in made.items() if what != "here"}
    assert sum(row.committed for row in found.machines) == len(items)
    assert sum(row.made or 0 for row in found.machines) == len(fate) + 2


def test_what_was_there_before_the_counters_were_kept_is_counted_too(store: Store) -> None:
    store.ingest([delivery([(1, cycle(0, 5)), (2, cycle(1, 8, missed_before=2)), (3, cycle(2, "text"))])])
    before = store.reconcile(shifts())
    schema.migrate(store.database, "0003")
    store.migrate()
    assert store.reconcile(shifts()) == before
    assert only(before).never_read == 2
