"""Central's state is a function of the set of records: any order, repetition and interleaving gives the same rows."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central.store import Arrival, Author, Store
from central.store.tables import audit_logs, criteria_revisions, metadata, processes, store_meta
from contracts.base import Contract
from contracts.envelope import Birth
from contracts.errors import SetupError
from contracts.facts import (
    AnyDecision,
    ExceptionClosed,
    HoldPlaced,
    HoldReleased,
    LotChanged,
    LotClosed,
    LotCreated,
    LotDeleted,
    OrderOverridden,
    ProcessStarted,
    RecordCorrected,
    RecordDeleted,
    ReworkAuthorised,
    SerialCreated,
    SerialDeleted,
    StatusDecided,
    UnitScrapped,
)
from contracts.permit import PermitRecord, StationRecord
from contracts.processes import PROCESSES
from contracts.record import Entry, ProcessRecord
from contracts.route_model import exception_id
from tests.support.stores import LOT, MORNING, NewDatabase, delivery, minutes, permit, record, reject, rows, sample

Made = TypeVar("Made", bound=Contract)
OTHER_LOT = "WF-KR-261102N-001"
NUMBERED_LOT = "WF-KR-261102D-007"
HISTORIES = int(os.environ.get("STORE_HISTORIES", "200"))
"""Random histories of a run, on each database; the proof takes 5,000: ``STORE_HISTORIES=5000 pytest
-o faulthandler_timeout=36000``."""
AT_ONCE = 5
"""So many of them share a pair of databases, each with units, LOTs and streams of its own and the same stations: a
transaction costs what its statements cost, however many units they are about."""
PLACES = {
    1: ("P01-A", 1), 2: ("P02-A", 2), 3: ("P03-A", 3), 4: ("P03-B", 3), 5: ("P04-A", 4), 6: ("P05-A", 5),
    7: ("P06-A", 6), 8: ("P06-B", 6), 9: ("P07-A", 7), 10: ("P08-A", 8),
}  # fmt: skip
"""The line's stations with their processes; sensors and performance are tested at two places each."""
SERIALS = ["SN-001", "SN-002", f"{NUMBERED_LOT}-0003"]


@contextmanager
def opened(url: str) -> Iterator[Store]:
    store = Store(url)
    store.migrate()
    try:
        yield store
    finally:
        store.close()


def _of(history: int, made: Made) -> Made:
    """The same, of this history's units, LOTs and streams."""
    text = made.model_dump_json()
    for common, own in (
        ("SN-0", f"SN-{history}"),
        ("-261102D-0", f"-261102D-{history}"),
        ("-261102N-0", f"-261102N-{history}"),
        ("0" * 16, f"{history:016x}"),
    ):
        text = text.replace(common, own)
    return type(made).model_validate_json(text)


def _place(station: int) -> dict[str, Any]:
    name, process = PLACES[station]
    return {"station": name, "process": PROCESSES[process - 1].code}


def _record(station: int, values: dict[str, Any]) -> StationRecord:
    if values["outcome"] in ("GOOD", "BAD"):
        return sample(
            **_place(station),
            good=values["outcome"] == "GOOD",
            name=("master", "faulty")[values["permit"] == 1],
            completed_at=values["completed_at"],
        )
    if values["outcome"] in ("OFFLINE", "ONLINE", "REFUSED"):
        return _permit(station, values)
    level = {} if values["serial_number"] else {"data_level": "LOT", "lot_number": LOT}
    return record(**_place(station), **(values | level))


def _permit(station: int, values: dict[str, Any]) -> PermitRecord:
    granted = values["outcome"] != "REFUSED" and values["serial_number"] is not None
    return permit(
        **_place(station),
        serial_number=values["serial_number"],
        lot_number=values["lot_number"],
        granted=granted,
        decided_by="CENTRAL" if values["outcome"] == "ONLINE" else "RULE",
        refusal=None if granted else "ON_HOLD",
        asked_at=values["completed_at"],
        permit=values["permit"],
    )


