"""What the store tells about itself: reconciliation, and its determined content."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from central.store.arrivals import Counts, StreamCount
from central.store.rows import PERMIT, Row
from central.store.statements import rows_where
from central.store.tables import (
    facts,
    lots,
    process_data,
    processes,
    product_models,
    quarantine,
    serials,
    streams,
    users,
)
from contracts.permit import PermitRecord
from contracts.record import ProcessRecord

_NOT_DETERMINED = {
    "id", "cause_stream_id", "cause_seq", "created_at", "updated_at", "received_at", "first_seen_at", "last_seen_at",
    "lot_id", "serial_id", "process_id", "operator_id", "product_model_id",
}  # fmt: skip
"""Surrogate ids, and when and in which order things arrived."""


@dataclass(frozen=True)
class Booking:
    """A committed record, and what the tables say it is: the unit and the process its row is joined to."""

    record: ProcessRecord
    serial_number: str | None
    process_code: str | None
    outcome: str


@dataclass(frozen=True)
class UnitRow:
    """A unit as its row has it. ``exceptions`` are their codes, in order."""

    serial_number: str
    status: str
    final: bool
    rework_count: int
    on_hold: bool
    exceptions: tuple[str, ...]


def record(connection: sa.Connection, stream_id: str, seq: int) -> ProcessRecord | None:
    """A committed record, rebuilt from its canonical bytes."""
    mine = (process_data.c.stream_id == stream_id) & (process_data.c.seq == seq)
    text = connection.execute(sa.select(process_data.c.record).where(mine)).scalar_one_or_none()
    return None if text is None else ProcessRecord.model_validate_json(text)


def bookings(connection: sa.Connection, stream_ids: Collection[str]) -> list[Booking]:
    """The committed records of these streams with the rows they are joined to, in the order of stream and seq."""
    columns = (process_data.c.record, serials.c.serial_number, processes.c.process_code, process_data.c.outcome)
    joined = process_data.outerjoin(serials).outerjoin(processes)
    of_streams = sa.select(*columns).select_from(joined).where(process_data.c.stream_id.in_(stream_ids))
    in_order = of_streams.order_by(process_data.c.stream_id, process_data.c.seq)
    return [Booking(ProcessRecord.model_validate_json(row[0]), *row[1:]) for row in connection.execute(in_order)]


def units(connection: sa.Connection, serial_numbers: Iterable[str]) -> dict[str, UnitRow]:
    """The rows of these units, by serial number; a unit that is not known has none."""
    columns = {column.name: column for column in serials.columns}
    wanted = [columns[name] for name in ("serial_number", "status", "final", "rework_count", "on_hold", "exceptions")]
    found = rows_where(connection, sa.select(*wanted), serials.c.serial_number, sorted(serial_numbers))
    return {
        row["serial_number"]: UnitRow(**{**row, "exceptions": tuple(one["code"] for one in row["exceptions"])})
        for row in found
    }


def permits(connection: sa.Connection, stream_ids: Collection[str]) -> list[PermitRecord]:
    """The committed permits and refusals of these streams, in the order of stream and seq."""
    mine = (facts.c.kind == PERMIT) & facts.c.stream_id.in_(stream_ids) & facts.c.digest.is_not(None)
    in_order = sa.select(facts.c.body).where(mine).order_by(facts.c.stream_id, facts.c.seq)
    return [PermitRecord.model_validate_json(text) for text in connection.execute(in_order).scalars()]


def counts(connection: sa.Connection, central_stream: str) -> Counts:
    """Rows per stream and station, and quarantine rows by reason."""
    of_stream = (process_data.c.stream_id == streams.c.stream_id) & (process_data.c.station == streams.c.station)
    per_stream = (
        sa.select(
            streams.c.stream_id,
            streams.c.station,
            streams.c.owner,
            streams.c.committed_seq,
            sa.func.count(process_data.c.id).label("records"),
        )
        .select_from(streams.outerjoin(process_data, of_stream))
        .where(streams.c.stream_id != central_stream)
        .group_by(streams.c.stream_id, streams.c.station)
        .order_by(streams.c.station, streams.c.stream_id)
    )
    by_reason = sa.select(quarantine.c.reason, sa.func.count()).group_by(quarantine.c.reason)
    return Counts(
        streams=tuple(StreamCount(**row) for row in connection.execute(per_stream).mappings()),
        quarantine={row[0]: row[1] for row in connection.execute(by_reason)},
    )


def canonical_rows(connection: sa.Connection, central_stream: str) -> dict[str, list[Row]]:
    """Table -> rows without surrogate ids and times of arrival, names in place of ids, in a fixed order."""
    in_lot = serials.outerjoin(lots)
    of_data = process_data.outerjoin(serials).outerjoin(lots, process_data.c.lot_id == lots.c.id)
    of_data = of_data.outerjoin(processes).join(users)
    names = (lots.c.lot_number, serials.c.serial_number, processes.c.process_code, users.c.username)
    queries: dict[str, sa.Select[Any]] = {
        "product_models": sa.select(*_determined(product_models)),
        "users": sa.select(*_determined(users)),
        "lots": sa.select(*_determined(lots), product_models.c.model_code).select_from(lots.outerjoin(product_models)),
        "serials": sa.select(*_determined(serials), lots.c.lot_number).select_from(in_lot),
        "process_data": sa.select(*_determined(process_data), *names).select_from(of_data),
        "facts": sa.select(*_determined(facts)),
        "quarantine": sa.select(
            quarantine.c.stream_id,
            quarantine.c.first_seq,
            quarantine.c.last_seq,
            quarantine.c.reason,
            quarantine.c.payload,
        ),
        "streams": sa.select(streams.c.stream_id, streams.c.station, streams.c.committed_seq, streams.c.ranges),
    }
    return {
        table: sorted((_named(row, central_stream) for row in connection.execute(query).mappings()), key=_order)
        for table, query in queries.items()
    }


def _determined(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.columns if column.name not in _NOT_DETERMINED]


def _named(row: sa.RowMapping, central_stream: str) -> Row:
    return {key: _renamed(value, central_stream) for key, value in row.items()}


def _renamed(value: Any, central_stream: str) -> Any:
    """Central's own stream has another name in every database; exceptions and holds name it too."""
    if isinstance(value, list):
        # Holds stand in the order of their names, and such a name may hold the stream's.
        items = [_renamed(item, central_stream) for item in value]
        return sorted(items, key=_order) if items and isinstance(items[0], dict) else items
    if isinstance(value, dict):
        return {key: _renamed(item, central_stream) for key, item in value.items()}
    return value.replace(central_stream, "central") if isinstance(value, str) else value


def _order(row: Row) -> str:
    """The same for equal rows: JSONB keeps the keys of an object in an order of its own."""
    return json.dumps(row, sort_keys=True, default=repr)
