"""May this unit start here? Answered from the facts as they are, and one lease a unit; each answer is kept.

The unit is folded from its facts, which are few; its LOT is read as it was folded when it last changed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store.criteria import revision_in_force
from central.store.digests import Changed
from central.store.folding import fold_units
from central.store.leases import holder, lease, length_s
from central.store.statements import insert_once
from central.store.tables import lots, permits, processes, product_models, serials, store_meta
from contracts.digest import RouteDigest, attempts_of, digest_of
from contracts.firmware import Firmware
from contracts.identity import lot_of_serial
from contracts.interlock import PermitAnswer, PermitRequest, refused
from contracts.refusals import Refusal, RefusalCode
from contracts.route_model import Hold, LotState, LotStatus, RouteLimits, UnitState, UnitStatus
from contracts.route_start import belongs_elsewhere, may_start

_NUMBER = "permit_number"


def answer(
    connection: sa.Connection, question: PermitRequest, limits: RouteLimits, now: datetime, lease_s: float | None
) -> PermitAnswer:
    """The answer, kept with its number. A question that was answered gets the same answer. ``lease_s``: the site's
    own length of a lease."""
    said = _said(connection, question.request_id)
    if said is not None:
        return said
    number = next_number(connection, now)
    # Whoever answered the same question meanwhile, over the other way, has let go of the number by now.
    said = _said(connection, question.request_id)
    if said is not None:
        return said
    given = _decided(connection, question, limits, number, now, lease_s)
    if given.granted:
        lease(connection, question.serial_number, question.station, number, now, given.lease_seconds)
    connection.execute(
        sa.insert(permits),
        [
            {
                "number": number,
                "request_id": question.request_id,
                "station": question.station,
                "machine": question.machine,
                "process_code": question.process,
                "serial_number": question.serial_number,
                "refusal": given.refusal,
                "answer": given.model_dump_json(),
                "answered_at": now,
            }
        ],
    )
    return given


def _said(connection: sa.Connection, request_id: str) -> PermitAnswer | None:
    known = connection.execute(sa.select(permits.c.answer).where(permits.c.request_id == request_id))
    answered = known.scalar_one_or_none()
    return None if answered is None else PermitAnswer.model_validate_json(answered)


def next_number(connection: sa.Connection, now: datetime) -> int:
    """A number above every one before, in this database and in one it was restored from: the milliseconds of now,
    or one more than the last."""
    insert_once(connection, store_meta, [{"key": _NUMBER, "value": "0"}])
    mine = store_meta.c.key == _NUMBER
    last = connection.execute(sa.select(store_meta.c.value).where(mine).with_for_update()).scalar_one()
    number = max(int(last) + 1, int(now.timestamp() * 1000))
    connection.execute(sa.update(store_meta).where(mine).values(value=str(number)))
    return number


def digest(connection: sa.Connection, of: Changed, limits: RouteLimits, epoch: str, now: datetime) -> RouteDigest:
    """What stations are told of a LOT, as this transaction sees it. Of a closed one its units say nothing more."""
    row = lot_row(connection, of.lot_number)
    assert row is not None, "a LOT that has changed is there"
    if row["status"] == LotStatus.CLOSED.value:
        return digest_of(lot_state(row), (), epoch, of.revision, now)
    numbers = sa.select(serials.c.serial_number).where(serials.c.lot_id == row["id"])
    members = sorted(connection.execute(numbers).scalars())
    units = fold_units(connection, members, limits)
    models = {row["model_code"], *(unit.product_model for unit in units.values())} - {None}
    return digest_of(lot_state(row), units.values(), epoch, of.revision, now, _firmware(connection, models))


def lot_row(connection: sa.Connection, lot_number: str | None) -> sa.RowMapping | None:
    """A LOT as it stands, with its product model's code and specifications."""
    if lot_number is None:
        return None
    columns = (*lots.c, product_models.c.model_code, product_models.c.specifications)
    statement = sa.select(*columns).select_from(lots.outerjoin(product_models)).where(lots.c.lot_number == lot_number)
    return connection.execute(statement).mappings().one_or_none()


