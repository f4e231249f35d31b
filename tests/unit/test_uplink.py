"""The uplink over a real broker, with a central that says what a test wants it to say."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.delivery import Delivery
from agent.outbox import Outbox, Row
from agent.settings import load
from agent.uplink import Uplink
from central.store.arrivals import Claim
from central.store.ledger import Ledger, Opening, Place
from central.store.spans import minus
from contracts.envelope import COMMIT_RANGES, DIGEST_DIGITS, Birth, Commit, RecordsMessage, ranges_of, successor
from contracts.errors import StoreError
from contracts.record import digest
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.support.brokers import RunningBroker, free_port, iotcore_broker, mosquitto_broker
from tests.support.commits import commit_of, settle
from tests.support.records import record

TOPICS = StationTopics("gimcheon", "KR01", "P03-A")
OTHER = "f" * DIGEST_DIGITS


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    async with iotcore_broker() as running:
        yield running


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    yield box
    box.close()


class Central:
    """Hears everything a station says; commits only what it is told to."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.births: list[Birth] = []
        self.sent: list[tuple[str, int]] = []

    async def listen(self) -> None:
        while True:
            message = await self._session.next_message()
            if message.topic == TOPICS.state:
                self.births.append(Birth.model_validate_json(message.payload))
            else:
                batch = RecordsMessage.model_validate_json(message.payload)
                self.sent += [(batch.stream_id, numbered.seq) for numbered in batch.records]
            self._session.acknowledge(message)

    def seqs(self) -> list[int]:
        return [seq for _, seq in self.sent]

    async def say(self, payload: bytes) -> None:
        await (await self._session.publish(TOPICS.commits, payload, retain=True))

    async def commit(self, stream_id: str, up_to: int, *ranges: tuple[int, int], epoch: str = "e", **more: Any) -> None:
        """In answer to the last birth. All of it was taken from who said that, unless told otherwise."""
        instance = self.births[-1].instance
        assert instance is not None
        taken = {instance: [(1, up_to), *ranges] if up_to else ranges}
        said = {
            "epoch": epoch,
            "committed_seq": up_to,
            "ranges": ranges,
            "taken": taken,
            "at": datetime.now(UTC),
            **more,
        }
        commit = Commit.model_validate({"stream_id": stream_id, "answers": self.births[-1].at, **said})
        await self.say(commit.model_dump_json().encode())

    async def commit_what_came(self, stream_id: str) -> None:
        ranges = ranges_of(sorted({seq for name, seq in self.sent if name == stream_id}))
        assert ranges[0][0] == 1
        await self.commit(stream_id, ranges[0][1], *ranges[1:])


@pytest.fixture
async def central(broker: RunningBroker) -> AsyncIterator[Central]:
    session = Session(BrokerAddress("127.0.0.1", broker.port), client_id="central")
    await session.open([TOPICS.records, TOPICS.state])
    made = Central(session)
    listening = asyncio.create_task(made.listen())
    yield made
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await session.close()


@asynccontextmanager
async def uplink_of(outbox: Outbox, port: int, resend_after: str = "60s", **broker: str) -> AsyncIterator[Uplink]:
    settings = load(Path("config/stations/P03-A.yaml")).model_copy(update={"resend_after": float(resend_after[:-1])})
    uplink = Uplink(settings, [BrokerAddress("127.0.0.1", port, **broker)], outbox, "test")  # type: ignore[arg-type]
    running = asyncio.create_task(uplink.run())
    try:
        yield uplink
    finally:
        uplink.stop()
        async with asyncio.timeout(8):
            await running


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def quiet(central: Central, seconds: float = 0.3) -> list[int]:
    """What has been sent once nothing more comes for a while."""
    while True:
        before = len(central.sent)
        await asyncio.sleep(seconds)
        if len(central.sent) == before:
            return central.seqs()


async def fill(outbox: Outbox, count: int) -> str:
    await asyncio.gather(*(outbox.append(record(number)) for number in range(1, count + 1)))
    return (await outbox.state()).stream_id


async def settled(outbox: Outbox) -> int:
    state = await outbox.state()
    return state.last_seq - state.unsettled


