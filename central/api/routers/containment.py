"""``/containment``: which units something touched, where they are now, and putting them on hold."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from central.api.changes import Create
from central.api.current import CurrentService, CurrentSession, needs
from central.api.errors import ApiError, answers
from central.api.models import Body
from central.api.paging import Page
from central.api.periods import moment
from central.api.routers.lots import Reason
from central.store import containment
from central.store.containment import Conditions
from central.store.users import Role
from contracts.route_model import UnitStatus

router = APIRouter(prefix="/containment", tags=["containment"], responses=answers(), dependencies=[needs(Role.MANAGER)])

Word = Annotated[str | None, Query(min_length=1, max_length=100)]
Day = Annotated[str | None, Query(max_length=40, description="A day or a moment; the day of end_date counts")]


def _conditions(
    service: CurrentService,
    station: Word = None,
    machine: Word = None,
    process: Word = None,
    version: Annotated[
        str | None, Query(min_length=1, max_length=100, description="Of the firmware, or of the machine's program")
    ] = None,
    criteria_revision: Word = None,
    part_lot: Word = None,
    start_date: Day = None,
    end_date: Day = None,
) -> Conditions:
    found = Conditions(
        station=station,
        machine=machine,
        process_code=process,
        version=version,
        criteria_revision=criteria_revision,
        part_lot=part_lot,
        since=None if start_date is None else moment(service, "start_date", start_date, end=False),
        until=None if end_date is None else moment(service, "end_date", end_date, end=True),
    )
    if not found:
        fields = [{"loc": ["query"], "msg": "give at least one condition: all units is no answer", "type": "missing"}]
        raise ApiError(422, "VALIDATION_ERROR", fields)
    return found


Given = Annotated[Conditions, Depends(_conditions)]


class Because(BaseModel):
    """A record that meets every condition."""

    process_data_id: int
    stream_id: str
    seq: int
    process: str | None
    station: str
    machine: str
    operator: str
    outcome: str
    criteria_revision: str | None
    parts_and_versions: dict[str, Any]
    started_at: datetime
    completed_at: datetime | None


class TouchedOut(BaseModel):
    """A unit that is touched: where it is now, and why it is in the list."""

    serial_id: int
    serial_number: str
    lot_number: str | None
    status: UnitStatus
    final: bool
    last_process: int | None
    last_record_at: datetime | None
    on_hold: bool
    because: list[Because]


class Holding(Body):
    """Why they are put on hold."""

    reason: Reason


class Held(BaseModel):
    """What was put on hold, under one id: ``POST /holds/{hold_id}/release`` ends it for all of them."""

    hold_id: str
    count: int
    serial_numbers: list[str]


def _because(row: sa.RowMapping) -> Because:
    seen = containment.parts_and_versions(row["measurements"])
    names = {"process_data_id": "id", "process": "process_code", "operator": "username"}
    of_row = {name: row[names.get(name, name)] for name in Because.model_fields if name != "parts_and_versions"}
    return Because.model_validate({**of_row, "parts_and_versions": seen})


@router.get("")
def touched(service: CurrentService, page: Page, given: Given) -> list[TouchedOut]:
    """The units with a record that meets every condition given."""
    with service.store.reading() as connection:
        rows = page.of(connection, containment.listing(connection, given))
        found = containment.with_reasons(connection, rows, given)
    same = ("serial_number", "lot_number", "status", "final", "last_process", "last_record_at", "on_hold")
    return [
        TouchedOut(
            serial_id=one.unit["id"],
            because=[_because(row) for row in one.because],
            **{name: one.unit[name] for name in same},
        )
        for one in found
    ]


@router.post("/holds", status_code=201, response_model=Held, responses=answers(409))
def hold_touched(
    body: Holding, service: CurrentService, session: CurrentSession, change: Create, given: Given
) -> Response:
    """Put every one of them on hold: no station is permitted to go on with one until the hold is released."""

    def make(connection: sa.Connection) -> Held:
        people = service.store.decisions(connection)
        what = ", ".join(f"{name} {value}" for name, value in asdict(given).items() if value is not None)
        hold_id = uuid4().hex
        reason = f"{body.reason} ({what})"[:1000]
        numbers = containment.put_on_hold(people, session.user.username, given, hold_id, reason)
        return Held(hold_id=hold_id, count=len(numbers), serial_numbers=numbers)

    return change.once(make)
