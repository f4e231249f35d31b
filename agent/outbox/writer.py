"""The one thread that changes the outbox, and how it groups what is asked of it into commits.

What has queued up while the last commit was on its way to the disk shares the next one (synchronous=FULL: a commit
that returned has been fsynced). One that cannot be kept takes no other with it.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.outbox.room import Room
from agent.outbox.streams import Numbers
from contracts.errors import StoreError

Result = TypeVar("Result")
Work = Callable[[sqlite3.Connection], Result]
Renew = Callable[[sqlite3.Connection | None, sqlite3.Error | None], tuple[sqlite3.Connection, Numbers]]
GROUP_LIMIT = 500
"""Changes that share one commit, at most."""


@dataclass
class _Change:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[Any]"


class Writer:
    """Runs changes in order. ``numbers`` belongs to the transaction: a change replaces it, a failure restores it.
    ``committed`` is what of it is on the disk: what others than a change may go by.

    ``renew`` is called with the connection when the file turns out to be damaged, closes it, and returns another;
    it raises StoreError when it cannot, and is called without a connection for the next change. ``heard`` is called in
    the event loop when the room's trouble has changed, or the file was renewed.
    """

    def __init__(
        self,
        name: str,
        room: Room,
        renew: Renew,
        heard: Callable[[], None],
    ) -> None:
        self._name = name
        self._room = room
        self._renew = renew
        self._heard = heard
        self._queue: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="outbox-writer", daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._closing = False
        self.numbers = self.committed = Numbers()

    def start(self, connection: sqlite3.Connection, numbers: Numbers) -> None:
        """Begin to work on this file."""
        self._connection = connection
        self.numbers = self.committed = numbers
        self._thread.start()

    def stop(self) -> None:
        """Finish what is queued, then close the file. May be called twice."""
        self._closing = True
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def run(self, work: Work[Result]) -> Result:
        """Do this in a transaction; returns when it is on disk. Raises StoreError, then nothing of it was kept."""
        if self._closing:
            raise StoreError(f"{self._name} is closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        self._queue.put(_Change(work, loop, done))
        return await done

    def _write(self) -> None:
        while (change := self._queue.get()) is not None:
            group = [change]
            stop = False
            while len(group) < GROUP_LIMIT and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            trouble, stream = self._room.trouble, self.numbers.stream_id
            self._commit(group)
            if (trouble, stream) != (self._room.trouble, self.numbers.stream_id):
                change.loop.call_soon_threadsafe(self._heard)
            if stop:
                return

    def _commit(self, group: Sequence[_Change], *, again: bool = False) -> None:
        before = self.numbers
        try:
            connection = self._connection or self._renewed(None)
            before = self.numbers
            _roll_back(connection)  # what is left of a commit that failed
            connection.execute("BEGIN")
            results = [change.work(connection) for change in group]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever it was, nothing is kept: whoever waits must hear it
            self.numbers = before
            helped = not again and isinstance(error, sqlite3.Error) and self._mend(error)
            if len(group) > 1 or helped:
                # One that cannot be kept must not take the others with it.
                for change in group:
                    self._commit([change], again=helped)
                return
            failure = error
            if isinstance(error, sqlite3.Error):
                failure = StoreError(f"{self._name}: {error}")
                failure.__cause__ = error
            _answer(group, lambda done, _: done.set_exception(failure), [None])
            return
        self.committed = self.numbers
        self._room.committed()
        _answer(group, lambda done, result: done.set_result(result), results)

    def _mend(self, error: sqlite3.Error) -> bool:
        """Make room, or begin another file. True when it is worth trying again."""
        if is_damage(error):
            try:
                self._renewed(error)
            except StoreError:
                return False  # the disk that damaged it refuses another, too: tried again with the next change
            return True
        if is_refusal(error) and self._room.give_way():
            assert self._connection is not None, "it has just refused"
            _roll_back(self._connection)
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return True
        return False

    def _renewed(self, error: sqlite3.Error | None) -> sqlite3.Connection:
        damaged, self._connection = self._connection, None
        self._connection, numbers = self._renew(damaged, error)
        self.numbers = self.committed = numbers
        return self._connection


_UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)


def is_damage(error: sqlite3.Error) -> bool:
    """True when the file itself is wrong, or a part of it cannot be read: a bad sector does not heal."""
    return _primary(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or _code(error) in _UNREADABLE


def is_refusal(error: sqlite3.Error) -> bool:
    """True when the disk would not take something."""
    return _primary(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and not is_damage(error)


def _roll_back(connection: sqlite3.Connection) -> None:
    # Where the disk is full SQLite may say so once more, although it has rolled back.
    with contextlib.suppress(sqlite3.Error):
        connection.rollback()


def _primary(error: sqlite3.Error) -> int:
    return _code(error) & 0xFF


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0)


def _answer(
    group: Sequence[_Change], how: Callable[["asyncio.Future[Any]", Any], None], results: Sequence[Any]
) -> None:
    def tell() -> None:
        for change, result in zip(group, results, strict=True):
            if not change.done.done():
                how(change.done, result)

    group[0].loop.call_soon_threadsafe(tell)
