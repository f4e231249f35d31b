"""``/stations`` and ``/streams``: whether each station is there, and what it still has to deliver."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from central.api.current import CurrentService, needs
from central.api.errors import answers, not_found
from central.api.paging import Page
from central.store import StreamStatus
from central.store.stations import StationStatus
from central.store.users import Role

router = APIRouter(tags=["stations"], responses=answers(), dependencies=[needs(Role.MANAGER)])

_MACHINES_SINCE = timedelta(days=7)
OneStation = Annotated[str | None, Query(max_length=32, examples=["P03-A"], description="Only this station")]


@router.get("/stations")
def list_stations(service: CurrentService, page: Page) -> list[StationStatus]:
    """Every station as last heard: its state, its backlog, its last record, and machines with a result this week."""
    return list(page.cut(service.store.stations(datetime.now(UTC) - _MACHINES_SINCE)))


@router.get("/stations/{station}", responses=answers(404))
def station(station: str, service: CurrentService) -> StationStatus:
    """One of them."""
    found = service.store.stations(datetime.now(UTC) - _MACHINES_SINCE)
    one = next((status for status in found if status.station == station), None)
    if one is None:
        raise not_found("station", station)
    return one


@router.get("/streams")
def list_streams(service: CurrentService, page: Page, station: OneStation = None) -> list[StreamStatus]:
    """The ledger of every stream: what has arrived, what is missing and since when, what is to come."""
    return list(page.cut(service.store.streams(station)))
