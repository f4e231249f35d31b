"""Sealing the audit trail: rows become part of the chain shortly after their commit. Writers wait for nothing.

Ids are given before the commit, so a lower one may appear after a higher one. In PostgreSQL a pass therefore notes the
highest id given and then takes a transaction number of its own: whoever was given one of these ids has a lower number
(a trigger writes the row, after the row it is about was written). Once every transaction up to that number has ended,
rows with these ids are there, or never will be; only then they are sealed. Rows of what was rolled back are gaps.
SQLite has one writer at a time: what can be read is complete.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from central.store import trail_rows
from central.store.chain import Anchor, Rows, Seal, next_seal
from central.store.database import Database
from central.store.errors import ClashError
from central.store.tables import audit_logs, audit_seals
from central.store.trail_check import Progress, TrailCheck, check

ROWS = 5_000
"""Of one seal, at most."""


@dataclass(frozen=True)
class _Fence:
    """Up to this id rows may be sealed, once every transaction up to this number has ended."""

    last_id: int
    transaction: int


class AuditSeals:
    """The chain of one database. Any number of processes may seal it; each seal is made once."""

    def __init__(self, database: Database, epoch: Callable[[], str]) -> None:
        self._database = database
        self._epoch = epoch
        self._fence: _Fence | None = None

    def seal(self) -> list[Seal]:
        """Seal what is complete by now; answers the new seals. Raises as every method of the store."""
        made: list[Seal] = []
        while (upto := self._complete()) is not None:
            seal = self._next(upto)
            if seal is None or not self._keep(seal):
                break
            made.append(seal)
        return made

    def anchor(self) -> Anchor | None:
        """What stands for the newest seal; None where there is none yet."""
        with self._database.reading() as connection:
            seal = last_seal(connection)
        return None if seal is None else seal.anchor(self._epoch())

    def check(self, anchors: Mapping[int, Anchor], progress: Progress) -> TrailCheck:
        """Verify the audit trail against its chain, and the chain against anchors of this database."""
        epoch = self._epoch()
        with self._database.reading() as connection:
            if not self._database.sqlite:
                connection.execute(sa.text("SET LOCAL statement_timeout = 0"))  # years of rows take their time
            return check(connection, epoch, anchors, progress)

    def open(self) -> bool:
        """True while there are ids that are in no seal yet."""
        with self._database.reading() as connection:
            last = last_seal(connection)
            return _highest(connection) > (0 if last is None else last.last_id)

    def _complete(self) -> int | None:
        """The id up to which nothing more can appear; None when that cannot be said yet, or is sealed already."""
        if self._database.sqlite:
            with self._database.reading() as connection:
                return _beyond(connection, _highest(connection))
        if self._fence is None:
            # A transaction each: the number has to be taken after the id was read.
            with self._database.reading() as connection:
                highest = _beyond(connection, _highest(connection))
            if highest is None:
                return None
            with self._database.reading() as connection:
                self._fence = _Fence(highest, connection.execute(_MINE).scalar_one())
        with self._database.reading() as connection:
            if connection.execute(_OLDEST).scalar_one() <= self._fence.transaction:
                return None
            upto, self._fence = self._fence.last_id, None
            return _beyond(connection, upto)

    def _next(self, upto: int) -> Seal | None:
        with self._database.reading() as connection:
            before = last_seal(connection)
            after = 0 if before is None else before.last_id
            if upto <= after:
                return None
            rows = Rows.of(trail_rows.lines(connection, after, upto, ROWS))
        last_id = rows.last_id if rows.rows == ROWS else upto
        return next_seal(before, self._epoch(), rows, last_id, datetime.now(UTC))

    def _keep(self, seal: Seal) -> bool:
        try:
            with self._database.writing() as connection:
                connection.execute(sa.insert(audit_seals), [vars(seal)])
        except ClashError:
            return False  # another process made it
        return True


_MINE = sa.select(sa.cast(sa.cast(sa.func.pg_current_xact_id(), sa.Text), sa.BigInteger))
_OLDEST = sa.select(sa.cast(sa.cast(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot()), sa.Text), sa.BigInteger))


def last_seal(connection: sa.Connection) -> Seal | None:
    """The newest seal."""
    newest = sa.select(audit_seals).order_by(audit_seals.c.number.desc()).limit(1)
    row = connection.execute(newest).mappings().one_or_none()
    return None if row is None else Seal(**row)


def _beyond(connection: sa.Connection, highest: int) -> int | None:
    """This id, where it is not sealed yet."""
    sealed = connection.execute(sa.select(sa.func.max(audit_seals.c.last_id))).scalar() or 0
    return highest if highest > sealed else None


def _highest(connection: sa.Connection) -> int:
    """The highest id that was given to a row, whether its transaction has ended or not."""
    if connection.dialect.name == "sqlite":
        return connection.execute(sa.select(sa.func.max(audit_logs.c.id))).scalar() or 0
    given = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM audit_logs_id_seq"
    return int(connection.exec_driver_sql(given).scalar_one())
