"""LOTs as people see and change them: each change is checked as things stand, and kept as a fact.

Raises RefusedError where a rule is broken, NotThereError where what is named is not there.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

import sqlalchemy as sa

from central.store.decisions import Decisions
from central.store.refusing import NotThereError, RefusedError
from central.store.tables import lots, process_data, product_models, serials
from contracts.facts import LotChanged, LotClosed, LotCreated, LotDeleted, LotShortClosed, LotStarted
from contracts.identity import lot_parts
from contracts.refusals import RefusalCode
from contracts.route_model import LotStatus

ACTIVE = (LotStatus.CREATED.value, LotStatus.IN_PROGRESS.value)
LAST_NUMBER = 999
_ORDER = [status.value for status in LotStatus]
_FINISHED = lots.c.passed_quantity + lots.c.failed_quantity
_MODEL = ("id", "model_code", "model_name", "category", "production_cycle_days", "status")
_PER_CENT = 100.0


def listing() -> sa.Select[Any]:
    """Every LOT that is not taken away with its product model and rates, in the order of their ids.

    Rates are per cent of what is finished; none where nothing is.
    """
    finished = sa.func.nullif(_FINISHED, 0)
    return (
        sa.select(
            lots,
            *(product_models.c[name].label(f"model_{name}" if name in ("id", "status") else name) for name in _MODEL),
            (_PER_CENT * lots.c.failed_quantity / finished).label("defect_rate"),
            (_PER_CENT * lots.c.passed_quantity / finished).label("pass_rate"),
        )
        .select_from(lots.outerjoin(product_models))
        .where(lots.c.deleted_at.is_(None))
        .order_by(lots.c.id)
    )


def by_id(connection: sa.Connection, lot_id: int) -> sa.RowMapping:
    """The LOT of this id."""
    return _one(connection, lots.c.id == lot_id, lot_id)


def by_number(connection: sa.Connection, lot_number: str) -> sa.RowMapping:
    """The LOT of this number."""
    return _one(connection, lots.c.lot_number == lot_number, lot_number)


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool], value: object) -> sa.RowMapping:
    row = connection.execute(listing().where(condition)).mappings().one_or_none()
    if row is None:
        raise NotThereError(RefusalCode.LOT_NOT_FOUND.value, f"no LOT {value}")
    return row


def open_lot(
    people: Decisions,
    author: str,
    product_model_id: int,
    target_quantity: int,
    *,
    lot_number: str | None = None,
    day: date | None = None,
    shift: str | None = None,
    reason: str = "opened",
) -> int:
    """Open a LOT, under the next number of its date and shift where none is given; answers its id.

    A LOT that records name already and nobody has opened is opened by its number.
    """
    model = _model_code(people.connection, product_model_id)
    number = lot_number or _next_number(people.connection, day, shift)
    if people.lot(number) and _is_created(people.connection, number):
        raise RefusedError("ALREADY_EXISTS", f"{number} has been opened before")
    people.keep(
        LotCreated(
            author=author,
            decided_at=people.now,
            reason=reason,
            lot_number=number,
            product_model=model,
            target_quantity=target_quantity,
        )
    )
    made: int = people.connection.execute(sa.select(lots.c.id).where(lots.c.lot_number == number)).scalar_one()
    return made


def change_lot(people: Decisions, author: str, lot_id: int, values: Mapping[str, Any], reason: str) -> None:
    """Change a LOT's product model, target quantity or status. Its number, date and shift are what it is known by."""
    row = by_id(people.connection, lot_id)
    number = row["lot_number"]
    for name in ("lot_number", "production_date", "shift"):
        if name in values and values[name] != row[name]:
            raise RefusedError("LOT_NUMBER_FIXED", f"{name}: {number} is known by it, open another LOT")
    people.lot(number)
    row = by_id(people.connection, lot_id)
    if not row["created"]:
        raise RefusedError("LOT_NOT_OPENED", f"{number} is known from records alone: open it first")
    who: dict[str, Any] = {"author": author, "decided_at": people.now, "reason": reason, "lot_number": number}
    model_id, target = values.get("product_model_id"), values.get("target_quantity")
    changed_model = model_id is not None and model_id != row["product_model_id"]
    changed_target = target is not None and target != row["target_quantity"]
    if changed_model or changed_target:
        if row["status"] == LotStatus.CLOSED.value:
            raise RefusedError(RefusalCode.LOT_CLOSED.value, f"{number} is closed")
        if changed_target and target is not None and target < (there := units_of(people.connection, lot_id)):
            raise RefusedError("TARGET_BELOW_UNITS", f"{number} has {there} units already")
        model = _model_code(people.connection, model_id) if changed_model and model_id is not None else None
        people.keep(LotChanged(**who, product_model=model, target_quantity=target if changed_target else None))
    if values.get("status") is not None:
        move_lot(people, lot_id, values["status"], who)


