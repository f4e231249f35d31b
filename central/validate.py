"""A message as it came -> what is right in itself and what is not. Pure; a batch is accepted record by record.

A value of another type is wrong, also where it could be converted: ``true`` is no cycle number 1. So is an object with
a key twice: a parser would believe one of the two values, and nobody has said which.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from central.store import Arrival, Rejected
from contracts.base import InstanceId, Seq, StreamId
from contracts.envelope import (
    MAX_MESSAGE_BYTES,
    PROPERTY_INSTANCE,
    PROPERTY_SEQS,
    PROPERTY_STREAM,
    Birth,
    RecordsHeader,
    RecordsMessage,
    encode_records,
    seqs_from_text,
)
from contracts.identity import lot_parts
from contracts.permit import PermitRecord, StationRecord
from contracts.record import Part, ProcessRecord, canonical, digest, digest_of
from contracts.serial_form import SerialForm
from contracts.topics import StationTopics
from messaging.session import Message

_stream_id: TypeAdapter[str] = TypeAdapter(StreamId)
_seq: TypeAdapter[int] = TypeAdapter(Seq)
_instance: TypeAdapter[str] = TypeAdapter(InstanceId)

ANY = SerialForm()
"""Any number but a word for "nothing read"."""
DEEPEST = 200
"""Levels of lists and objects in a message: what goes deeper is no schema's, and would end whoever walks through it."""


def validate(message: Message, topics: StationTopics, form: SerialForm = ANY) -> Arrival:
    """Sort a records message into records and rejects. Never raises: what is wrong is kept, whole, with its reason.

    ``form`` is the form of the site's serial numbers.
    """
    if len(message.payload) > MAX_MESSAGE_BYTES:
        return _refuse(message, topics, f"{len(message.payload)} bytes, a message is at most {MAX_MESSAGE_BYTES}")
    try:
        whole = RecordsMessage.model_validate_json(message.payload, strict=True)
    except ValidationError:
        return _piecewise(message, topics, form)
    reason = _foreign(whole, message, topics)
    if reason is not None:
        return _refuse(message, topics, reason)
    if "v" not in whole.model_fields_set or any(_impossible(item.record, topics, form) for item in whole.records):
        return _piecewise(message, topics, form)
    bodies = [(item.seq, canonical(item.record)) for item in whole.records]
    # What an agent of ours sends is this to the byte, and has no key twice; anything else is read once more.
    if message.payload != encode_records(whole, bodies) and _doubt(message.payload) is not None:
        return _piecewise(message, topics, form)
    return Arrival(
        whole.stream_id,
        topics.site,
        topics.line,
        topics.station,
        [(item.seq, item.record, digest_of(body)) for item, (_, body) in zip(whole.records, bodies, strict=True)],
        instance=whole.instance,
        last_seq=whole.last_seq,
    )


def validate_birth(message: Message, topics: StationTopics) -> Birth | Arrival:
    """A station's birth; to quarantine where it is none, or not of the station whose topic it came on.

    A refused birth settles nothing: there was no record in it.
    """
    try:
        birth = Birth.model_validate_json(message.payload, strict=True)
    except ValidationError as error:
        return _kept_whole(message, topics, f"birth: {_told(error)}")
    if (doubt := _doubt(message.payload)) is not None:
        return _kept_whole(message, topics, f"birth: {doubt}")
    if (birth.site, birth.line, birth.station) != (topics.site, topics.line, topics.station):
        reason = f"birth of {birth.site}/{birth.line}/{birth.station} on the topic of another station"
        return _kept_whole(message, topics, reason)
    return birth


def stray(message: Message) -> Arrival:
    """A message on a topic that our filters match and that is no station's, to quarantine."""
    return _kept_whole(message, StationTopics("", "", ""), "the topic is not a station's")


def _kept_whole(message: Message, topics: StationTopics, reason: str) -> Arrival:
    rejected = Rejected(message.topic, None, None, None, reason, message.payload)
    return Arrival(None, topics.site, topics.line, topics.station, (), (rejected,))


def _piecewise(message: Message, topics: StationTopics, form: SerialForm) -> Arrival:
    """The slow way, for a message with something wrong in it: header first, then each record by itself."""
    try:
        content = _read(message.payload)
    except (ValueError, RecursionError) as error:
        return _refuse(message, topics, f"not JSON: {error}")
    if not isinstance(content, dict):
        return _refuse(message, topics, "not a JSON object")
    if content.get("v") != 1:
        return _refuse(message, topics, f"unknown version {content.get('v')!r}"[:200])
    items = content.pop("records", None)
    if (twice := _given_twice(content)) is not None:
        return _refuse(message, topics, f"envelope: {twice}")
    try:
        header = RecordsHeader.model_validate_json(json.dumps(content), strict=True)
    except (ValidationError, ValueError) as error:
        return _refuse(message, topics, f"envelope: {_told(error)}")
    reason = _foreign(header, message, topics)
    if reason is not None:
        return _refuse(message, topics, reason)
    if not isinstance(items, list) or not items:
        return _refuse(message, topics, "no records")

    records: dict[int, tuple[int, StationRecord, str]] = {}
    rejected: list[Rejected] = []
    for item in items:
        outcome = _one(item, topics, form)
        if isinstance(outcome, tuple):
            seq, record = outcome
            if seq not in records:
                records[seq] = (seq, record, digest(record))
                continue
            outcome = "seq given twice in one message"
        seq_of_it = _seq_or_none(item)
        # An object with a key twice cannot be written again as it came: the message it came in is kept.
        whole = message.payload if _given_twice(item) is not None else json.dumps(item).encode("utf-8")
        rejected.append(Rejected(message.topic, header.stream_id, seq_of_it, seq_of_it, outcome, whole))
    return Arrival(
        header.stream_id,
        topics.site,
        topics.line,
        topics.station,
        [records[seq] for seq in sorted(records)],
        rejected,
        header.instance,
        header.last_seq,
    )


