"""What changes, as it happens: read by a cursor over the audit trail, which every change of a record leaves a row in.

Ids of that trail are given before a transaction commits, and so not seen in their order: what is read again and again
is everything since the last minute, and told is what was not there before. A transaction of more than a minute may be
missed.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from central.store.tables import audit_logs, lots, process_data, processes, serials, users

OVERLAP = timedelta(minutes=1)
AT_ONCE = 500
"""Changes that one look tells at most; the next look tells the others."""
_LOOKED_AT = 20_000
_MINE = audit_logs.c.entity_type == process_data.name
_SHOWN = (
    "id", "data_level", "part", "result", "outcome", "defects", "started_at", "completed_at", "station", "machine",
    "entered_by", "deleted_at",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A record that is new or another one than before. ``cursor``: everything up to there was told."""

    cursor: int
    record: sa.RowMapping


class Cursor:
    """Where the trail was read up to. For one thread at a time."""

    def __init__(self, connection: sa.Connection, now: datetime) -> None:
        early = sa.select(audit_logs.c.id).where(audit_logs.c.recorded_at < now - OVERLAP)
        latest = early.order_by(audit_logs.c.recorded_at.desc(), audit_logs.c.id.desc()).limit(1)
        self.settled: int = connection.execute(latest).scalar_one_or_none() or 0
        since = sa.select(audit_logs.c.id).where(audit_logs.c.id > self.settled, _MINE)
        self._told: set[int] = set(connection.execute(since).scalars())
        self.highest: int = max(self._told, default=self.settled)
        self._marks: deque[tuple[datetime, int]] = deque([(now, self.highest)])

    def look(self, connection: sa.Connection, now: datetime) -> list[Change]:
        """What was not told yet."""
        rows = connection.execute(_since(self.settled, _LOOKED_AT)).all()
        fresh = [row for row in rows if row.id not in self._told][:AT_ONCE]
        self._told.update(row.id for row in fresh)
        if fresh:
            self.highest = max(self.highest, fresh[-1].id)
        self._marks.append((now, self.highest))
        while self._marks[0][0] < now - OVERLAP:
            # What lies below and is not told by now is no transaction that is still open.
            self.settled = max(self.settled, self._marks.popleft()[1])
        self._told = {one for one in self._told if one > self.settled}
        return _changes(connection, [(self.settled, row.entity_id) for row in fresh])


def after(connection: sa.Connection, cursor: int, settled: int) -> tuple[int, list[Change]]:
    """The next changes behind a cursor, and the cursor behind them; the same one where there are none."""
    rows = connection.execute(_since(cursor, AT_ONCE)).all()
    last = rows[-1].id if rows else cursor
    return last, _changes(connection, [(min(row.id, settled), row.entity_id) for row in rows])


def _since(cursor: int, most: int) -> sa.Select[Any]:
    wanted = sa.select(audit_logs.c.id, audit_logs.c.entity_id).where(audit_logs.c.id > cursor, _MINE)
    return wanted.order_by(audit_logs.c.id).limit(most)


def _changes(connection: sa.Connection, found: list[tuple[int, int]]) -> list[Change]:
    """Each record once, as it stands now, in the order of the last change of each."""
    latest: dict[int, int] = {}
    for cursor, entity_id in found:
        latest.pop(entity_id, None)
        latest[entity_id] = cursor
    wanted = (
        sa.select(
            *(process_data.c[name] for name in _SHOWN),
            serials.c.serial_number,
            lots.c.lot_number,
            processes.c.process_number,
            processes.c.process_code,
            users.c.username.label("operator"),
        )
        .select_from(process_data)
        .join(serials, process_data.c.serial_id == serials.c.id, isouter=True)
        .join(lots, process_data.c.lot_id == lots.c.id, isouter=True)
        .join(processes, process_data.c.process_id == processes.c.id, isouter=True)
        .join(users, process_data.c.operator_id == users.c.id)
        .where(process_data.c.id.in_(latest))
    )
    rows = {row["id"]: row for row in connection.execute(wanted).mappings()}
    return [Change(cursor, rows[entity_id]) for entity_id, cursor in latest.items() if entity_id in rows]
