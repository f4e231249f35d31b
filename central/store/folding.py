"""The rows of serials and LOTs, folded again from their facts: each touched one once a transaction.

Locks: serials by number, then LOTs by number, always in this order. A LOT is folded from the rows of its units after
its own row is locked, so that of two transactions in one LOT the later one sees what the earlier one wrote.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from central.store.digests import changed
from central.store.golden import checks_of
from central.store.names import TARGET_QUANTITY, ids_of
from central.store.rows import (
    GRANTED_OFFLINE,
    PERMIT,
    RECORD,
    Fields,
    Row,
    is_product,
    moves,
    name_of,
    unit_decision,
    unit_permit,
    unit_record,
)
from central.store.statements import chunks, rows_where, update_all
from central.store.tables import facts, lots, process_data, product_models, serials
from contracts.record import DataLevel
from contracts.route import fold_lot, fold_unit
from contracts.route_model import (
    MAX_RECORDS,
    ExceptionCode,
    FactKey,
    LotState,
    RouteException,
    RouteLimits,
    UnitDecision,
    UnitPermit,
    UnitRecord,
    UnitState,
    UnitStatus,
)

Touched = Mapping[str, FactKey]
"""Serial or LOT number -> the fact that touched it, which the audit trail names."""


@dataclass(frozen=True)
class WrongPermit:
    """An exception that was not there before: a station let a unit start without central, and wrongly."""

    about: FactKey
    detail: str


def refold(
    connection: sa.Connection, units: Touched, lot_numbers: Touched, limits: RouteLimits, now: datetime
) -> list[WrongPermit]:
    """Fold these units, then these LOTs and those the units were or are in, and keep what changed."""
    touched = dict(lot_numbers)
    wrong: list[WrongPermit] = []
    for lot_number, cause in _refold_units(connection, units, limits, now, wrong).items():
        touched.setdefault(lot_number, cause)
    _refold_lots(connection, touched, limits, now, wrong)
    changed(connection, touched)
    return wrong


def _refold_units(
    connection: sa.Connection, units: Touched, limits: RouteLimits, now: datetime, wrong: list[WrongPermit]
) -> Touched:
    """Fold the units; answers the LOTs they were and are in."""
    numbers = sorted(units)
    locking = sa.select(serials).order_by(serials.c.serial_number).with_for_update()
    rows = {row["serial_number"]: row for row in rows_where(connection, locking, serials.c.serial_number, numbers)}
    were_in = sorted({row["lot_id"] for row in rows.values() if row["lot_id"] is not None})
    old_lots = {
        row["id"]: row["lot_number"]
        for row in rows_where(connection, sa.select(lots.c.id, lots.c.lot_number), lots.c.id, were_in)
    }
    states = fold_units(connection, numbers, limits)
    lot_ids = ids_of(connection, lots.c.lot_number, {s.lot_number for s in states.values() if s.lot_number is not None})

    touched: dict[str, FactKey] = {}
    changed: list[Row] = []
    moved: list[Row] = []
    for number, state in states.items():
        row = rows[number]
        for lot_number in (old_lots.get(row["lot_id"]), state.lot_number):
            if lot_number is not None:
                touched[lot_number] = units[number]
        lot_id = None if state.lot_number is None else lot_ids[state.lot_number]
        derived = {"lot_id": lot_id, **_unit_columns(state)}
        if any(row[column] != value for column, value in derived.items()):
            changed.append({**derived, "id": row["id"], **_changed_by(units[number], now)})
            wrong.extend(_newly_wrong(row, state.exceptions))
        if row["lot_id"] != lot_id and row["created_at"] != now:  # what this transaction made has no records yet
            moved.append({"its_serial": row["id"], "its_lot": lot_id})
    update_all(connection, serials, changed)
    if moved:
        # A unit's records belong to the LOT the unit belongs to: they attach when that becomes known.
        connection.execute(
            sa.update(process_data)
            .where(
                process_data.c.serial_id == sa.bindparam("its_serial"),
                process_data.c.lot_id.is_distinct_from(sa.bindparam("its_lot", type_=sa.BigInteger)),
            )
            .values(lot_id=sa.bindparam("its_lot", type_=sa.BigInteger)),
            moved,
        )
    return touched


def fold_units(
    connection: sa.Connection, numbers: Sequence[str], limits: RouteLimits, as_of: datetime | None = None
) -> dict[str, UnitState]:
    """The states of these units, folded from their facts; ``as_of`` from those that were known at that moment."""
    known = None if as_of is None else facts.c.received_at <= as_of
    found = _facts_of(connection, facts.c.serial_number, numbers, known)
    machines = {(one.station, one.machine) for some in found.records.values() for one in some}
    checks = checks_of(connection, machines, as_of)
    return {
        number: fold_unit(
            number,
            found.records.get(number, ()),
            found.decisions.get(number, ()),
            limits,
            found.permits.get(number, ()),
            checks,
        )
        for number in numbers
    }


def _newly_wrong(before: Fields, exceptions: Iterable[RouteException]) -> Iterator[WrongPermit]:
    known = {
        tuple(one["about"])
        for one in before["exceptions"]
        if one["code"] == ExceptionCode.OFFLINE_PERMIT_WRONG and "about" in one
    }
    for one in exceptions:
        if one.code is ExceptionCode.OFFLINE_PERMIT_WRONG and one.about is not None and one.about not in known:
            yield WrongPermit(one.about, f"{before.get('serial_number') or one.serial_number}: {one.detail}")


def _refold_lots(
    connection: sa.Connection, touched: Touched, limits: RouteLimits, now: datetime, wrong: list[WrongPermit]
) -> None:
    numbers = sorted(touched)
    statement = sa.select(lots).order_by(lots.c.lot_number).with_for_update()
    rows = {row["lot_number"]: row for row in rows_where(connection, statement, lots.c.lot_number, numbers)}
    lot_of = {row["id"]: number for number, row in rows.items()}
    units: defaultdict[str, list[UnitState]] = defaultdict(list)
    for unit in rows_where(connection, sa.select(*_OF_UNIT), serials.c.lot_id, sorted(lot_of)):
        units[lot_of[unit["lot_id"]]].append(_unit_state(unit, lot_of[unit["lot_id"]]))
    of_lot = (facts.c.kind != RECORD) | (facts.c.data_level == DataLevel.LOT.value)
    found = _facts_of(connection, facts.c.lot_number, numbers, of_lot)
    states = {
        number: fold_lot(
            number,
            units.get(number, ()),
            found.records.get(number, ()),
            found.decisions.get(number, ()),
            limits,
            found.permits.get(number, ()),
        )
        for number in numbers
    }
    model_ids = ids_of(
        connection,
        product_models.c.model_code,
        {name_of(state.product_model) for state in states.values() if state.product_model},
    )
    changed: list[Row] = []
    for number, state in states.items():
        row = rows[number]
        model = model_ids.get(name_of(state.product_model or ""))
        derived = {"product_model_id": model, **_lot_columns(state)}
        if any(row[column] != value for column, value in derived.items()):
            changed.append({**derived, "id": row["id"], **_changed_by(touched[number], now)})
            wrong.extend(_newly_wrong(row, state.exceptions))
    update_all(connection, lots, changed)


@dataclass(frozen=True)
class _Facts:
    """What the fold takes, by serial or LOT number."""

    records: defaultdict[str, list[UnitRecord]] = field(default_factory=lambda: defaultdict(list))
    decisions: defaultdict[str, list[UnitDecision]] = field(default_factory=lambda: defaultdict(list))
    permits: defaultdict[str, list[UnitPermit]] = field(default_factory=lambda: defaultdict(list))


def _facts_of(
    connection: sa.Connection,
    column: sa.Column[Any],
    values: Sequence[str],
    condition: sa.ColumnElement[bool] | None = None,
) -> _Facts:
    """Records that count, decisions, and permits given without central, by the value of ``column``. A disputed fact
    has neither number: it is out."""
    found = _Facts()
    for row in _thin(connection, column, values, condition):
        number = row[column.name]
        if row["kind"] == PERMIT:
            if row["outcome"] == GRANTED_OFFLINE and is_product(row):
                found.permits[number].append(unit_permit(row))
        elif row["kind"] != RECORD:
            found.decisions[number].append(unit_decision(row))
        elif is_product(row):
            found.records[number].append(unit_record(row))
    return found


def _thin(
    connection: sa.Connection, column: sa.Column[Any], values: Sequence[str], condition: sa.ColumnElement[bool] | None
) -> Iterator[sa.RowMapping]:
    """What the fold needs of the facts, and of one unit's records the earliest ones alone (``fold_unit``)."""
    in_time = (facts.c.completed_at, facts.c.stream_id, facts.c.seq)
    kinds = (column, facts.c.kind, facts.c.part, facts.c.data_level)
    place = sa.func.row_number().over(partition_by=kinds, order_by=in_time)
    placed = sa.select(*_OF_FACT, place.label("place"))
    if condition is not None:
        placed = placed.where(condition)
    for part in chunks(values):
        found = placed.where(column.in_(part)).subquery()
        all_of_it = (found.c.kind != RECORD) | (found.c.data_level == DataLevel.LOT.value)
        few = sa.select(found).where(all_of_it | (found.c.place <= MAX_RECORDS + 1))
        yield from connection.execute(few).mappings()


