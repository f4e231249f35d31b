"""``/interlock``: a station's question before a unit starts, asked over HTTP where MQTT gives no answer."""

from fastapi import APIRouter
from pydantic import BaseModel

from central.api.current import CurrentService, Operator
from central.api.errors import ApiError, answers
from central.store.users import Role, User
from contracts.interlock import PermitAnswer, PermitRequest, PermitReturned, Question

router = APIRouter(prefix="/interlock", tags=["interlock"], responses=answers())


class ReturnedOut(BaseModel):
    """Whether another station may have the unit by that; false: the unit's lease was another one already."""

    returned: bool


@router.post("/permits")
def answer_permit(question: PermitRequest, service: CurrentService, user: Operator) -> PermitAnswer:
    """May this unit start here? The same ``request_id`` gets the same answer, by whichever way it is asked again."""
    _is_its_own(question, user)
    return service.store.answer_permit(question)


@router.post("/permits/return")
def return_permit(returned: PermitReturned, service: CurrentService, user: Operator) -> ReturnedOut:
    """A permit came to nothing: its machine never got it."""
    _is_its_own(returned, user)
    return ReturnedOut(returned=service.store.return_permit(returned))


def _is_its_own(question: Question, user: User) -> None:
    """A station's user bears the station's name. Raises ApiError."""
    if user.username.casefold() != question.station.casefold() and not user.role.includes(Role.MANAGER):
        raise ApiError(
            403,
            "ANOTHER_STATION",
            f"user {user.username} does not ask for station {question.station}: the station's user has its name",
        )
