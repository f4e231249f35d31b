"""Database errors, translated once: is it worth trying again, or must someone act?"""

import sqlite3

import psycopg
import sqlalchemy as sa

from contracts.errors import DataError, LinkError, NeuroHubError, SetupError, StoreError

MIGRATE = 'run "neurohub-central migrate"'


class ClashError(StoreError):
    """It clashes with what is there. ``code``: ALREADY_EXISTS (a unique name, then in ``field`` where it is known) or
    IN_USE (other rows stand on it)."""

    def __init__(self, code: str, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.field = field


ALREADY_EXISTS, IN_USE = "ALREADY_EXISTS", "IN_USE"

_SQLITE_RETRY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_SQLITE_SETUP = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_SQLITE_CLASH = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: ALREADY_EXISTS,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: ALREADY_EXISTS,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: IN_USE,
}
_POSTGRES_CLASH = {"23505": ALREADY_EXISTS, "23503": IN_USE}
_POSTGRES_DISK = {"53100", "58030"}  # disk full, input/output error
_POSTGRES_SETUP = ("28", "3D", "42501")  # who we are, no such database, not allowed
_POSTGRES_RETRY = ("08", "40", "53", "55", "57")  # connection, serialization, resources, locks, operator


def shown(url: sa.URL) -> str:
    """A database's address, for people: without its password, and without its query, which may hold one too."""
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)


def translated(error: sa.exc.SQLAlchemyError, url: sa.URL) -> NeuroHubError:
    """The error of ours that says what to do about a database's error. A password never stands in it."""
    where = shown(url)
    if isinstance(error, sa.exc.TimeoutError):
        return LinkError(f"database {where}: every connection is in use: {error}")
    if not isinstance(error, sa.exc.DBAPIError):
        return StoreError(f"database {where}: {error}")
    cause = error.orig
    text = f"database {where}: {_without_password(_first_line(cause), url)}"
    if isinstance(cause, psycopg.Error):
        return _of_postgres(cause, text, lost=error.connection_invalidated)
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, text)
    return DataError(text) if isinstance(cause, OverflowError) else StoreError(text)


def _of_postgres(cause: psycopg.Error, text: str, *, lost: bool) -> NeuroHubError:
    state = cause.sqlstate
    if state is None:
        return _of_connecting(text) if isinstance(cause, psycopg.OperationalError) or lost else StoreError(text)
    if state in ("42P01", "42703", "42883"):
        return SetupError(f"{text}; the schema is not the one this version needs: {MIGRATE}")
    if state in _POSTGRES_CLASH:
        return ClashError(_POSTGRES_CLASH[state], text)
    if state in _POSTGRES_DISK:
        return StoreError(text)
    if state.startswith(_POSTGRES_SETUP):
        return SetupError(f"{text}; check DATABASE_URL and the rights of its user")
    if state.startswith(_POSTGRES_RETRY):
        return LinkError(text)
    return DataError(text) if state.startswith("22") else StoreError(text)


def _of_connecting(text: str) -> NeuroHubError:
    """libpq gives no code for a connection that was refused; its words tell a wrong name from an absent server."""
    wrong = ("password authentication failed", "does not exist", "no password supplied", "no pg_hba.conf entry")
    if any(words in text for words in wrong):
        return SetupError(f"{text}; check DATABASE_URL and the rights of its user")
    return LinkError(text)


def _of_sqlite(cause: sqlite3.Error, text: str) -> NeuroHubError:
    extended = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if extended in _SQLITE_CLASH:
        return ClashError(_SQLITE_CLASH[extended], text)
    code = extended & 0xFF
    if code in _SQLITE_RETRY:
        return LinkError(text)
    if code in _SQLITE_SETUP:
        return SetupError(f"{text}; check that the file and its folder can be written by this user")
    if "no such table" in text or "no such column" in text:
        return SetupError(f"{text}; the schema is not the one this version needs: {MIGRATE}")
    if code == sqlite3.SQLITE_NOTADB:
        return SetupError(f"{text}; DATABASE_URL names a file that is no SQLite database")
    return StoreError(text)


def _first_line(cause: BaseException | None) -> str:
    return str(cause).strip().split("\n", 1)[0]


def _without_password(text: str, url: sa.URL) -> str:
    for secret in (url.password, url.query.get("password"), url.query.get("sslpassword")):
        if secret:
            text = text.replace(str(secret), "***")
    return text
