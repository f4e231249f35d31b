"""What the ingestor hands to the store, and what it gets back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from contracts.envelope import Commit, Range, ranges_of
from contracts.permit import StationRecord


@dataclass(frozen=True, order=True)
class Claim:
    """A station's claim to a stream."""

    stream_id: str
    station: str


class AlarmKind(StrEnum):
    """What someone has to look into; docs/delivery.md says how."""

    OTHER_CONTENT = "other content under a known number"
    FOREIGN_STREAM = "records in a stream of another station"
    TWO_AGENTS = "two agents write in one stream"
    OLDER_IMAGE = "an older image of an outbox"
    NOT_HEARD = "the broker does not let central speak"
    OFFLINE_PERMIT_WRONG = "started without central, and wrongly"
    GOLDEN_SAMPLE_FAILED = "a golden sample failed"


@dataclass(frozen=True)
class Alarm:
    """Something to be raised: what, whose, what a person needs to know of it, and how often it happened."""

    kind: AlarmKind
    claim: Claim
    detail: str
    occurrences: int = 1


@dataclass(frozen=True)
class Rejected:
    """Something that is wrong in itself: kept whole in quarantine.

    With a stream and its seqs known (from the message's user properties) it settles in the stream's ledger. ``seqs``
    are exactly those, where they are not all from the first to the last.
    """

    topic: str
    stream_id: str | None
    first_seq: int | None
    last_seq: int | None
    reason: str
    payload: bytes
    seqs: tuple[Range, ...] = ()

    @property
    def settles(self) -> tuple[Range, ...]:
        """The numbers that are known to be in it."""
        if self.stream_id is None or self.first_seq is None or self.last_seq is None:
            return ()
        return self.seqs or ((self.first_seq, self.last_seq),)


@dataclass(frozen=True)
class Arrival:
    """One message of a station: the records that are right in themselves, and what is not.

    ``site``, ``line`` and ``station`` are those of the topic it came on. ``records`` are (seq, record,
    digest(record)). ``stream_id`` is None when nothing of the message could be read; it then has no records.
    ``instance`` is the agent's process that sent it, ``last_seq`` the highest number it had given by then.
    """

    stream_id: str | None
    site: str
    line: str
    station: str
    records: Sequence[tuple[int, StationRecord, str]] = ()
    rejected: Sequence[Rejected] = ()
    instance: str | None = None
    last_seq: int | None = None

    @property
    def seqs(self) -> tuple[Range, ...]:
        """Every number of its stream that is in it, in whatever state."""
        ranges = [*ranges_of([seq for seq, _, _ in self.records])]
        for rejected in self.rejected:
            ranges += rejected.settles
        return tuple(ranges)


@dataclass(frozen=True)
class StationCommit:
    """A commit acknowledgement, and the station it is for."""

    site: str
    line: str
    station: str
    commit: Commit

    def after(self, earlier: Commit) -> "StationCommit":
        """The same, with what a transaction before it has taken of the same stream."""
        senders = self.commit.taken.keys() | earlier.taken.keys()
        said = {
            "taken": {one: (*earlier.taken.get(one, ()), *self.commit.taken.get(one, ())) for one in sorted(senders)},
            "disputed": (*earlier.disputed, *self.commit.disputed),
        }
        return replace(self, commit=self.commit.model_copy(update=said))


@dataclass(frozen=True)
class BirthAnswer:
    """What has arrived of the stream a station was born with, and what its birth gave away."""

    told: StationCommit
    alarms: tuple[Alarm, ...]

    def told_to(self, birth_at: datetime) -> StationCommit:
        """The acknowledgement as the answer to the birth of this moment."""
        return replace(self.told, commit=self.told.commit.model_copy(update={"answers": birth_at}))


@dataclass(frozen=True)
class IngestResult:
    """What one ingest transaction did.

    ``refused`` counts rows added to quarantine, by topic and reason. ``conflicts``: other content under a number
    already used; ``foreign``: records of a second station in one stream, which are taken as all others are. Both are
    alarms, and stand in ``alarms`` by stream.
    """

    commits: tuple[StationCommit, ...]
    inserted: int
    repeated: int
    refused: Mapping[tuple[str, str], int]
    conflicts: int
    foreign: int
    alarms: tuple[Alarm, ...] = ()

    @property
    def quarantined(self) -> int:
        """Rows added to quarantine."""
        return sum(self.refused.values())


@dataclass(frozen=True)
class StreamCount:
    """What central has of one station's stream, for reconciliation."""

    stream_id: str
    station: str
    owner: bool
    committed_seq: int
    records: int


@dataclass(frozen=True)
class Counts:
    """Rows for reconciliation: one entry per stream and station, and quarantine rows by reason."""

    streams: tuple[StreamCount, ...]
    quarantine: dict[str, int]

    @property
    def records(self) -> int:
        """Rows of process_data."""
        return sum(stream.records for stream in self.streams)

    @property
    def quarantined(self) -> int:
        """Rows in quarantine."""
        return sum(self.quarantine.values())
