"""The streams' ledgers on both databases: what is missing and since when, who writes in a stream, who may ingest."""

import time
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from central.show import streams_table
from central.store import AlarmKind, Arrival, Claim, Seat, StationCommit, Store
from central.store.ledger import find
from contracts.envelope import Birth, Commit, HeldStream, successor
from contracts.errors import SetupError
from contracts.record import canonical
from contracts.topics import StationTopics
from tests.support.stores import MORNING, STREAM, NewDatabase, delivery, minutes, only_commit, record, reject, rows

OTHER_STREAM = "0" * 31 + "2"
FIRST, SECOND, THIRD = ("a" * 32, "b" * 32, "c" * 32)


def birth(instance: str | None = FIRST, at: float = 0, **changes: object) -> Birth:
    values = {
        "site": "gimcheon",
        "line": "KR01",
        "station": "P03-A",
        "online": True,
        "instance": instance,
        "stream_id": STREAM,
        "last_seq": 0,
        "oldest_available": 0,
        "host": f"pc-{instance}"[:4],
        "software": "0.1.0",
        "at": minutes(at),
    }
    return Birth.model_validate({**values, **changes})


def born(store: Store, said: Birth) -> StationCommit:
    answer = store.register_birth(said)
    assert answer is not None
    return answer.told


def shown(store: Store, station: str) -> str:
    """What `streams` says of a station."""
    return " ".join(str(cell) for column in streams_table(store.streams(station)).columns for cell in column.cells)


def sent(
    seq: int, outcome: str = "PASS", instance: str | None = None, station: str = "P03-A", last_seq: int | None = None
) -> Arrival:
    content = record(outcome=outcome, completed_at=minutes(seq), station=station)
    made = delivery([(seq, content)], station=station)
    return Arrival(
        made.stream_id, made.site, made.line, made.station, made.records, (), instance=instance, last_seq=last_seq
    )


def stream(store: Store) -> dict[str, object]:
    [row] = rows(store, "streams")
    return row


def test_a_gap_is_as_old_as_the_first_sight_of_it_however_it_shrinks(store: Store) -> None:
    def gaps() -> list[tuple[int, int]]:
        with store.database.reading() as connection:
            ledger = find(connection, STREAM, None)
        assert ledger is not None
        ages.extend(gap.since for gap in ledger.missing)
        return [(gap.first, gap.last) for gap in ledger.missing]

    ages: list[object] = []
    store.ingest([sent(8)])
    assert gaps() == [(1, 7)]
    store.ingest([sent(4)])
    assert gaps() == [(1, 3), (5, 7)]
    assert len(set(ages)) == 1
    store.ingest([sent(11)])
    assert gaps() == [(1, 3), (5, 7), (9, 10)]
    assert len(set(ages)) == 2
    store.ingest([sent(seq) for seq in (1, 2, 3, 5, 6, 7, 9, 10)])
    assert gaps() == []


def test_each_word_of_a_ledger_is_later_than_the_one_before(store: Store) -> None:
    store.begin_generation()
    said = [born(store, birth()).commit, only_commit(store.ingest([sent(1)])), only_commit(store.ingest([sent(2)]))]
    said.append(born(store, birth()).commit)
    assert all(earlier.is_late(later) for earlier, later in pairwise(said))
    store.begin_generation()
    anew = store.commit_of(STREAM)
    assert anew is not None
    assert not said[0].is_late(anew)
    assert (anew.committed_seq, anew.known_seq) == (2, 2)


