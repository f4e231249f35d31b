"""What travels over MQTT: a message of records, the commit acknowledgement, a station's birth (design.md)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.base import Contract, Seq, StationId, StreamId, UtcTime
from contracts.record import ProcessRecord

VERSION = 1
MAX_MESSAGE_BYTES = 256 * 1024
"""A message is at most this large; a larger record is parked on the station, visibly."""

PROPERTY_STREAM, PROPERTY_FIRST, PROPERTY_LAST = "stream_id", "first_seq", "last_seq"
"""User properties of a records message, so that an unreadable payload can be settled too."""


class Numbered(Contract):
    """A record and its place in its stream."""

    seq: Seq
    record: ProcessRecord


class RecordsHeader(Contract):
    """Whose records a message carries."""

    v: Literal[1] = 1
    site: StationId
    line: StationId
    station: StationId
    stream_id: StreamId
    sent_at: UtcTime


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


class Commit(Contract):
    """What central has committed of one stream; published retained to the station's ``commits`` topic.

    ``epoch`` names central's database: it changes when central starts from an empty one. ``committed_seq`` is the
    highest seq without a gap below it (0: nothing), ``ranges`` what is committed above it. A quarantined record is
    committed too: it is kept, whole, at central.
    """

    v: Literal[1] = 1
    stream_id: StreamId
    epoch: str
    committed_seq: Annotated[int, Field(ge=0)]
    ranges: tuple[Range, ...] = ()
    at: UtcTime

    def covers(self, seq: int) -> bool:
        """True when central has this seq."""
        return seq <= self.committed_seq or any(first <= seq <= last for first, last in self.ranges)

    @property
    def highest(self) -> int:
        """The highest seq central has."""
        return max([self.committed_seq, *(last for _, last in self.ranges)])


class Birth(Contract):
    """A station's retained state: what it holds. The last will is the same message with ``online`` false."""

    v: Literal[1] = 1
    site: StationId
    line: StationId
    station: StationId
    online: bool
    stream_id: StreamId
    last_seq: Annotated[int, Field(ge=0)]
    oldest_available: Annotated[int, Field(ge=0)]
    host: str
    software: str
    at: UtcTime


def ranges_of(seqs: Sequence[int]) -> tuple[Range, ...]:
    """Rising seqs as ranges: ``[3, 4, 5, 9]`` -> ``((3, 5), (9, 9))``."""
    ranges: list[Range] = []
    for seq in seqs:
        if ranges and ranges[-1][1] == seq - 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return tuple(ranges)


def encode_records(header: RecordsHeader, rows: Sequence[tuple[int, bytes]]) -> bytes:
    """A RecordsMessage in bytes, from records that are in canonical bytes already (no second serialisation)."""
    records = b",".join(b'{"seq":%d,"record":%s}' % row for row in rows)
    return header.model_dump_json().encode()[:-1] + b',"records":[' + records + b"]}"
