"""What travels over MQTT: a message of records, the commit acknowledgement, a station's birth (design.md)."""

import re
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from contracts.base import Contract, Count, InstanceId, MessageVersion, Seq, StationId, StreamId, UtcTime
from contracts.permit import StationRecord

VERSION = 1
MAX_MESSAGE_BYTES = 256 * 1024
"""A message is at most this large; a larger record is parked on the station, visibly."""

MAX_RECORDS = 1000
"""Of a message that cannot be read, so many numbers are believed at most."""

PROPERTY_STREAM, PROPERTY_SEQS, PROPERTY_INSTANCE = "stream_id", "seqs", "instance"
"""User properties of a records message, so that an unreadable payload can be settled too."""


class Numbered(Contract):
    """A record and its place in its stream."""

    seq: Seq
    record: StationRecord


class RecordsHeader(Contract):
    """Whose records a message carries.

    ``instance`` is the process that sent them; ``last_seq`` the highest number it had given by then, so that central
    knows how far behind it is.
    """

    v: MessageVersion = 1
    site: StationId
    line: StationId
    station: StationId
    stream_id: StreamId
    sent_at: UtcTime
    instance: InstanceId | None = None
    last_seq: Count | None = None

    def header(self) -> bytes:
        """These fields alone, in the bytes that open a message."""
        return self.model_dump_json(include=set(RecordsHeader.model_fields)).encode()


