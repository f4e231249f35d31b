"""A replay on both databases: what is asked for again, what of it came, and what central had lost is there again."""

import pytest
import sqlalchemy as sa

from central.store import AlarmKind, Arrival, Store
from contracts.envelope import Birth, HeldStream
from contracts.errors import SetupError
from tests.support.stores import MORNING, STREAM, delivery, minutes, only_commit, record


def birth(**changes: object) -> Birth:
    values = {
        "site": "gimcheon",
        "line": "KR01",
        "station": "P03-A",
        "online": True,
        "instance": "a" * 32,
        "stream_id": STREAM,
        "last_seq": 20,
        "oldest_available": 3,
        "host": "pc-3",
        "software": "0.1.0",
        "at": MORNING,
    }
    return Birth.model_validate({**values, **changes})


def sent(*seqs: int, **changes: object) -> Arrival:
    return delivery(
        [(seq, record(completed_at=minutes(seq), serial_number=f"SN-{seq:03d}", **changes)) for seq in seqs]
    )


@pytest.fixture
def filled(store: Store) -> Store:
    """A station whose records 1 to 20 have arrived, but for number 12; it still keeps them from 3 on."""
    store.register_birth(birth())
    store.ingest([sent(*(seq for seq in range(1, 21) if seq != 12))])
    return store


def test_what_is_asked_for_is_left_out_of_the_commit_until_it_comes(filled: Store) -> None:
    asked = filled.ask_again("P03-A", 10)
    commit = asked.told.commit
    assert asked.spans == ((10, 11), (13, 20))
    assert (commit.committed_seq, commit.ranges, commit.known_seq) == (9, (), 20)
    [status] = filled.streams()
    assert (status.committed_seq, status.asked, status.backlog) == (11, asked.spans, 1), "it is here all the same"

    first = filled.ingest([sent(10, 11, 12, 13)])
    assert (first.inserted, first.repeated, only_commit(first).committed_seq) == (1, 3, 13)
    assert filled.standing(asked).open == ((14, 20),)
    last = only_commit(filled.ingest([sent(*range(14, 21))]))
    assert (last.committed_seq, last.ranges) == (20, ())
    now = filled.standing(asked)
    assert (now.open, now.records - asked.records, now.disputed) == ((), 0, 0)
    assert filled.streams()[0].asked_at is None


def test_what_central_has_lost_is_stored_again(filled: Store) -> None:
    filled.ingest([sent(12)])
    before = filled.canonical_rows()
    with filled.database.writing() as connection:  # a hand in the database
        for table in ("facts", "process_data"):
            connection.execute(sa.text(f"DELETE FROM {table} WHERE seq BETWEEN 5 AND 7"))
    asked = filled.ask_again("P03-A")
    assert asked.spans == ((3, 20),)
    result = filled.ingest([sent(*range(3, 21))])
    assert (result.inserted, result.repeated) == (3, 15)
    now = filled.standing(asked)
    assert (now.open, now.records - asked.records) == ((), 3)
    assert filled.canonical_rows() == before


def test_other_content_in_a_replay_is_seen(filled: Store) -> None:
    asked = filled.ask_again("P03-A", 20)
    filled.ingest([sent(20, outcome="FAIL")])
    now = filled.standing(asked)
    assert (now.open, now.records - asked.records, now.disputed) == ((), -1, 2)


def test_what_does_not_come_is_asked_for_no_longer(filled: Store) -> None:
    asked = filled.ask_again("P03-A", 3, 6)
    assert filled.withdraw(asked).commit.committed_seq == 11
    assert filled.standing(asked).open == ()
    # A station whose retention went on meanwhile says so when it is born again.
    filled.ask_again("P03-A")
    filled.register_birth(birth(oldest_available=15))
    assert filled.streams()[0].asked == ((15, 20),)


