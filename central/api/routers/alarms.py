"""``/alarms``: what someone has to look into."""

from fastapi import APIRouter

from central.api.current import CurrentService, needs
from central.api.errors import answers, not_found
from central.api.paging import Id, Page
from central.store import AlarmRow
from central.store.users import Role

router = APIRouter(prefix="/alarms", tags=["alarms"], responses=answers(), dependencies=[needs(Role.MANAGER)])


@router.get("")
def list_alarms(service: CurrentService, page: Page, acknowledged: bool = False) -> list[AlarmRow]:
    """The open alarms, the newest first; with ``acknowledged`` also those someone has looked into."""
    return list(page.cut(service.store.alarms(acknowledged=acknowledged)))


@router.post("/{id}/acknowledge", status_code=204, responses=answers(404))
def acknowledge(id: Id, service: CurrentService) -> None:
    """Someone has looked into it. What happens again opens a new alarm."""
    if service.store.acknowledge_alarms([id]) == 0:
        raise not_found("open alarm", id)
