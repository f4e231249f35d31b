"""Which monthly partitions this process knows to be there, so that they are asked for once."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

from central.store.database import Database
from central.store.partitions import create_partitions, month_of, next_month
from central.store.tables import audit_logs, process_data


class Months:
    """Provides the partitions a transaction needs before it begins. Does nothing on SQLite."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._there: dict[str, set[date]] = {process_data.name: set(), audit_logs.name: set()}

    def provide(self, moments: Iterable[datetime]) -> None:
        """Make the partitions for records of these moments, and ahead of time this month's and the next."""
        if self._database.sqlite:
            return
        this_month = month_of(datetime.now(UTC))
        ahead = set() if this_month is None else {this_month, next_month(this_month)}
        needed = {
            process_data.name: ahead | {month for month in map(month_of, moments) if month is not None},
            audit_logs.name: ahead,
        }
        for table, months in needed.items():
            missing = months - self._there[table]
            if missing:
                with self._database.writing() as connection:
                    create_partitions(connection, table, missing)
                self._there[table] |= missing