async def test_nothing_is_sent_before_central_has_said_what_it_has(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    stream = await fill(outbox, 3)
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        birth = central.births[0]
        assert (birth.online, birth.stream_id, birth.last_seq, birth.oldest_available) == (True, stream, 3, 1)
        await central.commit("0" * 32, 2)  # another stream's
        await central.say(b"{")
        assert await quiet(central) == []
        await central.commit(stream, 0)
        await until(lambda: central.seqs() == [1, 2, 3])
        assert await settled(outbox) == 0, "the broker's answer settles nothing"


async def test_of_a_backlog_one_batch_is_under_way_also_with_a_gap_and_a_parked_record(
    broker: RunningBroker, central: Central, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.delivery.BATCH_RECORDS", 10)
    stream = await fill(outbox, 60)
    await outbox.park(stream, 2, "too large")
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        assert central.births[0].parked == 1
        await central.commit(stream, 0)
        assert await quiet(central) == [1, *range(3, 12)]
        await central.commit(stream, 0, (3, 5))
        assert await quiet(central) == [1, *range(3, 12)], "half of it is not there yet"
        # Central lacks 1 (and 2, which will never come): the others go on.
        for last in (11, 20, 29, 38, 47, 56, 60):
            await central.commit(stream, 0, (3, last))
            await until(lambda last=last: max(central.seqs()) >= min(last + 9, 60))
        assert sorted(await quiet(central)) == [1, *range(3, 61)]
        assert (await outbox.state()).unsettled == 2


async def test_a_new_result_goes_ahead_of_the_backlog(
    broker: RunningBroker, central: Central, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.delivery.BATCH_RECORDS", 10)
    stream = await fill(outbox, 100)
    async with uplink_of(outbox, broker.port) as uplink:
        await until(lambda: bool(central.births))
        await central.commit(stream, 0)
        await until(lambda: central.seqs() == list(range(1, 11)))
        for seq in (101, 102):
            assert await outbox.append(record(seq)) == seq
            uplink.wake()
            await until(lambda seq=seq: central.seqs()[-1] == seq)
        # More than a batch at once is no news: it waits behind the backlog, and what comes after it does not.
        await asyncio.gather(*(outbox.append(record(number)) for number in range(103, 115)))
        uplink.wake()
        assert await quiet(central) == [*range(1, 11), 101, 102]
        assert await outbox.append(record(115)) == 115
        uplink.wake()
        await until(lambda: central.seqs()[-1] == 115)
        async with asyncio.timeout(10):
            while await settled(outbox) < 115:
                await central.commit_what_came(stream)
                await asyncio.sleep(0.01)
        assert sorted(central.seqs()) == list(range(1, 116)), "each was sent once"


async def test_what_an_earlier_stream_holds_is_delivered_under_its_own_numbers(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    old = await fill(outbox, 3)
    await outbox.mark_sent(3)
    await settle(outbox, commit_of(old, 1))
    await outbox.tell_apart(commit_of(old, 1), anew=True)
    new = outbox.stream_id
    await outbox.append(record(4))
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        [held] = central.births[0].earlier
        assert (held.stream_id, held.last_seq, held.oldest_available) == (old, 3, 1)
        await central.commit(old, 1)
        await until(lambda: central.sent == [(old, 2), (old, 3)])
        await central.commit(new, 0)
        await until(lambda: central.sent[2:] == [(new, 1)])
        await central.commit(old, 3)
        await central.commit(new, 1)
        async with asyncio.timeout(10):
            while (await outbox.state()).unsettled:
                await asyncio.sleep(0.01)
        # Central was restored: it knows less of both.
        await central.commit(old, 2)
        await until(lambda: central.sent[3:] == [(old, 3)])


async def test_a_record_that_is_no_longer_what_was_kept_is_not_sent(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    stream = await fill(outbox, 3)
    # A disk that gives another digit back: SQLite does not notice, and the record is still well formed.
    await outbox._run(
        lambda connection: connection.execute(
            "UPDATE records SET body = CAST(replace(CAST(body AS TEXT), '60.0', '61.0') AS BLOB) WHERE seq = 2"
        )
    )
    with capture_logs() as logs:
        async with uplink_of(outbox, broker.port):
            await until(lambda: bool(central.births))
            await central.commit(stream, 0)
            await until(lambda: central.seqs() == [1, 3])
            await until(lambda: central.births[-1].parked == 1)
    [told] = [line for line in logs if line["log_level"] == "error"]
    assert (told["seq"], told["reason"]) == (2, "damaged on the disk: it is no longer what was kept")


async def test_a_silent_central_is_asked_less_and_less_often(outbox: Outbox) -> None:
    stream = await fill(outbox, 3)
    delivery = Delivery(outbox, stream, resend_after_s=10.0)
    assert await delivery.next_batch(3) is None, "nothing before central has spoken"
    await delivery.adopt(commit_of(stream, 0), 3)
    now, waits = 0.0, []
    for _ in range(8):
        found = await delivery.next_batch(3)
        assert found is not None
        delivery.sent(*found, now)
        assert delivery.silent_for_too_long(delivery.due_at - 0.1) is None
        assert delivery.silent_for_too_long(delivery.due_at) == (1, 3)
        waits.append(delivery.due_at - now)
        now = delivery.due_at
        delivery.send_again(3, now)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]
    found = await delivery.next_batch(3)
    assert found is not None
    delivery.sent(*found, now)
    delivery.take([(1, 1)], now)
    assert delivery.due_at == now + 10, "central speaks again"


MANY = 2 * COMMIT_RANGES + 200


async def with_many_holes(outbox: Outbox) -> tuple[str, Ledger]:
    """An outbox, and central's ledger that lacks every second number of it: more holes than one commit can tell."""
    stream = await fill(outbox, MANY)
    odd = [(seq, seq) for seq in range(1, MANY, 2)]
    await outbox.settle(stream, odd)
    ledger = Ledger(Claim(stream, "P03-A"), Place("gimcheon", "KR01"), owner=True, arrived=tuple(odd))
    return stream, ledger


def said_by(ledger: Ledger) -> Commit:
    ledger.revision += 1
    return ledger.commit(Opening("e", "g"), datetime.now(UTC)).commit


async def test_what_a_commit_has_no_room_for_stays_settled(outbox: Outbox) -> None:
    stream, ledger = await with_many_holes(outbox)
    await Delivery(outbox, stream, resend_after_s=10.0).adopt(said_by(ledger), MANY)
    assert await settled(outbox) == MANY // 2


async def test_of_a_stream_with_many_holes_a_restored_central_gets_all_that_it_lost(outbox: Outbox) -> None:
    stream, ledger = await with_many_holes(outbox)
    ledger.arrived = minus(ledger.arrived, [(9, 9), (MANY - 101, MANY)])  # below and beyond what a commit tells of
    delivery = Delivery(outbox, stream, resend_after_s=10.0)
    await delivery.adopt(said_by(ledger), MANY)
    while (found := await delivery.next_batch(MANY)) is not None:
        delivery.sent(*found, 0.0)
        came = ranges_of([row.seq for row in found[1]])
        ledger.settle(came, datetime.now(UTC))
        await outbox.settle(stream, came)
        delivery.take(came, 0.0)
        await delivery.adopt(said_by(ledger), MANY)
    assert (ledger.arrived, await settled(outbox)) == (((1, MANY),), MANY)


async def test_a_gap_is_sent_again_although_the_others_make_progress(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    stream = await fill(outbox, 2)
    async with uplink_of(outbox, broker.port, resend_after="0.4s") as uplink:
        await until(lambda: bool(central.births))
        await central.commit(stream, 0)
        await until(lambda: central.seqs() == [1, 2])
        last = 2
        async with asyncio.timeout(10):
            while central.seqs().count(1) == 1:  # the line never rests
                await central.commit(stream, 0, (2, last))
                last = await outbox.append(record(3))
                uplink.wake()
                await asyncio.sleep(0.02)


async def test_without_progress_everything_uncommitted_is_sent_again(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    stream = await fill(outbox, 4)
    with capture_logs() as logs:
        async with uplink_of(outbox, broker.port, resend_after="0.2s"):
            await until(lambda: bool(central.births))
            await central.commit(stream, 0)
            await until(lambda: central.seqs()[:8] == [1, 2, 3, 4] * 2)
            await central.commit(stream, 1)
            await until(lambda: central.seqs()[-6:] == [2, 3, 4] * 2)
            await central.commit(stream, 4)
            async with asyncio.timeout(10):
                while await settled(outbox) < 4:
                    await asyncio.sleep(0.01)
            told = len(logs)
            await quiet(central, 0.5)
            assert len(logs) == told, "what is committed is not sent again"


async def test_a_central_that_knows_less_than_before_gets_the_rest_again(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    stream = await fill(outbox, 5)
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        await central.commit(stream, 0)
        await until(lambda: central.seqs() == [1, 2, 3, 4, 5])
        await central.commit(stream, 5)
        async with asyncio.timeout(10):
            while await settled(outbox) < 5:
                await asyncio.sleep(0.01)
        await central.commit(stream, 2, (4, 4))
        await until(lambda: central.seqs()[5:] == [3, 5])
        # A new database that has as much as the last one is another one all the same.
        await central.commit(stream, 3, (4, 4), epoch="f")
        await until(lambda: central.seqs()[7:] == [5])


async def test_a_new_stream_begins_when_central_knows_more_than_was_ever_sent(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    old = await fill(outbox, 3)
    mine = digest(record(1))[:DIGEST_DIGITS]
    async with uplink_of(outbox, broker.port) as uplink:
        await until(lambda: bool(central.births))
        await central.commit(old, 9, taken={})
        await until(lambda: len(central.births) == 2)
        assert (central.births[1].stream_id, central.births[1].compare_from) == (old, 1)
        await central.commit(old, 9, taken={}, answers=central.births[0].at)
        assert await quiet(central) == [], "nothing is sent before it is known whose is whose"
        # Central has our first from a copy of this outbox, and what the copy made after it. It tells a page at a time.
        await central.commit(old, 9, taken={}, contents={"first": 1, "digests": [mine, OTHER]})
        await until(lambda: len(central.births) == 3)
        assert (central.births[2].stream_id, central.births[2].compare_from) == (old, 3)
        await central.commit(old, 9, taken={}, contents={"first": 3, "digests": [OTHER] * 7})
        await until(lambda: len(central.births) == 4)
        new, moved = central.births[3].stream_id, successor(old)
        assert (new != old, central.births[3].last_seq, central.sent) == (True, 0, [])
        assert [(held.stream_id, held.last_seq) for held in central.births[3].earlier] == [(old, 3), (moved, 3)]
        await central.commit(moved, 0)
        await until(lambda: central.sent == [(moved, 2), (moved, 3)])
        await central.commit(new, 0)
        await outbox.append(record(4))
        uplink.wake()
        await until(lambda: central.sent[2:] == [(new, 1)])


async def test_a_number_that_another_agent_delivered_settles_nothing_of_ours(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    """Sent by an earlier process and lost on the way; meanwhile a copy of this outbox delivered its own under it."""
    old = await fill(outbox, 2)
    await outbox.mark_sent(2)
    mine = digest(record(1))[:DIGEST_DIGITS]
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        await central.commit(old, 2, taken={"f" * 32: [(2, 2)]})
        await until(lambda: len(central.births) == 2)
        assert (central.births[1].compare_from, await settled(outbox)) == (1, 0)
        await central.commit(old, 2, taken={}, contents={"first": 1, "digests": [mine, OTHER]})
        await until(lambda: len(central.births) == 3)
        moved = successor(old)
        await central.commit(moved, 0)
        await until(lambda: central.sent == [(moved, 2)])
        await central.commit(moved, 0, (2, 2))
        async with asyncio.timeout(10):
            while (await outbox.state()).unsettled:
                await asyncio.sleep(0.01)


async def test_what_another_agent_has_taken_from_under_us_is_asked_for_and_not_sent_blindly(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    """Both speak at the same time, over two brokers: its record is under our number while ours is on its way."""
    old = await fill(outbox, 2)
    async with uplink_of(outbox, broker.port, resend_after="0.3s"):
        await until(lambda: bool(central.births))
        await central.commit(old, 0)
        await until(lambda: central.seqs() == [1, 2])
        await central.commit(old, 2, taken={"f" * 32: [(1, 1)], central.births[0].instance: [(2, 2)]})
        await until(lambda: len(central.births) == 2)
        assert (central.births[1].compare_from, central.seqs(), await settled(outbox)) == (1, [1, 2], 1)
        # It is here after all, and disputed: both are in quarantine.
        both = f"{digest(record(1))[:DIGEST_DIGITS]} {OTHER}"
        await central.commit(old, 2, taken={}, contents={"first": 1, "digests": [both]})
        async with asyncio.timeout(10):
            while (await outbox.state()).unsettled:
                await asyncio.sleep(0.01)
        assert (await outbox.state()).disputed == 1
        assert await quiet(central) == [1, 2]


async def test_in_an_earlier_stream_numbers_settle_nothing_either(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    old = await fill(outbox, 3)
    await outbox.mark_sent(3)
    await outbox.tell_apart(commit_of(old, 0), anew=True)
    new = outbox.stream_id
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        await central.commit(old, 2, (9, 9), taken={})
        await until(lambda: len(central.births) == 2)
        [held] = central.births[1].earlier
        assert (held.stream_id, held.compare_from, central.births[1].compare_from) == (old, 1, None)
        mine = digest(record(1))[:DIGEST_DIGITS]
        await central.commit(old, 2, (9, 9), taken={}, contents={"first": 1, "digests": [mine, OTHER]})
        await until(lambda: central.sent == [(old, 3)])
        await central.commit(old, 3, (9, 9))
        await central.commit(successor(old), 0)
        await until(lambda: central.sent[1:] == [(successor(old), 2)])
        assert outbox.stream_id == new


async def test_a_birth_that_nobody_answers_is_said_again(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    stream = await fill(outbox, 1)
    with capture_logs() as logs:
        async with uplink_of(outbox, broker.port, resend_after="0.1s"):
            await until(lambda: len(central.births) == 3)
            assert central.sent == []
            async with asyncio.timeout(10):
                while central.sent != [(stream, 1)]:
                    await central.commit(stream, 0)
                    await asyncio.sleep(0.05)
    assert "central has not answered, asking again" in {line["event"] for line in logs}


async def test_a_word_that_is_older_than_our_birth_settles_nothing(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    """A retained one may be of a time when a copy of this outbox wrote in our stream."""
    stream = await fill(outbox, 2)
    await outbox.mark_sent(2)
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        await central.commit(stream, 2, answers=None, taken={})
        assert (await quiet(central), await settled(outbox)) == ([], 0)
        await central.commit(stream, 1)
        await until(lambda: central.seqs() == [2])
        assert await settled(outbox) == 1


async def test_what_central_asks_for_again_is_sent_again(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    stream = await fill(outbox, 6)
    await outbox.mark_sent(6)
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        await central.commit(stream, 6, revision=1)
        async with asyncio.timeout(10):
            while await settled(outbox) < 6:
                await asyncio.sleep(0.01)
        # The highest seq known says that it is asked for, not forgotten: the stream goes on.
        await central.commit(stream, 1, (4, 4), known_seq=6, revision=2)
        await until(lambda: central.seqs() == [2, 3, 5, 6])
        await central.commit(stream, 6, known_seq=6, revision=3)
        async with asyncio.timeout(10):
            while await settled(outbox) < 6:
                await asyncio.sleep(0.01)
        assert {birth.stream_id for birth in central.births} == {stream}


async def test_a_commit_that_comes_late_is_left_out(broker: RunningBroker, central: Central, outbox: Outbox) -> None:
    stream = await fill(outbox, 4)
    await outbox.mark_sent(4)
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        await central.commit(stream, 4, revision=8, generation="g")
        async with asyncio.timeout(10):
            while await settled(outbox) < 4:
                await asyncio.sleep(0.01)
        await central.commit(stream, 2, revision=7, generation="g")
        assert await quiet(central) == []
        # After a restore central counts anew, and is believed.
        await central.commit(stream, 2, revision=3, generation="h")
        await until(lambda: central.seqs() == [3, 4])


async def test_a_copy_of_an_outbox_begins_a_new_stream_when_told(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    old = await fill(outbox, 3)
    await outbox.mark_sent(1)
    async with uplink_of(outbox, broker.port) as uplink:
        await until(lambda: bool(central.births))
        [hello] = central.births
        assert hello.instance is not None
        await central.commit(old, 1, mint=("f" * 32,))
        await until(lambda: central.sent == [(old, 2), (old, 3)])
        both = ("f" * 32, hello.instance)
        await central.commit(old, 2, mint=both)
        await until(lambda: len(central.births) == 2)
        new = central.births[1].stream_id
        assert new != old
        # It was sent under that number, and may be on its way: it keeps it.
        await until(lambda: central.sent[2:] == [(old, 3)])
        await central.commit(old, 3, mint=both)
        await central.commit(new, 0)
        await outbox.append(record(4))
        uplink.wake()
        await until(lambda: central.sent[3:] == [(new, 1)])
        assert (await outbox.state()).unsettled == 1


async def test_a_restart_says_goodbye_and_goes_on_where_it_was(
    broker: RunningBroker, central: Central, outbox: Outbox
) -> None:
    stream = await fill(outbox, 3)
    async with uplink_of(outbox, broker.port):
        await until(lambda: bool(central.births))
        await central.commit(stream, 0)
        await until(lambda: central.seqs() == [1, 2, 3])
        await central.commit(stream, 2)
        async with asyncio.timeout(10):
            while await settled(outbox) < 2:
                await asyncio.sleep(0.01)
    await until(lambda: len(central.births) == 2)
    assert not central.births[1].online
    async with uplink_of(outbox, broker.port):
        await until(lambda: len(central.births) == 3)
        await central.commit(stream, 2)
        await until(lambda: central.seqs() == [1, 2, 3, 3])
        assert [birth.online for birth in central.births] == [True, False, True]


async def test_a_mistake_of_our_own_ends_a_connection_and_not_the_station(
    broker: RunningBroker, central: Central, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await fill(outbox, 1)
    unsettled = outbox.unsettled
    failures: list[Exception] = [ZeroDivisionError("a bug"), StoreError("disk I/O error")]

    async def failing(stream_id: str, after: int, **bounds: int) -> list[Row]:
        if failures:
            raise failures.pop(0)
        return await unsettled(stream_id, after, **bounds)

    monkeypatch.setattr(outbox, "unsettled", failing)
    async with uplink_of(outbox, broker.port) as uplink, asyncio.timeout(10):
        while central.seqs() != [1]:
            if central.births:
                await central.commit(stream, 0)
            await asyncio.sleep(0.05)
        assert uplink.faults.count == 1


async def test_the_outbox_is_asked_once_for_a_record(
    broker: RunningBroker, central: Central, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = await fill(outbox, 0)
    unsettled = outbox.unsettled
    asked: list[int] = []

    async def counted(stream_id: str, after: int, **bounds: int) -> list[Row]:
        asked.append(after)
        return await unsettled(stream_id, after, **bounds)

    monkeypatch.setattr(outbox, "unsettled", counted)
    async with uplink_of(outbox, broker.port) as uplink, asyncio.timeout(10):
        await until(lambda: bool(central.births))
        await central.commit(stream, 0)
        for seq in (1, 2, 3):
            await outbox.append(record(seq))
            uplink.wake()
            while central.seqs() != list(range(1, seq + 1)):
                await asyncio.sleep(0.005)
            await central.commit(stream, seq)
            while await settled(outbox) < seq:
                await asyncio.sleep(0.005)
    assert asked == [0, 1, 2]


async def test_a_broker_that_refuses_a_record_is_told_once_and_shown(tmp_path: Path, outbox: Outbox) -> None:
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {TOPICS.commits}\ntopic readwrite {TOPICS.state}\n")
    acl.chmod(0o644)
    async with mosquitto_broker(tmp_path, lines=[f"acl_file {acl}"]) as broker:
        session = Session(BrokerAddress("127.0.0.1", broker.port), client_id="central")
        await session.open([TOPICS.state])
        stream = await fill(outbox, 1)
        with capture_logs() as logs:
            async with uplink_of(outbox, broker.port):
                shown: tuple[str, ...] = ()
                for connection in range(3):
                    birth = Birth.model_validate_json((await session.next_message()).payload)
                    while not birth.online or (connection and not birth.troubles):
                        birth = Birth.model_validate_json((await session.next_message()).payload)
                    shown = birth.troubles
                    said = {"stream_id": stream, "epoch": "e", "committed_seq": 0, "at": birth.at, "answers": birth.at}
                    commit = Commit.model_validate(said).model_dump_json().encode()
                    await (await session.publish(TOPICS.commits, commit))
        await session.close()
    [trouble] = shown
    assert "refuses messages on f2x/v1/gimcheon/KR01/P03-A/records: Not authorized" in trouble
    told = [line for line in logs if "Not authorized" in str(line.get("error"))]
    assert [(line["log_level"], line["event"]) for line in told] == [
        ("error", "the broker does not take our messages: allow it in its access list")
    ]


async def test_a_certificate_that_cannot_be_read_is_told_once_and_holds_no_result(outbox: Outbox) -> None:
    with capture_logs() as logs:
        async with uplink_of(outbox, free_port(), tls=True, ca=Path("/nowhere/ca.crt")):  # type: ignore[arg-type]
            await until(lambda: bool(logs))
            assert await outbox.append(record(1)) == 1
            await asyncio.sleep(0.7)  # a few more attempts
    told = [line for line in logs if line["event"] == "broker link lost"]
    assert len(told) == 1
    assert "uplink set up wrongly" in told[0]["error"]


@pytest.mark.parametrize("answers", [False, True], ids=["refuses", "is silent"])
async def test_an_absent_broker_does_not_hold_the_stop(outbox: Outbox, answers: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        async with uplink_of(outbox, silent.getsockname()[1] if answers else free_port()):
            await asyncio.sleep(0.3)  # in the middle of an attempt, or of a wait
            begun = time.monotonic()
        assert time.monotonic() - begun < 2
