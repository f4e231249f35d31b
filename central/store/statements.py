"""Set-based statements that SQLite and PostgreSQL spell the same way, through their own dialects."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

CHUNK = 5_000
"""Values in one IN list: both databases bound the parameters of a statement (SQLite 32,766, PostgreSQL 65,535)."""

Item = TypeVar("Item")


def insert_once(connection: sa.Connection, table: sa.TableClause, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows that clash with no unique key; leave those that do."""
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


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
