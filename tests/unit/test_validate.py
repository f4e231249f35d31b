"""A malformed message goes to quarantine, whole, with its reason, settles, and takes nothing else down."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from central.store import Arrival
from central.validate import validate, validate_birth
from contracts.envelope import (
    MAX_RECORDS,
    PROPERTY_INSTANCE,
    PROPERTY_SEQS,
    PROPERTY_STREAM,
    RecordsHeader,
    encode_records,
)
from contracts.record import canonical
from contracts.topics import StationTopics
from messaging.session import Message
from tests.support.records import record

TOPICS = StationTopics("gimcheon", "KR01", "P03-A")
STREAM = "a" * 32
PROPERTIES = {PROPERTY_STREAM, PROPERTY_SEQS, PROPERTY_INSTANCE}


def message(payload: bytes, **properties: str) -> Message:
    named = {"stream_id": STREAM, "seqs": "1-2", **properties}
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
    "a version that only equals 1": (json.dumps(envelope(v=True)).encode(), "not the number of a version"),
    "a version that is no whole number": (json.dumps(envelope(v=1.0)).encode(), "not the number of a version"),
    "a key twice": (json.dumps(envelope()).encode().replace(b'"line"', b'"line":"KR02","line"', 1), "'line' is given"),
    "records twice": (json.dumps(envelope()).encode()[:-1] + b',"records":[]}', "'records' is given twice"),
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


@pytest.mark.parametrize("depth", [150, 199, 200, 300, 600, 900, 2000])
@pytest.mark.parametrize(
    "place", ["extra", "records", "record"], ids=["in the envelope", "for its records", "in a record"]
)
def test_no_depth_of_a_message_ends_whoever_reads_it(depth: int, place: str) -> None:
    """One message of a kilobyte that ends the ingestor comes again after each start: no station is heard any more."""
    deep = "[" * depth + "]" * depth
    content = envelope()
    if place == "record":
        content["records"][0]["record"]["extra"] = "HERE"
    else:
        content[place] = "HERE"
    payload = json.dumps(content).replace('"HERE"', deep).encode()
    arrival = validate(message(payload), TOPICS)
    assert arrival.rejected
    assert (1, 1) in arrival.seqs or (1, 2) in arrival.seqs or place == "records"
    assert isinstance(validate_birth(message(payload), TOPICS), Arrival)


def test_of_what_cannot_be_read_exactly_the_numbers_settle_that_are_in_it() -> None:
    """Those in between may be on their way in another message."""
    arrival = validate(message(b"?", seqs="2,5-7", instance="c" * 32), TOPICS)
    (rejected,) = arrival.rejected
    assert (rejected.first_seq, rejected.last_seq) == (2, 7)
    assert (arrival.seqs, arrival.instance) == (((2, 2), (5, 7)), "c" * 32)
    many = validate(message(b"?", seqs=f"1-{MAX_RECORDS + 1}"), TOPICS)
    assert (many.seqs, many.rejected[0].payload) == ((), b"?"), "no message holds so many"


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
        {"cycle_key": True},
        {"cycle_time_seconds": "12.5"},
        {"reject_label": 1},
        {"completed_at": 1732330800},
        {"missed_before": 1.0},
        {"machine_verdict": "FAIL"},
        {"verdicts": []},
        {"criteria_revision": None},
        {"serial_number": "NOREAD"},
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
    ("written", "twice"),
    [
        ('"outcome": "PASS"', '"outcome": "FAIL", "outcome": "PASS"'),
        ('"value": 60.0', '"value": 99.0, "value": 60.0'),
        ('"seq": 1', '"seq": 7, "seq": 1'),
    ],
)
def test_a_record_that_says_something_twice_is_not_believed(written: str, twice: str) -> None:
    """A parser takes the one or the other; the record goes to quarantine with all that came, its neighbour is kept."""
    payload = json.dumps(envelope()).replace(written, twice, 1).encode()
    arrival = validate(message(payload), TOPICS)
    assert [seq for seq, _, _ in arrival.records] == [2]
    (rejected,) = arrival.rejected
    assert "given twice" in rejected.reason
    assert (rejected.first_seq, rejected.last_seq, rejected.payload) == (1, 1, payload)


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


# -- anything may come -----------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([1, 2, "P03-A", "PASS", STREAM, "b" * 32, "SN-1", 2**63, 10**4000, "\udc80", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(content: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of everything in a JSON document."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def changed(content: Any, path: tuple[str | int, ...], value: Any, how: str) -> Any:
    """The document with one value replaced, taken out, or put in besides."""
    if not path:
        return value
    *outer, last = path
    holder = content
    for key in outer:
        holder = holder[key]
    if how == "replace":
        holder[last] = value
    elif how == "remove":
        del holder[last]
    elif isinstance(holder, list):
        holder.insert(int(last), value)
    else:
        holder["besides"] = value
    return content


@given(
    data=st.data(),
    value=json_values,
    how=st.sampled_from(["replace", "remove", "add"]),
)
def test_whatever_is_changed_in_a_message_everything_in_it_is_kept(data: st.DataObject, value: Any, how: str) -> None:
    """Each record is there, or its text is in quarantine; or the whole message is."""
    content = envelope()
    content = changed(content, data.draw(st.sampled_from(places(content))), value, how)
    payload = json.dumps(content).encode()
    arrival = validate(message(payload), TOPICS)
    whole = [rejected for rejected in arrival.rejected if rejected.payload == payload]
    if whole:
        assert (len(arrival.rejected), len(arrival.records)) == (1, 0)
    else:
        items = content["records"]
        assert len(arrival.records) + len(arrival.rejected) == len(items)
        kept = [json.loads(rejected.payload) for rejected in arrival.rejected]
        taken = [{"seq": seq, "record": json.loads(canonical(one))} for seq, one, _ in arrival.records]
        for item in items:
            assert any(same(item, one) for one in [*kept, *taken]), item
    for rejected in arrival.rejected:
        assert rejected.reason
        assert len(rejected.reason) < 2000


def same(item: Any, kept: Any) -> bool:
    """Equal as JSON text, or as a record of the same number."""
    if json.dumps(item) == json.dumps(kept):
        return True
    return isinstance(item, dict) and isinstance(kept, dict) and item.get("seq") == kept.get("seq")


@given(payload=st.binary(max_size=200), properties=st.dictionaries(st.sampled_from(sorted(PROPERTIES)), st.text()))
def test_any_bytes_with_any_properties_are_kept_whole(payload: bytes, properties: dict[str, str]) -> None:
    arrival = validate(Message(TOPICS.records, payload, False, properties, 1, 1), TOPICS)
    [rejected] = arrival.rejected
    assert rejected.payload == payload
    assert (rejected.first_seq is None) == (rejected.last_seq is None)
    if rejected.first_seq is not None and rejected.last_seq is not None:
        assert rejected.stream_id is not None
        assert 1 <= rejected.first_seq <= rejected.last_seq


@given(payload=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_a_birth_is_one_or_is_kept_whole(payload: bytes) -> None:
    answer = validate_birth(message(payload), TOPICS)
    assert isinstance(answer, Arrival)
    [rejected] = answer.rejected
    assert (rejected.payload, rejected.stream_id) == (payload, None)
    assert rejected.reason.startswith("birth")
