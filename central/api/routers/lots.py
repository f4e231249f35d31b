"""``/lots``: what is made together, at most 100 units on one trolley."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, BeforeValidator, Field, model_validator

from central.api.changes import Change, Create
from central.api.current import CurrentService, CurrentSession, Service, needs
from central.api.errors import answers
from central.api.exporting import CSV, as_csv
from central.api.models import Body, Out, Text
from central.api.paging import Id, Page
from central.api.periods import Between
from central.api.spreadsheet import XLSX, as_xlsx
from central.store import production_lots as lots
from central.store import tables, users
from central.store.refusing import NotThereError
from central.store.users import Role
from contracts.base import LotNumber
from contracts.identity import lot_parts
from contracts.route_model import LotStatus

router = APIRouter(prefix="/lots", tags=["lots"], responses=answers())
READ, WRITE, DELETE = [needs(Role.OPERATOR)], [needs(Role.MANAGER)], [needs(Role.ADMIN)]
_SPELLED = {"DAY": "D", "NIGHT": "N"}
_LONGEST_ID = 2**63 - 1
EXPORTED = (
    "id", "lot_number", "model_code", "production_date", "shift", "status", "target_quantity", "actual_quantity",
    "passed_quantity", "failed_quantity", "pass_rate", "defect_rate", "on_hold", "created_at", "updated_at",
    "closed_at",
)  # fmt: skip


def _short(word: object) -> object:
    return _SPELLED.get(word, word) if isinstance(word, str) else word


Shift = Annotated[Literal["D", "N"], BeforeValidator(_short)]
"""``DAY`` and ``NIGHT`` are understood as well."""
Quantity = Annotated[int, Field(ge=1, le=100)]
Reason = Annotated[Text, Field(min_length=1, max_length=1000)]
RowId = Annotated[int, Field(ge=1, le=_LONGEST_ID)]
Search = Annotated[str | None, Query(min_length=1, max_length=64, description="Part of a number")]


class LotCreate(Body):
    """A new LOT: under its own number, or the next one of its date and shift."""

    product_model_id: RowId
    target_quantity: Quantity
    lot_number: LotNumber | None = Field(None, examples=["WF-KR-241118D-001"])
    production_date: date | None = None
    shift: Shift | None = None
    status: Literal["CREATED", "IN_PROGRESS"] = "CREATED"
    manager_id: RowId | None = None

    @model_validator(mode="after")
    def _has_date_and_shift(self) -> Self:
        if self.lot_number is None:
            if self.production_date is None or self.shift is None:
                raise ValueError("without lot_number, production_date and shift are needed: they give the next one")
            return self
        parts = lot_parts(self.lot_number)
        if parts is None:
            raise ValueError(f"lot_number {self.lot_number} is impossible: there is no such day, or it is number 000")
        if self.production_date not in (None, parts.production_date) or self.shift not in (None, parts.shift):
            raise ValueError(f"lot_number {self.lot_number} says another production_date or shift")
        return self


class LotUpdate(Body):
    """What of a LOT changes; what is left out stays. A status moves forward only."""

    product_model_id: RowId | None = None
    target_quantity: Quantity | None = None
    status: LotStatus | None = None
    lot_number: LotNumber | None = None
    production_date: date | None = None
    shift: Shift | None = None
    reason: Reason = "changed"


class Quantities(Body):
    """What a client says of a LOT's quantities. They are counted from the facts: only the target can be set."""

    target_quantity: Quantity | None = None
    actual_quantity: int | None = None
    passed_quantity: int | None = None
    failed_quantity: int | None = None


class Closing(Body):
    """Why a LOT is closed."""

    reason: Reason = "closed"


class LotModel(BaseModel):
    """The product model of a LOT."""

    id: int
    model_code: str
    model_name: str
    category: str | None
    production_cycle_days: int | None
    status: str