def check_counted(row: sa.RowMapping, given: Mapping[str, Any]) -> None:
    """What is counted from facts cannot be set to another figure."""
    for name in ("actual_quantity", "passed_quantity", "failed_quantity"):
        if name in given and given[name] != row[name]:
            detail = f"{name} is counted from the units: {row[name]}; it cannot be set to {given[name]}"
            raise RefusedError("QUANTITY_COUNTED", detail)


def close_lot(people: Decisions, author: str, lot_id: int, reason: str) -> None:
    """Close a COMPLETED LOT."""
    row = by_id(people.connection, lot_id)
    who = {"author": author, "decided_at": people.now, "reason": reason, "lot_number": row["lot_number"]}
    people.lot(row["lot_number"])
    if by_id(people.connection, lot_id)["status"] == LotStatus.CLOSED.value:
        raise RefusedError(RefusalCode.LOT_CLOSED.value, f"{row['lot_number']} is closed already")
    move_lot(people, lot_id, LotStatus.CLOSED.value, who)


def move_lot(people: Decisions, lot_id: int, status: str, who: dict[str, Any]) -> None:
    """Move a LOT forward to this status: COMPLETED before its target is reached ends it short."""
    row = by_id(people.connection, lot_id)
    stands, number = row["status"], row["lot_number"]
    if status == stands:
        return
    if _ORDER.index(status) < _ORDER.index(stands):
        raise RefusedError("INVALID_STATUS_MOVE", f"{number} is {stands}: it moves forward only, not to {status}")
    if status == LotStatus.IN_PROGRESS.value:
        people.keep(LotStarted(**who))
    elif status == LotStatus.COMPLETED.value:
        if row["actual_quantity"] == 0:
            raise RefusedError("LOT_EMPTY", f"nothing was made in {number}: it can be deleted, not completed")
        people.keep(LotShortClosed(**who))
    elif stands != LotStatus.COMPLETED.value:
        raise RefusedError("LOT_NOT_COMPLETED", f"{number} is {stands}: complete it first, short if need be")
    else:
        people.keep(LotClosed(**who))


def delete_lot(people: Decisions, author: str, lot_id: int, reason: str) -> None:
    """Take a LOT away that has no units and no records."""
    number = by_id(people.connection, lot_id)["lot_number"]
    people.lot(number)
    records = sa.exists().where(process_data.c.lot_id == lot_id, process_data.c.deleted_at.is_(None))
    if units_of(people.connection, lot_id) or people.connection.execute(sa.select(records)).scalar_one():
        raise RefusedError("LOT_IN_USE", f"{number} has units or records: it stays")
    people.keep(LotDeleted(author=author, decided_at=people.now, reason=reason, lot_number=number))


def units_of(connection: sa.Connection, lot_id: int) -> int:
    """How many units a LOT has, entered or worked on."""
    mine = (serials.c.lot_id == lot_id) & serials.c.deleted_at.is_(None)
    found: int = connection.execute(sa.select(sa.func.count()).select_from(serials).where(mine)).scalar_one()
    return found


def _is_created(connection: sa.Connection, lot_number: str) -> bool:
    return bool(connection.execute(sa.select(lots.c.created).where(lots.c.lot_number == lot_number)).scalar_one())


def _next_number(connection: sa.Connection, day: date | None, shift: str | None) -> str:
    """The number after the highest one of a date and shift, whoever named that."""
    assert day is not None, "a date is given where no number is"
    assert shift is not None, "a shift is given where no number is"
    if not 2000 <= day.year <= 2099:
        raise RefusedError("IMPOSSIBLE_DATE", f"{day.isoformat()}: a LOT number holds two digits of the year")
    head = f"WF-KR-{day:%y%m%d}{shift}-"
    mine = sa.select(sa.func.max(lots.c.lot_number)).where(lots.c.production_date == day, lots.c.shift == shift)
    last = connection.execute(mine).scalar_one()
    parts = None if last is None else lot_parts(last)
    number = 1 + (0 if parts is None else parts.number)
    if number > LAST_NUMBER:
        raise RefusedError("LOT_NUMBERS_USED_UP", f"{head}{LAST_NUMBER} is the last number of the shift")
    return f"{head}{number:03d}"


def _model_code(connection: sa.Connection, model_id: int) -> str:
    columns = product_models.c.model_code, product_models.c.status
    mine = sa.select(*columns).where(product_models.c.id == model_id, product_models.c.deleted_at.is_(None))
    row = connection.execute(mine).one_or_none()
    if row is None:
        raise NotThereError("PRODUCT_MODEL_NOT_FOUND", f"no product model {model_id}")
    if row.status != "ACTIVE":
        raise RefusedError("PRODUCT_MODEL_INACTIVE", f"{row.model_code} is {row.status}: no LOT of it is opened")
    code: str = row.model_code
    return code
