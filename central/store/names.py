"""What records name and nobody has entered yet: operators, product models, LOTs and serials, made on demand.

Every well-formed record makes what it names, also one that is disputed: so the rows depend on the set of records and
not on which came first. Rows are made in a fixed order of tables and keys, so that services beside each other wait
for one another and never in a circle.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store.rows import Row, name_of, product_model_of, username_of
from central.store.statements import insert_once, rows_where
from central.store.tables import lots, product_models, serials, users
from contracts.facts import AnyDecision, LotChanged, LotCreated, ProcessStarted, RecordCorrected
from contracts.identity import lot_of_serial, lot_parts
from contracts.permit import PermitRecord, StationRecord
from contracts.record import Part
from contracts.route_model import FactKey, LotStatus, UnitStatus

TARGET_QUANTITY = 100
"""Of a LOT nobody has opened yet."""


@dataclass
class Names:
    """What a batch names, each with the fact that named it, and once ``made``, the ids."""

    users: dict[str, FactKey] = field(default_factory=dict)
    product_models: dict[str, FactKey] = field(default_factory=dict)
    lots: dict[str, FactKey] = field(default_factory=dict)
    serials: dict[str, FactKey] = field(default_factory=dict)

    def of_record(self, key: FactKey, record: StationRecord) -> None:
        """Note what a record names. Golden samples, dry runs and calibration stay out of LOTs and serials; a refusal
        may name what does not exist."""
        if isinstance(record, PermitRecord):
            if record.granted and record.part is Part.PRODUCT:
                self.of_unit(key, record.serial_number, record.lot_number)
            return
        self.users.setdefault(username_of(record), key)
        model = product_model_of(record)
        if model is not None:
            self.product_models.setdefault(model, key)
        if record.part is Part.PRODUCT:
            self.of_unit(key, record.serial_number, record.lot_number)

    def of_decision(self, key: FactKey, decision: AnyDecision, serial_number: str | None, lot: str | None) -> None:
        """Note what a decision names."""
        if isinstance(decision, ProcessStarted):
            self.users.setdefault(operator_of(decision), key)
        if isinstance(decision, RecordCorrected):
            self.users.setdefault(username_of(decision.record), key)
        if isinstance(decision, LotCreated | LotChanged) and (model := name_of(decision.product_model or "")):
            self.product_models.setdefault(model, key)
        self.of_unit(key, serial_number, lot)

    def of_unit(self, key: FactKey, serial_number: str | None, lot_number: str | None) -> None:
        """Note a serial and a LOT, and the LOT a serial number is made of."""
        if lot_number is not None:
            self.lots.setdefault(lot_number, key)
        if serial_number is not None:
            self.serials.setdefault(serial_number, key)
            inside = lot_of_serial(serial_number)
            if inside is not None:
                self.lots.setdefault(inside[0], key)


@dataclass(frozen=True)
class Ids:
    """Name -> id of its row."""

    users: Mapping[str, int]
    product_models: Mapping[str, int]
    lots: Mapping[str, int]
    serials: Mapping[str, int]


def operator_of(started: ProcessStarted) -> str:
    """Who began it, as ``users`` knows the name."""
    return name_of(started.operator).casefold()


def make(connection: sa.Connection, names: Names, now: datetime) -> Ids:
    """Make the rows that are missing; answers the ids of all."""
    return Ids(
        users=_make(connection, users.c.username_key, names.users, _user, now),
        product_models=_make(connection, product_models.c.model_code, names.product_models, _product_model, now),
        lots=_make(connection, lots.c.lot_number, names.lots, _lot, now),
        serials=_make(connection, serials.c.serial_number, names.serials, _serial, now),
    )


def ids_of(connection: sa.Connection, column: sa.Column[Any], names: Iterable[str]) -> dict[str, int]:
    """Name -> id for the rows that are there; ``column`` is the table's unique name."""
    statement = sa.select(column.table.c.id, column)
    return {row[column.name]: row["id"] for row in rows_where(connection, statement, column, sorted(set(names)))}


def _make(
    connection: sa.Connection, column: sa.Column[Any], names: Mapping[str, FactKey], row: Any, now: datetime
) -> dict[str, int]:
    found = ids_of(connection, column, names)
    missing = sorted(names.keys() - found.keys())
    if missing:
        table = column.table
        assert isinstance(table, sa.Table)
        common = {"created_at": now, "updated_at": now}
        insert_once(
            connection,
            table,
            [
                {**row(name), **common, "cause_stream_id": names[name][0], "cause_seq": names[name][1]}
                for name in missing
            ],
        )
        found |= ids_of(connection, column, missing)
    return found


def _user(name: str) -> Row:
    """An operator known by badge alone: no password, not active: cannot log in."""
    return {
        "username": name,
        "username_key": name,
        "email": f"{name}@operator.invalid",
        "full_name": name,
        "role": "OPERATOR",
        "is_active": False,
    }


def _product_model(code: str) -> Row:
    return {"model_code": code, "model_name": code, "specifications": {}, "status": "ACTIVE"}


def _lot(lot_number: str) -> Row:
    parts = lot_parts(lot_number)
    assert parts is not None, "an impossible LOT number is quarantined before"
    return {
        "lot_number": lot_number,
        "production_date": parts.production_date,
        "shift": parts.shift,
        "created": False,
        "target_quantity": TARGET_QUANTITY,
        "status": LotStatus.CREATED.value,
        "short_closed": False,
        "actual_quantity": 0,
        "passed_quantity": 0,
        "failed_quantity": 0,
        "on_hold": False,
        "holds": [],
        "exceptions": [],
    }


def _serial(serial_number: str) -> Row:
    return {
        "serial_number": serial_number,
        "status": UnitStatus.CREATED.value,
        "final": False,
        "scrapped": False,
        "generation": 0,
        "rework_count": 0,
        "passed_processes": [],
        "overridden_processes": [],
        "on_hold": False,
        "holds": [],
        "exceptions": [],
    }
