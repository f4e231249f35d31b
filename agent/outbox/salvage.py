"""What can be read of a damaged outbox, brought into the present one exactly once, under the numbers it has.

A record keeps stream and number: central knows it as the same fact, should it have it already.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agent.outbox.file import ASIDE, OutboxFile
from agent.outbox.pages import TableRow, rows
from agent.outbox.streams import checksum, now, row_of
from contracts.envelope import Range, ranges_of
from contracts.errors import SetupError
from contracts.permit import StationRecord

SALVAGED = ".salvaged-"
_station_record: TypeAdapter[StationRecord] = TypeAdapter(StationRecord)


@dataclass(frozen=True)
class _Record:
    """A row of ``records``. ``stream`` is its number in that file."""

    stream: int
    seq: int
    machine: str
    created_at: str
    body: bytes
    settled_at: str | None
    parked: str | None
    crc: int | None

    def is_intact(self, stream_id: str) -> bool:
        """True when content and number are those that were kept, as far as an older version lets us know."""
        return self.crc is None or self.crc == checksum(stream_id, self.seq, self.body)

    @property
    def digest(self) -> bytes:
        return sha256(self.body).digest()


@dataclass
class StreamFound:
    """What was found of one stream. ``stream_id`` is None when the file no longer says what it is called."""

    number: int
    stream_id: str | None
    brought: int = 0
    """Records that are in the outbox now, and were not before."""
    unsettled: int = 0
    """Of these, those that central has not said it has."""
    known: int = 0
    """Records that were in the outbox already."""
    differing: list[int] = field(default_factory=list)
    """Numbers under which the outbox holds something else."""
    unreadable: set[int] = field(default_factory=set)
    """Numbers whose content is damaged."""
    seqs: set[int] = field(default_factory=set)
    """Numbers that can be read."""
    last: int = 0
    """The highest number found, readable or not."""
    lost: int = 0
    """Numbers that should be there and are not found, at least."""

    @property
    def missing(self) -> tuple[Range, ...]:
        """Numbers up to the last one found that cannot be read: lost, or deleted after their time.

        The oldest are told only where some are lost: that the first ones are deleted is the rule.
        """
        if not self.seqs:
            return ()
        first = 1 if self.lost else min(self.seqs)
        # Between what was read, and up to the last one: never number by number, whatever a damaged file says.
        present = [(first - 1, first - 1), *ranges_of(sorted(self.seqs))]
        ends = [*present, (self.last + 1, self.last + 1)]
        return tuple((before + 1, after - 1) for (_, before), (after, _) in pairwise(ends) if before + 1 < after)

    @property
    def is_brought(self) -> bool:
        """True when all that can be read is in the outbox."""
        return self.stream_id is not None and not self.differing


@dataclass(frozen=True)
class Found:
    """What a salvage brought. ``kept_as`` is where the damaged file is now."""

    streams: list[StreamFound]
    kept_as: Path

    @property
    def is_complete(self) -> bool:
        """True when nothing that was in the file is missing from the outbox."""
        return all(one.is_brought and not (one.lost or one.unreadable) for one in self.streams)


def salvage(damaged: Path, into: Path, names: Mapping[int, str]) -> Found:
    """Bring every record of ``damaged`` that can be read into the outbox ``into``; doing it again changes nothing.

    ``names`` gives streams a name that the file no longer tells. When nothing that was in the file is missing from the
    outbox, the damaged file is renamed (``.salvaged-``), so that the station says no more that it waits. Otherwise it
    keeps its name, and the station goes on saying so: what is still in it is a person's to give up.

    Raises SetupError: no such file, nothing in it, an agent uses the outbox.
    """
    if not (damaged.exists() or damaged.with_name(damaged.name + "-wal").exists()):
        raise SetupError(f"{damaged}: no such file")
    if not into.exists():
        raise SetupError(f"{into}: there is no outbox; name the station's present one with --into")
    file = OutboxFile(into)
    try:
        connection, _ = file.open()
        try:
            found = _Salvage(connection, damaged, names).run()
        finally:
            connection.close()
    finally:
        file.close()
    outcome = Found(found, damaged)
    return replace(outcome, kept_as=_renamed(damaged)) if outcome.is_complete else outcome


class _Salvage:
    """The work of one salvage, in one transaction."""

    def __init__(self, connection: sqlite3.Connection, damaged: Path, names: Mapping[int, str]) -> None:
        self._connection = connection
        self._damaged = damaged
        self._names = dict(names)
        self._latest: dict[bytes, tuple[int, int]] = {}
        self._settled: dict[tuple[int, int], str] = {}
        self._found: dict[int, StreamFound] = {}
        self._counts: dict[int, tuple[int, int]] = {}

    def run(self) -> list[StreamFound]:
        self._look_through()
        if not self._found:
            raise SetupError(f"{self._damaged}: no record of an outbox was found in it")
        self._connection.execute("BEGIN IMMEDIATE")
        here = {sha256(body).digest() for (body,) in self._connection.execute("SELECT body FROM records")}
        for record in _records(rows(self._damaged)):
            # What moved to another stream may be found in its old place, too; and each place may be found twice.
            if isinstance(record, _Record) and self._latest.get(record.digest) == (record.stream, record.seq):
                del self._latest[record.digest]
                self._bring(record, known=record.digest in here)
        self._complete_streams()
        self._connection.execute("COMMIT")
        return [self._found[number] for number in sorted(self._found)]

    def _look_through(self) -> None:
        for row in rows(self._damaged):
            stream = _stream(row)
            if stream is not None:
                self._names[row.rowid], *counts = stream
                self._counts[row.rowid] = max(self._counts.get(row.rowid, (0, 0)), (counts[0], counts[1]))
        for record in _records(rows(self._damaged)):
            number, seq = (record.stream, record.seq) if isinstance(record, _Record) else record
            found = self._found.setdefault(number, StreamFound(number, self._names.get(number)))
            if not isinstance(record, _Record) or not (found.stream_id is None or record.is_intact(found.stream_id)):
                found.unreadable.add(seq)
                continue
            self._latest[record.digest] = max(self._latest.get(record.digest, (0, 0)), (number, seq))
            if record.settled_at is not None:
                self._settled[number, seq] = record.settled_at
        for number, seq in self._latest.values():
            self._found[number].seqs.add(seq)
        for number, found in self._found.items():
            found.unreadable -= found.seqs
            last, absent = self._counts.get(number, (0, 0))
            known = max([last, *found.seqs])
            # In a damaged row the number may be what is damaged: one beyond all there can be is counted no further.
            near = [seq for seq in found.unreadable if seq <= known + len(found.unreadable)]
            found.last = max([0, *found.seqs, *near])
            if number in self._counts:
                found.lost = max(0, max(last, found.last) - absent - len(found.seqs))

    def _bring(self, record: _Record, *, known: bool) -> None:
        found = self._found[record.stream]
        if known or found.stream_id is None:
            found.known += known
            return
        settled_at = self._settled.get((record.stream, record.seq))
        brought = self._connection.execute(
            "INSERT INTO records (stream, seq, machine, created_at, body, settled_at, parked, crc)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (stream, seq) DO NOTHING",
            (
                self._stream_here(record.stream, found.stream_id),
                record.seq,
                record.machine,
                record.created_at,
                record.body,
                settled_at,
                record.parked,
                checksum(found.stream_id, record.seq, record.body),
            ),
        ).rowcount
        if not brought:
            found.differing.append(record.seq)
            return
        found.brought += 1
        found.unsettled += settled_at is None

    def _stream_here(self, number: int, stream_id: str) -> int:
        row = row_of(self._connection, stream_id)
        if row is not None:
            return row
        last, _ = self._counts.get(number, (0, 0))
        inserted = self._connection.execute(
            "INSERT INTO streams (stream_id, minted_at, last_seq, sent, ended_at) VALUES (?, ?, ?, ?, ?)",
            (stream_id, now(), last, last, now()),
        )
        assert inserted.lastrowid is not None
        return inserted.lastrowid

    def _complete_streams(self) -> None:
        """What could not be brought is rightly absent from now on: the file is whole."""
        for found in self._found.values():
            row = row_of(self._connection, found.stream_id) if found.stream_id is not None else None
            if row is not None:
                self._connection.execute(
                    "UPDATE streams SET last_seq = max(last_seq, (SELECT coalesce(max(seq), 0) FROM records"
                    " WHERE stream = streams.id)) WHERE id = ?",
                    (row,),
                )
                self._connection.execute(
                    "UPDATE streams SET absent = last_seq - (SELECT count(*) FROM records WHERE stream = streams.id)"
                    " WHERE id = ?",
                    (row,),
                )


def _records(found: Iterable[TableRow]) -> Iterator[_Record | tuple[int, int]]:
    """The rows that are records; of one whose content is damaged its stream and number."""
    for row in found:
        match row.columns:
            case (int(stream), int(seq), str(machine), str(created_at), bytes() | str() as body, *rest) if seq > 0:
                body = body.encode() if isinstance(body, str) else body
                settled_at, parked, crc = (*rest, None, None, None)[:3]
                if not _is_record(body):
                    yield stream, seq
                    continue
                yield _Record(stream, seq, machine, created_at, body, _text(settled_at), _text(parked), _number(crc))
            case (int(stream), int(seq), str(), str(), *_) if seq > 0 and not row.whole:
                yield stream, seq


def _stream(row: TableRow) -> tuple[str, int, int] | None:
    """Name, highest number and numbers rightly absent, of a row of ``streams``."""
    match row.columns:
        case (None, str(stream_id), str(), int(last_seq), int(sent), *rest) if len(stream_id) == 32:
            absent = rest[1] if len(rest) > 1 else 0
            return stream_id, max(last_seq, sent), absent if isinstance(absent, int) else 0
    return None


def _is_record(body: bytes) -> bool:
    try:
        _station_record.validate_json(body)
    except ValidationError:
        return False
    return True


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _renamed(damaged: Path) -> Path:
    if ASIDE not in damaged.name:
        return damaged
    renamed = damaged.with_name(damaged.name.replace(ASIDE, SALVAGED))
    for suffix in ("-wal", ""):
        old = damaged.with_name(damaged.name + suffix)
        if old.exists():
            old.rename(renamed.with_name(renamed.name + suffix))
    return renamed
