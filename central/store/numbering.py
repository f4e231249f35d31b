"""Blocks of serial numbers: each number of a LOT is reserved once, for one station (domain.md, Identity)."""

from collections.abc import Callable
from datetime import datetime
from itertools import islice

import sqlalchemy as sa

from central.store.permitting import lot_row, lot_state
from central.store.tables import lots, number_blocks, serials
from contracts.interlock import NumbersAnswer, NumbersRequest
from contracts.refusals import Refusal, RefusalCode
from contracts.route_model import LotState
from contracts.route_start import may_start_in

LAST_SEQUENCE = 9999
"""The highest number in a LOT that a serial number made of both can hold."""

SerialForm = Callable[[str, int], str]
"""LOT number and sequence in it -> serial number: the site's choice."""


def reserve(connection: sa.Connection, question: NumbersRequest, form: SerialForm, now: datetime) -> NumbersAnswer:
    """The next numbers of the LOT, which nobody else is given; a question that was answered gets the same answer.

    As many as the LOT still lacks units, at most what was asked: a number whose marking came to nothing is not given
    again, and another one takes its place.
    """
    known = sa.select(number_blocks.c.answer).where(number_blocks.c.request_id == question.request_id)
    said = connection.execute(known).scalar_one_or_none()
    if said is not None:
        return NumbersAnswer.model_validate_json(said)
    locked = sa.select(lots.c.id).where(lots.c.lot_number == question.lot_number).with_for_update()
    connection.execute(locked)
    row = lot_row(connection, question.lot_number)
    lot = lot_state(row) if row is not None and row["created"] else None
    refusal = _refusal(question.lot_number, lot)
    if refusal is not None or row is None or lot is None or lot.target_quantity is None:
        assert refusal is not None
        return _none(question, refusal, now)
    highest = sa.select(sa.func.coalesce(sa.func.max(number_blocks.c.last), 0))
    first = connection.execute(highest.where(number_blocks.c.lot_number == lot.lot_number)).scalar_one() + 1
    count = min(question.count, lot.target_quantity - lot.actual_quantity, LAST_SEQUENCE + 1 - first)
    if count <= 0:
        return _none(question, Refusal(RefusalCode.LOT_FULL, f"every number of {lot.lot_number} is given"), now)
    # A unit may have got its number from a person, or before this database was restored from a backup.
    begun = sa.select(serials.c.serial_number).where(serials.c.lot_id == row["id"], serials.c.started_at.is_not(None))
    there = set(connection.execute(begun).scalars())
    free = (one for one in range(first, LAST_SEQUENCE + 1) if form(lot.lot_number, one) not in there)
    sequences = list(islice(free, count))
    if not sequences:
        return _none(question, Refusal(RefusalCode.LOT_FULL, f"every number of {lot.lot_number} is given"), now)
    given = NumbersAnswer(
        request_id=question.request_id,
        lot_number=lot.lot_number,
        numbers=tuple(form(lot.lot_number, sequence) for sequence in sequences),
        product_model=lot.product_model,
        at=now,
    )
    connection.execute(
        sa.insert(number_blocks),
        [
            {
                "lot_number": lot.lot_number,
                "first": first,
                "last": sequences[-1],
                "request_id": question.request_id,
                "station": question.station,
                "answer": given.model_dump_json(),
                "reserved_at": now,
            }
        ],
    )
    return given


def _refusal(lot_number: str, lot: LotState | None) -> Refusal | None:
    if lot is None:
        return Refusal(RefusalCode.LOT_NOT_FOUND, f"nobody has opened {lot_number}")
    if lot.target_quantity is not None and lot.actual_quantity >= lot.target_quantity:
        return may_start_in(lot) or Refusal(RefusalCode.LOT_FULL, f"{lot_number} has its {lot.target_quantity} units")
    return may_start_in(lot)


def _none(question: NumbersRequest, refusal: Refusal, now: datetime) -> NumbersAnswer:
    return NumbersAnswer(
        request_id=question.request_id,
        lot_number=question.lot_number,
        refusal=refusal.code,
        detail=refusal.detail,
        at=now,
    )
