"""``/serials``: the units."""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Self

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field, model_validator

from central.api.changes import Change, Create
from central.api.current import CurrentService, CurrentSession, Service, Session, needs
from central.api.errors import answers
from central.api.exporting import CSV, as_csv
from central.api.models import Body, Out
from central.api.paging import Id, Page
from central.api.routers.lots import Reason, RowId, Search
from central.api.spreadsheet import XLSX, as_xlsx
from central.api.traces import TraceOut
from central.store import production_lots as lots
from central.store import production_units as units
from central.store import tables
from central.store.decisions import Decisions
from central.store.refusing import NotThereError, RefusedError
from central.store.trace import trace as traced
from central.store.users import Role
from contracts.base import SerialNumber, UtcTime
from contracts.route_model import LotStatus, UnitStatus

router = APIRouter(prefix="/serials", tags=["serials"], responses=answers())
READ, APPROVE, DELETE = [needs(Role.OPERATOR)], [needs(Role.MANAGER)], [needs(Role.ADMIN)]
EXPORTED = (
    "id", "serial_number", "lot_number", "sequence_in_lot", "status", "rework_count", "failure_reason", "on_hold",
    "last_process", "created_at", "updated_at", "completed_at",
)  # fmt: skip

Sequence = Annotated[int, Field(ge=1, le=100)]
Failure = Annotated[str, Field(min_length=1, max_length=1000)]


class SerialCreate(Body):
    """A new unit; its number is issued where none is given."""

    lot_id: RowId
    sequence_in_lot: Sequence
    serial_number: SerialNumber | None = None
    status: UnitStatus = UnitStatus.CREATED
    rework_count: Annotated[int, Field(ge=0, le=3)] = 0
    failure_reason: Failure | None = None

    @model_validator(mode="after")
    def _failed_says_why(self) -> Self:
        _says_why(self.status, self.failure_reason)
        return self


class SerialUpdate(Body):
    """What of a unit changes; what is left out stays."""

    lot_id: RowId | None = None
    sequence_in_lot: Sequence | None = None
    serial_number: SerialNumber | None = None
    status: UnitStatus | None = None
    rework_count: Annotated[int, Field(ge=0, le=3)] | None = None
    failure_reason: Failure | None = None
    reason: Reason = "changed"

    @model_validator(mode="after")
    def _failed_says_why(self) -> Self:
        _says_why(self.status, self.failure_reason)
        return self


class StatusUpdate(Body):
    """A person's word on a unit's status."""

    status: UnitStatus
    failure_reason: Failure | None = None
    reason: Reason = "decided"

    @model_validator(mode="after")
    def _failed_says_why(self) -> Self:
        _says_why(self.status, self.failure_reason)
        return self


def _says_why(status: UnitStatus | None, failure_reason: str | None) -> None:
    if status is UnitStatus.FAILED and failure_reason is None:
        raise ValueError("failure_reason is needed with FAILED")


class Rework(Body):
    """A repair, authorised: why, and the process the unit returns to (number or code; by default the one that
    failed)."""

    reason: Reason = "rework authorised"
    return_process: int | str | None = Field(None, examples=["P03_SENSOR_INSPECTION"])


class Override(Body):
    """The process, by number or code, that a unit may run at although an earlier one has not passed; and why."""

    process: int | str = Field(examples=["P03_SENSOR_INSPECTION"])
    reason: Reason


class Scrap(Body):
    """Why a unit is scrap."""

    reason: Reason


class SerialLot(BaseModel):
    """The LOT of a unit."""

    id: int
    lot_number: str
    production_date: date
    shift: str
    target_quantity: int
    status: LotStatus


class SerialOut(Out):
    """A unit. ``lot`` is null while no record says which one it is."""

    id: int
    serial_number: str
    lot_id: int | None
    sequence_in_lot: int | None
    status: UnitStatus
    rework_count: int
    failure_reason: str | None
    final: bool
    on_hold: bool
    passed_processes: list[int]
    overridden_processes: list[int]
    last_process: int | None
    holds: list[dict[str, Any]]
    exceptions: list[dict[str, Any]]
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    lot: SerialLot | None

    @classmethod
    def of(cls, row: sa.RowMapping) -> Self:
        """From a row with the columns of its LOT."""
        lot = None
        if row["lot_id"] is not None:
            names = ("lot_number", "production_date", "shift", "target_quantity")
            lot = {"id": row["lot_id"], "status": row["lot_status"], **{name: row[name] for name in names}}
        return cls.model_validate({**row, "lot": lot})


class ReworkAnswer(BaseModel):
    """Whether a unit may be reworked, and why not. ``return_process``: where it would return to by default."""

    serial_id: int
    serial_number: str
    can_rework: bool
    reason: str | None
    code: str | None
    rework_count: int
    max_reworks: int
    return_process: int


