"""Permits that come in a station's stream: kept once beside the results, and the wrong ones told, in any order."""

from itertools import permutations

import pytest

from central.store import AlarmKind, Arrival, Store
from contracts.facts import HoldPlaced, HoldReleased, LotCreated
from contracts.processes import PROCESSES
from contracts.refusals import RefusalCode
from tests.contract.test_store_laws import opened
from tests.support.stores import LOT, MORNING, NewDatabase, delivery, minutes, only_commit, permit, record, rows

WRONG = "OFFLINE_PERMIT_WRONG"
P02 = PROCESSES[1].code


def _codes(store: Store, table: str = "serials") -> list[str]:
    [row] = store.canonical_rows()[table]
    return [one["code"] for one in row["exceptions"]]


def test_a_permit_is_a_fact_of_its_stream_and_no_result(store: Store) -> None:
    result = store.ingest([delivery([(1, permit(decided_by="CENTRAL", permit=7)), (2, record(permit=7))])])
    assert (result.inserted, only_commit(result).committed_seq) == (2, 2)
    assert store.counts().records == 1
    found = {row["kind"]: row for row in rows(store, "facts")}
    assert (found["permit"]["outcome"], found["permit"]["permit"]) == ("GRANTED", 7)
    assert store.ingest([delivery([(1, permit(decided_by="CENTRAL", permit=7))])]).repeated == 1
    [unit] = store.canonical_rows()["serials"]
    assert unit["status"] == "IN_PROGRESS"


def test_a_permit_alone_makes_its_unit_known_and_starts_nothing(store: Store) -> None:
    store.ingest([delivery([(1, permit(decided_by="CENTRAL", permit=7))])])
    [unit] = store.canonical_rows()["serials"]
    assert (unit["status"], unit["started_at"], unit["lot_number"]) == ("CREATED", None, None)


def test_a_refusal_may_name_what_does_not_exist(store: Store) -> None:
    refused = permit(granted=False, refusal=RefusalCode.SERIAL_NOT_FOUND, serial_number="SN-TYPO", lot_number=None)
    unread = permit(granted=False, refusal=RefusalCode.REQUEST_NOT_UNDERSTOOD, serial_number=None, asked="SN 1")
    golden = permit(part="GOLDEN_SAMPLE", serial_number="GOLDEN-1", lot_number=None)
    assert store.ingest([delivery([(1, refused), (2, unread), (3, golden)])]).inserted == 3
    assert store.canonical_rows()["serials"] == []
    assert store.canonical_rows()["lots"] == []


def test_other_content_under_a_permits_number_disputes_it(store: Store) -> None:
    store.ingest([delivery([(1, permit())])])
    result = store.ingest([delivery([(1, record())])])
    assert (result.conflicts, result.quarantined) == (1, 2)
    assert [row["digest"] for row in rows(store, "facts")] == [None]
    assert {bytes(row["payload"])[:7] for row in rows(store, "quarantine")} == {b'{"kind"', b'{"stati'}


ARRIVALS: list[Arrival] = [
    delivery([(1, record(station="P01-A", process=PROCESSES[0].code))], stream_id="a" * 32, station="P01-A"),
    delivery([(1, record(station="P02-A", process=P02, completed_at=minutes(9)))], stream_id="b" * 32, station="P02-A"),
    delivery([(1, permit(asked_at=minutes(5))), (2, record(completed_at=minutes(6)))]),
    delivery([(3, permit(asked_at=minutes(20), serial_number="SN-261102-002"))]),
]


def test_a_wrong_permit_is_an_exception_and_an_alarm_whatever_came_first(new_database: NewDatabase) -> None:
    """Central was away, the unit had not been at process 2, and station P03-A let it start."""
    found = []
    for order in list(permutations(ARRIVALS))[::7]:
        with opened(new_database()) as store:
            for arrival in order:
                store.ingest([arrival])
            found.append(store.canonical_rows())
            alarms = [alarm for alarm in store.alarms() if alarm.kind == AlarmKind.OFFLINE_PERMIT_WRONG]
            assert [(alarm.station, alarm.occurrences) for alarm in alarms] == [("P03-A", 2)]
    assert all(rows_of == found[0] for rows_of in found)
    told = [one["code"] for row in found[0]["serials"] for one in row["exceptions"]]
    assert told.count(WRONG) == 2


def test_a_permit_that_was_right_all_the_same_is_no_exception(store: Store) -> None:
    """The station could not know: what it lacked comes later, and says so."""
    before = [
        delivery([(1, record(station=f"P0{n}-A", process=PROCESSES[n - 1].code, completed_at=minutes(n)))],
                 stream_id=f"{n:032x}", station=f"P0{n}-A")
        for n in (1, 2)
    ]  # fmt: skip
    store.ingest([delivery([(1, permit(asked_at=minutes(5), decided_by="RULE", flagged=True))], stream_id="c" * 32)])
    assert _codes(store) == [WRONG]
    store.ingest(before)
    assert _codes(store) == []


@pytest.mark.parametrize(("at", "expected"), [(4, []), (6, [WRONG]), (9, [])])
def test_a_permit_is_judged_by_the_holds_of_its_moment(store: Store, at: int, expected: list[str]) -> None:
    first = permit(process=PROCESSES[0].code, station="P01-A", asked_at=minutes(at))
    store.ingest([delivery([(1, first)], station="P01-A")])
    common = {"author": "kim", "reason": "dents", "hold_id": "h"}
    store.add_decision(LotCreated(author="kim", decided_at=MORNING, reason="r", lot_number=LOT))
    store.add_decision(HoldPlaced(**common, decided_at=minutes(5), lot_number=LOT))
    store.add_decision(HoldReleased(**common, decided_at=minutes(8), lot_number=LOT))
    assert _codes(store, "lots") == expected
    store.add_decision(HoldPlaced(**common, decided_at=minutes(5), serial_number="SN-261102-001"))
    store.add_decision(HoldReleased(**common, decided_at=minutes(8), serial_number="SN-261102-001"))
    assert _codes(store) == expected
