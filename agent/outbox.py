"""Durable store-and-forward on SQLite: one file per station, one writer thread, group commit.

Every change runs in the writer thread; what has queued up while the last commit was on its way to the disk shares
the next one (WAL, synchronous=FULL: a commit that returned has been fsynced). A result that is in here survives a
SIGKILL at any instruction. Schema by sqlite-utils.
"""

import asyncio
import queue
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlite_utils import Database

from agent.cycles import Cursor
from agent.outbox_schema import migrations
from contracts.envelope import Commit
from contracts.errors import SetupError, StoreError
from contracts.record import ProcessRecord, canonical

Result = TypeVar("Result")
GROUP_LIMIT = 500
"""Changes that share one commit, at most."""
PRUNE_LIMIT = 1000
"""Rows deleted in one commit, at most: results that come in meanwhile wait no longer than that."""


@dataclass(frozen=True)
class Row:
    """An unsettled record as it goes on the wire."""

    seq: int
    body: bytes


@dataclass(frozen=True)
class StreamState:
    """What the outbox holds of its present stream. ``oldest_available`` is 0 when nothing is held.

    ``sent`` is the highest seq that may have been sent: what central knows above it did not come from this file.
    """

    stream_id: str
    last_seq: int
    sent: int
    oldest_available: int
    unsettled: int
    parked: int


@dataclass
class _Change:
    work: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[Any]"