class RecordsMessage(RecordsHeader):
    """A batch of records of one stream, in rising order of ``seq``."""

    records: Annotated[tuple[Numbered, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _rising(self) -> Self:
        seqs = [numbered.seq for numbered in self.records]
        if any(later <= earlier for earlier, later in pairwise(seqs)):
            raise ValueError("records are not in rising order of seq")
        return self


Range = tuple[Seq, Seq]
"""First and last seq, both included."""


DIGEST_DIGITS = 16
"""Of a record's digest, so many hexadecimal digits tell its content from another under the same number."""
UNKNOWN_CONTENT = "*"


class Contents(Contract):
    """What central holds under the numbers from ``first`` on, to whoever asks what of a stream is its own.

    One entry a number: the first digits of ``digest(record)`` of each content, committed or in quarantine, with a
    blank between; empty where there is nothing; ``*`` where something is held that cannot be read.
    """

    first: Seq
    digests: tuple[str, ...]

    @property
    def last(self) -> int:
        """The last number this tells of."""
        return self.first + len(self.digests) - 1

    def has(self, seq: int, digest: str) -> bool | None:
        """Whether central holds this content under this number; None where nothing that can be read is held there."""
        held = self._held(seq)
        if digest[:DIGEST_DIGITS] in held:
            return True
        return False if held - {UNKNOWN_CONTENT} else None

    def is_disputed(self, seq: int) -> bool:
        """Whether more than one content came under this number."""
        return len(self._held(seq)) > 1

    def _held(self, seq: int) -> set[str]:
        return set(self.digests[seq - self.first].split()) if self.first <= seq <= self.last else set()


COMMIT_RANGES = 2000
"""Ranges in one acknowledgement, at most: it has to fit a message. One with so many says nothing of what is beyond."""

HIGHEST = 2**62
"""No seq is above it."""


class Commit(Contract):
    """What central has committed of one stream; published retained to the station's ``commits`` topic.

    ``epoch`` names central's database: it changes when central starts from an empty one. ``committed_seq`` is the
    highest seq without a gap below it (0: nothing), ``ranges`` what is committed above it. A quarantined record is
    committed too: it is kept, whole, at central. What central asks for again (a replay) is left out, as if it were
    not there: the station sends it as it sends everything that is not committed.

    Of a stream with more holes only the lowest ``COMMIT_RANGES`` ranges are said. So many say it by themselves
    (``told_through``): a field of its own would be refused by every agent that does not know it.

    ``known_seq`` is the highest seq central ever had of this stream, asked for again or not. ``revision`` rises with
    each change of the stream's ledger while central's database stays open (``generation``). ``mint`` names instances
    that must begin a new stream, because another one writes in this stream too. ``answers`` is the ``at`` of the birth
    this was said in answer to: the station measures its clock by it. ``contents`` answers a birth that asks for them.

    A number says what central has, and not whose it is: two agents with copies of one outbox give the same numbers.
    ``taken`` says what central has just taken in the very content in which an agent's process (instance) sent it,
    committed or in quarantine: that settles it, and only that or ``contents`` does. ``disputed`` are numbers that the
    same transaction found used for more than one content: all of them are in quarantine.
    """

    v: MessageVersion = 1
    stream_id: StreamId
    epoch: str
    committed_seq: Count
    ranges: tuple[Range, ...] = ()
    known_seq: Count = 0
    generation: str = ""
    revision: Count = 0
    mint: tuple[InstanceId, ...] = ()
    answers: UtcTime | None = None
    contents: Contents | None = None
    taken: dict[InstanceId, tuple[Range, ...]] = Field(default_factory=dict)
    disputed: tuple[Range, ...] = ()
    at: UtcTime

    def covers(self, seq: int) -> bool:
        """True when central has this seq and does not ask for it."""
        return seq <= self.committed_seq or any(first <= seq <= last for first, last in self.ranges)

    @property
    def told_through(self) -> int:
        """The highest seq this tells of: whether central has what is above it is not said."""
        return HIGHEST if len(self.ranges) < COMMIT_RANGES else max(last for _, last in self.ranges)

    @property
    def highest(self) -> int:
        """The highest seq central has, asked for again or not."""
        return max([self.committed_seq, self.known_seq, *(last for _, last in self.ranges)])

    def is_late(self, adopted: "Commit") -> bool:
        """True when this was said before ``adopted`` and came after it: several ingestors answer one station.

        Of another generation nothing is late: central may have been restored, and then knows less than before.
        """
        same = (self.stream_id, self.epoch, self.generation) == (adopted.stream_id, adopted.epoch, adopted.generation)
        return same and self.revision < adopted.revision

    def takes_back(self, adopted: "Commit") -> bool:
        """True when ``adopted`` covers something that this does not, as far as it tells: central was restored, or asks
        for it again."""
        ours, through = self._covering(), self.told_through
        return self.epoch != adopted.epoch or any(
            not (place := bisect_right(ours, first, key=lambda span: span[0]))
            or min(last, through) > ours[place - 1][1]
            for first, last in adopted._covering()
            if first <= through
        )

    def _covering(self) -> list[Range]:
        """``committed_seq`` and ``ranges`` as ranges that do not touch."""
        covering: list[Range] = [(1, self.committed_seq)] if self.committed_seq else []
        for first, last in self.ranges:
            if covering and first <= covering[-1][1] + 1:
                covering[-1] = (covering[-1][0], max(covering[-1][1], last))
            else:
                covering.append((first, last))
        return covering


class HeldStream(Contract):
    """A stream that a station once wrote and still keeps records of: central may ask for them.

    ``compare_from``: as in ``Birth``.
    """

    stream_id: StreamId
    last_seq: Count
    oldest_available: Count
    compare_from: Seq | None = None


class Birth(Contract):
    """A station's retained state: what it holds. The last will is the same message with ``online`` false.

    ``instance`` is the process that speaks: minted at each start and kept nowhere, so that a copied outbox has
    another one. ``earlier`` are streams it wrote before the present one. ``parked`` counts records too large to send.
    ``troubles`` are the station's own troubles with keeping results, in words for a person: a full disk, a damaged
    outbox set aside; empty when there are none. ``compare_from``: central has numbers that the station has not settled;
    the station asks what central holds from this number on, to tell its own from another agent's.
    """

    v: MessageVersion = 1
    site: StationId
    line: StationId
    station: StationId
    online: bool
    instance: InstanceId | None = None
    stream_id: StreamId
    last_seq: Count
    oldest_available: Count
    earlier: tuple[HeldStream, ...] = ()
    parked: Count = 0
    troubles: tuple[Annotated[str, Field(max_length=500)], ...] = ()
    compare_from: Seq | None = None
    host: str
    software: str
    at: UtcTime

    def of_each_stream(self) -> "tuple[Birth, ...]":
        """One birth per stream the station holds, the present stream's first: each has a ledger of its own."""
        alone = self.model_copy(update={"earlier": ()})
        return alone, *(alone.model_copy(update=dict(held)) for held in self.earlier)


_NAME_BASED = 5


def successor(stream_id: str) -> str:
    """The stream for a record whose number in ``stream_id`` another's content has; it keeps its number there.

    The name follows from the stream's alone (a name-based UUID, RFC 9562): whoever holds a copy of the record gives it
    the same place, and central knows it as the same fact.
    """
    return uuid.uuid5(uuid.UUID(stream_id), "successor").hex


def has_gaps(stream_id: str) -> bool:
    """Whether it is a ``successor``: only some numbers were ever used in it, and none is missed."""
    return uuid.UUID(stream_id).version == _NAME_BASED


def ranges_of(seqs: Sequence[int]) -> tuple[Range, ...]:
    """Rising seqs as ranges: ``[3, 4, 5, 9]`` -> ``((3, 5), (9, 9))``."""
    ranges: list[Range] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return tuple(ranges)


def seqs_as_text(ranges: Iterable[Range]) -> str:
    """What stands in the user property: ``1-250,300``."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def seqs_from_text(text: str) -> tuple[Range, ...] | None:
    """The same back; None where it is no such text, or names more than MAX_RECORDS numbers."""
    if re.fullmatch(r"[1-9][0-9]{0,17}(-[1-9][0-9]{0,17})?(,[1-9][0-9]{0,17}(-[1-9][0-9]{0,17})?)*", text) is None:
        return None
    ends = [part.split("-") for part in text.split(",")]
    ranges = tuple((int(end[0]), int(end[-1])) for end in ends)
    rising = all(before[1] < after[0] for before, after in pairwise([(0, 0), *ranges]))
    counts = [last - first + 1 for first, last in ranges]
    return ranges if rising and min(counts) > 0 and sum(counts) <= MAX_RECORDS else None


def encode_records(header: RecordsHeader, rows: Sequence[tuple[int, bytes]]) -> bytes:
    """A RecordsMessage in bytes, from records that are in canonical bytes already (no second serialisation)."""
    records = b",".join(b'{"seq":%d,"record":%s}' % row for row in rows)
    return header.header()[:-1] + b',"records":[' + records + b"]}"
