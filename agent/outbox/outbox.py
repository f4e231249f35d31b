"""The station's results on disk: kept before the machine is acknowledged, settled when central has committed them.

A result that is in here survives a SIGKILL at any instruction and a power cut at any moment (WAL, synchronous=FULL).
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from agent.cycles import Cursor
from agent.outbox import file, streams
from agent.outbox.file import OutboxFile
from agent.outbox.room import Limits, Room
from agent.outbox.streams import Row
from agent.outbox.writer import Writer
from contracts.envelope import HIGHEST, Commit, HeldStream, Range, ranges_of
from contracts.errors import StoreError
from contracts.permit import StationRecord
from contracts.record import canonical

PRUNE_LIMIT = 500
"""Rows deleted in one commit, at most: results that come in meanwhile wait no longer than that."""
PRESSED_LIMIT = 20
"""The same where room is short: a commit needs some, too."""
UNSETTLED_BYTES = 1_000_000


@dataclass(frozen=True)
class StreamState:
    """What the outbox holds of its present stream, and beside it.

    ``oldest_available`` is 0 when nothing is held of the present stream. ``sent`` is the highest seq that may have
    been sent: what central knows above it did not come from this file. ``unsettled``, ``parked`` and ``disputed`` count
    the records of every stream.
    """

    stream_id: str
    last_seq: int
    sent: int
    oldest_available: int
    earlier: tuple[HeldStream, ...]
    unsettled: int
    parked: int
    disputed: int


@dataclass(frozen=True)
class Settled:
    """Records settled, and records newly known to be disputed."""

    records: int = 0
    disputed: int = 0


@dataclass(frozen=True)
class Apart:
    """How far our records are told from another's.

    ``ask_from``: from where on central has to be asked, None when all is told. ``others`` are numbers of ours under
    which it holds another's record, ``disputed`` how many were found now under which it holds both.
    """

    ask_from: int | None = None
    others: frozenset[int] = frozenset()
    disputed: int = 0


@dataclass(frozen=True)
class Pruned:
    """Settled records deleted: after their time, and before it for want of room."""

    aged: int = 0
    early: int = 0


class Outbox:
    """Open it, await its methods from one event loop, close it.

    ``heard`` is called in the loop when there is something new in ``troubles()``, or another stream in use.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self._path = path
        limits = limits or Limits()
        self._file = OutboxFile(path, limits.wal_pages)
        self._room = Room(path, limits)
        self._writer = Writer(f"outbox {path}", self._room, self._file.renew, self._tell)
        self._run = self._writer.run
        self.heard: Callable[[], None] = lambda: None
        self.live = False
        """True while the uplink sends each record at once: it is then marked as sent in its own commit."""
        self.central_at: datetime | None = None
        """What time it was at central when it was last heard."""
        self.refused: tuple[str, ...] = ()
        """Streams here that are another station's, central says: it takes nothing of them from us."""

    @property
    def last_seq(self) -> int:
        """The highest seq of the present stream that is on the disk. Asks nobody."""
        return self._writer.committed.last_seq

    @property
    def stream_id(self) -> str:
        """The stream in use. Asks nobody."""
        return self._writer.committed.stream_id

    def open(self) -> None:
        """Create or open the file, check it, and start the writer.

        A damaged file is set aside. Raises SetupError where the place cannot be used, StoreError where the disk
        refuses just now (full): later it may not.
        """
        try:
            try:
                connection, numbers = self._file.open()
            except StoreError:
                if not (self._room.take() and self._room.give_way()):
                    raise
                connection, numbers = self._file.open()
        except BaseException:
            self._file.close()
            raise
        self._room.take()
        self._writer.start(connection, numbers)

    def close(self) -> None:
        """Finish what is queued, then close the file. Never raises; may be called twice."""
        self._writer.stop()
        self._file.close()

    def troubles(self) -> tuple[str, ...]:
        """What keeps the station from keeping results, or has lost it some, in a technician's words."""
        found = [] if self._room.trouble is None else [self._room.trouble]
        found += [
            f"a damaged outbox was set aside as {path.name}; it comes back with: neurohub-agent outbox salvage {path}"
            for path in self._file.aside
        ]
        found += [
            f"stream {name} is another station's at central, and this outbox a copy: what central lacks of it stays"
            " here; bring it to that station with neurohub-agent outbox salvage"
            for name in self.refused
        ]
        return tuple(text[:500] for text in found)

    # -- results ---------------------------------------------------------------------------------------------------

    async def append(
        self,
        record: StationRecord,
        *cursors: Cursor,
        notes: Mapping[str, str] = MappingProxyType({}),
        can_wait: bool = True,
    ) -> int:
        """Keep a record, the cursors of the machines it is made from, and notes, in one commit. Returns its seq when
        all of it is on disk. Where the machine cannot wait (``can_wait`` False) the disk's reserve is used.

        Raises StoreError (a full or broken disk): nothing was kept, the machine must not be acknowledged.
        """
        body = canonical(record)

        def work(connection: sqlite3.Connection) -> int:
            self._room.admit(connection, can_wait=can_wait)
            numbers = self._writer.numbers
            seq = numbers.last_seq + 1
            connection.execute(
                "INSERT INTO records (stream, seq, machine, created_at, body, crc) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    numbers.stream,
                    seq,
                    record.machine,
                    streams.now(),
                    body,
                    streams.checksum(numbers.stream_id, seq, body),
                ),
            )
            for cursor in cursors:
                file.keep_cursor(connection, cursor)
            for name, value in notes.items():
                file.keep_note(connection, name, value)
            self._writer.numbers = replace(numbers, last_seq=seq)
            if self.live:
                self._mark_sent(connection, seq)
            return seq

        return await self._run(work)

    async def keep_cursor(self, cursor: Cursor) -> None:
        """Keep a machine's cursor without a record (the baseline of a first start). Raises StoreError."""
        await self._run(lambda connection: file.keep_cursor(connection, cursor))

    async def cursor(self, machine: str) -> Cursor | None:
        """The machine's last kept cycle, None when it never had one."""

        def work(connection: sqlite3.Connection) -> Cursor | None:
            row = connection.execute(
                "SELECT key_type, cycle_key, epoch, content FROM cursors WHERE machine = ?", (machine,)
            ).fetchone()
            return None if row is None else Cursor.from_row(machine, *row)

        return await self._run(work)

    async def note(self, name: str) -> str | None:
        """What the station noted about itself under this name."""
        return await self._run(lambda connection: file.note(connection, name))

    async def keep_note(self, name: str, value: str) -> None:
        """Replace a note. Raises StoreError."""
        await self._run(lambda connection: file.keep_note(connection, name, value))

    async def change_notes(self, values: Mapping[str, str | None]) -> None:
        """Replace these notes, or forget them (None), in one commit. Raises StoreError."""

        def work(connection: sqlite3.Connection) -> None:
            for name, value in values.items():
                if value is None:
                    file.drop_note(connection, name)
                else:
                    file.keep_note(connection, name, value)

        await self._run(work)

    async def drop_note(self, name: str) -> None:
        """Forget a note. Raises StoreError."""
        await self._run(lambda connection: file.drop_note(connection, name))

    async def notes(self, prefix: str) -> dict[str, str]:
        """Every note whose name begins so."""
        return await self._run(lambda connection: file.notes(connection, prefix))

    # -- delivery --------------------------------------------------------------------------------------------------

    async def state(self) -> StreamState:
        """What is held."""

        def work(connection: sqlite3.Connection) -> StreamState:
            numbers = self._writer.numbers
            # Four questions instead of one: each has an index that answers it.
            (oldest,) = connection.execute(
                "SELECT coalesce(min(seq), 0) FROM records WHERE stream = ?", (numbers.stream,)
            ).fetchone()
            (unsettled,) = connection.execute(
                "SELECT count(*) FROM records INDEXED BY unsettled WHERE settled_at IS NULL"
            ).fetchone()
            (parked,) = connection.execute(
                "SELECT count(*) FROM records INDEXED BY parked WHERE parked IS NOT NULL"
            ).fetchone()
            (disputed,) = connection.execute(
                "SELECT count(*) FROM records INDEXED BY disputed WHERE disputed IS NOT NULL"
            ).fetchone()
            return StreamState(
                numbers.stream_id,
                numbers.last_seq,
                numbers.sent,
                oldest,
                streams.earlier(connection),
                unsettled,
                parked,
                disputed,
            )

        return await self._run(work)

    async def sent(self) -> int:
        """The highest seq of the present stream that may have been sent."""
        return await self._run(lambda _connection: self._writer.numbers.sent)

    async def unsettled(
        self, stream_id: str, after: int, *, max_rows: int, max_bytes: int, up_to: int = HIGHEST
    ) -> list[Row]:
        """The next unsettled records of a stream above ``after``, in order; at least one if there is one, else within
        bounds. None of a stream that is not here."""
        return await self._run(
            lambda connection: streams.unsettled(connection, stream_id, after, up_to, max_rows, max_bytes)
        )

    async def bodies_unsettled(self) -> AsyncIterator[bytes]:
        """Every record that central has not committed, as it is kept, in the order of streams and numbers."""
        for held in (*(one.stream_id for one in (await self.state()).earlier), self.stream_id):
            after = 0
            while rows := await self.unsettled(held, after, max_rows=PRUNE_LIMIT, max_bytes=UNSETTLED_BYTES):
                for row in rows:
                    yield row.body
                after = rows[-1].seq

    async def settle(self, stream_id: str, taken: Sequence[Range], disputed: Sequence[Range] = ()) -> Settled:
        """Central holds these, in the very content they have here; ``disputed`` are in its quarantine, beside another
        content. Raises StoreError."""

        def work(connection: sqlite3.Connection) -> Settled:
            stream = streams.row_of(connection, stream_id)
            if stream is None:
                return Settled()
            settled = streams.settle(connection, stream, taken, self._later())
            return Settled(settled, streams.mark_disputed(connection, stream, disputed))

        return await self._run(work)

    async def take_back(self, commit: Commit, after: int = 0) -> int:
        """What central has no more, or asks for again, above ``after``, is unsettled: it was restored, or wants it once
        more. Returns how many. Raises StoreError."""

        def work(connection: sqlite3.Connection) -> int:
            stream = streams.row_of(connection, commit.stream_id)
            return 0 if stream is None else streams.take_back(connection, stream, commit, after)

        return await self._run(work)

    async def park(self, stream_id: str, seq: int, reason: str) -> None:
        """Set a record aside that cannot be sent (too large for a message, damaged); it stays, and is counted."""
        await self._run(
            lambda connection: (
                connection.execute(
                    "UPDATE records SET parked = ? WHERE stream = ? AND seq = ?",
                    (reason, streams.row_of(connection, stream_id), seq),
                ).rowcount
            )
        )

    async def mark_sent(self, up_to: int) -> None:
        """Keep, before sending, that records up to here may have been sent. Raises StoreError."""
        if up_to > self._writer.committed.sent:
            await self._run(lambda connection: self._mark_sent(connection, up_to))

    async def in_doubt(self, commit: Commit) -> int | None:
        """The first number that central has, by what it says, and that is not settled here; None: there is none."""

        def work(connection: sqlite3.Connection) -> int | None:
            stream = streams.row_of(connection, commit.stream_id)
            return None if stream is None else streams.first_in_doubt(connection, stream, commit, 0)

        return await self._run(work)

    async def tell_apart(self, commit: Commit, others: Collection[int] = (), *, anew: bool = False) -> Apart:
        """Tell our records from another's in a stream, by what central says of it and, with ``contents``, holds of it.

        What central has of ours is settled. Where it has numbers beyond those told, which are not settled here, the
        answer says from which on to ask; call again with that answer, and the ``others`` found so far. When nothing is
        left to ask, the others move to the stream's successor: another's record stands in their place. A new stream
        begins where that was the present one; also where central knows more of it than was ever kept here, or with
        ``anew``. Raises StoreError.
        """
        contents = commit.contents

        def work(connection: sqlite3.Connection) -> Apart:
            numbers = self._writer.numbers
            stream = streams.row_of(connection, commit.stream_id)
            if stream is None:
                return Apart()
            found, told = streams.Compared(), 0
            if contents is not None:
                found, told = streams.compare(connection, stream, commit.stream_id, contents), contents.last
                streams.settle(connection, stream, ranges_of(found.ours), self._later())
                streams.mark_disputed(connection, stream, ranges_of(found.disputed))
            apart = Apart(
                ask_from=streams.first_in_doubt(connection, stream, commit, told),
                others=frozenset({*others, *found.others}),
                disputed=len(found.disputed),
            )
            if apart.ask_from is not None:
                return apart
            if stream == numbers.stream:
                if anew or apart.others or commit.highest > numbers.last_seq:
                    streams.end(connection, numbers)
                    self._writer.numbers = streams.begin(connection)
                else:
                    self._mark_sent(connection, commit.highest)
            streams.move(connection, stream, commit.stream_id, sorted(apart.others))
            return apart

        return await self._run(work)

    # -- upkeep ----------------------------------------------------------------------------------------------------

    async def prune(self, retention_s: float) -> Pruned:
        """Delete records settled longer ago than this; then, while room is short, the oldest settled ones.

        Longer ago by the station's clock and by central's, as it was last heard: one that is set ahead deletes nothing.
        """
        sure = None if self.central_at is None else min(datetime.now(UTC), self.central_at)
        before = None if sure is None else (sure - timedelta(seconds=retention_s)).isoformat()

        def aged(connection: sqlite3.Connection) -> int:
            return 0 if before is None else streams.forget(connection, self._writer.numbers, before, PRUNE_LIMIT)

        def early(connection: sqlite3.Connection) -> int:
            if not self._room.is_pressed(connection):
                return 0
            return streams.forget(connection, self._writer.numbers, None, PRESSED_LIMIT)

        pruned = Pruned()
        while found := await self._run(aged):
            pruned = replace(pruned, aged=pruned.aged + found)
        while found := await self._run(early):
            pruned = replace(pruned, early=pruned.early + found)
        return pruned

    async def turn(self) -> None:
        """Return once the writer thread has turned: it is alive (systemd's watchdog asks)."""
        await self._run(lambda _connection: None)

    def _later(self) -> datetime:
        """Now, by the clock that is ahead: what is settled is kept for its time by both."""
        now = datetime.now(UTC)
        return now if self.central_at is None else max(now, self.central_at)

    def _tell(self) -> None:
        self.heard()

    def _mark_sent(self, connection: sqlite3.Connection, up_to: int) -> None:
        numbers = self._writer.numbers
        if up_to > numbers.sent:
            self._writer.numbers = replace(numbers, sent=up_to)
            connection.execute("UPDATE streams SET sent = ? WHERE id = ?", (up_to, numbers.stream))
