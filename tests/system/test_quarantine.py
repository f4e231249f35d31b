"""Malformed messages over a real broker: kept whole with the reason, counted and settled; the stream goes on."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from central.ingestor import Ingestor
from central.store import Store
from contracts.envelope import Birth, Commit, RecordsHeader, encode_records
from contracts.record import canonical
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.support.brokers import RunningBroker, iotcore_broker, mosquitto_broker
from tests.support.records import NOON, record
from tests.support.stores import rows

TOPICS = StationTopics("gimcheon", "KR01", "P03-A")
STREAM = "a" * 32
OTHER_STREAM = "b" * 32
PATIENCE_S = 30.0
TEN_MEGABYTES = 10 * 2**20

BIRTH = Birth(
    site="gimcheon",
    line="KR01",
    station="P03-A",
    online=True,
    stream_id=STREAM,
    last_seq=0,
    oldest_available=0,
    host="h",
    software="1",
    at=NOON,
)


@pytest.fixture(params=["iotcore", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with iotcore_broker() if request.param == "iotcore" else mosquitto_broker(tmp_path) as running:
        yield running


@pytest.fixture
async def permissive(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """A broker that lets messages of any size through."""
    async with mosquitto_broker(tmp_path) as running:
        yield running


@dataclass
class Line:
    """A central that runs, and a station that says what it is told to."""

    ingestor: Ingestor
    store: Store
    station: Session

    async def say(self, payload: bytes, *, topic: str = TOPICS.records, **properties: str) -> None:
        """Publish; the broker has it when this returns."""
        await (await self.station.publish(topic, payload, user_properties=properties))

    async def committed(self) -> Commit:
        """The next commit acknowledgement of this station."""
        message = await self.station.next_message()
        self.station.acknowledge(message)
        return Commit.model_validate_json(message.payload)

    async def until_committed(self, seq: int) -> Commit:
        """Wait until central has everything up to this number."""
        async with asyncio.timeout(PATIENCE_S):
            while (commit := await self.committed()).committed_seq < seq or commit.stream_id != STREAM:
                pass
        return commit

    async def until_quarantined(self, count: int) -> None:
        """Wait until this many are kept: what comes on another topic may be later than what was sent behind it."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.quarantined()) < count:
                await asyncio.sleep(0.01)

    def quarantined(self) -> list[tuple[str, bytes, tuple[int | None, int | None]]]:
        """Reason, payload and range of everything in quarantine, by range."""
        kept = sorted(rows(self.store, "quarantine"), key=lambda row: (row["first_seq"] or 0, bytes(row["payload"])))
        return [(row["reason"], bytes(row["payload"]), (row["first_seq"], row["last_seq"])) for row in kept]


@asynccontextmanager
async def line(broker: RunningBroker, folder: Path) -> AsyncIterator[Line]:
    address = BrokerAddress("127.0.0.1", broker.port)
    store = Store(f"sqlite:///{folder / 'central.db'}")
    store.migrate()
    ingestor = Ingestor(store, address)
    running = asyncio.create_task(ingestor.run())
    station = Session(address, client_id="station")
    await station.open([TOPICS.commits])
    on = Line(ingestor, store, station)
    try:
        await (await station.publish(TOPICS.state, BIRTH.model_dump_json().encode(), retain=True))
        await on.until_committed(0)  # it listens
        yield on
    finally:
        await station.close()
        ingestor.stop()
        await running
        store.close()


def properties(first: int, last: int) -> dict[str, str]:
    return {"stream_id": STREAM, "seqs": f"{first}-{last}"}


def envelope(seq: int, **changes: Any) -> dict[str, Any]:
    header = RecordsHeader(site="gimcheon", line="KR01", station="P03-A", stream_id=STREAM, sent_at=NOON)
    content: dict[str, Any] = json.loads(encode_records(header, [(seq, canonical(record(seq)))]))
    return content | changes


def message(seq: int, **changes: Any) -> bytes:
    return json.dumps(envelope(seq, **changes)).encode()