def lot_state(row: Mapping[str, Any] | sa.RowMapping) -> LotState:
    """A row of ``lots`` as ``may_start`` takes it."""
    return LotState(
        lot_number=row["lot_number"],
        created=row["created"],
        status=LotStatus(row["status"]),
        short_closed=row["short_closed"],
        target_quantity=row["target_quantity"],
        actual_quantity=row["actual_quantity"],
        passed_quantity=row["passed_quantity"],
        failed_quantity=row["failed_quantity"],
        product_model=row["model_code"],
        closed_at=row["closed_at"],
        holds=_holds(row["holds"]),
    )


def _holds(stored: Sequence[Mapping[str, Any]]) -> tuple[Hold, ...]:
    return tuple(Hold(hold_id=one["hold_id"], reason=one["reason"]) for one in stored)


@dataclass(frozen=True)
class _Process:
    number: int
    seconds: int | None


def _decided(
    connection: sa.Connection,
    question: PermitRequest,
    limits: RouteLimits,
    number: int,
    now: datetime,
    lease_s: float | None,
) -> PermitAnswer:
    process = _process(connection, question.process)
    if process is None:
        detail = f"{question.process} is not in the route, or switched off"
        return refused(question, number, Refusal(RefusalCode.INVALID_PROCESS_SEQUENCE, detail), now)
    unit = _unit(connection, question.serial_number, limits)
    inside = lot_of_serial(question.serial_number)
    lot_number = unit.lot_number if unit is not None else inside[0] if inside is not None else question.lot_number
    row = lot_row(connection, lot_number)
    lot = lot_state(row) if row is not None and row["created"] else None
    refusal = belongs_elsewhere(lot_number, question.lot_number) or may_start(unit, lot, process.number, limits)
    if refusal is None:
        busy = holder(connection, question.serial_number, now)
        if busy not in (None, question.station):
            refusal = Refusal(RefusalCode.BUSY_ELSEWHERE, f"{busy} works on it")
    if refusal is not None:
        return refused(question, number, refusal, now)
    model, wanted = _product(connection, unit, row)
    return PermitAnswer(
        request_id=question.request_id,
        serial_number=question.serial_number,
        permit=number,
        granted=True,
        lot_number=lot_number,
        product_model=model,
        attempt=1 + (attempts_of(unit).get(process.number, 0) if unit is not None else 0),
        reject_label=unit is not None and unit.status is UnitStatus.FAILED,
        criteria_revision=revision_in_force(connection, question.process, now),
        firmware=None if wanted is None else wanted.version,
        firmware_checksum=None if wanted is None else wanted.checksum,
        lease_seconds=length_s(process.seconds, lease_s),
        at=now,
    )


def _process(connection: sa.Connection, code: str) -> _Process | None:
    columns = processes.c.process_number, processes.c.estimated_duration_seconds
    mine = sa.select(*columns).where(processes.c.process_code == code, processes.c.is_active)
    row = connection.execute(mine).one_or_none()
    return None if row is None else _Process(*row)


def _unit(connection: sa.Connection, serial_number: str, limits: RouteLimits) -> UnitState | None:
    known = sa.select(serials.c.id).where(serials.c.serial_number == serial_number)
    if connection.execute(known).scalar_one_or_none() is None:
        return None
    return fold_units(connection, [serial_number], limits)[serial_number]


def _product(
    connection: sa.Connection, unit: UnitState | None, lot: sa.RowMapping | None
) -> tuple[str | None, Firmware | None]:
    """The unit's product model, else its LOT's; and the firmware that model's specifications name."""
    model = unit.product_model if unit is not None else None
    if lot is not None and model in (None, lot["model_code"]):
        return lot["model_code"], Firmware.of(lot["specifications"])
    return model, None if model is None else _firmware(connection, {model}).get(model)


def _firmware(connection: sa.Connection, models: Collection[str]) -> dict[str, Firmware]:
    """What these product models want, where they say so."""
    columns = product_models.c.model_code, product_models.c.specifications
    wanted = sa.select(*columns).where(product_models.c.model_code.in_(sorted(models)))
    found = {code: Firmware.of(specifications) for code, specifications in connection.execute(wanted)}
    return {code: firmware for code, firmware in found.items() if firmware is not None}
