"""What is done to streams and records inside one transaction. Each takes the connection of the writer."""

import hashlib
import sqlite3
import uuid
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.envelope import Commit, Contents, HeldStream, Range, successor


@dataclass(frozen=True)
class Row:
    """An unsettled record as it goes on the wire. ``is_intact`` is False when it is no longer what was kept."""

    seq: int
    body: bytes
    is_intact: bool = True


@dataclass(frozen=True)
class Numbers:
    """The stream in use: its row, its name, the highest number given, and the highest that may have been sent."""

    stream: int = 0
    stream_id: str = ""
    last_seq: int = 0
    sent: int = 0


def checksum(stream_id: str, seq: int, body: bytes) -> int:
    """CRC-32 of a record and its place: a disk that changes one bit of it does not make another result of it."""
    return zlib.crc32(body, zlib.crc32(b"%s %d " % (stream_id.encode(), seq)))


def now() -> str:
    """The station's clock, as the outbox writes it."""
    return datetime.now(UTC).isoformat()


def load(connection: sqlite3.Connection) -> Numbers:
    """The stream in use; a new one where there is none."""
    row = connection.execute(
        "SELECT id, stream_id, max(last_seq, coalesce((SELECT max(seq) FROM records WHERE stream = streams.id), 0)),"
        " sent FROM streams WHERE ended_at IS NULL"
    ).fetchone()
    return Numbers(*row) if row is not None else begin(connection)


def begin(connection: sqlite3.Connection, stream_id: str | None = None) -> Numbers:
    """Begin a new stream."""
    stream_id = stream_id or uuid.uuid4().hex
    inserted = connection.execute("INSERT INTO streams (stream_id, minted_at) VALUES (?, ?)", (stream_id, now()))
    assert inserted.lastrowid is not None
    return Numbers(inserted.lastrowid, stream_id)


def end(connection: sqlite3.Connection, numbers: Numbers) -> None:
    """Write in this stream no more. What it holds keeps its numbers, and is delivered under them."""
    connection.execute(
        "UPDATE streams SET ended_at = ?, last_seq = ? WHERE id = ?", (now(), numbers.last_seq, numbers.stream)
    )


@dataclass(frozen=True)
class Compared:
    """Unsettled records beside what central holds under their numbers (``Contents``).

    ``ours`` are there, ``disputed`` of them beside another content; ``others`` are not, although another content is.
    """

    ours: tuple[int, ...] = ()
    disputed: tuple[int, ...] = ()
    others: tuple[int, ...] = ()


def compare(connection: sqlite3.Connection, stream: int, stream_id: str, contents: Contents) -> Compared:
    """Whose is what central holds of a stream. A record that is no longer what was kept is nobody's."""
    found: defaultdict[bool | None, list[int]] = defaultdict(list)
    for seq, body, crc in connection.execute(
        "SELECT seq, body, crc FROM records INDEXED BY unsettled"
        " WHERE stream = ? AND seq BETWEEN ? AND ? AND settled_at IS NULL AND parked IS NULL ORDER BY seq",
        (stream, contents.first, contents.last),
    ):
        if _is_intact(crc, stream_id, seq, body):
            found[contents.has(seq, hashlib.sha256(body).hexdigest())].append(seq)
    disputed = [seq for seq in found[True] if contents.is_disputed(seq)]
    return Compared(tuple(found[True]), tuple(disputed), tuple(found[False]))


def first_in_doubt(connection: sqlite3.Connection, stream: int, commit: Commit, after: int) -> int | None:
    """The first number above ``after`` that central has and that is not settled here: perhaps another's."""
    for first, last in _covered(commit):
        row = connection.execute(
            "SELECT seq FROM records INDEXED BY unsettled"
            " WHERE stream = ? AND seq BETWEEN ? AND ? AND settled_at IS NULL AND parked IS NULL ORDER BY seq LIMIT 1",
            (stream, max(first, after + 1), last),
        ).fetchone()
        if row is not None:
            return int(row[0])
    return None


def move(connection: sqlite3.Connection, stream: int, stream_id: str, seqs: Iterable[int]) -> None:
    """Another's records are at central under these numbers of ours: ours move to the stream's successor.

    The rest keeps its place, whether it was sent or not: a copy of this outbox may hold the same records, and deliver
    them in the same place. What cannot be sent stays, too: a damaged record must not get a check sum that is right.
    """
    into = successor(stream_id)
    row = row_of(connection, into)
    for seq in seqs:
        found = connection.execute(
            "SELECT body, crc FROM records WHERE stream = ? AND seq = ? AND settled_at IS NULL AND parked IS NULL",
            (stream, seq),
        ).fetchone()
        if found is None or not _is_intact(found[1], stream_id, seq, found[0]):
            continue
        if row is None:
            row = begin(connection, into).stream
            end(connection, Numbers(row, into))
        connection.execute(
            "UPDATE OR IGNORE records SET stream = ?, crc = ? WHERE stream = ? AND seq = ?",
            (row, checksum(into, seq, found[0]), stream, seq),
        )
    for one in (stream, row):
        if one is not None:
            _count_absent(connection, one)


