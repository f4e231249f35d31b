"""Started and not finished: permits without a result (domain.md, Route)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store.rows import GRANTED, GRANTED_OFFLINE, PERMIT, RECORD, STARTED
from central.store.tables import facts, process_data, processes, serials


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


def incomplete_entries(
    connection: sa.Connection, conditions: Sequence[sa.ColumnElement[bool]], listing: sa.Select[Any]
) -> list[Mapping[str, Any]]:
    """Starts that people entered and permits of stations, as rows of ``listing``, the oldest first.

    ``conditions`` are on ``process_data``: with any, permits are left out, since no user is known to hold one.
    """
    begun = listing.where(process_data.c.outcome == STARTED, *conditions)
    found: list[Mapping[str, Any]] = [dict(row) for row in connection.execute(begun).mappings()]
    if not conditions:
        found += [_as_entry(connection, listing, permit) for permit in incomplete(connection, None)]
    return sorted(found, key=lambda row: (row["started_at"], row["id"] or 0))


def _as_entry(connection: sa.Connection, listing: sa.Select[Any], permit: Incomplete) -> Mapping[str, Any]:
    """A permit as a row without an id."""
    process = sa.select(processes).where(processes.c.process_number == permit.process_number)
    unit = sa.select(serials.c.id, serials.c.lot_id).where(serials.c.serial_number == permit.serial_number)
    of_process = connection.execute(process).mappings().one_or_none()
    of_unit = connection.execute(unit).one_or_none()
    names = ("process_number", "process_code", "process_name_en", "process_name_ko")
    return {
        **dict.fromkeys(listing.selected_columns.keys()),
        **(
            {} if of_process is None else {"process_id": of_process["id"], **{name: of_process[name] for name in names}}
        ),
        **({} if of_unit is None else {"serial_id": of_unit.id, "lot_id": of_unit.lot_id}),
        "serial_number": permit.serial_number,
        "data_level": "SERIAL",
        "part": "PRODUCT",
        "outcome": STARTED,
        "measurements": {},
        "defects": [],
        "started_at": permit.started_at,
        "created_at": permit.started_at,
        "station": permit.station,
        "machine": "",
        "disagreement": False,
    }
