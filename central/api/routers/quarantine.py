"""``/quarantine``: what could not be taken from the stations, whole, with its reason."""

import base64
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from central.api.current import CurrentService, needs
from central.api.errors import answers, not_found
from central.api.paging import Id, Page
from central.store.users import Role
from contracts.errors import DataError

router = APIRouter(prefix="/quarantine", tags=["quarantine"], responses=answers(), dependencies=[needs(Role.MANAGER)])


class QuarantinedOut(BaseModel):
    """One thing in quarantine, but for its bytes; docs/quarantine.md says what each reason means."""

    id: int
    received_at: datetime
    topic: str
    station: str
    stream_id: str | None
    first_seq: int | None
    last_seq: int | None
    reason: str
    settled_as: str | None
    settled_by: str | None
    settled_because: str | None
    settled_at: datetime | None
    size: int


class QuarantinedWholeOut(QuarantinedOut):
    """The same with its bytes: as text where they are text, and always in base64."""

    payload_text: str | None
    payload_base64: Annotated[str, Field(description="The bytes as they came")]


@router.get("")
def list_quarantine(
    service: CurrentService, page: Page, station: Annotated[str | None, Query(max_length=32)] = None
) -> list[QuarantinedOut]:
    """The newest first."""
    found, total = service.store.quarantined(station, page.limit, page.skip)
    page.total(total)
    return [QuarantinedOut(**asdict(one)) for one in found]


@router.get("/{id}", responses=answers(404))
def quarantined(id: Id, service: CurrentService) -> QuarantinedWholeOut:
    """One of them with its bytes."""
    try:
        found = asdict(service.store.quarantined_whole(id))
    except DataError as error:
        raise not_found("entry in quarantine", id) from error
    payload: bytes = found.pop("payload")
    try:
        text: str | None = payload.decode()
    except UnicodeDecodeError:
        text = None
    return QuarantinedWholeOut(**found, payload_text=text, payload_base64=base64.b64encode(payload).decode())
