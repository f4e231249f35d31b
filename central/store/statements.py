"""Set-based statements for SQLite and PostgreSQL: many rows in one, each database in its fastest way.

SQLite runs a prepared statement row by row, in our own process. PostgreSQL takes new rows by COPY, and others as one
JSON array that it makes rows of by the table's own types (``jsonb_populate_recordset``).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql, sqlite

from central.store.encoding import to_json

CHUNK = 5_000
"""Values in one IN list: both databases bound the parameters of a statement (SQLite 32,766, PostgreSQL 65,535)."""

Item = TypeVar("Item")
Rows = Sequence[Mapping[str, Any]]
"""Rows by column; each has the same columns."""


def insert_all(connection: sa.Connection, table: sa.Table, rows: Rows) -> None:
    """Insert rows that clash with nothing."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sa.insert(table), list(rows))
        return
    columns = [table.c[name] for name in rows[0]]
    listed = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), listed)
    kinds = [(column.name, isinstance(column.type, sa.JSON)) for column in columns]
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)
    try:
        with raw.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                copy.write_row(
                    [to_json(row[name]) if json and row[name] is not None else row[name] for name, json in kinds]
                )
    except psycopg.Error as error:
        raise sa.exc.DBAPIError("COPY", None, error, connection_invalidated=raw.closed) from error


def insert_once(connection: sa.Connection, table: sa.TableClause, rows: Rows) -> None:
    """Insert the rows that clash with no unique key; leave those that do."""
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    if dialect is sqlite or any(isinstance(value, bytes) for value in rows[0].values()):
        connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))
        return
    names = list(rows[0])
    given = _recordset(table)
    chosen = sa.select(*(given.c[name] for name in names))
    connection.execute(
        postgresql.insert(table).from_select(names, chosen).on_conflict_do_nothing(), {"rows": as_json(rows)}
    )


def update_all(connection: sa.Connection, table: sa.Table, rows: Rows) -> None:
    """Give rows, named by their ``id``, these values."""
    if not rows:
        return
    names = [name for name in rows[0] if name != "id"]
    if connection.dialect.name == "sqlite":
        given = [{**{name: row[name] for name in names}, "its_id": row["id"]} for row in rows]
        connection.execute(sa.update(table).where(table.c.id == sa.bindparam("its_id")), given)
        return
    found = _recordset(table)
    values = {name: found.c[name] for name in names}
    connection.execute(sa.update(table).where(table.c.id == found.c.id).values(values), {"rows": as_json(rows)})


def as_json(rows: Rows) -> str:
    """Rows as PostgreSQL reads them from JSON."""
    return to_json([{name: _plain(value) for name, value in row.items()} for row in rows])


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value.isoformat() if isinstance(value, date) else value


def _recordset(table: sa.TableClause) -> Any:
    """The rows of the JSON array ``rows``, by the types of the table's columns."""
    like: sa.ColumnElement[Any] = sa.literal_column(f"NULL::{table.name}")
    made = sa.func.jsonb_populate_recordset(like, sa.cast(sa.bindparam("rows", type_=sa.Text), postgresql.JSONB))
    return made.table_valued(*(sa.column(column.name, column.type) for column in table.c), name="given")


def chunks(items: Sequence[Item], size: int = CHUNK) -> Iterator[Sequence[Item]]:
    """The items in parts of at most ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def rows_where(
    connection: sa.Connection, statement: sa.Select[Any], column: sa.ColumnElement[Any], values: Sequence[Any]
) -> Iterator[sa.RowMapping]:
    """The statement's rows whose ``column`` is one of ``values``, however many those are."""
    for part in chunks(values):
        yield from connection.execute(statement.where(column.in_(part))).mappings()
