"""What every operation may ask for: the store, the settings, and who is asking, by role."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer

from central.api import tokens
from central.api.errors import ApiError
from central.api.settings import ApiSettings
from central.settings import PermitSettings
from central.shifts import ShiftCalendar
from central.store import Author, Store, logins
from central.store.users import Role, User
from contracts.serial_form import SerialForm

_LONGEST_AGENT = 300
_bearer = OAuth2PasswordBearer("auth/login", auto_error=False)


@dataclass(frozen=True)
class Service:
    """What the application was made with."""

    store: Store
    settings: ApiSettings
    calendar: ShiftCalendar
    permits: PermitSettings
    serial_form: SerialForm


async def _service(request: Request) -> Service:  # async: no thread is needed for it
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


CurrentService = Annotated[Service, Depends(_service)]


@dataclass(frozen=True)
class Session:
    """Who is asking, and with which session's token."""

    user: User
    session_id: str


def unauthorised(code: str, detail: str) -> ApiError:
    """No token, or one that is not good."""
    return ApiError(401, code, detail, headers={"WWW-Authenticate": "Bearer"})


Bearer = Annotated[str | None, Depends(_bearer)]
"""The token of the header, as it came."""


def _session(request: Request, service: CurrentService, token: Bearer) -> Session:
    session = session_of(service, token)
    request.scope["neurohub.user"] = session.user.username
    return session


def session_of(service: Service, token: str | None) -> Session:
    """Whose token it is. Raises ApiError where it is not good, or no longer."""
    if not token:
        raise unauthorised("NOT_AUTHENTICATED", "a token is needed: POST auth/login gives one")
    said = tokens.read(service.settings, token)
    if said is None:
        raise unauthorised("INVALID_TOKEN", "the token is not valid, or no longer")
    with service.store.reading() as connection:
        found = logins.of_session(connection, said.user_id, said.session_id)
    if found is None or found[1]:
        raise unauthorised("TOKEN_REVOKED", "the token was revoked")
    user, _ = found
    if not user.is_active:
        raise ApiError(400, "INACTIVE_USER", f"user {user.username} is not active")
    return Session(user, said.session_id)


CurrentSession = Annotated[Session, Depends(_session)]


def _at_least(role: Role) -> Callable[[Session], Coroutine[None, None, User]]:
    async def user(session: CurrentSession) -> User:
        return at_least(role, session)

    return user


def at_least(role: Role, session: Session) -> User:
    """The user. Raises ApiError (403) where the role is too low."""
    if not session.user.role.includes(role):
        raise ApiError(
            403,
            "ROLE_TOO_LOW",
            f"this needs the role {role.value}, not {session.user.role.value}",
            needs=role.value,
        )
    return session.user


def needs(role: Role) -> Any:
    """For the ``dependencies`` of an operation that does not look at the user."""
    return Depends(_at_least(role))


Operator = Annotated[User, needs(Role.OPERATOR)]
"""Any active user."""
Manager = Annotated[User, needs(Role.MANAGER)]
Admin = Annotated[User, needs(Role.ADMIN)]


def author_of(request: Request, user: User) -> Author:
    """Who stands in the audit trail, and where the request came from."""
    agent = request.headers.get("user-agent")
    return Author(
        name=user.username,
        user_id=user.id,
        ip_address=request.client.host if request.client else None,
        user_agent=agent[:_LONGEST_AGENT] if agent else None,
    )
