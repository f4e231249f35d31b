"""Started and not finished: permits without a result (domain.md, Route)."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.rows import GRANTED, GRANTED_OFFLINE, PERMIT, RECORD
from central.store.tables import facts


@dataclass(frozen=True)
class Incomplete:
    """A unit that was let start at a station, and of which nothing has come since."""

    serial_number: str
    station: str
    process_number: int
    started_at: datetime
    permit: int | None
    offline: bool
    stream_id: str
    seq: int


def incomplete(connection: sa.Connection, station: str | None) -> list[Incomplete]:
    """The oldest first. In one stream the order of numbers says what came after a permit; of two streams of a
    station, the time does. A later permit of the station for the unit takes the place of an earlier one."""
    permit, later = facts.alias("permit"), facts.alias("later")
    same_stream = (later.c.stream_id == permit.c.stream_id) & (later.c.seq > permit.c.seq)
    other_stream = (later.c.stream_id != permit.c.stream_id) & (later.c.completed_at >= permit.c.completed_at)
    is_result = later.c.kind == RECORD
    is_permit = (later.c.kind == PERMIT) & later.c.outcome.in_((GRANTED, GRANTED_OFFLINE))
    ended = sa.exists().where(
        later.c.serial_number == permit.c.serial_number,
        later.c.station == permit.c.station,
        later.c.process_number == permit.c.process_number,
        is_result | is_permit,
        same_stream | other_stream,
    )
    columns = (
        permit.c.serial_number, permit.c.station, permit.c.process_number, permit.c.completed_at, permit.c.permit,
        permit.c.outcome == GRANTED_OFFLINE, permit.c.stream_id, permit.c.seq,
    )  # fmt: skip
    found = sa.select(*columns).where(permit.c.kind == PERMIT, permit.c.outcome.in_((GRANTED, GRANTED_OFFLINE)), ~ended)
    if station is not None:
        found = found.where(permit.c.station == station)
    return [Incomplete(*row) for row in connection.execute(found.order_by(permit.c.completed_at, permit.c.seq))]
