"""The rows of the audit trail as lines of bytes, in order of id: what seals are made of, and archives.

PostgreSQL: the line COPY gives, with dates and zone set. SQLite: the values as a JSON array, by their storage class.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

COLUMNS = (
    "id, entity_type, entity_id, action, old_values, new_values, user_id, author, stream_id, seq, ip_address,"
    " user_agent, recorded_at"
)
"""What of a row is sealed: all of it. A column that is added later needs another form of seal (chain.py)."""

_PART = 1000
_LEAST, _MOST = -(2**63), 2**63 - 1


def lines(
    connection: sa.Connection, after: int | None, upto: int | None = None, most: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """(id, line) of the rows with ids above ``after`` and up to ``upto``, at most ``most`` of them."""
    low, high = _LEAST if after is None else after + 1, _MOST if upto is None else upto
    query = f"SELECT {COLUMNS} FROM audit_logs WHERE id BETWEEN {low:d} AND {high:d} ORDER BY id"  # noqa: S608 numbers alone
    if most is not None:
        query += f" LIMIT {most:d}"
    return (
        _from_postgresql(connection, query)
        if connection.dialect.name == "postgresql"
        else _from_sqlite(connection, query)
    )


def _from_postgresql(connection: sa.Connection, query: str) -> Iterator[tuple[int, bytes]]:
    connection.exec_driver_sql("SET LOCAL datestyle = 'ISO, YMD'")
    connection.exec_driver_sql("SET LOCAL timezone = 'UTC'")
    for line in copied_out(connection, query):
        yield int(line[: line.index(b"\t")]), line


def copied_out(connection: sa.Connection, query: str) -> Iterator[bytes]:
    """The rows of a query by COPY, a line each without its end."""
    with _driver(connection) as raw, raw.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT".encode()) as copy:
        for line in copy:
            yield bytes(line).rstrip(b"\n")


@contextmanager
def _driver(connection: sa.Connection) -> Iterator[psycopg.Connection[Any]]:
    """psycopg's own connection; its errors become SQLAlchemy's, which ``Database`` translates."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    try:
        yield raw
    except psycopg.Error as error:
        raise sa.exc.DBAPIError("COPY", None, error, connection_invalidated=raw.closed) from error


def _from_sqlite(connection: sa.Connection, query: str) -> Iterator[tuple[int, bytes]]:
    raw: Any = connection.connection.driver_connection
    usual = raw.text_factory
    raw.text_factory = _text  # what is no UTF-8 was put there by hand: it has to be found, not to end the reading
    try:
        cursor = raw.execute(query)
        while found := cursor.fetchmany(_PART):
            for row in found:
                yield row[0], json.dumps(row, default=_bytes, separators=(",", ":")).encode()
    finally:
        raw.text_factory = usual


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _bytes(value: bytes) -> dict[str, str]:
    return {"blob": value.hex()}
