"""Old months of ``process_data``: out of PostgreSQL into a file, and back. The owner of the tables does it.

What units went through stays: facts, units, LOTs and the audit trail are not archived, so a record that is sent again
is known, and the route is folded as before. What goes are the rows that lists and reports read, and the records' text.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from central.store.database import Author, Database
from central.store.partitions import create_partitions
from central.store.sealing import AuditSeals
from central.store.tables import audit_logs, process_data
from central.store.trail_rows import copied_out
from contracts.errors import SetupError, StoreError

_FORM = 1
_PATIENCE = "5s"


@dataclass(frozen=True)
class Month:
    """A month of results: how many rows, and how many bytes with its indexes."""

    month: date
    rows: int
    size: int


@dataclass(frozen=True)
class Archived:
    """A file: what stands in its first line."""

    form: int
    epoch: str
    month: str
    columns: list[str]
    rows: int
    sha256: str


class Archive:
    """The months of one PostgreSQL database. Raises SetupError on SQLite, which has no partitions."""

    def __init__(self, database: Database, seals: AuditSeals, epoch: str) -> None:
        if database.sqlite:
            raise SetupError("SQLite has no partitions: archiving needs PostgreSQL")
        self._database = database
        self._seals = seals
        self._epoch = epoch

    def months(self) -> list[Month]:
        """Every month that has a partition, the oldest first."""
        with self._database.reading() as connection:
            _take_time(connection)
            return [
                Month(month, _count(connection, name), _size(connection, name)) for name, month in _parts(connection)
            ]

    def archive(self, month: date, folder: Path, author: str) -> Path:
        """Write a month to a new file in ``folder``, read it back, and only then take it out of the database.

        All of it happens, or nothing. Raises SetupError for a month that is not over, or while rows of the audit trail
        are not sealed; StoreError where the file cannot be written or does not read back.
        """
        if month >= date.today().replace(day=1):  # noqa: DTZ011 - a month by UTC or by the site: neither is over
            raise SetupError(f"{month:%Y-%m} is not over: only months that are can be archived")
        if self._seals.open():
            raise SetupError("rows of the audit trail are not sealed yet: neurohub-central audit seal")
        path = folder / f"process_data_{month:%Y_%m}.copy.gz"
        with self._database.writing(Author(name=author)) as connection:
            _take_time(connection)
            name = next((name for name, its in _parts(connection) if its == month), None)
            if name is None:
                raise SetupError(f"there is no {month:%Y-%m}: neurohub-central partitions list tells the months")
            connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")
            columns = [column.name for column in process_data.columns]
            told = _write(path, self._epoch, month, columns, copied_out(connection, _everything(name, columns)))
            try:
                self._take_out(connection, name, month, path, told, author)
            except BaseException:
                path.unlink()  # nothing was taken out; after a commit that is in doubt the file stays
                raise
        return path

    def _take_out(
        self, connection: sa.Connection, name: str, month: date, path: Path, told: Archived, author: str
    ) -> None:
        if read(path) != told:
            raise StoreError(f"{path} does not read back as it was written")
        connection.exec_driver_sql(f"ALTER TABLE process_data DETACH PARTITION {name}")
        connection.exec_driver_sql(f"DROP TABLE {name}")
        _note(connection, "DELETE", month, author, {"file": path.name, "rows": told.rows, "sha256": told.sha256})

    def restore(self, path: Path, author: str) -> Archived:
        """Put a file's rows back as they were. Raises SetupError for a file of another database, StoreError for one
        that was changed, or whose rows are there already."""
        told = read(path)
        month = date.fromisoformat(told.month)
        if told.epoch != self._epoch:
            raise SetupError(f"{path} is of another database")
        with self._database.writing() as connection:
            create_partitions(connection, process_data.name, [month])
        with self._database.writing(Author(name=author)) as connection:
            _take_time(connection)
            # A month that had rows in the default partition meanwhile stays there.
            name = next((name for name, its in _parts(connection) if its == month), f"{process_data.name}_default")
            # These rows have their place in the trail already; keys are checked as ever.
            connection.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER USER")
            _copy_in(connection, name, told.columns, _lines(path))
            connection.exec_driver_sql(f"ALTER TABLE {name} ENABLE TRIGGER USER")
            _note(connection, "CREATE", month, author, {"file": path.name, "rows": told.rows, "sha256": told.sha256})
        return told


def read(path: Path) -> Archived:
    """What a file says of itself, after all of it was read. Raises StoreError where it is not as it was written."""
    try:
        with gzip.open(path, "rb") as file:
            told = Archived(**json.loads(file.readline()))
            digest, rows = hashlib.sha256(), 0
            for line in file:
                digest.update(line)
                rows += 1
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise StoreError(f"{path} is no archive, or was damaged: {error}") from error
    if (told.form, told.rows, told.sha256) != (_FORM, rows, digest.hexdigest()):
        raise StoreError(f"{path} was changed: {rows} rows where it says {told.rows}, or other ones")
    return told


def _write(path: Path, epoch: str, month: date, columns: list[str], lines: Iterator[bytes]) -> Archived:
    """The rows first to a file beside it, since the first line counts them; nothing is overwritten."""
    body = path.with_suffix(".part")
    digest, rows = hashlib.sha256(), 0
    try:
        with body.open("xb") as file:
            for line in lines:
                file.write(line + b"\n")
                digest.update(line + b"\n")
                rows += 1
        told = Archived(_FORM, epoch, month.isoformat(), columns, rows, digest.hexdigest())
        with path.open("xb") as raw:
            with gzip.open(raw, "wb", compresslevel=6) as packed, body.open("rb") as file:
                packed.write(json.dumps(asdict(told)).encode() + b"\n")
                while part := file.read(2**20):
                    packed.write(part)
            raw.flush()
            os.fsync(raw.fileno())
        _sync(path.parent)
    except FileExistsError as error:
        raise StoreError(f"{error.filename} is there already: it may be an earlier archive; move it away") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    finally:
        body.unlink(missing_ok=True)
    return told


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        file.readline()
        yield from file


def _copy_in(connection: sa.Connection, name: str, columns: list[str], lines: Iterator[bytes]) -> None:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    try:
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(name), listed)
        with raw.cursor() as cursor, cursor.copy(into) as copy:
            for line in lines:
                copy.write(line)
    except psycopg.Error as error:
        raise sa.exc.DBAPIError("COPY", None, error, connection_invalidated=raw.closed) from error


def _everything(name: str, columns: list[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {name} ORDER BY id"  # noqa: S608 - names of our own tables


def _parts(connection: sa.Connection) -> list[tuple[str, date]]:
    every = sa.text(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = CAST('process_data' AS regclass)"
    )
    found = []
    for name in connection.execute(every).scalars():
        year, _, month = name.removeprefix("process_data_").partition("_")
        if year.isdigit() and month.isdigit():
            found.append((name, date(int(year), int(month), 1)))
    return sorted(found, key=lambda one: one[1])


def _count(connection: sa.Connection, name: str) -> int:
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one())  # noqa: S608 - our own table


def _size(connection: sa.Connection, name: str) -> int:
    return int(connection.execute(sa.select(sa.func.pg_total_relation_size(name))).scalar_one())


def _take_time(connection: sa.Connection) -> None:
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE}'")
    connection.exec_driver_sql("SET LOCAL datestyle = 'ISO, YMD'")


def _note(connection: sa.Connection, action: str, month: date, author: str, values: dict[str, Any]) -> None:
    """A row of the trail, written by the owner: no trigger sees a partition go."""
    row = {
        "entity_type": "process_data_months",
        "entity_id": month.year * 100 + month.month,
        "action": action,
        "author": author,
        "old_values" if action == "DELETE" else "new_values": values,
        "recorded_at": datetime.now(UTC),
    }
    connection.execute(sa.insert(audit_logs), [row])