contents = st.fixed_dictionaries(
    {
        "serial_number": st.sampled_from([*SERIALS, None]),
        "lot_number": st.sampled_from([None, LOT, LOT, OTHER_LOT]),
        "outcome": st.sampled_from(
            ["PASS", "PASS", "PASS", "FAIL", "ERROR", "OFFLINE", "OFFLINE", "ONLINE", "REFUSED", "GOOD", "BAD"]
        ),
        "completed_at": st.integers(0, 30).map(minutes),
        "operator": st.sampled_from([None, "Kim", "KIM"]),
        "product_model": st.sampled_from([None, "WR-1", "WR-2"]),
        "permit": st.sampled_from([None, None, 1, 2]),
        "clock_offset_seconds": st.sampled_from([None, 0.0, 0.0, 0.0, 90.0, -3600.0]),
        "completed_within_seconds": st.sampled_from([None, 0.02, 90.0]),
    }
)
near = st.sampled_from([1, 1, 2, 2, 3, 3, 4, *PLACES])
"""Where it happens: at the beginning of the line most of all, so that one unit is met again and again."""
facts = st.lists(st.tuples(near, st.integers(1, 6), contents), min_size=1, max_size=14)


def _decision(kind: str, serial: str, minute: int) -> AnyDecision:
    """What a person decides of a unit, or of its LOT, between the records."""
    who: dict[str, Any] = {"author": "kim", "decided_at": minutes(minute + 0.5), "reason": "because"}
    match kind:
        case "rework":
            return ReworkAuthorised(serial_number=serial, return_to=PROCESSES[1].code, **who)
        case "override":
            return OrderOverridden(serial_number=serial, process=PROCESSES[2].code, **who)
        case "scrap":
            return UnitScrapped(serial_number=serial, **who)
        case "hold":
            return HoldPlaced(serial_number=serial, hold_id="h", **who)
        case "release":
            return HoldReleased(hold_id="h", serial_number=serial, **who)
        case "seen":
            code = "PREVIOUS_PROCESS_NOT_COMPLETED"
            name = exception_id(serial, code, 3, (f"{3:032x}", 1), None, "")
            return ExceptionClosed(serial_number=serial, exception_id=name, **who)
        case "hold lot":
            return HoldPlaced(lot_number=LOT, hold_id="l", **who)
        case "passed" | "begun":
            return StatusDecided(serial_number=serial, status="PASSED" if kind == "passed" else "IN_PROGRESS", **who)
        case "failed":
            return StatusDecided(serial_number=serial, status="FAILED", failure_reason="dented", **who)
        case "entered":
            return SerialCreated(serial_number=serial, lot_number=OTHER_LOT, sequence_in_lot=9, **who)
        case "gone":
            return SerialDeleted(serial_number=serial, **who)
        case "open lot":
            return LotCreated(lot_number=LOT, target_quantity=2, product_model="WR-2", **who)
        case "change lot":
            return LotChanged(lot_number=LOT, target_quantity=1, **who)
        case "lot gone":
            return LotDeleted(lot_number=LOT, **who)
        case _:
            return LotClosed(lot_number=LOT, **who)


def _about(station: int, seq: int, serial: str, outcome: str | None, minute: int) -> AnyDecision:
    """A correction of a station's record, that is there or is not, or its removal."""
    made: dict[str, Any] = {"author": "kim", "decided_at": minutes(minute + 0.25), "reason": "typed wrongly"}
    made |= {"stream_id": f"{station:032x}", "seq": seq, "serial_number": serial}
    if outcome is None:
        return RecordDeleted(**made)
    counts = record(
        **_place(station), serial_number=serial, outcome=outcome,
        completed_at=minutes(minute), operator="Park", entered=Entry(by="kim", at=minutes(minute), notes="seen again"),
    )  # fmt: skip
    return RecordCorrected(record=counts, **made)


def _entered(process: int, serial: str, outcome: str, minute: int) -> ProcessRecord:
    """A result that a person entered."""
    return record(
        station="central", machine="person", process=PROCESSES[process - 1].code, serial_number=serial,
        outcome=outcome, completed_at=minutes(minute + 0.1), operator="Park", permit=minute + 1,
        clock_offset_seconds=0.0, completed_within_seconds=0.0,
        entered=Entry(by="kim", at=minutes(minute), notes="by hand"),
    )  # fmt: skip


def _begun(process: int, serial: str, minute: int) -> AnyDecision:
    """A process that a person began."""
    return ProcessStarted(
        author="kim", decided_at=minutes(minute), reason="begun", process=PROCESSES[process - 1].code,
        serial_number=serial, lot_number=LOT, operator="Park", started_at=minutes(minute),
    )  # fmt: skip


