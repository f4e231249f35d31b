"""``/quarantine``: what could not be taken from the stations, whole, with its reason."""

import base64
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from central.api.changes import Change
from central.api.current import CurrentService, Service, needs
from central.api.errors import ApiError, answers, not_found
from central.api.models import Body
from central.api.paging import Id, Page
from central.retrying import again
from central.store import Author, QuarantinedWhole
from central.store.quarantined import DISCARDED, RETRIED
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


class Reason(Body):
    """Why, for those who ask later."""

    reason: Annotated[str, Field(min_length=1, max_length=1000, examples=["SERIAL_FORM was put right"])]


class RetriedOut(BaseModel):
    """How many records were taken now, and how many had been taken before."""

    taken: int
    repeated: int


@router.get("")
def list_quarantine(
    service: CurrentService,
    page: Page,
    station: Annotated[str | None, Query(max_length=32)] = None,
    settled: Annotated[bool, Query(description="With those that were retried or discarded")] = False,
) -> list[QuarantinedOut]:
    """The newest first."""
    found, total = service.store.quarantined(station, page.limit, page.skip, settled=settled)
    page.total(total)
    return [QuarantinedOut(**asdict(one)) for one in found]


@router.get("/{id}", responses=answers(404))
def quarantined(id: Id, service: CurrentService) -> QuarantinedWholeOut:
    """One of them with its bytes."""
    found = asdict(_there(service, id))
    payload: bytes = found.pop("payload")
    try:
        text: str | None = payload.decode()
    except UnicodeDecodeError:
        text = None
    return QuarantinedWholeOut(**found, payload_text=text, payload_base64=base64.b64encode(payload).decode())


@router.post("/{id}/retry", responses=answers(404, 409))
def retry(id: Id, body: Reason, service: CurrentService, change: Change) -> RetriedOut:
    """Take it by the rules of today: what is taken counts as if it had come so."""
    entry = _there(service, id)
    _open(entry)
    try:
        arrival = again(entry, service.serial_form)
    except DataError as error:
        raise ApiError(409, "REFUSED_AGAIN", str(error)) from error
    result = service.store.ingest([arrival])
    _settle(service, id, RETRIED, change.author, body.reason)
    return RetriedOut(taken=result.inserted, repeated=result.repeated)


@router.post("/{id}/discard", status_code=204, responses=answers(404, 409))
def discard(id: Id, body: Reason, service: CurrentService, change: Change) -> None:
    """Say that it is of no use. It stays, whole, with the reason."""
    _open(_there(service, id))
    _settle(service, id, DISCARDED, change.author, body.reason)


def _there(service: Service, id: int) -> QuarantinedWhole:
    try:
        return service.store.quarantined_whole(id)
    except DataError as error:
        raise not_found("entry in quarantine", id) from error


def _open(entry: QuarantinedWhole) -> None:
    if entry.settled_as is not None:
        raise ApiError(409, "ALREADY_SETTLED", f"{entry.settled_by}: {entry.settled_as}, {entry.settled_because}")


def _settle(service: Service, id: int, done: str, author: Author, reason: str) -> None:
    try:
        service.store.settle_quarantined(id, done, author, reason)
    except DataError as error:  # somebody else was faster
        raise ApiError(409, "ALREADY_SETTLED", str(error)) from error