_OF_FACT = tuple(
    facts.c[name]
    for name in (
        "stream_id", "seq", "kind", "serial_number", "lot_number", "station", "process_number", "data_level", "part",
        "outcome", "completed_at", "completed_within_seconds", "permit", "return_to", "reject_label", "product_model",
        "defects", "body", "machine",
    )
)  # fmt: skip
"""What of a fact the fold takes."""


def _unit_columns(state: UnitState) -> Row:
    return {
        "sequence_in_lot": state.sequence_in_lot,
        "product_model": state.product_model,
        "status": state.status.value,
        "final": state.final,
        "scrapped": state.scrapped,
        "generation": state.generation,
        "rework_count": state.rework_count,
        "failure_reason": _text(state.failure_reason),
        "passed_processes": sorted(state.passed),
        "overridden_processes": sorted(state.overridden),
        "last_process": state.last_process,
        "on_hold": state.on_hold,
        "holds": [_plain(hold) for hold in state.holds],
        "exceptions": [_plain(one) for one in sorted(state.exceptions, key=RouteException.sort_key)],
        "started_at": state.started_at,
        "last_record_at": state.last_record_at,
        "completed_at": state.completed_at,
        "deleted_at": state.deleted_at,
    }


_OF_UNIT = (
    serials.c.lot_id,
    serials.c.serial_number,
    serials.c.sequence_in_lot,
    serials.c.product_model,
    serials.c.status,
    serials.c.final,
    serials.c.started_at,
    serials.c.last_record_at,
)
"""What of a unit its LOT is folded from."""


