"""Stored records, one after the other: as many as there are, and a few in memory."""

from collections.abc import Iterator
from datetime import datetime

import sqlalchemy as sa

from central.store.rows import STARTED
from central.store.tables import process_data, processes
from contracts.record import ProcessRecord

PART = 200


def stream(
    connection: sa.Connection, since: datetime, until: datetime, process: str | None, station: str | None = None
) -> Iterator[ProcessRecord]:
    """The records that began between two moments, those of one unit together; of one process or station."""
    wanted = (
        sa.select(process_data.c.record)
        .join_from(process_data, processes, isouter=True)
        .where(process_data.c.started_at >= since, process_data.c.started_at < until)
        .where(process_data.c.outcome != STARTED, process_data.c.deleted_at.is_(None))
        .order_by(process_data.c.serial_id, process_data.c.started_at, process_data.c.id)
    )
    if process is not None:
        wanted = wanted.where(processes.c.process_code == process)
    if station is not None:
        wanted = wanted.where(process_data.c.station == station)
    for (text,) in connection.execution_options(yield_per=PART).execute(wanted):
        yield ProcessRecord.model_validate_json(text)


def measured_by_machines(
    connection: sa.Connection, since: datetime, until: datetime, process: str
) -> dict[tuple[str, str], set[str]]:
    """Station and machine -> what its records of a process hold."""
    wanted = (
        sa.select(process_data.c.station, process_data.c.machine, process_data.c.measurements)
        .join_from(process_data, processes)
        .where(processes.c.process_code == process)
        .where(process_data.c.started_at >= since, process_data.c.started_at < until)
    )
    found: dict[tuple[str, str], set[str]] = {}
    for row in connection.execution_options(yield_per=PART).execute(wanted):
        found.setdefault((row.station, row.machine), set()).update(row.measurements)
    return found
