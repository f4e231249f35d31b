"""One database: its engine, and transactions that name their author. SQLite and PostgreSQL differ only here,
in ``partitions`` and in ``audit``."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from central.store.encoding import to_json
from central.store.errors import shown, translated
from central.store.turns import Turn
from contracts.errors import DataError, SetupError

_BUSY_TIMEOUT_S = 10
_CONNECT_TIMEOUT_S = 5
_LOCK_TIMEOUT_S = 30
_STATEMENT_TIMEOUT_S = 50
"""Longer than any statement of a service takes; less than its watchdog's patience, so that the reason is told first."""
_SERVER_KEEPALIVE = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
"""A server that notices within half a minute that we are gone gives our locks to others."""
_CLIENT_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""We notice as soon that the server's host is gone: while we wait for an answer, and when it takes nothing any more
(libpq's ``tcp_user_timeout``, in ms)."""

_SQLITE: dict[str, Any] = {"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False}
_POSTGRES: dict[str, Any] = {
    "connect_timeout": _CONNECT_TIMEOUT_S,
    "options": f"-c lock_timeout={_LOCK_TIMEOUT_S}s -c statement_timeout={_STATEMENT_TIMEOUT_S}s -c timezone=UTC"
    f" {_SERVER_KEEPALIVE}",
    **_CLIENT_KEEPALIVE,
}
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgresql+psycopg": "postgresql+psycopg"}
"""What a URL may begin with, and what is used then."""
_NEEDED = "sqlite:///path or postgresql://user:password@host/name is needed; write a @ in a password as %40, a / as %2F"


@dataclass(frozen=True)
class Author:
    """Who writes: a user of the API, with where the request came from. A station's record names itself."""

    name: str | None = None
    user_id: int | None = None
    ip_address: str | None = None
    user_agent: str | None = None


class _CurrentAuthor:
    """What SQLite's audit triggers ask for; one per connection."""

    text = "{}"

    def __call__(self) -> str:
        return self.text


def parsed(url: str) -> sa.URL:
    """The address of a database of ours. Raises SetupError, which repeats nothing of it but what it begins with."""
    try:
        found = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # their texts repeat the address
        raise SetupError(f"DATABASE_URL is not an address: {_NEEDED}") from None
    if found.drivername not in _DRIVERS:
        raise SetupError(f"DATABASE_URL: {found.drivername} is not supported: {_NEEDED}")
    if found.drivername == "sqlite" and found.database in (None, "", ":memory:"):
        raise SetupError("DATABASE_URL: SQLite needs a file, for example sqlite:////var/lib/neurohub/central.db")
    if found.drivername != "sqlite" and url.count("@") > 1:  # the rest of a password would be taken for the host
        raise SetupError(f"DATABASE_URL has more than one @: {_NEEDED}")
    return found.set(drivername=_DRIVERS[found.drivername])


class Database:
    """Connections to SQLite (``sqlite:///path``) or PostgreSQL (``postgresql://...``). Opens none by itself.

    Every error of the database leaves as one of ours: LinkError (unreachable, locked, serialization failure: try
    again), StoreError (disk full, damaged), SetupError (wrong schema, rights or address), DataError (a value the
    database cannot hold).
    """

    def __init__(self, url: str, *, echo: bool = False, pool_size: int = 10, max_overflow: int = 20) -> None:
        self.url = parsed(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = sa.create_engine(
            self.url,
            echo=echo,
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_pre_ping=not self.sqlite,
            connect_args=_SQLITE if self.sqlite else _POSTGRES,
            json_serializer=to_json,
        )
        if self.sqlite:
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)

    @property
    def shown(self) -> str:
        """Its address, for people."""
        return shown(self.url)

    @contextmanager
    def writing(self, author: Author | None = None, *, urgent: bool = False) -> Iterator[sa.Connection]:
        """One transaction that writes; SQLite's write lock is taken at its beginning.

        ``urgent``: a machine waits. On SQLite, where there is one writer at a time, it goes before every other
        transaction that has not begun yet; PostgreSQL needs no order.
        """
        with self._turn(urgent=urgent), self._connection(write=True) as connection, connection.begin():
            self._name(connection, author or Author())
            yield connection

    @contextmanager
    def _turn(self, *, urgent: bool) -> Iterator[None]:
        if not self.sqlite or self.url.database is None:
            yield
            return
        folder = Path(self.url.database).parent
        if not folder.is_dir():
            raise SetupError(f"DATABASE_URL: there is no folder {folder}: make it, or name another place")
        with self.errors():
            turn = Turn(self.url.database, _BUSY_TIMEOUT_S)
        with turn.taken(urgent=urgent):
            yield

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction that reads one state of the database throughout."""
        with self._connection(write=False) as connection, connection.begin():
            yield connection

    @contextmanager
    def _connection(self, *, write: bool) -> Iterator[sa.Connection]:
        with self.errors(), self.engine.connect() as connection:
            options: dict[str, Any] = {"neurohub_write": write}
            if not write and not self.sqlite:
                options["isolation_level"] = "REPEATABLE READ"
            yield connection.execution_options(**options)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What is done in here with the engine raises errors of ours."""
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            raise translated(error, self.url) from error
        except OverflowError as error:
            raise DataError(f"database {self.shown}: {error}") from error
        except OSError as error:
            raise SetupError(f"database {self.url.database}: {error}; check the folder of DATABASE_URL") from error

    def _name(self, connection: sa.Connection, author: Author) -> None:
        text = to_json({key: value for key, value in asdict(author).items() if value is not None})
        if self.sqlite:
            connection.info["author"].text = text
        else:
            connection.execute(sa.select(sa.func.set_config("neurohub.author", text, True)))

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self.engine.dispose()


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the sqlite3 module
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    author = record.info["author"] = _CurrentAuthor()
    connection.create_function("neurohub_author", 0, author)


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("neurohub_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
