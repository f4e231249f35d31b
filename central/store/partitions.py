"""PostgreSQL's monthly partitions, made when a month is first needed. SQLite has one table instead."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

import sqlalchemy as sa

FIRST_YEAR, LAST_YEAR = 2020, 2049
"""Times outside these years come from a clock that was never set: their rows go to the default partition.

The bounds are fixed, not counted from now, so that a record belongs to the same partition whenever it arrives.
"""

_PATIENCE_S = 2
_CREATING = 0x6E6575726F687562  # an advisory lock: two processes do not make the same partition at once


def month_of(moment: datetime) -> date | None:
    """The first day of the moment's month in UTC; None when it belongs to the default partition."""
    utc = moment.astimezone(UTC)
    return date(utc.year, utc.month, 1) if FIRST_YEAR <= utc.year <= LAST_YEAR else None


def next_month(month: date) -> date:
    """The first day of the month after ``month``."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def create_partitions(connection: sa.Connection, table: str, months: Iterable[date]) -> None:
    """Make the partitions of ``table`` for these months where they are missing, by the right of the tables' owner.

    Takes a lock that waits for every transaction on the table, and makes later ones wait behind it: call it in a
    transaction of its own; it gives up with LinkError after two seconds. A month whose rows are already in the
    default partition stays there.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_PATIENCE_S}s'")
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING)))
    for month in sorted(set(months)):
        connection.execute(sa.select(sa.func.neurohub_provide_month(table, month)))
