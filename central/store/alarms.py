"""Alarms: what someone has to look into, one open row for each kind, stream and station, counted."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.arrivals import Alarm
from central.store.statements import insert_once
from central.store.tables import alarms


@dataclass(frozen=True)
class AlarmRow:
    """An alarm as it stands."""

    id: int
    kind: str
    stream_id: str
    station: str
    detail: str
    occurrences: int
    raised_at: datetime
    last_at: datetime
    acknowledged_at: datetime | None


def raise_alarms(connection: sa.Connection, raised: Iterable[Alarm], now: datetime) -> None:
    """Add to the open alarm of this kind, or open one; in a fixed order, because others may open it beside us."""
    for alarm in sorted(raised, key=lambda one: (one.claim, one.kind)):
        its = {"kind": alarm.kind.value, "stream_id": alarm.claim.stream_id, "station": alarm.claim.station}
        insert_once(connection, alarms, [{**its, "detail": "", "occurrences": 0, "raised_at": now, "last_at": now}])
        connection.execute(
            sa.update(alarms)
            .where(alarms.c.acknowledged_at.is_(None), *(alarms.c[name] == value for name, value in its.items()))
            .values(occurrences=alarms.c.occurrences + alarm.occurrences, detail=alarm.detail, last_at=now)
        )


def list_alarms(connection: sa.Connection, *, acknowledged: bool) -> list[AlarmRow]:
    """The open alarms, newest first; with ``acknowledged`` the others too."""
    statement = sa.select(alarms).order_by(alarms.c.last_at.desc(), alarms.c.id.desc())
    if not acknowledged:
        statement = statement.where(alarms.c.acknowledged_at.is_(None))
    return [AlarmRow(**row) for row in connection.execute(statement).mappings()]


def acknowledge_alarms(connection: sa.Connection, ids: Collection[int], now: datetime) -> int:
    """Close these alarms; answers how many were open. What happens again opens a new one."""
    mine = alarms.c.id.in_(ids) & alarms.c.acknowledged_at.is_(None)
    return connection.execute(sa.update(alarms).where(mine).values(acknowledged_at=now)).rowcount