class QuantitiesOut(Out):
    """How far a LOT is. ``actual_quantity``: units with a record; ``failed_quantity``: those that failed for good.
    Rates are per cent of what is finished."""

    id: int
    lot_number: str
    target_quantity: int
    actual_quantity: int
    passed_quantity: int
    failed_quantity: int
    defect_rate: float | None
    pass_rate: float | None


class LotOut(QuantitiesOut):
    """A LOT. ``created`` is false of one that stations name and nobody has opened yet."""

    production_date: date
    shift: str
    status: LotStatus
    created: bool
    on_hold: bool
    holds: list[dict[str, Any]]
    exceptions: list[dict[str, Any]]
    product_model_id: int | None
    product_model: LotModel | None
    closed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: sa.RowMapping) -> Self:
        """From a row with the columns of its product model."""
        model = None
        if row["product_model_id"] is not None:
            names = {name: f"model_{name}" if name in ("id", "status") else name for name in LotModel.model_fields}
            model = {name: row[column] for name, column in names.items()}
        return cls.model_validate({**row, "product_model": model})


def _listed(service: Service, page: Page, *conditions: sa.ColumnElement[bool]) -> list[LotOut]:
    with service.store.reading() as connection:
        return LotOut.many(page.of(connection, lots.listing().where(*conditions)))


def _filters(search: str | None, status: LotStatus | None, shift: str | None) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if search is not None:
        found.append(tables.lots.c.lot_number.icontains(search, autoescape=True))
    if status is not None:
        found.append(tables.lots.c.status == status.value)
    if shift is not None:
        found.append(tables.lots.c.shift == shift)
    return found


@router.get("", dependencies=READ)
def list_lots(
    service: CurrentService,
    page: Page,
    search: Search = None,
    status: LotStatus | None = None,
    shift: Literal["D", "N"] | None = None,
) -> list[LotOut]:
    """Every LOT, or those of a status or shift, or with a part of their number."""
    return _listed(service, page, *_filters(search, status, shift))


@router.post("", dependencies=WRITE, status_code=201, response_model=LotOut, responses=answers(404, 409))
def create_lot(body: LotCreate, service: CurrentService, session: CurrentSession, change: Create) -> Response:
    """Open a LOT."""

    def make(connection: sa.Connection) -> LotOut:
        reason = "opened"
        if body.manager_id is not None:
            manager = users.by_id(connection, body.manager_id)
            if manager is None:
                raise NotThereError("USER_NOT_FOUND", f"no user {body.manager_id}")
            reason = f"opened for {manager.username}"
        people = service.store.decisions(connection)
        name = session.user.username
        made = lots.open_lot(
            people,
            name,
            body.product_model_id,
            body.target_quantity,
            lot_number=body.lot_number,
            day=body.production_date,
            shift=body.shift,
            reason=reason,
        )
        if body.status != LotStatus.CREATED.value:
            lots.change_lot(people, name, made, {"status": body.status}, "begun")
        return LotOut.of(lots.by_id(connection, made))

    return change.once(make)


@router.get("/active", dependencies=READ)
def list_active(service: CurrentService, page: Page) -> list[LotOut]:
    """Those that are created or in progress."""
    return _listed(service, page, tables.lots.c.status.in_(lots.ACTIVE))


@router.get("/date-range", dependencies=READ)
def list_between(service: CurrentService, page: Page, between: Between) -> list[LotOut]:
    """Those of some production dates, by the site's calendar."""
    calendar = service.calendar
    first, last = calendar.of(between.since).date, calendar.last_date(between.until)
    return _listed(service, page, tables.lots.c.production_date.between(first, last))


@router.get("/export.csv", dependencies=READ, response_class=StreamingResponse, responses=CSV)
def export_lots(
    service: CurrentService,
    search: Search = None,
    status: LotStatus | None = None,
    shift: Literal["D", "N"] | None = None,
) -> StreamingResponse:
    """The list as CSV, whole."""
    return as_csv(service.store, "lots", EXPORTED, lots.listing().where(*_filters(search, status, shift)))