def test_other_content_raises_an_alarm_and_tells_its_sender_to_begin_a_new_stream(store: Store) -> None:
    store.ingest([sent(1, instance=FIRST), sent(2, instance=FIRST)])
    result = store.ingest([sent(1, "FAIL", SECOND), sent(2, "FAIL", SECOND), sent(3, instance=SECOND)])
    assert [(alarm.kind, alarm.claim, alarm.detail) for alarm in result.alarms] == [
        (AlarmKind.OTHER_CONTENT, Claim(STREAM, "P03-A"), "seq 1-2")
    ]
    assert only_commit(result).mint == (SECOND,)
    repeated = store.ingest([sent(1, "FAIL", SECOND)])
    assert (repeated.alarms, repeated.conflicts) == ((), 0), "the same content again is no news"
    store.ingest([sent(3, "ERROR", THIRD)])
    [alarm] = store.alarms()
    assert (alarm.kind, alarm.occurrences, alarm.station) == (AlarmKind.OTHER_CONTENT.value, 3, "P03-A")

    assert store.acknowledge_alarms([alarm.id]) == 1
    assert store.acknowledge_alarms([alarm.id]) == 0
    assert store.alarms() == []
    store.ingest([sent(3, "FAIL", THIRD)])
    assert [one.occurrences for one in store.alarms(acknowledged=True)] == [1, 3]


def test_two_contents_in_one_transaction_tell_the_second_sender(store: Store) -> None:
    result = store.ingest([sent(1, instance=FIRST), sent(1, "FAIL", SECOND)])
    assert only_commit(result).mint == (SECOND,)


def test_a_commit_says_what_it_has_taken_from_whom_and_what_of_it_is_disputed(store: Store) -> None:
    unread = reject(b"torn", first=5)
    made = [sent(1, instance=FIRST), sent(2, instance=FIRST), sent(3, instance=SECOND), sent(4)]
    torn = Arrival(STREAM, made[0].site, made[0].line, made[0].station, (), (unread,), instance=SECOND)
    told = only_commit(store.ingest([*made, torn]))
    assert (told.taken, told.disputed) == ({FIRST: ((1, 2),), SECOND: ((3, 3), (5, 5))}, ())
    again = only_commit(store.ingest([sent(1, instance=SECOND), sent(2, "FAIL", SECOND)]))
    assert (again.taken, again.disputed) == ({SECOND: ((1, 2),)}, ((2, 2),)), "the same content, and another one"
    assert only_commit(store.ingest([sent(2, instance=FIRST)])).disputed == ((2, 2),)
    assert born(store, birth(FIRST)).commit.taken == {}


def test_a_restart_is_no_copy(store: Store) -> None:
    for number, instance in enumerate((FIRST, SECOND, THIRD)):
        assert born(store, birth(instance, at=number)).commit.mint == ()
        assert born(store, birth(instance, at=number + 0.5)).commit.mint == (), "it connects again"
    assert store.alarms() == []


def test_an_agent_that_comes_back_after_another_took_its_stream_proves_a_copy(store: Store) -> None:
    born(store, birth(FIRST, at=0))
    born(store, birth(SECOND, at=1))
    assert born(store, birth(FIRST, at=0)).commit.mint == (), "the same birth, read by another ingestor"
    assert born(store, birth(FIRST, at=2)).commit.mint == (FIRST,)
    assert born(store, birth(FIRST, at=2)).commit.mint == (FIRST,)
    [alarm] = store.alarms()
    assert (alarm.kind, alarm.occurrences) == (AlarmKind.TWO_AGENTS.value, 1)
    assert "pc-a" in alarm.detail
    assert "pc-b" in alarm.detail


def test_the_last_words_of_a_former_agent_say_nothing_of_the_present_one(store: Store) -> None:
    born(store, birth(FIRST))
    born(store, birth(SECOND, at=1))
    born(store, birth(FIRST, online=False))
    assert bool(stream(store)["online"])
    born(store, birth(SECOND, at=2, online=False))
    assert not stream(store)["online"]


def test_a_copy_at_another_station_is_told_before_it_sends_anything(store: Store) -> None:
    born(store, birth(FIRST))
    for _ in range(2):
        assert born(store, birth(SECOND, station="P03-B")).commit.mint == (SECOND,)
    [alarm] = store.alarms()
    assert (alarm.kind, alarm.station, alarm.occurrences) == (AlarmKind.FOREIGN_STREAM.value, "P03-B", 1)
    result = store.ingest([sent(1, instance=THIRD, station="P03-B")])
    assert only_commit(result).mint == (SECOND, THIRD)
    assert result.alarms[0].detail == "seq 1; P03-A writes in this stream too"