def _count_absent(connection: sqlite3.Connection, stream: int) -> None:
    """Of a stream that has ended, what is not here is rightly not here."""
    connection.execute(
        "UPDATE streams SET last_seq = max(last_seq, coalesce((SELECT max(seq) FROM records WHERE stream = id), 0))"
        " WHERE id = ? AND ended_at IS NOT NULL",
        (stream,),
    )
    connection.execute(
        "UPDATE streams SET absent = last_seq - (SELECT count(*) FROM records WHERE stream = streams.id)"
        " WHERE id = ? AND ended_at IS NOT NULL",
        (stream,),
    )


def _is_intact(crc: int | None, stream_id: str, seq: int, body: bytes) -> bool:
    return crc is None or crc == checksum(stream_id, seq, body)


def row_of(connection: sqlite3.Connection, stream_id: str) -> int | None:
    """The row of a stream this file holds."""
    row = connection.execute("SELECT id FROM streams WHERE stream_id = ?", (stream_id,)).fetchone()
    return None if row is None else int(row[0])


def settle(connection: sqlite3.Connection, stream: int, ranges: Iterable[Range], at: datetime) -> int:
    """Settle these, at this moment: central holds their very content. Returns rows changed."""
    return sum(
        connection.execute(
            "UPDATE records INDEXED BY unsettled SET settled_at = ?"
            " WHERE stream = ? AND seq BETWEEN ? AND ? AND settled_at IS NULL",
            (at.isoformat(), stream, first, last),
        ).rowcount
        for first, last in ranges
    )


def mark_disputed(connection: sqlite3.Connection, stream: int, ranges: Iterable[Range]) -> int:
    """What is settled of these is in quarantine, beside another content. Returns how many are newly marked."""
    return sum(
        connection.execute(
            "UPDATE records SET disputed = 1"
            " WHERE stream = ? AND seq BETWEEN ? AND ? AND settled_at IS NOT NULL AND disputed IS NULL",
            (stream, first, last),
        ).rowcount
        for first, last in ranges
    )


def take_back(connection: sqlite3.Connection, stream: int, commit: Commit, after: int) -> int:
    """Settled rows above ``after`` that central has no more, or asks for again, are unsettled. Returns how many."""
    return sum(
        connection.execute(
            "UPDATE records SET settled_at = NULL, disputed = NULL"
            " WHERE stream = ? AND seq BETWEEN ? AND ? AND settled_at IS NOT NULL",
            (stream, max(first, after + 1), last),
        ).rowcount
        for first, last in _lacking(commit)
        if last > after
    )


def unsettled(
    connection: sqlite3.Connection, stream_id: str, after: int, up_to: int, max_rows: int, max_bytes: int
) -> list[Row]:
    """The next records to send; at least one if there is one, else within bounds. A damaged one comes alone."""
    stream = row_of(connection, stream_id)
    rows: list[Row] = []
    size = 0
    for seq, body, crc in connection.execute(
        "SELECT seq, body, crc FROM records INDEXED BY unsettled"
        " WHERE stream = ? AND seq > ? AND seq <= ? AND settled_at IS NULL AND parked IS NULL ORDER BY seq LIMIT ?",
        (stream, after, up_to, max_rows),
    ):
        size += len(body) + 32
        is_intact = _is_intact(crc, stream_id, seq, body)
        if rows and (size > max_bytes or not is_intact):
            break
        rows.append(Row(seq, body, is_intact))
        if not is_intact:
            break
    return rows


def earlier(connection: sqlite3.Connection) -> tuple[HeldStream, ...]:
    """The streams no longer written that still have records here, the oldest first."""
    found = connection.execute(
        "SELECT stream_id, last_seq, (SELECT min(seq) FROM records WHERE stream = streams.id) AS oldest FROM streams"
        " WHERE ended_at IS NOT NULL AND oldest IS NOT NULL ORDER BY id"
    )
    return tuple(HeldStream(stream_id=name, last_seq=last, oldest_available=oldest) for name, last, oldest in found)


def forget(connection: sqlite3.Connection, numbers: Numbers, before: str | None, limit: int) -> int:
    """Delete the oldest settled records: those settled before this moment, or whichever. Returns how many."""
    chosen = connection.execute(
        "SELECT stream, seq FROM records INDEXED BY settled WHERE settled_at < ? ORDER BY settled_at LIMIT ?",
        (before or "~", limit),
    ).fetchall()
    if chosen:
        # Numbers go on from the highest ever given, also when that row is gone.
        connection.execute("UPDATE streams SET last_seq = ? WHERE id = ?", (numbers.last_seq, numbers.stream))
    connection.executemany("DELETE FROM records WHERE stream = ? AND seq = ?", chosen)
    for stream, count in Counter(stream for stream, _ in chosen).items():
        connection.execute("UPDATE streams SET absent = absent + ? WHERE id = ?", (count, stream))
    return len(chosen)


def _covered(commit: Commit) -> Iterable[Range]:
    return (1, commit.committed_seq), *commit.ranges


def _lacking(commit: Commit) -> Iterable[Range]:
    """The spaces between, and all beyond that the commit tells of: few, however many records lie above the first."""
    after = commit.committed_seq
    for first, last in sorted(commit.ranges):
        if first > after + 1:
            yield after + 1, first - 1
        after = max(after, last)
    if after < commit.told_through:
        yield after + 1, commit.told_through
