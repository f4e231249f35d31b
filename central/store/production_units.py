"""Units as people see and change them: each change is checked as things stand, and kept as a fact.

Raises RefusedError where a rule is broken, NotThereError where what is named is not there, RoleError where only a
manager may.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from central.store import production_lots
from central.store.decisions import Decisions
from central.store.folding import fold_units
from central.store.refusing import NotThereError, RefusedError, RoleError, refuse
from central.store.tables import lots, process_data, serials
from contracts.facts import OrderOverridden, ReworkAuthorised, SerialCreated, SerialDeleted, StatusDecided, UnitScrapped
from contracts.identity import lot_of_serial
from contracts.refusals import Refusal, RefusalCode
from contracts.route_model import LotStatus, RouteLimits, UnitState, UnitStatus
from contracts.route_start import may_rework, may_start_by_its_own, rework_return
from contracts.serial_form import SerialForm

_LOT = ("lot_number", "production_date", "shift", "target_quantity")


def listing() -> sa.Select[Any]:
    """Every unit that is not taken away with its LOT, in the order of their ids."""
    return (
        sa.select(serials, *(lots.c[name] for name in _LOT), lots.c.status.label("lot_status"))
        .select_from(serials.outerjoin(lots))
        .where(serials.c.deleted_at.is_(None))
        .order_by(serials.c.id)
    )


def by_id(connection: sa.Connection, serial_id: int) -> sa.RowMapping:
    """The unit of this id."""
    return _one(connection, serials.c.id == serial_id, serial_id)


def by_number(connection: sa.Connection, serial_number: str) -> sa.RowMapping:
    """The unit of this number."""
    return _one(connection, serials.c.serial_number == serial_number, serial_number)


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool], value: object) -> sa.RowMapping:
    row = connection.execute(listing().where(condition)).mappings().one_or_none()
    if row is None:
        raise NotThereError(RefusalCode.SERIAL_NOT_FOUND.value, f"no unit {value}")
    return row


def enter(
    people: Decisions, author: str, lot_id: int, sequence: int, number: str, form: SerialForm, reason: str
) -> int:
    """Enter a unit in a LOT before it is worked on; answers its id."""
    lot_number = production_lots.by_id(people.connection, lot_id)["lot_number"]
    _fits(number, lot_number, sequence, form)
    there = _row(people.connection, number)
    if there is not None and there["deleted_at"] is None:
        raise RefusedError("ALREADY_EXISTS", f"there is a unit {number} already")
    people.unit(number)
    _place(people, lot_id, lot_number, sequence)
    _settle(people, author, number, lot_number, sequence, reason)
    made: int = people.connection.execute(sa.select(serials.c.id).where(serials.c.serial_number == number)).scalar_one()
    return made


def move(people: Decisions, author: str, serial_id: int, lot_id: int, sequence: int, reason: str) -> None:
    """Give a unit another place: LOT and sequence in it."""
    row = by_id(people.connection, serial_id)
    if (row["lot_id"], row["sequence_in_lot"]) == (lot_id, sequence):
        return
    if lot_of_serial(row["serial_number"]) is not None:
        raise RefusedError("SERIAL_LOT_MISMATCH", f"the number {row['serial_number']} says its LOT and sequence")
    lot_number = production_lots.by_id(people.connection, lot_id)["lot_number"]
    people.unit(row["serial_number"])
    people.lock_lots({lot_number, row["lot_number"] or lot_number})
    _not_in_closed_lot(row)
    _place(people, lot_id, lot_number, sequence, besides=serial_id)
    _settle(people, author, row["serial_number"], lot_number, sequence, reason)


def _settle(people: Decisions, author: str, number: str, lot_number: str, sequence: int, reason: str) -> None:
    people.keep(
        SerialCreated(
            author=author,
            decided_at=people.now,
            reason=reason,
            serial_number=number,
            lot_number=lot_number,
            sequence_in_lot=sequence,
        )
    )


def _fits(number: str, lot_number: str, sequence: int, form: SerialForm) -> None:
    refusal = form.refusal(number)
    if refusal is not None:
        raise RefusedError("SERIAL_NUMBER_FORM", refusal)
    inside = lot_of_serial(number)
    if inside is not None and inside != (lot_number, sequence):
        raise RefusedError("SERIAL_LOT_MISMATCH", f"{number} is a number of {inside[0]}, sequence {inside[1]}")


def _place(people: Decisions, lot_id: int, lot_number: str, sequence: int, besides: int = 0) -> None:
    """There must be room in the LOT, and the place free."""
    people.lot(lot_number)
    lot = production_lots.by_id(people.connection, lot_id)
    if not lot["created"]:
        raise RefusedError("LOT_NOT_OPENED", f"{lot_number} is known from records alone: open it first")
    if lot["status"] == LotStatus.CLOSED.value:
        raise RefusedError(RefusalCode.LOT_CLOSED.value, f"{lot_number} is closed")
    there = (serials.c.lot_id == lot_id) & serials.c.deleted_at.is_(None) & (serials.c.id != besides)
    taken = sa.select(serials.c.serial_number).where(there, serials.c.sequence_in_lot == sequence).limit(1)
    other = people.connection.execute(taken).scalar_one_or_none()
    if other is not None:
        raise RefusedError("SEQUENCE_TAKEN", f"{other} is number {sequence} of {lot_number}")
    count = people.connection.execute(sa.select(sa.func.count()).select_from(serials).where(there)).scalar_one()
    if count >= lot["target_quantity"]:
        raise RefusedError(RefusalCode.LOT_FULL.value, f"{lot_number} has its {lot['target_quantity']} units")


def decide_status(
    people: Decisions,
    author: str,
    serial_id: int,
    status: str,
    *,
    failure_reason: str | None,
    manager: bool,
    reason: str,
) -> None:
    """A person's word on a unit's status; the status it has already changes nothing."""
    row = by_id(people.connection, serial_id)
    number = row["serial_number"]
    unit = people.unit(number)
    stands = unit.status.value
    if status == stands:
        return
    _not_in_closed_lot(row)
    if unit.status in (UnitStatus.PASSED, UnitStatus.FAILED) or status == UnitStatus.CREATED.value:
        how = "; only a rework moves it on" if unit.status is UnitStatus.FAILED else ""
        raise RefusedError("INVALID_STATUS_MOVE", f"{number} is {stands}, it cannot become {status}{how}")
    if status == UnitStatus.PASSED.value and not manager:
        missing = ", ".join(people.limits.name(one) for one in people.limits.numbers if one not in unit.passed)
        raise RoleError("ROLE_TOO_LOW", f"a manager alone passes {number} by decision: {missing} has not passed")
    people.keep(
        StatusDecided.model_validate(
            {
                "author": author,
                "decided_at": people.now,
                "reason": reason,
                "serial_number": number,
                "status": status,
                "failure_reason": failure_reason if status == UnitStatus.FAILED.value else None,
            }
        )
    )


def rework(people: Decisions, author: str, serial_id: int, return_to: str | int | None, reason: str) -> None:
    """Authorise a repair that returns the unit to a process, by its number or code; by default the one that failed."""
    row = by_id(people.connection, serial_id)
    unit = people.unit(row["serial_number"])
    process = _process(people.limits, unit, return_to)
    _not_in_closed_lot(row)
    refuse(may_rework(unit, process, people.limits))
    people.keep(
        ReworkAuthorised(
            author=author,
            decided_at=people.now,
            reason=reason,
            serial_number=row["serial_number"],
            return_to=people.limits.by_number[process].code,
        )
    )


def override(people: Decisions, author: str, serial_id: int, process: str | int, reason: str) -> None:
    """Let a unit run at a process, by its number or code, although an earlier one has not passed."""
    row = by_id(people.connection, serial_id)
    unit = people.unit(row["serial_number"])
    number = _process(people.limits, unit, process)
    if number not in people.limits.by_number:
        raise RefusedError(RefusalCode.INVALID_PROCESS_SEQUENCE.value, f"process {number} is not in the route")
    _not_in_closed_lot(row)
    refusal = may_start_by_its_own(unit, number, people.limits)
    if refusal is None:
        detail = f"the order of processes lets {row['serial_number']} run at {people.limits.name(number)} already"
        raise RefusedError("NOTHING_TO_OVERRIDE", detail)
    if refusal.code is not RefusalCode.PREVIOUS_PROCESS_NOT_COMPLETED:
        refuse(refusal)
    people.keep(
        OrderOverridden(
            author=author,
            decided_at=people.now,
            reason=reason,
            serial_number=row["serial_number"],
            process=people.limits.by_number[number].code,
        )
    )


def scrap(people: Decisions, author: str, serial_id: int, reason: str) -> None:
    """A disposition: the unit is finally failed, whatever it has passed."""
    row = by_id(people.connection, serial_id)
    unit = people.unit(row["serial_number"])
    _not_in_closed_lot(row)
    if unit.scrapped:
        raise RefusedError("ALREADY_SCRAPPED", f"{row['serial_number']} was scrapped before")
    people.keep(UnitScrapped(author=author, decided_at=people.now, reason=reason, serial_number=row["serial_number"]))


@dataclass(frozen=True)
class Reworkable:
    """Where a unit would return to by default, and why it may not be reworked; None: it may."""

    return_to: int
    refusal: Refusal | None


def can_rework(connection: sa.Connection, row: sa.RowMapping, limits: RouteLimits) -> Reworkable:
    """Whether a unit may be reworked as things stand; ``row`` is one of ``listing``."""
    unit = fold_units(connection, [row["serial_number"]], limits)[row["serial_number"]]
    process = rework_return(unit, limits)
    if row["lot_status"] == LotStatus.CLOSED.value:
        return Reworkable(process, Refusal(RefusalCode.LOT_CLOSED, f"{row['lot_number']} is closed"))
    return Reworkable(process, may_rework(unit, process, limits))


def delete(people: Decisions, author: str, serial_id: int, reason: str) -> None:
    """Take a unit away that nothing was done to."""
    row = by_id(people.connection, serial_id)
    unit = people.unit(row["serial_number"])
    begun = sa.exists().where(process_data.c.serial_id == serial_id, process_data.c.deleted_at.is_(None))
    if unit.status is not UnitStatus.CREATED or people.connection.execute(sa.select(begun)).scalar_one():
        raise RefusedError("SERIAL_IN_USE", f"{row['serial_number']} has records or a status: it stays")
    people.keep(SerialDeleted(author=author, decided_at=people.now, reason=reason, serial_number=row["serial_number"]))


def _process(limits: RouteLimits, unit: UnitState, named: str | int | None) -> int:
    if named is None:
        return rework_return(unit, limits)
    if isinstance(named, int):
        return named
    if named not in limits.by_code:
        raise NotThereError("PROCESS_NOT_FOUND", f"no process {named}")
    return limits.by_code[named].number


def _row(connection: sa.Connection, number: str) -> sa.RowMapping | None:
    return connection.execute(sa.select(serials).where(serials.c.serial_number == number)).mappings().one_or_none()


def _not_in_closed_lot(row: sa.RowMapping) -> None:
    if row["lot_status"] == LotStatus.CLOSED.value:
        raise RefusedError(RefusalCode.LOT_CLOSED.value, f"{row['lot_number']} is closed")