def test_an_agent_that_asks_is_told_what_is_held_under_each_number(store: Store) -> None:
    """Kept, disputed, refused, unreadable and missing numbers, page by page."""
    first, other = sent(2), sent(2, "FAIL", SECOND)
    store.ingest([sent(1), first, sent(3), sent(6)])
    impossible = delivery([(5, record(completed_at=minutes(5), lot_number="WF-KR-261399D-001"))])
    store.ingest([other, impossible, delivery([], rejected=[reject(b"torn", first=7, last=8)])])
    # One record of a message, refused for what it says or because it cannot be read, is kept with its place there.
    refused, unread = (
        b'{"seq": %d, "record": %s}' % one for one in ((9, canonical(sent(9).records[0][1])), (10, b"{}"))
    )
    store.ingest([delivery([], rejected=[reject(refused, first=9), reject(unread, first=10)])])
    held = {seq: digest[:16] for seq, _, digest in (sent(seq).records[0] for seq in (1, 2, 3, 6, 9))}
    both = " ".join(sorted((held[2], other.records[0][2][:16])))
    assert born(store, birth(FIRST)).commit.contents is None

    def told(first: int, at: int) -> tuple[str, ...]:
        contents = born(store, birth(FIRST, at=at, compare_from=first)).commit.contents
        assert contents is not None
        assert contents.first == first
        return contents.digests

    assert told(1, 1) == (held[1], both, held[3], "", impossible.records[0][2][:16], held[6], "*", "*", held[9], "*")
    assert told(6, 2) == (held[6], "*", "*", held[9], "*")
    assert told(11, 3) == ()


def test_an_earlier_stream_is_asked_of_the_station_that_wrote_it(store: Store) -> None:
    born(store, birth(FIRST))
    held = HeldStream(stream_id=STREAM, last_seq=5, oldest_available=2)
    of_mine = birth(SECOND, stream_id=OTHER_STREAM, earlier=(held,)).of_each_stream()[1]
    answer = store.register_birth(of_mine, present=False)
    assert answer is not None
    assert (answer.told.commit.stream_id, answer.told.commit.mint) == (STREAM, ())
    assert (stream(store)["oldest_available"], stream(store)["last_seq"]) == (2, 5)
    elsewhere = of_mine.model_copy(update={"station": "P03-B"})
    assert store.register_birth(elsewhere, present=False) is None
    assert len(rows(store, "streams")) == 1


def test_an_older_image_that_caught_up_before_it_was_heard_is_told_by_what_moves(store: Store) -> None:
    """It gave as many numbers as central has: only its results, which are others, give it away."""
    born(store, birth(FIRST, last_seq=4))
    store.ingest([sent(1), sent(2), sent(3), sent(4)])
    born(store, birth(SECOND, at=1, last_seq=4, compare_from=3))
    assert store.alarms() == []
    moved = HeldStream(stream_id=successor(STREAM), last_seq=4, oldest_available=3)
    left = HeldStream(stream_id=STREAM, last_seq=4, oldest_available=1)
    later = birth(SECOND, at=2, stream_id=OTHER_STREAM, earlier=(left, moved))
    for _ in range(2):  # told once, however often it is said
        for one in later.of_each_stream()[1:]:
            store.register_birth(one, present=False)
    [alarm] = store.alarms()
    assert (alarm.kind, alarm.stream_id, alarm.occurrences) == (
        AlarmKind.OTHER_CONTENT.value, successor(STREAM), 1
    )  # fmt: skip
    assert "restored from an older image" in alarm.detail
    store.register_birth(later.of_each_stream()[2].model_copy(update={"last_seq": 6}), present=False)
    assert [one.occurrences for one in store.alarms()] == [2], "more has moved"