@router.get("/export.xlsx", dependencies=READ, response_class=StreamingResponse, responses=XLSX)
def export_lots_spreadsheet(
    service: CurrentService,
    search: Search = None,
    status: LotStatus | None = None,
    shift: Literal["D", "N"] | None = None,
) -> StreamingResponse:
    """The list as a spreadsheet, whole; at most 100,000 rows."""
    return as_xlsx(service.store, "lots", EXPORTED, lots.listing().where(*_filters(search, status, shift)))


@router.get("/number/{lot_number}", dependencies=READ, responses=answers(404))
def lot_of_number(lot_number: str, service: CurrentService) -> LotOut:
    """The one of a number."""
    with service.store.reading() as connection:
        return LotOut.of(lots.by_number(connection, lot_number))


@router.get("/product/{product_model_id}", dependencies=READ)
def list_of_model(product_model_id: Id, service: CurrentService, page: Page) -> list[LotOut]:
    """Those of a product model."""
    return _listed(service, page, tables.lots.c.product_model_id == product_model_id)


@router.get("/status/{status}", dependencies=READ)
def list_of_status(status: LotStatus, service: CurrentService, page: Page) -> list[LotOut]:
    """Those of a status."""
    return _listed(service, page, tables.lots.c.status == status.value)


@router.get("/{id}", dependencies=READ, responses=answers(404))
def lot(id: Id, service: CurrentService) -> LotOut:
    """One of them."""
    with service.store.reading() as connection:
        return LotOut.of(lots.by_id(connection, id))


@router.put("/{id}", dependencies=WRITE, responses=answers(404, 409))
def update_lot(id: Id, body: LotUpdate, service: CurrentService, session: CurrentSession, change: Change) -> LotOut:
    """Change what is given. COMPLETED before the target is reached ends the LOT short."""
    values = {name: value for name, value in body.values().items() if value is not None and name != "reason"}
    with change.writing() as connection:
        lots.change_lot(service.store.decisions(connection), session.user.username, id, values, body.reason)
        return LotOut.of(lots.by_id(connection, id))


@router.delete("/{id}", dependencies=DELETE, status_code=204, responses=answers(404, 409))
def delete_lot(id: Id, service: CurrentService, session: CurrentSession, change: Change) -> None:
    """Take away a LOT that has no units and no records."""
    with change.writing() as connection:
        lots.delete_lot(service.store.decisions(connection), session.user.username, id, "deleted")


@router.get("/{id}/quantities", dependencies=READ, responses=answers(404))
def quantities(id: Id, service: CurrentService) -> QuantitiesOut:
    """How far it is."""
    with service.store.reading() as connection:
        return QuantitiesOut.of(lots.by_id(connection, id))


@router.put("/{id}/quantities", dependencies=WRITE, responses=answers(404, 409))
def count_again(
    id: Id,
    service: CurrentService,
    session: CurrentSession,
    change: Change,
    body: Quantities | None = None,
) -> QuantitiesOut:
    """Count the LOT anew from its facts, and set its target. What is counted cannot be set: another figure is refused
    with its name."""
    with change.writing() as connection:
        people = service.store.decisions(connection)
        people.fold_again(lots.by_id(connection, id)["lot_number"])
        given = {} if body is None else {name: value for name, value in body.values().items() if value is not None}
        lots.check_counted(lots.by_id(connection, id), given)
        if "target_quantity" in given:
            target = {"target_quantity": given["target_quantity"]}
            lots.change_lot(people, session.user.username, id, target, "quantities set")
        return QuantitiesOut.of(lots.by_id(connection, id))


@router.post("/{id}/close", dependencies=WRITE, responses=answers(404, 409))
def close_lot(
    id: Id, service: CurrentService, session: CurrentSession, change: Change, body: Closing | None = None
) -> LotOut:
    """Close a COMPLETED LOT."""
    reason = (body or Closing()).reason
    with change.writing() as connection:
        lots.close_lot(service.store.decisions(connection), session.user.username, id, reason)
        return LotOut.of(lots.by_id(connection, id))
