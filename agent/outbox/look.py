"""What an outbox holds, looked at from outside: also while a station runs with it, which is not disturbed.

A station keeps its file to itself (SQLite's exclusive lock). What is read is a copy: first the file, then its -wal.
That is one state of it, as long as the -wal did not begin anew meanwhile, since every page written to the file in that
time stands in the -wal, too (https://sqlite.org/fileformat2.html#the_write_ahead_log).
"""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from agent.outbox.file import OutboxFile
from agent.outbox.schema import migrations
from agent.outbox.streams import checksum
from contracts.errors import SetupError, StoreError

_WAL_HEADER_BYTES = 32
_ATTEMPTS = 20
_STATE = (
    "CASE WHEN disputed IS NOT NULL THEN 'disputed' WHEN settled_at IS NOT NULL THEN 'settled'"
    " WHEN parked IS NOT NULL THEN 'parked' ELSE 'waiting' END"
)


class State(StrEnum):
    """``WAITING``: central has not said that it has it. ``SETTLED``: it has. ``PARKED``: it cannot be sent.
    ``DISPUTED``: central has it in quarantine, beside another content of the same number."""

    WAITING = "waiting"
    SETTLED = "settled"
    PARKED = "parked"
    DISPUTED = "disputed"


@dataclass(frozen=True)
class Held:
    """One record, as it is kept. ``is_intact`` is False when it is no longer what was kept."""

    stream_id: str
    seq: int
    machine: str
    created_at: str
    state: State
    settled_at: str | None
    parked: str | None
    body: bytes
    is_intact: bool

    @property
    def record(self) -> dict[str, Any] | None:
        """What it says; None where it cannot be read."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None


class Look:
    """A state of an outbox, in the order of streams and numbers."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def counts(self) -> dict[State, int]:
        """How many there are in each state."""
        found = self._connection.execute(f"SELECT {_STATE} AS state, count(*) FROM records GROUP BY state")  # noqa: S608  # a constant
        counted = dict(found.fetchall())
        return {state: counted.get(state.value, 0) for state in State}

    def records(
        self,
        *,
        state: State | None = None,
        machine: str | None = None,
        stream: str | None = None,
        seq: int | None = None,
        last: int | None = None,
    ) -> Iterator[Held]:
        """Those of which all of this is true; of them the ``last`` so many."""
        wanted = {f"{_STATE} = ?": state, "machine = ?": machine, "stream_id = ?": stream, "seq = ?": seq}
        given = {condition: value for condition, value in wanted.items() if value is not None}
        where = " AND ".join(given) or "TRUE"
        rows = self._connection.execute(
            "SELECT * FROM (SELECT streams.id, stream_id, seq, machine, created_at,"  # noqa: S608  # constants
            f" {_STATE}, settled_at, parked, body, crc FROM records JOIN streams ON streams.id = stream"
            f" WHERE {where} ORDER BY stream DESC, seq DESC LIMIT ?) ORDER BY 1, 3",
            (*given.values(), -1 if last is None else last),
        )
        for _, stream_id, number, its_machine, created_at, its_state, settled_at, parked, body, crc in rows:
            is_intact = crc is None or crc == checksum(stream_id, number, body)
            held = Held(
                stream_id, number, its_machine, created_at, State(its_state), settled_at, parked, body, is_intact
            )
            yield held


@contextlib.contextmanager
def look(path: Path) -> Iterator[Look]:
    """What this outbox holds just now. Raises SetupError: there is none, it cannot be read, it is damaged."""
    if not path.is_file():
        raise SetupError(f"{path}: there is no outbox; it is outbox.db in the station's state_dir")
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="outbox-"))
            copy = _copied(path, Path(folder))
        except OSError as error:
            told = f"outbox {path} cannot be read: {error}; may this user read it, and is there room in TMPDIR?"
            raise SetupError(told) from error
        try:
            connection = stack.enter_context(contextlib.closing(sqlite3.connect(copy)))
            migrations.apply(Database(connection))  # one of an older version that was set aside
            yield Look(connection)
        except sqlite3.DatabaseError as error:
            told = f"outbox {path} cannot be read: {error}; when it is damaged: neurohub-agent outbox salvage"
            raise SetupError(told) from error


def retry(path: Path, seq: int | None = None) -> tuple[list[Held], list[Held]]:
    """Take up again what was parked, or this number of it; the station has to be stopped. What is taken up, and what is
    not, because it is damaged. Raises SetupError: there is no outbox, an agent uses it; StoreError: a full disk."""
    with look(path) as seen:
        parked = list(seen.records(state=State.PARKED, seq=seq))
    again = [held for held in parked if held.is_intact]
    file = OutboxFile(path)
    try:
        connection, _ = file.open()
        with contextlib.closing(connection):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE records SET parked = NULL WHERE seq = ? AND settled_at IS NULL"
                " AND stream = (SELECT id FROM streams WHERE stream_id = ?)",
                [(held.seq, held.stream_id) for held in again],
            )
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(f"outbox {path}: {error}") from error
    finally:
        file.close()
    return again, [held for held in parked if not held.is_intact]


def _copied(path: Path, folder: Path) -> Path:
    copy, wal = folder / path.name, path.with_name(path.name + "-wal")
    for _ in range(_ATTEMPTS):
        before = _identity(path, wal)
        shutil.copyfile(path, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(wal, folder / wal.name)
        if before == _identity(path, wal):
            return copy
        (folder / wal.name).unlink(missing_ok=True)
    raise SetupError(f"outbox {path} changes faster than it can be read; try again, or stop the station meanwhile")


def _identity(path: Path, wal: Path) -> tuple[object, ...]:
    """Stays the same until the -wal begins anew; without one, until the file is written."""
    status = path.stat()
    try:
        with wal.open("rb") as opened:
            header = opened.read(_WAL_HEADER_BYTES)
    except FileNotFoundError:
        header = b""
    return (status.st_ino, header) if header else (status.st_ino, status.st_mtime_ns)
