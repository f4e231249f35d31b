"""Seats: which services may run on one database, enforced by the database or the operating system.

Ingestors: SQLite has one seat, PostgreSQL one for each name: two processes of one name would push each other off the
broker. Permits are given by one service.
A seat is free again the moment its process is gone, however it ended.
"""

import fcntl
import os
import time
from pathlib import Path

import sqlalchemy as sa

from central.store.database import Database
from contracts.errors import SetupError

_SEATS = 0x6E657572  # the first half of the advisory lock; the second is the name's
_PATIENCE_S = 10.0
"""PostgreSQL may take a moment to see that a killed process is gone."""
_AGAIN_S = 0.1
INGESTOR = "ingestor"


class Seat:
    """Taken until closed. ``take`` again after the database was away: its locks went with the connection."""

    def __init__(
        self, database: Database, name: str | None, *, service: str = INGESTOR, patience_s: float = _PATIENCE_S
    ) -> None:
        self._database = database
        self._name = name
        self._service = service
        self._patience_s = patience_s
        self._connection: sa.Connection | None = None
        self._file: int | None = None

    def take(self) -> None:
        """Raises SetupError when it is taken by another process, LinkError when the database cannot be reached."""
        until = time.monotonic() + (0 if self._database.sqlite else self._patience_s)
        while not (self._take_file() if self._database.sqlite else self._take_lock()):
            if time.monotonic() >= until:
                raise SetupError(self._taken())
            time.sleep(_AGAIN_S)

    def check(self) -> None:
        """Raises LinkError when the database was away since it was taken: another one may answer in its place, which
        knows less, and the seat is free."""
        if self._connection is None:
            return
        with self._database.errors():
            try:
                self._connection.execute(sa.select(1))
            except sa.exc.SQLAlchemyError:
                self.close()
                raise

    def close(self) -> None:
        """Leave it. Idempotent, never raises."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _taken(self) -> str:
        where = self._database.shown
        if self._service != INGESTOR:
            return f"database {where}: {self._service} are given by another service already; one is enough"
        if self._database.sqlite:
            return f"database {where}: an ingestor runs on it already; several side by side need PostgreSQL"
        who = f"--instance {self._name}" if self._name else "no --instance"
        return f"database {where}: an ingestor with {who} runs on it already; give this one another --instance"

    def _take_file(self) -> bool:
        if self._name is not None:
            raise SetupError("--instance: several ingestors side by side need PostgreSQL, DATABASE_URL names SQLite")
        if self._file is not None:
            return True
        # A file of its own: closing any handle of the database's file would drop SQLite's locks on it.
        path = Path(f"{self._database.url.database}.{self._service}")
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(f"{path}: {error}; check the folder of DATABASE_URL") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        self._file = handle
        return True

    def _take_lock(self) -> bool:
        with self._database.errors():
            if self._connection is not None:
                try:
                    self._connection.execute(sa.select(1))
                except sa.exc.SQLAlchemyError:
                    self.close()  # it went with the database, and the lock with it
                else:
                    return True
            connection = self._database.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                name = (self._name or "") if self._service == INGESTOR else f"/{self._service}"
                mine = sa.select(sa.func.pg_try_advisory_lock(_SEATS, sa.func.hashtext(name)))
                if connection.execute(mine).scalar_one():
                    self._connection = connection
            finally:
                if self._connection is None:
                    connection.close()
        return self._connection is not None
