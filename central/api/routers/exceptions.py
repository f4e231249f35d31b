"""``/exceptions``: what is wrong only beside other facts, by unit and LOT."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from central.api.current import CurrentService, needs
from central.api.errors import answers
from central.api.paging import Page
from central.store import exceptions
from central.store.users import Role
from contracts.base import LotNumber
from contracts.route_model import ExceptionCode

router = APIRouter(prefix="/exceptions", tags=["exceptions"], responses=answers(), dependencies=[needs(Role.MANAGER)])

OneLot = Annotated[LotNumber | None, Query(description="Only of this LOT and its units")]


class ExceptionOut(BaseModel):
    """An exception of a unit or of a LOT. ``about`` names the fact that made it, by stream and number; ``closed_by``
    who has looked into it."""

    level: Literal["UNIT", "LOT"]
    serial_number: str | None
    lot_number: str | None
    code: str
    detail: str | None
    about: list[str | int] | None
    closed_by: str | None
    closed_because: str | None
    more: dict[str, Any]


@router.get("")
def list_exceptions(
    service: CurrentService, page: Page, code: ExceptionCode | None = None, lot_number: OneLot = None
) -> list[ExceptionOut]:
    """Every exception that stands, of all or of one kind."""
    with service.store.reading() as connection:
        found = page.of(connection, exceptions.exceptions(connection, code and code.value, lot_number))
    return [
        ExceptionOut(
            level=row["level"],
            serial_number=row["serial_number"],
            lot_number=row["lot_number"],
            code=row["one"]["code"],
            detail=row["one"].get("detail"),
            about=row["one"].get("about"),
            closed_by=row["one"].get("closed_by"),
            closed_because=row["one"].get("closed_because"),
            more={name: value for name, value in row["one"].items() if name not in _TOLD},
        )
        for row in found
    ]


_TOLD = ("code", "detail", "about", "closed_by", "closed_because", "serial_number", "lot_number")
