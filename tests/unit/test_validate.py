"""A malformed message goes to quarantine, whole, with its reason, settles, and takes nothing else down."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from central.validate import validate
from contracts.envelope import RecordsHeader, encode_records
from contracts.record import canonical
from contracts.topics import StationTopics
from messaging.session import Message
from tests.support.records import record

TOPICS = StationTopics("gimcheon", "KR01", "P03-A")
STREAM = "a" * 32


def message(payload: bytes, **properties: str) -> Message:
    named = {"stream_id": STREAM, "first_seq": "1", "last_seq": "2", **properties}
    return Message(TOPICS.records, payload, False, named, 1, 1)


def envelope(**changes: Any) -> dict[str, Any]:
    header = RecordsHeader(
        site="gimcheon", line="KR01", station="P03-A", stream_id=STREAM, sent_at=datetime(2026, 11, 23, tzinfo=UTC)
    )
    content: dict[str, Any] = json.loads(encode_records(header, [(n, canonical(record(n))) for n in (1, 2)]))
    return content | changes


def test_a_right_message_is_taken_whole() -> None:
    arrival = validate(message(json.dumps(envelope()).encode()), TOPICS)
    assert [seq for seq, _, _ in arrival.records] == [1, 2]
    assert not arrival.rejected


WRONG_WHOLE = {
    "not JSON": (b"{", "not JSON"),
    "not UTF-8": (b"\xff\xfe", "not JSON"),
    "a list": (b"[]", "not a JSON object"),
    "nothing": (b"", "not JSON"),
    "deeply nested": (b"[" * 100_000, "not JSON"),
    "unknown version": (json.dumps(envelope(v=2)).encode(), "unknown version"),
    "no version": (json.dumps({k: v for k, v in envelope().items() if k != "v"}).encode(), "unknown version"),
    "no records": (json.dumps(envelope(records=[])).encode(), "no records"),
    "records of a wrong type": (json.dumps(envelope(records="x")).encode(), "no records"),
    "unknown key": (json.dumps(envelope(extra=1)).encode(), "envelope"),
    "wrong stream": (json.dumps(envelope(stream_id="xyz")).encode(), "envelope"),
    "another station": (json.dumps(envelope(station="P04-A")).encode(), "another station"),
    "another stream than the property": (json.dumps(envelope(stream_id="b" * 32)).encode(), "different streams"),
    "too large": (b"x" * 10_000_000, "at most"),
}


@pytest.mark.parametrize("name", WRONG_WHOLE)
def test_what_is_wrong_as_a_whole_is_kept_whole_and_settles(name: str) -> None:
    payload, reason = WRONG_WHOLE[name]
    arrival = validate(message(payload), TOPICS)
    (rejected,) = arrival.rejected
    assert reason in rejected.reason
    assert rejected.payload == payload
    assert (rejected.stream_id, rejected.first_seq, rejected.last_seq) == (STREAM, 1, 2)
    assert not arrival.records


def test_without_properties_it_is_kept_all_the_same() -> None:
    arrival = validate(Message(TOPICS.records, b"?", False, {}, 1, 1), TOPICS)
    (rejected,) = arrival.rejected
    assert (rejected.stream_id, rejected.first_seq, rejected.payload) == (None, None, b"?")


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "GREAT"},
        {"completed_at": "yesterday"},
        {"serial_number": "no spaces allowed"},
        {"lot_number": "WF-KR-261399D-001"},
        {"station": "P04-A"},
        {"measurements": [{"name": "temperature", "value": float("nan")}]},
        {"surprise": True},
    ],
    ids=str,
)
def test_one_wrong_record_does_not_take_its_neighbour_down(change: dict[str, Any]) -> None:
    content = envelope()
    content["records"][0]["record"] |= change
    arrival = validate(message(json.dumps(content).encode()), TOPICS)
    assert [seq for seq, _, _ in arrival.records] == [2]
    (rejected,) = arrival.rejected
    assert (rejected.first_seq, rejected.last_seq) == (1, 1)
    assert json.loads(rejected.payload)["seq"] == 1


@pytest.mark.parametrize(
    "item", [7, {}, {"seq": 0, "record": {}}, {"seq": True, "record": {}}, {"seq": "1", "record": {}}]
)
def test_an_item_without_a_number_is_kept_too(item: Any) -> None:
    content = envelope()
    content["records"].append(item)
    arrival = validate(message(json.dumps(content).encode()), TOPICS)
    assert [seq for seq, _, _ in arrival.records] == [1, 2]
    assert len(arrival.rejected) == 1


def test_the_same_number_twice_in_a_message_is_one_record_and_one_reject() -> None:
    content = envelope()
    content["records"][1]["seq"] = 1
    arrival = validate(message(json.dumps(content).encode()), TOPICS)
    assert [seq for seq, _, _ in arrival.records] == [1]
    assert "twice" in arrival.rejected[0].reason