MALFORMED: Mapping[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "no JSON": (b"temperature=60.1", "not JSON"),
    "half a message": (message(2)[:-40], "not JSON"),
    "no UTF-8": (b'{"v": 1, "station": "\xff"}', "not JSON"),
    "no object": (b"[1, 2, 3]", "not a JSON object"),
    "nesting without end": (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
    "a version to come": (message(2, v=2), "unknown version 2"),
    "a version as text": (message(2, v="1"), "unknown version '1'"),
    "an unknown key": (message(2, surprise=True), "surprise"),
    "a wrong type": (message(2, sent_at="yesterday"), "sent_at"),
    "no records": (message(2, records=[]), "no records"),
    "records of a wrong type": (message(2, records={"2": {}}), "no records"),
    "another station in the envelope": (message(2, station="P04-A"), "on the topic of another station"),
    "another line in the envelope": (message(2, line="KR02"), "on the topic of another station"),
    "another stream in the envelope": (message(2, stream_id=OTHER_STREAM), "different streams"),
    "too large": (b"x" * 300_000, "300000 bytes"),
}


async def test_what_is_malformed_as_a_whole_is_kept_settles_and_stops_nothing(
    broker: RunningBroker, tmp_path: Path
) -> None:
    """One stream: good, each malformed message under the next number, good."""
    async with line(broker, tmp_path) as on:
        await on.say(message(1), **properties(1, 1))
        for seq, (payload, _) in enumerate(MALFORMED.values(), start=2):
            await on.say(payload, **properties(seq, seq))
        last = len(MALFORMED) + 2
        await on.say(message(last), **properties(last, last))
        assert (await on.until_committed(last)).ranges == ()
        kept = on.quarantined()
        assert [(payload, settled) for _, payload, settled in kept] == [
            (payload, (seq, seq)) for seq, (payload, _) in enumerate(MALFORMED.values(), start=2)
        ]
        for (reason, _, _), (name, (_, expected)) in zip(kept, MALFORMED.items(), strict=True):
            assert expected in reason, name
        assert on.ingestor.counters.quarantined == on.store.counts().quarantined == len(MALFORMED)
        assert [row["seq"] for row in rows(on.store, "facts")] == [1, last]


WRONG_RECORDS: Mapping[str, dict[str, Any]] = {
    "outcome": {"outcome": "GREAT"},
    "completed_at": {"completed_at": "yesterday"},
    "completed_at without a zone": {"completed_at": "2026-11-23T03:00:00"},
    "serial_number": {"serial_number": "no spaces allowed"},
    "lot_number": {"lot_number": "WF-KR-261399D-001"},
    "a record of another station": {"station": "P04-A"},
    "a number that is none": {"measurements": [{"name": "temperature", "value": float("nan")}]},
    "a number as text": {"cycle_time_seconds": "12.5"},
    "a boolean as a number": {"cycle_key": True},
    "a time as a number": {"completed_at": 1732330800},
    "an unknown key": {"surprise": True},
    "no unit": {"serial_number": None},
    "a half character": {"operator": "\udc80"},
}


async def test_a_wrong_record_takes_its_neighbours_not_down(broker: RunningBroker, tmp_path: Path) -> None:
    """In one message: good, wrong, good."""
    async with line(broker, tmp_path) as on:
        seq = 0
        for change in WRONG_RECORDS.values():
            items = [envelope(seq + place)["records"][0] for place in (1, 2, 3)]
            items[1]["record"] |= change
            await on.say(message(seq + 1, records=items), **properties(seq + 1, seq + 3))
            seq += 3
        assert (await on.until_committed(seq)).ranges == ()
        wrong = list(range(2, seq, 3))
        assert [settled for _, _, settled in on.quarantined()] == [(number, number) for number in wrong]
        for (reason, payload, _), change in zip(on.quarantined(), WRONG_RECORDS.values(), strict=True):
            assert reason
            kept = json.loads(payload)["record"]
            assert json.dumps({key: kept[key] for key in change}) == json.dumps(change)
        assert [row["seq"] for row in rows(on.store, "facts")] == [n for n in range(1, seq + 1) if n not in wrong]


async def test_ten_megabytes_are_kept_and_the_stream_goes_on(permissive: RunningBroker, tmp_path: Path) -> None:
    """Where the broker lets it through. The reason does not repeat them."""
    huge = {
        "noise": b"\x00" * TEN_MEGABYTES,
        "a valid message": message(3, padding="x" * TEN_MEGABYTES),
    }
    async with line(permissive, tmp_path) as on:
        await on.say(message(1), **properties(1, 1))
        for seq, payload in enumerate(huge.values(), start=2):
            await on.say(payload, **properties(seq, seq))
        await on.say(message(4), **properties(4, 4))
        await on.until_committed(4)
        assert [payload for _, payload, _ in on.quarantined()] == list(huge.values())
        assert all(len(reason) < 200 for reason, _, _ in on.quarantined())


async def test_what_names_no_stream_is_kept_and_settles_nothing(broker: RunningBroker, tmp_path: Path) -> None:
    """Whoever sent it: nothing is known of it but its topic."""
    stray: list[tuple[str, dict[str, str]]] = [
        (TOPICS.records, {}),
        (TOPICS.records, {"stream_id": STREAM}),
        (TOPICS.records, {"stream_id": "no stream", "seqs": "1"}),
        (TOPICS.records, {"stream_id": STREAM, "seqs": "9-1"}),
        (TOPICS.records, {"stream_id": STREAM, "seqs": "-1,1e9"}),
        ("f2x/v1/gimcheon/KR01/no station/records", properties(1, 1)),
        ("f2x/v1/gimcheon/KR01/no station/state", {}),
        (TOPICS.state, {}),
    ]
    async with line(broker, tmp_path) as on:
        for number, (topic, named) in enumerate(stray):
            await on.say(f"stray {number}".encode(), topic=topic, **named)
        await on.say(message(1), **properties(1, 1))
        await on.until_committed(1)
        await on.until_quarantined(len(stray))
        assert sorted(payload for _, payload, _ in on.quarantined()) == [
            f"stray {number}".encode() for number in range(len(stray))
        ]
        assert {settled for _, _, settled in on.quarantined()} == {(None, None)}


async def test_a_birth_in_anothers_name_is_kept_and_answers_nobody(broker: RunningBroker, tmp_path: Path) -> None:
    birth = BIRTH.model_copy(update={"station": "P04-A", "stream_id": OTHER_STREAM})
    async with line(broker, tmp_path) as on:
        await on.say(birth.model_dump_json().encode(), topic=TOPICS.state)
        await on.say(message(1), **properties(1, 1))
        commit = await on.until_committed(1)
        assert commit.stream_id == STREAM
        await on.until_quarantined(1)
        [(reason, payload, _)] = on.quarantined()
        assert "P04-A" in reason
        assert Birth.model_validate_json(payload) == birth
        assert [row["stream_id"] for row in rows(on.store, "streams")] == [STREAM]


async def test_poison_that_comes_again_is_kept_once(broker: RunningBroker, tmp_path: Path) -> None:
    """A station sends again what it does not know to be settled; a retained message comes at every connection."""
    async with line(broker, tmp_path) as on:
        for _ in range(3):
            await on.say(b"poison", **properties(1, 1))
        await on.say(message(2), **properties(2, 2))
        await on.until_committed(2)
        assert len(on.quarantined()) == on.ingestor.counters.quarantined == 1


async def test_other_content_under_a_number_is_kept_on_both_sides(broker: RunningBroker, tmp_path: Path) -> None:
    """Which of the two is right is for a person; nothing that follows waits for it."""
    async with line(broker, tmp_path) as on:
        await on.say(message(1), **properties(1, 1))
        other = envelope(1)
        other["records"][0]["record"]["operator"] = "somebody else"
        await on.say(json.dumps(other).encode(), **properties(1, 1))
        await on.say(message(2), **properties(2, 2))
        await on.until_committed(2)
        assert on.ingestor.counters.conflicts == 1
        kept = sorted(json.loads(payload).get("operator") or "" for _, payload, _ in on.quarantined())
        assert kept == ["", "somebody else"]
        assert len(rows(on.store, "process_data")) == 1