def test_a_copy_that_is_heard_first_takes_no_stream_from_the_station_that_writes_it(store: Store) -> None:
    """Of an emptied database the first to be heard may be a PC that was cloned, and holds the other's results, too.

    What it brings of them is refused in its name; that is no word to the station whose results they are.
    """
    held = HeldStream(stream_id=STREAM, last_seq=4, oldest_available=1)
    of_the_copy = birth(SECOND, station="P03-B", stream_id=OTHER_STREAM, earlier=(held,)).of_each_stream()[1]
    answer = store.register_birth(of_the_copy, present=False)
    assert answer is not None
    copied = [b'{"seq": %d, "record": %s}' % (seq, canonical(sent(seq).records[0][1])) for seq in (1, 2, 3, 4)]
    topic = StationTopics("gimcheon", "KR01", "P03-B").records
    refused = [replace(reject(one, first=seq), topic=topic) for seq, one in enumerate(copied, 1)]
    store.ingest([delivery([], rejected=refused, station="P03-B")])
    assert "no record of it yet" in shown(store, "P03-B"), "it is nobody's"

    assert born(store, birth(FIRST, last_seq=4, oldest_available=1)).commit.mint == ()
    assert store.alarms() == []
    of_mine = birth(FIRST, stream_id=OTHER_STREAM, earlier=(held,)).of_each_stream()[1]
    assert store.register_birth(of_mine, present=False) is not None
    assert store.register_birth(of_the_copy, present=False) is None
    assert "another station's stream" in shown(store, "P03-B")

    # Numbers 1 and 4 have come; whoever asks from 1 on settles by what is told of those in between.
    store.ingest([sent(1), sent(4)])
    told = born(store, birth(FIRST, at=1, last_seq=4, oldest_available=1, compare_from=1)).commit
    assert told.contents is not None
    assert [bool(one) for one in told.contents.digests] == [True, False, False, True]


def test_what_a_message_says_of_its_station_is_kept(store: Store) -> None:
    late = record(completed_at=minutes(1), clock_offset_seconds=1.5)
    made = delivery([(1, late), (2, record(completed_at=minutes(2)))])
    store.ingest([Arrival(STREAM, made.site, made.line, made.station, made.records, last_seq=40)])
    assert (stream(store)["last_seq"], stream(store)["clock_offset_seconds"]) == (40, 1.5)
    # A retained birth may be much older than what came since.
    born(store, birth(FIRST, last_seq=30))
    born(store, birth(FIRST, last_seq=20, online=False))
    assert stream(store)["last_seq"] == 30


def test_many_gaps_fit_into_a_commit_that_says_less(store: Store) -> None:
    items = [(seq, record(completed_at=MORNING + timedelta(seconds=seq))) for seq in range(2, 10_000, 4)]
    begun = time.monotonic()
    told = only_commit(store.ingest([delivery(items)]))
    assert time.monotonic() - begun < 60
    assert (len(told.ranges), told.committed_seq, told.known_seq) == (2000, 0, 9998)
    assert len(told.model_dump_json()) < 256 * 1024
    again = store.commit_of(STREAM)
    assert isinstance(again, Commit)
    assert again.ranges == told.ranges


def test_a_second_ingestor_of_the_same_name_is_refused_until_the_first_is_gone(new_database: NewDatabase) -> None:
    url = new_database()
    stores = [Store(url), Store(url)]
    first, second = (Seat(store.database, None, patience_s=0.2) for store in stores)
    first.take()
    first.take()
    with pytest.raises(SetupError, match="an ingestor"):
        second.take()
    first.close()
    second.take()
    second.close()
    for store in stores:
        store.close()


def test_ingestors_of_several_names_need_postgresql(new_database: NewDatabase) -> None:
    store = Store(new_database())
    seats = [Seat(store.database, name, patience_s=0.2) for name in ("1", "2")]
    if store.database.sqlite:
        with pytest.raises(SetupError, match="PostgreSQL"):
            seats[0].take()
    else:
        for seat in seats:
            seat.take()
        again = Seat(store.database, "2", patience_s=0.2)
        with pytest.raises(SetupError, match="another --instance"):
            again.take()
    for seat in seats:
        seat.close()
    store.close()