def _listed(service: Service, page: Page, *conditions: sa.ColumnElement[bool]) -> list[SerialOut]:
    with service.store.reading() as connection:
        return SerialOut.many(page.of(connection, units.listing().where(*conditions)))


def _filters(search: str | None, status: UnitStatus | None) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if search is not None:
        found.append(tables.serials.c.serial_number.icontains(search, autoescape=True))
    if status is not None:
        found.append(tables.serials.c.status == status.value)
    return found


@router.get("", dependencies=READ)
def list_serials(
    service: CurrentService, page: Page, status: UnitStatus | None = None, search: Search = None
) -> list[SerialOut]:
    """Every unit, or those of a status, or with a part of their number."""
    return _listed(service, page, *_filters(search, status))


@router.post("", dependencies=READ, status_code=201, response_model=SerialOut, responses=answers(404, 409))
def create_serial(body: SerialCreate, service: CurrentService, session: CurrentSession, change: Create) -> Response:
    """Enter a unit before it is worked on."""
    if body.rework_count:
        raise RefusedError("REWORK_NOT_AUTHORISED", "rework_count: a rework authorisation alone raises it")

    def make(connection: sa.Connection) -> SerialOut:
        people = service.store.decisions(connection)
        number = body.serial_number
        if number is None:
            lot_number = lots.by_id(connection, body.lot_id)["lot_number"]
            number = service.permits.serial_number(lot_number, body.sequence_in_lot)
        made = units.enter(
            people,
            session.user.username,
            body.lot_id,
            body.sequence_in_lot,
            number,
            service.serial_form,
            "entered",
        )
        if body.status is not UnitStatus.CREATED:
            _decide(people, session, made, body.status, body.failure_reason, "entered")
        return SerialOut.of(units.by_id(connection, made))

    return change.once(make)


def _decide(
    people: Decisions, session: Session, serial_id: int, status: UnitStatus, failure_reason: str | None, reason: str
) -> None:
    units.decide_status(
        people,
        session.user.username,
        serial_id,
        status.value,
        failure_reason=failure_reason,
        manager=session.user.role.includes(Role.MANAGER),
        reason=reason,
    )


@router.get("/failed", dependencies=READ)
def list_failed(service: CurrentService, page: Page) -> list[SerialOut]:
    """Those that failed, for good or until they are reworked."""
    return _listed(service, page, tables.serials.c.status == UnitStatus.FAILED.value)


@router.get("/export.csv", dependencies=READ, response_class=StreamingResponse, responses=CSV)
def export_serials(
    service: CurrentService, status: UnitStatus | None = None, search: Search = None
) -> StreamingResponse:
    """The list as CSV, whole."""
    return as_csv(service.store, "serials", EXPORTED, units.listing().where(*_filters(search, status)))


@router.get("/export.xlsx", dependencies=READ, response_class=StreamingResponse, responses=XLSX)
def export_serials_spreadsheet(
    service: CurrentService, status: UnitStatus | None = None, search: Search = None
) -> StreamingResponse:
    """The list as a spreadsheet, whole; at most 100,000 rows."""
    return as_xlsx(service.store, "serials", EXPORTED, units.listing().where(*_filters(search, status)))


@router.get("/number/{serial_number}", dependencies=READ, responses=answers(404))
def serial_of_number(serial_number: str, service: CurrentService) -> SerialOut:
    """The one of a number."""
    with service.store.reading() as connection:
        return SerialOut.of(units.by_number(connection, serial_number))


@router.get("/lot/{lot_id}", dependencies=READ)
def list_of_lot(lot_id: Id, service: CurrentService, page: Page) -> list[SerialOut]:
    """Those of a LOT."""
    return _listed(service, page, tables.serials.c.lot_id == lot_id)


@router.get("/status/{status_filter}", dependencies=READ)
def list_of_status(status_filter: UnitStatus, service: CurrentService, page: Page) -> list[SerialOut]:
    """Those of a status."""
    return _listed(service, page, tables.serials.c.status == status_filter.value)


@router.get("/{serial_id}", dependencies=READ, responses=answers(404))
def serial(serial_id: Id, service: CurrentService) -> SerialOut:
    """One of them."""
    with service.store.reading() as connection:
        return SerialOut.of(units.by_id(connection, serial_id))