def test_a_restored_image_of_an_outbox_is_asked_for_nothing(filled: Store) -> None:
    filled.ask_again("P03-A")
    answer = filled.register_birth(birth(instance="b" * 32, last_seq=8))
    assert answer is not None
    assert (answer.told.commit.committed_seq, answer.told.commit.ranges) == (11, ((13, 20),))
    [alarm] = answer.alarms
    assert (alarm.kind, alarm.detail) == (
        AlarmKind.OLDER_IMAGE, "on host pc-3: it ends at seq 8, and central has seq 20"
    )  # fmt: skip
    for again in (birth(instance="b" * 32, last_seq=8), birth(instance="c" * 32)):
        answer = filled.register_birth(again)
        assert answer is not None
        assert answer.alarms == (), "the same birth again, or a restart, is no news"


@pytest.mark.parametrize(
    ("station", "first", "says"),
    [
        ("P99-Z", None, "never been heard of; known stations: P03-A"),
        ("P03-A", 2, "from seq 3 on.*--from 3"),
        ("P03-A", 21, "no record of station P03-A from seq 21 on"),
    ],
)
def test_what_cannot_be_asked_is_told_why(filled: Store, station: str, first: int | None, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        filled.ask_again(station, first)
    assert filled.streams()[0].asked == ()


def test_an_earlier_stream_that_the_station_still_holds_can_be_asked_for(filled: Store) -> None:
    present, held = "5" * 32, HeldStream(stream_id=STREAM, last_seq=20, oldest_available=3)
    said = birth(stream_id=present, last_seq=0, oldest_available=0, earlier=(held,))
    for one in said.of_each_stream():
        filled.register_birth(one, present=one.stream_id == present)
    with pytest.raises(SetupError, match="holds no records"):
        filled.ask_again("P03-A")
    with pytest.raises(SetupError, match="no stream whose name begins with abc; its streams: 55555555, 00000000"):
        filled.ask_again("P03-A", stream="abc")
    asked = filled.ask_again("P03-A", 18, stream=STREAM[:8])
    assert (asked.claim.stream_id, asked.spans) == (STREAM, ((18, 20),))
    assert filled.standing(asked).online, "the station is, whatever stream it writes now"
    filled.ingest([sent(18, 19, 20)])
    assert filled.standing(asked).open == ()


def test_a_station_that_is_away_is_not_asked(filled: Store) -> None:
    filled.register_birth(birth(online=False))
    with pytest.raises(SetupError, match="offline"):
        filled.ask_again("P03-A")
    filled.register_birth(birth(oldest_available=0))
    with pytest.raises(SetupError, match="holds no records"):
        filled.ask_again("P03-A")


@pytest.mark.parametrize("last_seq", [0, 40], ids=["new", "all of it deleted after its time"])
def test_a_station_that_was_born_empty_is_asked_for_what_it_has_made_since(store: Store, last_seq: int) -> None:
    store.register_birth(birth(last_seq=last_seq, oldest_available=0))
    with pytest.raises(SetupError, match="holds no records"):
        store.ask_again("P03-A")
    store.ingest([sent(last_seq + 1, last_seq + 2)])
    asked = store.ask_again("P03-A")
    assert asked.spans == ((last_seq + 1, last_seq + 2),)
    store.register_birth(birth(last_seq=last_seq, oldest_available=0))  # the retained one, read again
    assert store.streams()[0].asked == asked.spans


def test_a_stream_is_shown_with_what_is_gone_and_what_is_to_come(filled: Store) -> None:
    # A rebuilt central: the station no longer keeps what came before seq 41.
    other = "0" * 31 + "2"
    filled.register_birth(birth(stream_id=other, last_seq=50, oldest_available=41, instance="b" * 32))
    filled.ingest([delivery([(seq, record(completed_at=minutes(seq))) for seq in (41, 42, 45)], stream_id=other)])
    present, former = filled.streams()
    assert (present.stream_id, present.present, present.online) == (other, True, True)
    assert [(gap.first, gap.last) for gap in present.missing] == [(1, 40), (43, 44)]
    assert (present.gone, present.backlog, present.last_seq) == (((1, 40),), 7, 50)
    assert (former.stream_id, former.present, former.online) == (STREAM, False, None)
    assert filled.streams("P99-Z") == []
