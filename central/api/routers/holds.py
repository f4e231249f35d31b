"""``/holds``: what keeps units and LOTs from going on, placed and released by people."""

from typing import Annotated, Literal, Self
from uuid import uuid4

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field, model_validator

from central.api.changes import Create
from central.api.current import CurrentService, needs
from central.api.errors import answers, not_found
from central.api.models import Body
from central.api.paging import Page
from central.store import exceptions
from central.store.users import Role
from contracts.base import LotNumber, SerialNumber
from contracts.facts import HoldPlaced, HoldReleased

router = APIRouter(prefix="/holds", tags=["holds"], responses=answers())
READ, WRITE = [needs(Role.OPERATOR)], [needs(Role.MANAGER)]

Reason = Annotated[str, Field(min_length=1, max_length=1000, examples=["torque wrench out of calibration"])]
HoldId = Annotated[str, Path(min_length=1, max_length=64)]


class HoldOut(BaseModel):
    """A hold that stops a unit or a LOT. ``code``: the exception it is derived from; null: a person placed it."""

    level: Literal["UNIT", "LOT"]
    serial_number: str | None
    lot_number: str | None
    hold_id: str | None
    reason: str | None
    code: str | None


class HoldCreate(Body):
    """What to hold and why: a unit, or a LOT with all its units."""

    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None
    reason: Reason

    @model_validator(mode="after")
    def _holds_one_thing(self) -> Self:
        if (self.serial_number is None) == (self.lot_number is None):
            raise ValueError("name a serial_number or a lot_number, one of both")
        return self


class HoldRelease(Body):
    """Why it may go on."""

    reason: Reason


class HoldKept(BaseModel):
    """The decision was kept: its place in central's stream."""

    hold_id: str
    seq: int


class HoldReleasedOut(BaseModel):
    """What may go on again."""

    hold_id: str
    released: list[str]


@router.get("", dependencies=READ)
def list_holds(
    service: CurrentService, page: Page, lot_number: Annotated[LotNumber | None, Query()] = None
) -> list[HoldOut]:
    """Every hold that stands, those derived from exceptions too."""
    with service.store.reading() as connection:
        found = page.of(connection, exceptions.holds(connection, lot_number=lot_number))
    return [
        HoldOut(
            level=row["level"],
            serial_number=row["serial_number"],
            lot_number=row["lot_number"],
            hold_id=row["one"].get("hold_id"),
            reason=row["one"].get("reason"),
            code=row["one"].get("code"),
        )
        for row in found
    ]


@router.post("", dependencies=WRITE, status_code=201, response_model=HoldKept, responses=answers(404, 409))
def place_hold(body: HoldCreate, service: CurrentService, change: Create) -> Response:
    """Stop a unit, or a LOT with its units: no station is permitted to begin on it until the hold is released."""
    hold_id = uuid4().hex

    def make(connection: sa.Connection) -> HoldKept:
        decisions = service.store.decisions(connection)
        if not exceptions.is_known(connection, body.serial_number, body.lot_number):
            # A hold of a number nobody knows would be a slip of the pen.
            raise not_found("unit or LOT", body.serial_number or body.lot_number)
        seq = decisions.keep(
            HoldPlaced(
                author=change.author.name or "",
                decided_at=decisions.now,
                reason=body.reason,
                hold_id=hold_id,
                serial_number=body.serial_number,
                lot_number=body.lot_number,
            )
        )
        return HoldKept(hold_id=hold_id, seq=seq)

    return change.once(make)


@router.post("/{hold_id}/release", dependencies=WRITE, response_model=HoldReleasedOut, responses=answers(404, 409))
def release_hold(hold_id: HoldId, body: HoldRelease, service: CurrentService, change: Create) -> Response:
    """Let everything go on that this hold stops."""

    def make(connection: sa.Connection) -> HoldReleasedOut:
        decisions = service.store.decisions(connection)
        held = connection.execute(exceptions.holds(connection, hold_id)).mappings().all()
        if not held:
            raise not_found("hold that stands", hold_id)
        for row in held:
            unit = row["serial_number"]
            decisions.keep(
                HoldReleased(
                    author=change.author.name or "",
                    decided_at=decisions.now,
                    reason=body.reason,
                    hold_id=hold_id,
                    serial_number=unit,
                    lot_number=row["lot_number"] if unit is None else None,
                )
            )
        return HoldReleasedOut(hold_id=hold_id, released=[row["serial_number"] or row["lot_number"] for row in held])

    return change.once(make, 200)