KINDS = [
    "rework", "rework", "override", "scrap", "hold", "release", "hold lot", "close", "passed", "failed", "begun",
    "entered", "gone", "seen", "open lot", "change lot", "lot gone",
]  # fmt: skip
corrections = st.builds(
    _about,
    near,
    st.integers(1, 6),
    st.sampled_from(SERIALS),
    st.sampled_from(["PASS", "FAIL", "ERROR", None]),
    st.integers(0, 30),
)
entries = st.builds(
    _entered,
    st.integers(1, 4),
    st.sampled_from(SERIALS),
    st.sampled_from(["PASS", "FAIL", "ERROR"]),
    st.integers(0, 30),
)
starts = st.builds(_begun, st.integers(1, 4), st.sampled_from(SERIALS), st.integers(0, 30))
decisions = st.builds(_decision, st.sampled_from(KINDS), st.sampled_from(SERIALS), st.integers(0, 30))
people: st.SearchStrategy[AnyDecision | ProcessRecord] = decisions | corrections | entries | starts


def _decide(store: Store, one: AnyDecision | ProcessRecord) -> None:
    """A person decides it or enters it."""
    if not isinstance(one, ProcessRecord):
        store.add_decision(one)
        return
    with store.writing(Author(name="kim")) as connection:
        store.decisions(connection).keep_record(one)


Pair = tuple[Store, Store]
Facts = list[tuple[int, int, dict[str, Any]]]


def _sent(history: int, given_facts: Facts, data: st.DataObject) -> list[Arrival]:
    """What stations send in one history: also two contents under one number, something unreadable between, and a
    station that writes in another's stream."""
    share = data.draw(st.integers(1, 4), label="stations that write in the stream of the one before them")
    base = history << 64

    def one(seq: int, station: int, content: Any, stream: int) -> Arrival:
        made = _of(history, _record(station, content))
        return delivery([(seq, made)], stream_id=f"{base + stream:032x}", station=PLACES[station][0])

    sent = [one(seq, station, values, station - station % share) for station, seq, values in given_facts]
    torn = reject(b"torn %d" % history, first=9, stream_id=f"{base + 1:032x}")
    sent.append(delivery([], rejected=[torn], stream_id=f"{base + 1:032x}", station="P01-A"))
    if data.draw(st.booleans(), label="foreign"):
        sent.append(one(3, 2, given_facts[0][2], 1))
    return sent


def _same_rows(pair: Pair, histories: list[Facts], data: st.DataObject) -> None:
    """Whatever stations and administrators say meanwhile."""
    sent = [one for number, given in enumerate(histories) for one in _sent(number, given, data)]
    shuffled = data.draw(st.permutations(sent + sent[: data.draw(st.integers(0, len(sent)))]))
    sizes = data.draw(st.lists(st.integers(1, 5 * AT_ONCE), min_size=len(shuffled), max_size=len(shuffled)))
    which = st.integers(0, len(histories) - 1)
    drawn = data.draw(st.lists(st.tuples(which, people), max_size=2 * AT_ONCE), label="decided")
    decided = [_of(number, decision) for number, decision in drawn]
    straight, mixed = pair
    for store in pair:
        _empty(store)
    straight.ingest(sent)
    for decision in decided:
        _decide(straight, decision)
    waiting = list(decided)
    for batch in _batches(shuffled, sizes):
        mixed.ingest(batch)
        while waiting and data.draw(st.booleans(), label="decided now"):
            _decide(mixed, waiting.pop(0))
        said = data.draw(st.sampled_from(["nothing", "nothing", "birth", "will", "ask", "open"]), label="said")
        _talk(mixed, said, data.draw(st.sampled_from("ab"), label="by"))
    for decision in waiting:
        _decide(mixed, decision)
    assert mixed.canonical_rows() == straight.canonical_rows()


def _talk(store: Store, said: str, by: str) -> None:
    """What moves ledgers, and may move nothing that the records determine. ``by`` one process or another."""
    match said:
        case "birth" | "will":
            birth = Birth(
                site="gimcheon", line="KR01", station="P01-A", online=said == "birth", instance=by * 32, last_seq=3,
                stream_id=f"{1:032x}", oldest_available=1, host="pc", software="0", at=MORNING,
            )  # fmt: skip
            store.register_birth(birth)
        case "ask":
            with suppress(SetupError):  # nothing has arrived yet
                store.ask_again("P01-A")
        case "open":
            store.begin_generation()


KEPT = {table.name for table in (store_meta, processes, criteria_revisions, audit_logs)}
"""What migrations made, and what nobody may take away."""


