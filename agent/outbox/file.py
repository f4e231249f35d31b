"""Opening an outbox file: is it whole, is it ours alone, is it still where it was?

A damaged file is set aside under its name and the time, with its ``-wal``, and never deleted; a new one takes its
place. Each step can be interrupted: opening again goes on from there.
"""

import contextlib
import errno
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlite_utils import Database

from agent.cycles import Cursor
from agent.outbox import streams
from agent.outbox.schema import migrations
from agent.outbox.streams import Numbers
from agent.outbox.writer import is_damage, is_refusal
from contracts.errors import SetupError, StoreError

log = structlog.get_logger()

SYNCHRONOUS = "FULL"
"""A commit that returned is on the disk. Nothing less keeps what was acknowledged through a power cut."""
ASIDE = ".damaged-"
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)
"""The disk would not take something, or went read-only after an error: it may again."""
_MACHINE_ID = Path("/etc/machine-id")
_COMPANIONS = ("-wal", "-shm")


class OutboxFile:
    """The outbox's place on the disk: ``path``, what belongs to it, and what was set aside from it.

    After ``wal_pages`` its -wal begins anew.
    """

    def __init__(self, path: Path, wal_pages: int = 1000) -> None:
        self.path = path
        self._wal_pages = wal_pages
        self._lock: int | None = None
        self.aside: list[Path] = []
        """The damaged files beside this one, the oldest first."""

    def open(self) -> tuple[sqlite3.Connection, Numbers]:
        """The file, whole and ours alone, and the stream in use.

        Raises SetupError where it cannot be used by us, StoreError where the disk refuses just now.
        """
        try:
            self._keep_others_out()
            self._finish_setting_aside()
            connection = self._whole()
            try:
                connection.execute(f"PRAGMA wal_autocheckpoint={self._wal_pages}")
                self.aside = self._those_aside()
                _prepare(connection)
                return connection, self._numbers(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise self._told(error) from error
        except (FileExistsError, NotADirectoryError) as error:
            message = f"outbox {self.path} cannot be used: {error.filename} is no folder; let state_dir name a folder"
            raise SetupError(message) from error
        except OSError as error:
            if error.errno in _REFUSALS:
                raise StoreError(f"outbox {self.path}: {error}") from error
            raise SetupError(f"outbox {self.path} cannot be used: {error}; may this user write there?") from error

    def renew(
        self, connection: sqlite3.Connection | None, error: sqlite3.Error | None
    ) -> tuple[sqlite3.Connection, Numbers]:
        """Set a file aside that turned out to be damaged while it was in use, and close its connection; the next one.

        Without a connection: go on after an attempt that did not get to its end. Raises StoreError.
        """
        try:
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.rollback()
                self._set_aside(str(error), connection)
            return self.open()
        except (SetupError, OSError, sqlite3.Error) as refused:
            raise StoreError(str(refused)) from refused

    def close(self) -> None:
        """Let others use the file."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _set_aside(self, why: str, connection: sqlite3.Connection | None) -> None:
        """Put the file out of use, whole, and an empty one in its place that knows the machines' last cycles.

        The connection is closed only when every name is kept: SQLite may merge the -wal into the file and delete it.
        """
        aside = self._beside(ASIDE + _moment())
        following = self._beside(".new")
        try:
            self._delete(following)
            with contextlib.closing(connect(following)) as empty:
                _prepare(empty)
                for cursor in _proven_cursors(connection) if connection is not None else ():
                    keep_cursor(empty, cursor)
            os.link(self.path, aside)
            if self._has_more_than_its_file():
                os.link(self._beside("-wal"), f"{aside}-wal")
            self._sync_folder()
        finally:
            if connection is not None:
                connection.close()
        self.path.unlink(missing_ok=True)
        self._finish_setting_aside()
        log.error("outbox damaged: set aside, a new stream begins", why=why, file=str(aside))

    def _finish_setting_aside(self) -> None:
        following = self._beside(".new")
        if self.path.exists():
            self._delete(following)
            return
        for suffix in _COMPANIONS:
            # SQLite would take them for those of the next file.
            left = self._beside(suffix)
            if left.exists():
                if suffix == "-wal" and left.stat().st_nlink == 1:
                    aside = self._beside(ASIDE + _moment())
                    os.link(left, f"{aside}{suffix}")
                    log.error("outbox is gone but for its -wal: set aside, a new stream begins", file=str(aside))
                left.unlink()
        if following.exists():
            following.rename(self.path)
        self._sync_folder()

    def _those_aside(self) -> list[Path]:
        found = self.path.parent.glob(f"{self.path.name}{ASIDE}*")
        return sorted({path.with_name(path.name.removesuffix("-wal")) for path in found})

    def _delete(self, path: Path) -> None:
        for suffix in ("", *_COMPANIONS):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def _whole(self) -> sqlite3.Connection:
        """The file's connection; of another one, when it is damaged."""
        if self.path.exists() and not self.path.stat().st_size and self._has_more_than_its_file():
            self._set_aside("the file is empty, and its -wal is not", None)
        connection = _unready(self.path)
        try:
            _configure(connection)
            why = next(_findings(connection), None)
        except sqlite3.Error as error:
            if not is_damage(error):
                connection.close()
                raise
            why = str(error)
        if why is None:
            return connection
        self._set_aside(why, connection)
        return connect(self.path)

    def _has_more_than_its_file(self) -> bool:
        wal = self._beside("-wal")
        return wal.exists() and wal.stat().st_size > 0

    def _numbers(self, connection: sqlite3.Connection) -> Numbers:
        connection.execute("BEGIN IMMEDIATE")
        numbers = streams.load(connection)
        here, known = self._place(), note(connection, "place")
        if known is not None and known != here:
            # The other file may have given the next numbers already. Nothing was recorded here since the copy was
            # made, so what it holds is the same in both, and may keep its numbers.
            log.warning("outbox was copied here: a new stream begins", stream_id=numbers.stream_id)
            streams.end(connection, numbers)
            numbers = streams.begin(connection)
        if known != here:
            keep_note(connection, "place", here)
        connection.execute("COMMIT")
        return numbers

    def _place(self) -> str:
        """Tells this file from a copy of it: on which machine, and which file there."""
        try:
            machine = _MACHINE_ID.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            machine = ""
        return f"{machine}:{self.path.stat().st_ino}"

    def _keep_others_out(self) -> None:
        if self._lock is not None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._beside(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise SetupError(
                f"outbox {self.path} is in use: another agent runs with it; one of them must be stopped"
            ) from error
        self._lock = lock

    def _told(self, error: sqlite3.Error) -> SetupError | StoreError:
        if is_refusal(error):
            return StoreError(f"outbox {self.path}: {error}")
        return SetupError(
            f"outbox {self.path} cannot be used: {error}; does another program use it, and may this user write there?"
        )

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that keeps what it commits, and keeps others out. Created where there is none."""
    connection = _unready(path)
    try:
        _configure(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _unready(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2)


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={SYNCHRONOUS}")


def _moment() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def note(connection: sqlite3.Connection, name: str) -> str | None:
    """What the station noted about itself under this name."""
    row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def keep_note(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Replace a note."""
    connection.execute(
        "INSERT INTO notes (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def drop_note(connection: sqlite3.Connection, name: str) -> None:
    """Forget a note."""
    connection.execute("DELETE FROM notes WHERE name = ?", (name,))


def notes(connection: sqlite3.Connection, prefix: str) -> dict[str, str]:
    """Every note whose name begins so."""
    rows = connection.execute("SELECT name, value FROM notes WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))
    return {str(name): str(value) for name, value in rows}


def keep_cursor(connection: sqlite3.Connection, cursor: Cursor) -> None:
    """Replace a machine's cursor."""
    connection.execute(
        "INSERT INTO cursors (machine, key_type, cycle_key, epoch, content) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (machine) DO UPDATE SET key_type = excluded.key_type, cycle_key = excluded.cycle_key,"
        " epoch = excluded.epoch, content = excluded.content",
        (cursor.machine, *cursor.as_row()),
    )


def _prepare(connection: sqlite3.Connection) -> None:
    migrations.apply(Database(connection))


def _findings(connection: sqlite3.Connection) -> Iterator[str]:
    """What is wrong with a file, the worst first."""
    for (line,) in connection.execute("PRAGMA quick_check(1)"):
        if line != "ok":
            yield str(line).replace("\n", ", ")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"streams", "records", "cursors", "notes"} <= tables:
        return  # begun, or of an older version: migrations finish it
    if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
        yield "records of a stream that is not known"
    for stream_id, missing in connection.execute(
        "SELECT stream_id, max(last_seq, coalesce((SELECT max(seq) FROM records WHERE stream = streams.id), 0))"
        " - absent - (SELECT count(*) FROM records WHERE stream = streams.id) AS missing FROM streams WHERE missing"
    ):
        yield f"numbers that should be there are not: {missing} of stream {stream_id}"


def _proven_cursors(connection: sqlite3.Connection) -> Iterator[Cursor]:
    """The machines' last cycles, as far as the record of each can still be read.

    A cycle whose record is lost must be recorded again, should the machine still offer it. What it said is not asked
    for: a file of an older version does not have it.
    """
    rows: list[tuple[object, ...]] = []
    with contextlib.suppress(sqlite3.Error):
        rows = connection.execute("SELECT machine, key_type, cycle_key, epoch FROM cursors").fetchall()
    for row in rows:
        match row:
            case (str(machine), str(key_type), str(text), int(epoch)):
                with contextlib.suppress(ValueError):
                    cursor = Cursor.from_row(machine, key_type, text, epoch)
                    if _is_proven(connection, cursor):
                        yield cursor


def _is_proven(connection: sqlite3.Connection, cursor: Cursor) -> bool:
    if cursor.key in (0, ""):
        return True  # before a first result
    alone = True
    with contextlib.suppress(sqlite3.Error):
        for (body,) in connection.execute(
            "SELECT body FROM records WHERE machine = ? ORDER BY rowid DESC", (cursor.machine,)
        ):
            alone = False
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                record = json.loads(body)
                if (record.get("cycle_key"), record.get("cycle_epoch", 0)) == (cursor.key, cursor.epoch):
                    return True
        return alone  # a companion: its results stand in the records of others
    return False
