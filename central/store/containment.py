"""Which units a condition touches: worked on by that machine, with that firmware, by that revision, from that part lot.

A unit is touched by a record that meets every condition given. What was taken away touches nothing; a corrected record
touches by what counts.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from central.store import production_units
from central.store.decisions import Decisions
from central.store.refusing import RefusedError
from central.store.tables import process_data, processes, serials, users
from contracts.facts import HoldPlaced

MOST_HELD = 5_000
"""Units that one request puts on hold."""
_PARTS = ("sma_spring_lot", "busbar_lot", "part_lot")
_VERSIONS = ("firmware_version", "program_version", "program")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a record has to meet, all of it. ``part_lot`` and ``version`` stand among its measurements."""

    station: str | None = None
    machine: str | None = None
    process_code: str | None = None
    version: str | None = None
    criteria_revision: str | None = None
    part_lot: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(getattr(self, field.name) is not None for field in fields(self))


@dataclass(frozen=True)
class Touched:
    """A unit, as ``production_units.listing`` has it, and the records it is in the list for."""

    unit: sa.RowMapping
    because: tuple[sa.RowMapping, ...]


def listing(connection: sa.Connection, conditions: Conditions) -> sa.Select[Any]:
    """The units that are touched, in the order of their ids."""
    of_unit = process_data.c.serial_id == serials.c.id
    return production_units.listing().where(sa.exists().where(of_unit, *_conditions(connection, conditions)))


def with_reasons(connection: sa.Connection, units: Sequence[sa.RowMapping], conditions: Conditions) -> list[Touched]:
    """These units, each with the records that touch it."""
    columns = (
        process_data.c.id, process_data.c.serial_id, process_data.c.stream_id, process_data.c.seq,
        process_data.c.station, process_data.c.machine, process_data.c.result, process_data.c.outcome,
        process_data.c.criteria_revision, process_data.c.measurements, process_data.c.started_at,
        process_data.c.completed_at, processes.c.process_code, users.c.username,
    )  # fmt: skip
    wanted = (
        sa.select(*columns)
        .select_from(process_data.outerjoin(processes).join(users))
        .where(process_data.c.serial_id.in_([unit["id"] for unit in units]), *_conditions(connection, conditions))
        .order_by(process_data.c.started_at, process_data.c.id)
    )
    because: defaultdict[int, list[sa.RowMapping]] = defaultdict(list)
    for row in connection.execute(wanted).mappings():
        because[row["serial_id"]].append(row)
    return [Touched(unit, tuple(because[unit["id"]])) for unit in units]


def put_on_hold(people: Decisions, author: str, conditions: Conditions, hold_id: str, reason: str) -> list[str]:
    """Put every unit that is touched on hold, under one ``hold_id``; answers their numbers. Raises RefusedError where
    there are too many for one request."""
    connection = people.connection
    wanted = listing(connection, conditions).limit(MOST_HELD + 1)
    numbers = sorted(row["serial_number"] for row in connection.execute(wanted).mappings())
    if len(numbers) > MOST_HELD:
        raise RefusedError("TOO_MANY_UNITS", f"more than {MOST_HELD} units are touched: narrow the conditions")
    people.lock_units(numbers)
    who: dict[str, Any] = {"author": author, "decided_at": people.now, "reason": reason, "hold_id": hold_id}
    if numbers:
        people.keep_all([HoldPlaced(**who, serial_number=number) for number in numbers])
    return numbers


def parts_and_versions(measurements: dict[str, Any]) -> dict[str, Any]:
    """What of a record's measurements the conditions look at."""
    return {name: measurements[name] for name in (*_PARTS, *_VERSIONS) if name in measurements}


def _conditions(connection: sa.Connection, given: Conditions) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = [process_data.c.deleted_at.is_(None)]
    for name in ("station", "machine", "criteria_revision"):
        if getattr(given, name) is not None:
            found.append(process_data.c[name] == getattr(given, name))
    if given.process_code is not None:
        mine = sa.select(processes.c.id).where(processes.c.process_code == given.process_code)
        found.append(process_data.c.process_id.in_(mine))
    if given.part_lot is not None:
        found.append(sa.or_(*(_measured(connection, name, given.part_lot) for name in _PARTS)))
    if given.version is not None:
        found.append(sa.or_(*(_measured(connection, name, given.version) for name in _VERSIONS)))
    if given.since is not None:
        found.append(process_data.c.started_at >= given.since)
    if given.until is not None:
        found.append(process_data.c.started_at < given.until)
    return found


def _measured(connection: sa.Connection, name: str, value: str) -> sa.ColumnElement[bool]:
    """Whether a measurement has this value: in PostgreSQL by the index over all of them."""
    if connection.dialect.name == "postgresql":
        wanted = sa.cast(sa.literal(json.dumps({name: value})), JSONB)
        return process_data.c.measurements.op("@>", is_comparison=True)(wanted)
    return sa.func.json_extract(process_data.c.measurements, f"$.{name}") == value