def _empty(store: Store) -> None:
    """As it was when it was made: quicker than making it anew, and its statements stay prepared."""
    with store.database.writing() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name not in KEPT:
                connection.execute(sa.delete(table))


@pytest.fixture
def pair(new_database: NewDatabase) -> Iterator[Pair]:
    """Two databases of one kind, for all the histories of a test."""
    with opened(new_database()) as straight, opened(new_database()) as mixed:
        yield straight, mixed


@settings(max_examples=max(HISTORIES // AT_ONCE, 1), deadline=None, suppress_health_check=list(HealthCheck))
@given(histories=st.lists(facts, min_size=AT_ONCE, max_size=AT_ONCE), data=st.data())
def test_any_order_repetition_and_batching_gives_the_same_rows(
    pair: Pair, histories: list[Facts], data: st.DataObject
) -> None:
    _same_rows(pair, histories, data)


def test_a_unit_moves_to_the_lot_that_an_earlier_record_names(store: Store) -> None:
    store.ingest([delivery([(2, record(lot_number=OTHER_LOT, completed_at=minutes(2)))])])
    store.ingest([delivery([(1, record(lot_number=LOT, completed_at=minutes(1)))])])
    found = store.canonical_rows()
    assert {lot["lot_number"]: lot["actual_quantity"] for lot in found["lots"]} == {LOT: 1, OTHER_LOT: 0}
    assert {row["lot_number"] for row in found["process_data"]} == {LOT}


def test_a_serial_number_made_of_its_lot_says_lot_and_sequence(store: Store) -> None:
    store.ingest([delivery([(1, record(serial_number=f"{LOT}-0003", lot_number=None))])])
    [unit] = store.canonical_rows()["serials"]
    assert (unit["lot_number"], unit["sequence_in_lot"]) == (LOT, 3)


def test_a_conflict_gives_the_same_rows_in_one_batch_and_in_two(new_database: NewDatabase) -> None:
    contents = [record(serial_number="SN-A01"), record(serial_number="SN-B01", operator="kim", lot_number=OTHER_LOT)]
    messages = [delivery([(1, content)]) for content in contents]
    found = []
    for batches in ([messages], [messages[::-1]], [messages[:1], messages[1:]], [messages[1:], messages[:1], messages]):
        with opened(new_database()) as store:
            for batch in batches:
                store.ingest(batch)
            found.append(store.canonical_rows())
    assert all(rows_of == found[0] for rows_of in found)


def _batches(items: list[Arrival], sizes: list[int]) -> Iterator[list[Arrival]]:
    rest = iter(items)
    for size in sizes:
        batch = list(islice(rest, size))
        if not batch:
            return
        yield batch


def test_an_empty_database_is_rebuilt_from_the_same_facts(new_database: NewDatabase) -> None:
    decisions: list[AnyDecision] = [
        LotCreated(author="park", decided_at=MORNING, reason="order 7", lot_number=LOT, product_model="WR-1"),
        ReworkAuthorised(
            author="park", decided_at=minutes(9), reason="sensor", serial_number="SN-001", return_to=PROCESSES[1].code
        ),
        HoldPlaced(author="park", decided_at=minutes(10), reason="look", hold_id="h1", serial_number="SN-002"),
    ]
    arrivals = [
        delivery(
            [
                (seq, record(process=PROCESSES[seq - 1].code, serial_number=serial, completed_at=minutes(seq)))
                for seq in range(1, 9)
            ],
            stream_id=f"{number:032x}",
        )
        for number, serial in enumerate(SERIALS, start=1)
    ]
    with opened(new_database()) as first, opened(new_database()) as rebuilt:
        for arrival in arrivals:
            first.ingest([arrival])
        for decision in decisions:
            first.add_decision(decision)
        for decision in decisions:
            rebuilt.add_decision(decision)
        rebuilt.ingest(arrivals[::-1])
        assert rebuilt.canonical_rows() == first.canonical_rows()
        assert rebuilt.epoch != first.epoch


def test_both_databases_hold_the_same(postgres_url: str, tmp_path: Path) -> None:
    arrivals = [
        delivery(
            [(seq, record(completed_at=minutes(seq), operator="김-7", product_model="WR-1")) for seq in range(1, 9)]
        ),
        # Holds and exceptions hold objects, whose keys JSONB orders by itself.
        *(
            delivery(
                [
                    (seq, record(station=station, serial_number=f"SN-{seq:03d}", outcome=bad if seq % 3 else "PASS"))
                    for seq in range(1, 9)
                ],
                stream_id=f"{number:032x}",
                station=station,
            )
            for number, (station, bad) in enumerate((("P03-B", "FAIL"), ("P03-C", "PASS")), start=2)
        ),
    ]
    with opened(postgres_url) as postgres, opened(f"sqlite:///{tmp_path}/same.db") as sqlite:
        for store in (postgres, sqlite):
            store.ingest(arrivals)
            store.add_decision(
                UnitScrapped(author="p", decided_at=minutes(99), reason="x", serial_number="SN-261102-001")
            )
        assert postgres.canonical_rows() == sqlite.canonical_rows()


def test_a_decision_is_a_fact_and_is_folded_at_once(store: Store) -> None:
    store.ingest([delivery([(1, record(process=PROCESSES[0].code))])])
    assert (
        store.add_decision(LotCreated(author="Park", decided_at=MORNING, reason="r", lot_number=LOT, target_quantity=7))
        == 1
    )
    hold = HoldPlaced(author="Park", decided_at=minutes(1), reason="dents", hold_id="h", serial_number="SN-261102-001")
    assert store.add_decision(hold) == 2
    [lot], [unit] = store.canonical_rows()["lots"], store.canonical_rows()["serials"]
    assert (lot["target_quantity"], lot["created"], unit["on_hold"]) == (7, True, True)

    # A release that names neither unit nor LOT ends the hold where it was placed.
    assert store.add_decision(HoldReleased(author="Park", decided_at=minutes(2), reason="fine", hold_id="h")) == 3
    assert store.canonical_rows()["serials"][0]["on_hold"] is False
    assert store.add_decision(HoldReleased(author="Park", decided_at=minutes(3), reason="?", hold_id="nowhere")) == 4
    commit = store.commit_of(store.central_stream)
    assert commit is not None
    assert commit.committed_seq == 4
    assert [row["kind"] for row in rows(store, "facts") if row["kind"] != "record"].count("hold_released") == 2


def test_a_decision_before_any_record_makes_what_it_names(store: Store) -> None:
    store.add_decision(LotCreated(author="p", decided_at=MORNING, reason="r", lot_number=LOT, product_model="WR-9"))
    store.add_decision(UnitScrapped(author="p", decided_at=MORNING, reason="bent", serial_number="SN-009"))
    found = store.canonical_rows()
    assert [row["model_code"] for row in found["lots"]] == ["WR-9"]
    assert [(row["serial_number"], row["scrapped"]) for row in found["serials"]] == [("SN-009", True)]


def test_a_closed_lot_keeps_late_work(store: Store) -> None:
    store.ingest([delivery([(1, record())])])
    store.add_decision(LotCreated(author="p", decided_at=MORNING, reason="r", lot_number=LOT))
    store.add_decision(LotClosed(author="p", decided_at=minutes(5), reason="r", lot_number=LOT))
    late = store.ingest([delivery([(2, record(completed_at=minutes(50), serial_number="SN-LATE"))])])
    assert late.inserted == 1
    assert len(store.canonical_rows()["process_data"]) == 2
    [lot] = store.canonical_rows()["lots"]
    assert lot["status"] == "CLOSED"
    assert [e["serial_number"] for e in lot["exceptions"] if e["code"] == "WORK_AFTER_CLOSED"] == ["SN-LATE"]


def test_a_text_of_a_decision_that_a_column_cannot_hold_stops_nothing(store: Store) -> None:
    strange: list[AnyDecision] = [
        LotCreated(author="p\x00", decided_at=MORNING, reason="r\x00", lot_number=LOT, product_model="\x00" * 300),
        LotCreated(author="p", decided_at=MORNING, reason="r", lot_number=OTHER_LOT, product_model=" "),
        HoldPlaced(author="p", decided_at=MORNING, reason="\x00", hold_id="h\x00", lot_number=LOT),
        HoldReleased(author="p", decided_at=minutes(1), reason="r", hold_id="h\x00"),
    ]
    assert [store.add_decision(decision) for decision in strange] == [1, 2, 3, 4]
    assert [lot["on_hold"] for lot in store.canonical_rows()["lots"]] == [False, False]


@pytest.mark.parametrize("decided", [1, 2])
def test_decisions_are_numbered_without_gaps(store: Store, decided: int) -> None:
    for number in range(1, decided + 1):
        scrapped = UnitScrapped(author="p", decided_at=MORNING, reason="r", serial_number=f"SN-{number:03d}")
        assert store.add_decision(scrapped) == number