class Outbox:
    """The station's results on disk. Open it, await its methods from one event loop, close it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="outbox-writer", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._stream = 0
        self._next_seq = 0
        self._sent = 0
        self._closing = False
        self.live = False
        """True while the uplink sends each record at once: it is then marked as sent in its own commit."""

    @property
    def last_seq(self) -> int:
        """The highest seq given in the present stream. Asks nobody: it may be on its way to the disk still."""
        return self._next_seq

    def open(self) -> None:
        """Create or open the file and start the writer. Raises SetupError when the place cannot be used."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=2)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
            # One agent per outbox: a second one on the same file is refused here, not found out later.
            self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            migrations.apply(Database(self._connection))
            self._connection.execute("BEGIN IMMEDIATE")
            self._load_stream(self._connection)
            self._connection.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise SetupError(
                f"outbox {self._path} cannot be used: {error}; does another agent run with it, "
                "and may this user write there?"
            ) from error
        self._thread.start()

    def close(self) -> None:
        """Finish what is queued, then close the file. Never raises; may be called twice."""
        self._closing = True
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- results ---------------------------------------------------------------------------------------------------

    async def append(self, record: ProcessRecord, *cursors: Cursor) -> int:
        """Keep a record and the cursors of the machines it is made from in one commit. Returns its seq when all of
        it is on disk.

        Raises StoreError (a full or broken disk): nothing was kept, the machine must not be acknowledged.
        """
        body = canonical(record)

        def work(connection: sqlite3.Connection) -> int:
            self._next_seq += 1
            connection.execute(
                "INSERT INTO records (stream, seq, machine, created_at, body) VALUES (?, ?, ?, ?, ?)",
                (self._stream, self._next_seq, record.machine, _now(), body),
            )
            for cursor in cursors:
                _keep_cursor(connection, cursor)
            if self.live:
                self._mark_sent(connection, self._next_seq)
            return self._next_seq

        return await self._run(work)

    async def keep_cursor(self, cursor: Cursor) -> None:
        """Keep a machine's cursor without a record (the baseline of a first start). Raises StoreError."""
        await self._run(lambda connection: _keep_cursor(connection, cursor))

    async def cursor(self, machine: str) -> Cursor | None:
        """The machine's last kept cycle, None when it never had one."""

        def work(connection: sqlite3.Connection) -> Cursor | None:
            row = connection.execute(
                "SELECT key_type, cycle_key, epoch FROM cursors WHERE machine = ?", (machine,)
            ).fetchone()
            return None if row is None else Cursor.from_row(machine, *row)

        return await self._run(work)

    # -- delivery --------------------------------------------------------------------------------------------------

    async def state(self) -> StreamState:
        """What is held of the present stream."""

        def work(connection: sqlite3.Connection) -> StreamState:
            (stream_id,) = connection.execute("SELECT stream_id FROM streams WHERE id = ?", (self._stream,)).fetchone()
            # Three questions instead of one: each has an index that answers it.
            (oldest,) = connection.execute(
                "SELECT coalesce(min(seq), 0) FROM records WHERE stream = ?", (self._stream,)
            ).fetchone()
            (unsettled,) = connection.execute(
                "SELECT count(*) FROM records INDEXED BY unsettled WHERE stream = ? AND settled_at IS NULL",
                (self._stream,),
            ).fetchone()
            (parked,) = connection.execute(
                "SELECT count(*) FROM records INDEXED BY parked WHERE stream = ? AND parked IS NOT NULL",
                (self._stream,),
            ).fetchone()
            return StreamState(stream_id, self._next_seq, self._sent, oldest, unsettled, parked)

        return await self._run(work)

    async def sent(self) -> int:
        """The highest seq of the present stream that may have been sent."""
        return await self._run(lambda _connection: self._sent)

    async def unsettled(self, after: int, *, max_rows: int, max_bytes: int) -> list[Row]:
        """The next unsettled records above ``after``, in order; at least one if there is one, else within bounds."""

        def work(connection: sqlite3.Connection) -> list[Row]:
            rows: list[Row] = []
            size = 0
            for seq, body in connection.execute(
                "SELECT seq, body FROM records INDEXED BY unsettled"
                " WHERE stream = ? AND seq > ? AND settled_at IS NULL AND parked IS NULL ORDER BY seq LIMIT ?",
                (self._stream, after, max_rows),
            ):
                size += len(body) + 32
                if rows and size > max_bytes:
                    break
                rows.append(Row(seq, body))
            return rows

        return await self._run(work)

    async def settle(self, commit: Commit) -> int:
        """Adopt what central says it has committed, also when that is less than before. Returns rows changed.

        Raises StoreError.
        """

        def work(connection: sqlite3.Connection) -> int:
            now = _now()
            settled = 0
            for first, last in ((1, commit.committed_seq), *commit.ranges):
                settled += connection.execute(
                    "UPDATE records INDEXED BY unsettled SET settled_at = ?"
                    " WHERE stream = ? AND seq BETWEEN ? AND ? AND settled_at IS NULL",
                    (now, self._stream, first, last),
                ).rowcount
            above = connection.execute(
                "SELECT seq FROM records WHERE stream = ? AND seq > ? AND settled_at IS NOT NULL",
                (self._stream, commit.committed_seq),
            ).fetchall()
            taken_back = [(self._stream, seq) for (seq,) in above if not commit.covers(seq)]
            connection.executemany("UPDATE records SET settled_at = NULL WHERE stream = ? AND seq = ?", taken_back)
            return settled + len(taken_back)

        return await self._run(work)

    async def park(self, seq: int, reason: str) -> None:
        """Set a record aside that cannot be sent (too large for a message); it stays, and is counted."""
        await self._run(
            lambda connection: (
                connection.execute(
                    "UPDATE records SET parked = ? WHERE stream = ? AND seq = ?", (reason, self._stream, seq)
                ).rowcount
            )
        )

    async def mark_sent(self, up_to: int) -> None:
        """Keep, before sending, that records up to here may have been sent. Raises StoreError."""
        if up_to > self._sent:
            await self._run(lambda connection: self._mark_sent(connection, up_to))

    async def mint_stream(self, commit: Commit) -> str:
        """Begin a new stream, because central knows more of the present one than was ever sent from this file.

        What may have been sent and central has is settled; everything else that is unsettled moves into the new
        stream, numbered from 1. Returns the new stream's id.
        """

        def work(connection: sqlite3.Connection) -> str:
            old, sent = self._stream, self._sent
            for first, last in ((1, commit.committed_seq), *commit.ranges):
                connection.execute(
                    "UPDATE records SET settled_at = ?"
                    " WHERE stream = ? AND seq BETWEEN ? AND ? AND seq <= ? AND settled_at IS NULL",
                    (_now(), old, first, last, sent),
                )
            self._new_stream(connection)
            waiting = connection.execute(
                "SELECT seq FROM records WHERE stream = ? AND settled_at IS NULL ORDER BY seq", (old,)
            ).fetchall()
            connection.executemany(
                "UPDATE records SET stream = ?, seq = ? WHERE stream = ? AND seq = ?",
                [(self._stream, new, old, seq) for new, (seq,) in enumerate(waiting, start=1)],
            )
            self._next_seq = len(waiting)
            (stream_id,) = connection.execute("SELECT stream_id FROM streams WHERE id = ?", (self._stream,)).fetchone()
            return str(stream_id)

        return await self._run(work)

    async def prune(self, retention_s: float) -> int:
        """Delete records settled longer ago than this. Returns how many."""
        before = (datetime.now(UTC) - timedelta(seconds=retention_s)).isoformat()

        def work(connection: sqlite3.Connection) -> int:
            # Numbers go on from the highest ever given, also when that row is gone.
            connection.execute("UPDATE streams SET last_seq = ? WHERE id = ?", (self._next_seq, self._stream))
            return connection.execute(
                "DELETE FROM records WHERE (stream, seq) IN"
                " (SELECT stream, seq FROM records INDEXED BY settled WHERE settled_at < ? LIMIT ?)",
                (before, PRUNE_LIMIT),
            ).rowcount

        deleted = 0
        while found := await self._run(work):
            deleted += found
        return deleted

    async def turn(self) -> None:
        """Return once the writer thread has turned: it is alive (systemd's watchdog asks)."""
        await self._run(lambda _connection: None)

    # -- the writer ------------------------------------------------------------------------------------------------

    async def _run(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._closing:
            raise StoreError(f"outbox {self._path} is closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        self._queue.put(_Change(work, loop, done))
        return await done

    def _write(self) -> None:
        assert self._connection is not None
        while (change := self._queue.get()) is not None:
            group = [change]
            stop = False
            while len(group) < GROUP_LIMIT and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            self._commit(self._connection, group)
            if stop:
                return

    def _commit(self, connection: sqlite3.Connection, group: Sequence[_Change]) -> None:
        before = self._stream, self._next_seq, self._sent
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")  # what is left of a commit that failed
            connection.execute("BEGIN")
            results = [change.work(connection) for change in group]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever it was, nothing is kept: whoever waits must hear it
            self._stream, self._next_seq, self._sent = before
            if len(group) > 1:
                # One that cannot be kept must not take the others with it.
                for change in group:
                    self._commit(connection, [change])
                return
            failure = error
            if isinstance(error, sqlite3.Error):
                failure = StoreError(f"outbox {self._path}: {error}")
                failure.__cause__ = error
            _answer(group, lambda done, _: done.set_exception(failure), [None])
            return
        _answer(group, lambda done, result: done.set_result(result), results)

    def _mark_sent(self, connection: sqlite3.Connection, up_to: int) -> None:
        self._sent = max(self._sent, up_to)
        connection.execute("UPDATE streams SET sent = ? WHERE id = ?", (self._sent, self._stream))

    def _load_stream(self, connection: sqlite3.Connection) -> None:
        row = connection.execute("SELECT max(id) FROM streams").fetchone()
        if row[0] is None:
            self._new_stream(connection)
        else:
            self._stream = row[0]
        self._next_seq, self._sent = connection.execute(
            "SELECT max(last_seq, coalesce((SELECT max(seq) FROM records WHERE stream = streams.id), 0)), sent"
            " FROM streams WHERE id = ?",
            (self._stream,),
        ).fetchone()

    def _new_stream(self, connection: sqlite3.Connection) -> None:
        inserted = connection.execute(
            "INSERT INTO streams (stream_id, minted_at) VALUES (?, ?)", (uuid.uuid4().hex, _now())
        )
        assert inserted.lastrowid is not None
        self._stream = inserted.lastrowid
        self._next_seq = self._sent = 0


def _answer(
    group: Sequence[_Change], how: Callable[["asyncio.Future[Any]", Any], None], results: Sequence[Any]
) -> None:
    def tell() -> None:
        for change, result in zip(group, results, strict=True):
            if not change.done.done():
                how(change.done, result)

    group[0].loop.call_soon_threadsafe(tell)


def _keep_cursor(connection: sqlite3.Connection, cursor: Cursor) -> None:
    connection.execute(
        "INSERT INTO cursors (machine, key_type, cycle_key, epoch) VALUES (?, ?, ?, ?) ON CONFLICT (machine)"
        " DO UPDATE SET key_type = excluded.key_type, cycle_key = excluded.cycle_key, epoch = excluded.epoch",
        (cursor.machine, *cursor.as_row()),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat()
