"""``/exceptions``: what is wrong only beside other facts, by unit and LOT."""

from dataclasses import asdict
from typing import Annotated, Literal, Self

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from central.api.changes import Create
from central.api.current import CurrentService, needs
from central.api.errors import ApiError, answers, not_found
from central.api.models import Body
from central.api.paging import Page
from central.store import ExceptionRow, exceptions
from central.store.users import Role
from contracts.base import LotNumber
from contracts.facts import ExceptionClosed
from contracts.route_model import ExceptionCode

router = APIRouter(prefix="/exceptions", tags=["exceptions"], responses=answers(), dependencies=[needs(Role.MANAGER)])

OneLot = Annotated[LotNumber | None, Query(description="Only of this LOT and its units")]


class ExceptionOut(BaseModel):
    """An exception of a unit or of a LOT. ``about`` names the fact that made it, by stream and number, ``about_unit``
    the unit a LOT's exception is about; ``closed_by`` who has looked into it."""

    id: str
    level: Literal["UNIT", "LOT"]
    serial_number: str | None
    lot_number: str | None
    code: str
    detail: str
    process_number: int | None
    about: tuple[str, int] | None
    about_unit: str | None
    open: bool
    closed_by: str | None
    closed_because: str | None

    @classmethod
    def of(cls, row: ExceptionRow) -> Self:
        """From the store's."""
        values = asdict(row)
        unit = values.pop("unit")
        return cls(**values, serial_number=unit, level="LOT" if unit is None else "UNIT")


class ExceptionClose(Body):
    """What came of looking into it."""

    reason: Annotated[str, Field(min_length=1, max_length=1000, examples=["both units checked"])]


class ExceptionClosedOut(BaseModel):
    """The decision was kept: its place in central's stream."""

    id: str
    seq: int


@router.get("")
def list_exceptions(
    service: CurrentService, page: Page, code: ExceptionCode | None = None, lot_number: OneLot = None
) -> list[ExceptionOut]:
    """Every exception that stands, of all or of one kind."""
    with service.store.reading() as connection:
        found = page.of(connection, exceptions.exceptions(connection, code and code.value, lot_number))
    return [ExceptionOut.of(exceptions.row_of(row)) for row in found]


@router.post("/{id}/close", status_code=200, response_model=ExceptionClosedOut, responses=answers(404, 409))
def close_exception(
    id: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")], body: ExceptionClose, service: CurrentService, change: Create
) -> Response:
    """Say that someone has looked into it. It stays on the unit, with these words, and moves nothing."""

    def make(connection: sa.Connection) -> ExceptionClosedOut:
        decisions = service.store.decisions(connection)
        found = next((one for one in exceptions.rows(connection) if one.id == id), None)
        if found is None:
            raise not_found("exception", id)
        if found.closed_by is not None:
            raise ApiError(409, "ALREADY_CLOSED", f"{found.closed_by} closed it: {found.closed_because}")
        seq = decisions.keep(
            ExceptionClosed(
                author=change.author.name or "",
                decided_at=decisions.now,
                reason=body.reason,
                exception_id=id,
                serial_number=found.unit,
                lot_number=None if found.unit else found.lot_number,
            )
        )
        return ExceptionClosedOut(id=id, seq=seq)

    return change.once(make, 200)