def _one(item: Any, topics: StationTopics, serial_form: SerialForm) -> tuple[int, StationRecord] | str:
    """A record of a message, or what is wrong with it."""
    if not isinstance(item, dict) or set(item) != {"seq", "record"}:
        return "a record is an object with seq and record"
    if (twice := _given_twice(item)) is not None:
        return f"record: {twice}"
    seq = _seq_or_none(item)
    if seq is None:
        return f"seq {item['seq']!r} is not a number from 1"[:200]
    content = item["record"]
    form = PermitRecord if isinstance(content, dict) and content.get("kind") == "permit" else ProcessRecord
    try:
        record = form.model_validate_json(json.dumps(content), strict=True)
    except (ValidationError, ValueError) as error:
        return f"record: {_told(error)}"
    return _impossible(record, topics, serial_form) or (seq, record)


class _Doubtful(dict[str, Any]):
    """A JSON object with a key twice; it holds the last value of each."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Doubtful(pairs)


def _read(payload: bytes) -> Any:
    """The JSON in which ``_given_twice`` finds what stands twice. Raises ValueError, RecursionError."""
    content = json.loads(payload, object_pairs_hook=_object)
    level = [content]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise ValueError(f"more than {DEEPEST} levels deep")
    return content


def _inside(content: Any) -> Iterable[Any]:
    return content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()


def _doubt(payload: bytes) -> str | None:
    """Why JSON that fits its schema cannot be believed all the same."""
    try:
        return _given_twice(_read(payload))
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"[:200]


def _given_twice(content: Any) -> str | None:
    """Which key stands twice in an object, somewhere inside; None where none does."""
    if isinstance(content, _Doubtful):
        return f"the key {content.twice!r} is given twice"[:200]
    return next((found for found in map(_given_twice, _inside(content)) if found is not None), None)


def _impossible(record: StationRecord, topics: StationTopics, form: SerialForm) -> str | None:
    if record.station != topics.station:
        return f"a record of station {record.station} on the topic of {topics.station}"
    if record.lot_number is not None and lot_parts(record.lot_number) is None:
        return f"LOT number {record.lot_number} has no such date or number"
    if record.serial_number is not None and record.part is Part.PRODUCT:
        refusal = form.refusal(record.serial_number)
        return None if refusal is None else f"serial number {refusal}"
    return None


def _foreign(header: RecordsHeader, message: Message, topics: StationTopics) -> str | None:
    """Why the envelope is not of the station whose topic it came on, or None."""
    if (header.site, header.line, header.station) != (topics.site, topics.line, topics.station):
        return f"envelope of {header.site}/{header.line}/{header.station} on the topic of another station"
    named = message.user_properties.get(PROPERTY_STREAM)
    if named is not None and named != header.stream_id:
        return "envelope and user property name different streams"
    return None


def _refuse(message: Message, topics: StationTopics, reason: str) -> Arrival:
    """The whole message to quarantine; it settles by the numbers in its user properties, where they are there."""
    properties = message.user_properties
    stream_id = _valid(_stream_id, properties.get(PROPERTY_STREAM))
    seqs = seqs_from_text(properties.get(PROPERTY_SEQS, "")) if stream_id is not None else None
    first, last = (None, None) if seqs is None else (seqs[0][0], seqs[-1][1])
    rejected = Rejected(message.topic, stream_id, first, last, reason, message.payload, seqs or ())
    instance = _valid(_instance, properties.get(PROPERTY_INSTANCE))
    return Arrival(stream_id, topics.site, topics.line, topics.station, (), (rejected,), instance=instance)


def _seq_or_none(item: Any) -> int | None:
    seq = item.get("seq") if isinstance(item, dict) else None
    return _valid(_seq, seq) if isinstance(seq, int) and not isinstance(seq, bool) else None


def _valid(form: TypeAdapter[Any], value: Any) -> Any:
    if value is None:
        return None
    try:
        return form.validate_python(value)
    except ValidationError:
        return None


def _told(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        wrong = [f"{'.'.join(map(str, e['loc'])) or 'record'}: {e['msg']}" for e in error.errors(include_url=False)]
        return "; ".join(wrong)[:1000]
    return str(error)[:1000]