@router.put("/{serial_id}", dependencies=READ, responses=answers(404, 409))
def update_serial(
    serial_id: Id, body: SerialUpdate, service: CurrentService, session: CurrentSession, change: Change
) -> SerialOut:
    """Change its place or its status. Its number is engraved, and reworks are counted."""
    with change.writing() as connection:
        row = units.by_id(connection, serial_id)
        if body.serial_number not in (None, row["serial_number"]):
            raise RefusedError("SERIAL_NUMBER_FIXED", f"{row['serial_number']} is engraved: enter another unit")
        if body.rework_count not in (None, row["rework_count"]):
            raise RefusedError("REWORK_NOT_AUTHORISED", "rework_count: a rework authorisation alone raises it")
        people = service.store.decisions(connection)
        if body.lot_id is not None or body.sequence_in_lot is not None:
            place = body.lot_id or row["lot_id"], body.sequence_in_lot or row["sequence_in_lot"]
            if None in place:
                raise RefusedError("LOT_NOT_FOUND", "the unit has no LOT yet: give lot_id and sequence_in_lot")
            units.move(people, session.user.username, serial_id, *place, body.reason)
        if body.status is not None:
            _decide(people, session, serial_id, body.status, body.failure_reason, body.reason)
        return SerialOut.of(units.by_id(connection, serial_id))


@router.delete("/{serial_id}", dependencies=DELETE, status_code=204, responses=answers(404, 409))
def delete_serial(serial_id: Id, service: CurrentService, session: CurrentSession, change: Change) -> None:
    """Take away a unit that nothing was done to."""
    with change.writing() as connection:
        units.delete(service.store.decisions(connection), session.user.username, serial_id, "deleted")


@router.put("/{serial_id}/status", dependencies=READ, responses=answers(404, 409))
def update_status(
    serial_id: Id, body: StatusUpdate, service: CurrentService, session: CurrentSession, change: Change
) -> SerialOut:
    """Decide its status. PASSED without every process passed is a manager's, and stands as an exception; a unit that
    FAILED moves on by a rework alone."""
    with change.writing() as connection:
        people = service.store.decisions(connection)
        _decide(people, session, serial_id, body.status, body.failure_reason, body.reason)
        return SerialOut.of(units.by_id(connection, serial_id))


@router.post("/{serial_id}/rework", dependencies=APPROVE, responses=answers(404, 409))
def authorise_rework(
    serial_id: Id, service: CurrentService, session: CurrentSession, change: Change, body: Rework | None = None
) -> SerialOut:
    """Authorise a repair: it raises ``rework_count`` and voids what passed from the process it returns to on."""
    given = body or Rework()
    with change.writing() as connection:
        people = service.store.decisions(connection)
        units.rework(people, session.user.username, serial_id, given.return_process, given.reason)
        return SerialOut.of(units.by_id(connection, serial_id))


@router.post("/{serial_id}/override", dependencies=APPROVE, responses=answers(404, 409))
def override_order(
    serial_id: Id, body: Override, service: CurrentService, session: CurrentSession, change: Change
) -> SerialOut:
    """Let it run at a process although an earlier one has not passed, until its next rework."""
    with change.writing() as connection:
        people = service.store.decisions(connection)
        units.override(people, session.user.username, serial_id, body.process, body.reason)
        return SerialOut.of(units.by_id(connection, serial_id))


@router.post("/{serial_id}/scrap", dependencies=APPROVE, responses=answers(404, 409))
def scrap_unit(
    serial_id: Id, body: Scrap, service: CurrentService, session: CurrentSession, change: Change
) -> SerialOut:
    """Scrap it: finally failed, whatever it has passed. Nothing brings it back."""
    with change.writing() as connection:
        units.scrap(service.store.decisions(connection), session.user.username, serial_id, body.reason)
        return SerialOut.of(units.by_id(connection, serial_id))


@router.get("/{serial_id}/can-rework", dependencies=READ, responses=answers(404))
def can_rework(serial_id: Id, service: CurrentService) -> ReworkAnswer:
    """Whether a rework would be authorised as things stand, and why not."""
    with service.store.reading() as connection:
        row = units.by_id(connection, serial_id)
        found = units.can_rework(connection, row, service.store.limits)
    refusal = found.refusal
    return ReworkAnswer(
        serial_id=serial_id,
        serial_number=row["serial_number"],
        can_rework=refusal is None,
        reason=None if refusal is None else refusal.detail,
        code=None if refusal is None else refusal.code.value,
        rework_count=row["rework_count"],
        max_reworks=service.store.limits.max_reworks,
        return_process=found.return_to,
    )


@router.get("/{serial_number}/trace", dependencies=READ, responses=answers(404))
def trace(
    serial_number: Annotated[str, Path(min_length=1, max_length=64)],
    service: CurrentService,
    as_of: Annotated[UtcTime | None, Query(description="A past moment: what was known then")] = None,
) -> TraceOut:
    """The whole life of a unit: every record with its measurements, limits, operator and machine, what people decided,
    permits, holds and exceptions; each with its stream and seq."""
    moment = as_of or datetime.now(UTC)
    with service.store.reading() as connection:
        found = traced(connection, serial_number, service.store.limits, as_of)
    if found is None:
        raise NotThereError("SERIAL_NOT_FOUND", f"no unit {serial_number}" + (" then" if as_of is not None else ""))
    return TraceOut.of(found, moment)
