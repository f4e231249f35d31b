"""What statistics are made of: measured values, first passes, defects. Found and counted by the database.

As for the figures, only products count, and of a corrected record the correction. The time of a record is when it
began.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store.tables import facts, process_data, processes, serials
from contracts.record import DataLevel, Part, ProcessRecord

MOST_RECORDS = 5_000
"""The latest records of a process that statistics look at."""

_run = process_data.c
_RUNS = (_run.part == Part.PRODUCT.value) & _run.deleted_at.is_(None)
_JUDGED = _run.result.in_(("PASS", "FAIL"))


@dataclass(frozen=True, kw_only=True)
class Which:
    """Of which records; a condition that is not given is met by all."""

    process_id: int | None = None
    product_model: str | None = None
    station: str | None = None
    machine: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """As SQL."""
        found: list[sa.ColumnElement[bool]] = [_RUNS]
        for name in ("process_id", "product_model", "station", "machine"):
            if getattr(self, name) is not None:
                found.append(_run[name] == getattr(self, name))
        if self.since is not None:
            found.append(_run.started_at >= self.since)
        if self.until is not None:
            found.append(_run.started_at < self.until)
        return found


@dataclass(frozen=True)
class Value:
    """What a record holds under a measurement's name, as it came."""

    process_data_id: int
    serial_number: str | None
    station: str
    machine: str
    product_model: str | None
    started_at: datetime
    value: Any


def values(
    connection: sa.Connection, which: Which, measurement: str, row: int | None = None, column: str | None = None
) -> tuple[int, list[Value]]:
    """How many records were looked at, the latest that were judged, and their values of a measurement, the oldest
    first; ``row`` and ``column`` look into a table or a list. A record without it gives none."""
    latest = (
        sa.select(process_data)
        .where(*which.conditions(), _JUDGED)
        .order_by(_run.started_at.desc(), _run.id.desc())
        .limit(MOST_RECORDS)
        .subquery()
    )
    found: sa.ColumnElement[Any] = latest.c.measurements
    for step in (measurement, row, column):
        found = found if step is None else _inside(connection, found, step)
    of_record = (latest.c.station, latest.c.machine, latest.c.product_model, latest.c.started_at)
    wanted = (
        sa.select(latest.c.id, serials.c.serial_number, *of_record, found)
        .select_from(latest.outerjoin(serials, serials.c.id == latest.c.serial_id))
        .order_by(latest.c.started_at, latest.c.id)
    )
    rows = connection.execute(wanted).all()
    return len(rows), [Value(*one) for one in rows if one[-1] is not None]


def _inside(connection: sa.Connection, whole: sa.ColumnElement[Any], step: str | int) -> sa.ColumnElement[Any]:
    """A part of some JSON, as JSON. Not by SQLite's json_extract, which makes another number of one beyond 64 bits."""
    key: str | int = step
    if connection.dialect.name == "sqlite":
        key = f'$."{step}"' if isinstance(step, str) else f"$[{step}]"
    return whole.op("->", return_type=process_data.c.measurements.type)(sa.literal(key))


def units_of(connection: sa.Connection, found: Sequence[Value], measurement: str) -> set[str | None]:
    """The units the machines gave these values in: of each machine, as its oldest and its latest record say."""
    ends: dict[tuple[str, str], tuple[int, int]] = {}
    for one in found:
        first, _ = ends.get((one.station, one.machine), (one.process_data_id, 0))
        ends[one.station, one.machine] = first, one.process_data_id
    wanted = sa.select(_run.record).where(_run.id.in_({number for both in ends.values() for number in both}))
    records = (ProcessRecord.model_validate_json(text) for text in connection.execute(wanted).scalars())
    return {one.unit for record in records for one in record.measurements if one.name == measurement}


def first_passes(connection: sa.Connection, which: Which) -> Sequence[sa.RowMapping]:
    """Every active process in its order, with ``units`` that were judged there for the first time, and those
    ``passed`` of them. A reject label is no pass."""
    earlier = process_data.alias("earlier")
    before = sa.exists().where(
        earlier.c.serial_id == _run.serial_id,
        earlier.c.process_id == _run.process_id,
        earlier.c.part == Part.PRODUCT.value,
        earlier.c.deleted_at.is_(None),
        earlier.c.result.is_not(None),
        sa.tuple_(earlier.c.started_at, earlier.c.id) < sa.tuple_(_run.started_at, _run.id),
    )
    rejected = sa.exists().where(
        facts.c.stream_id == _run.stream_id, facts.c.seq == _run.seq, facts.c.reject_label.is_(True)
    )
    first = (
        sa.select(
            _run.process_id,
            sa.func.count().label("units"),
            sa.func.count(sa.case(((_run.result == "PASS") & ~rejected, 1))).label("passed"),
        )
        .where(*which.conditions(), _run.result.is_not(None), _run.serial_id.is_not(None), ~before)
        .where(_run.data_level == DataLevel.SERIAL.value)
        .group_by(_run.process_id)
        .subquery()
    )
    wanted = (
        sa.select(
            processes,
            sa.func.coalesce(first.c.units, 0).label("units"),
            sa.func.coalesce(first.c.passed, 0).label("passed"),
        )
        .join_from(processes, first, processes.c.id == first.c.process_id, isouter=True)
        .where(processes.c.is_active)
        .order_by(processes.c.sort_order, processes.c.process_number)
    )
    return connection.execute(wanted).mappings().all()


def defects(connection: sa.Connection, which: Which) -> Sequence[sa.RowMapping]:
    """code, count: records with a defect, the most frequent first. A record with the same one twice counts once."""
    if connection.dialect.name == "postgresql":
        each = sa.func.jsonb_array_elements(_run.defects).table_valued(sa.column("value", _run.defects.type))
        code = each.c.value["code"].as_string()
    else:
        each = sa.func.json_each(_run.defects).table_valued(sa.column("value", sa.Text))
        code = sa.func.json_extract(each.c.value, "$.code")
    of_record = (
        sa.select(_run.id, code.label("code"))
        .select_from(process_data.join(each, sa.true()))
        .where(*which.conditions())
        .distinct()
        .subquery()
    )
    count = sa.func.count().label("count")
    wanted = (
        sa.select(of_record.c.code, count)
        .where(of_record.c.code.is_not(None))
        .group_by(of_record.c.code)
        .order_by(count.desc(), of_record.c.code)
    )
    return connection.execute(wanted).mappings().all()