def _unit_state(row: Fields, lot_number: str) -> UnitState:
    """A unit as its LOT sees it."""
    return UnitState(
        serial_number=row["serial_number"],
        lot_number=lot_number,
        sequence_in_lot=row["sequence_in_lot"],
        product_model=row["product_model"],
        status=UnitStatus(row["status"]),
        final=row["final"],
        started_at=row["started_at"],
        last_record_at=row["last_record_at"],
    )


def _lot_columns(state: LotState) -> Row:
    return {
        "created": state.created,
        "target_quantity": TARGET_QUANTITY if state.target_quantity is None else state.target_quantity,
        "status": state.status.value,
        "short_closed": state.short_closed,
        "actual_quantity": state.actual_quantity,
        "passed_quantity": state.passed_quantity,
        "failed_quantity": state.failed_quantity,
        "on_hold": state.on_hold,
        "holds": [_plain(hold) for hold in state.holds],
        "exceptions": [_plain(one) for one in sorted(state.exceptions, key=RouteException.sort_key)],
        "closed_at": state.closed_at,
        "deleted_at": state.deleted_at,
    }


def _plain(derived: Any) -> Row:
    """A hold or an exception as JSON holds it."""
    found = ((field.name, getattr(derived, field.name)) for field in fields(derived))
    return {key: _json(value) for key, value in found if value is not None}


def _json(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_json(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def _text(text: str | None) -> str | None:
    return None if text is None else text.replace("\x00", "\ufffd")


def _changed_by(cause: FactKey, now: datetime) -> Row:
    return {"cause_stream_id": cause[0], "cause_seq": cause[1], "updated_at": now}


def named_by(rows: Iterable[Fields]) -> tuple[dict[str, FactKey], dict[str, FactKey]]:
    """The serials and LOTs that rows of ``facts`` touch, each with the last of them."""
    units: dict[str, FactKey] = {}
    lot_numbers: dict[str, FactKey] = {}
    for row in rows:
        if not moves(row):
            continue
        key = row["stream_id"], row["seq"]
        if row["serial_number"] is not None:
            units[row["serial_number"]] = key
        if row["lot_number"] is not None:
            lot_numbers[row["lot_number"]] = key
    return units, lot_numbers
