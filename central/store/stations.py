"""The stations as a person watches them: whether each is there, what it still has to deliver, its machines."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.listing import StreamStatus
from central.store.rows import RECORD
from central.store.tables import facts


@dataclass(frozen=True)
class MachineSeen:
    """A machine with results, and when the last one was completed."""

    machine: str
    last_record_at: datetime


@dataclass(frozen=True)
class StationStatus:
    """A station as last heard. ``online`` None: it has not said. ``clock_offset_seconds``: ahead of central's clock."""

    station: str
    site: str
    line: str
    online: bool | None
    host: str | None
    software: str | None
    backlog: int
    missing: int
    parked: int
    troubles: tuple[str, ...]
    clock_offset_seconds: float | None
    born_at: datetime | None
    last_seen_at: datetime
    last_record_at: datetime | None
    machines: tuple[MachineSeen, ...]


def station_statuses(
    connection: sa.Connection, streams: Sequence[StreamStatus], machines_since: datetime
) -> list[StationStatus]:
    """Every station by name. Machines are those with a result since then."""
    wanted = (
        sa.select(facts.c.station, facts.c.machine, sa.func.max(facts.c.completed_at).label("last"))
        .where(facts.c.kind == RECORD, facts.c.completed_at >= machines_since, facts.c.station.is_not(None))
        .group_by(facts.c.station, facts.c.machine)
        .order_by(facts.c.station, facts.c.machine)
    )
    machines: defaultdict[str, list[MachineSeen]] = defaultdict(list)
    for row in connection.execute(wanted):
        machines[row.station].append(MachineSeen(row.machine or "", row.last))
    # The index of station and time answers this without a scan.
    last = {
        station: connection.execute(
            sa.select(sa.func.max(facts.c.completed_at)).where(facts.c.station == station, facts.c.kind == RECORD)
        ).scalar_one()
        for station in {stream.station for stream in streams}
    }
    of_station: defaultdict[str, list[StreamStatus]] = defaultdict(list)
    for stream in streams:
        of_station[stream.station].append(stream)
    return [_status(of_station[name], last[name], tuple(machines[name])) for name in sorted(of_station)]


def _status(
    streams: Sequence[StreamStatus], last_record_at: datetime | None, machines: tuple[MachineSeen, ...]
) -> StationStatus:
    """Its present stream tells its state; what is to come is summed over all it has written."""
    present = next((stream for stream in streams if stream.present), streams[0])
    return StationStatus(
        station=present.station,
        site=present.site,
        line=present.line,
        online=present.online,
        host=present.host,
        software=present.software,
        backlog=sum(stream.backlog for stream in streams),
        missing=sum(gap.last - gap.first + 1 for stream in streams for gap in stream.missing),
        parked=present.parked,
        troubles=present.troubles,
        clock_offset_seconds=present.clock_offset_seconds,
        born_at=present.born_at,
        last_seen_at=max(stream.last_seen_at for stream in streams),
        last_record_at=last_record_at,
        machines=machines,
    )
