"""``/auth``: login, the token's user, refresh, logout."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel, Field

from central.api import tokens
from central.api.current import CurrentService, CurrentSession, Service, author_of, unauthorised
from central.api.errors import ANSWERS, ApiError, answers
from central.api.models import Body
from central.api.passwords import matches
from central.api.routers.users import UserOut
from central.store import Author, logins
from central.store.users import User

log = structlog.get_logger()

router = APIRouter(prefix="/auth", tags=["auth"])
_AT_LOGIN: dict[int | str, dict[str, Any]] = {one: ANSWERS[one] for one in (400, 401, 413, 422, 423, 429, 503)}


class Credentials(Body):
    """Who, and the password."""

    username: Annotated[str, Field(max_length=100, examples=["operator1"])]
    password: Annotated[str, Field(max_length=1000)]


class LoggedIn(BaseModel):
    """A token for the ``Authorization: Bearer`` header, and whose it is."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires_in: Annotated[int, Field(description="Seconds until the token ends")]
    user: UserOut


class LoggedOut(BaseModel):
    """The session's tokens are good no more."""

    detail: str = "logged out"


@router.post("/login", responses=_AT_LOGIN)
def login(
    request: Request, response: Response, form: Annotated[OAuth2PasswordRequestForm, Depends()], service: CurrentService
) -> LoggedIn:
    """Log in with a form (OAuth2 password)."""
    return _logged_in(request, response, form.username, form.password, service)


@router.post("/login/json", responses=_AT_LOGIN)
def login_json(request: Request, response: Response, body: Credentials, service: CurrentService) -> LoggedIn:
    """Log in with JSON."""
    return _logged_in(request, response, body.username, body.password, service)


@router.get("/me", responses=answers())
def me(session: CurrentSession) -> UserOut:
    """Whose token this is."""
    return UserOut.of_user(session.user)


@router.post("/refresh", responses=answers())
def refresh(session: CurrentSession, service: CurrentService) -> LoggedIn:
    """A new token of the same session, for one that has not ended yet."""
    return _answer(service, session.user, session.session_id)


@router.post("/logout", responses=answers())
def logout(request: Request, session: CurrentSession, service: CurrentService) -> LoggedOut:
    """End the session: every token of it, refreshed ones too."""
    with service.store.writing(author_of(request, session.user)) as connection:
        logins.end_session(connection, session.session_id, tokens.forget_at(service.settings))
        logins.forget(connection, datetime.now(UTC))
    log.info("logged out", user=session.user.username)
    return LoggedOut()


def _logged_in(request: Request, response: Response, username: str, password: str, service: Service) -> LoggedIn:
    address = request.client.host if request.client else "-"
    wait_s = request.app.state.login_rate.wait_s(address)
    if wait_s:
        log.warning("logins too often", client=address)
        raise ApiError(429, "TOO_MANY_LOGINS", "too many logins from here", headers={"Retry-After": str(wait_s)})
    user = _checked(service, username, password, Author(name=username, ip_address=address))
    response.headers["Cache-Control"] = "no-store"
    log.info("logged in", user=user.username, client=address)
    return _answer(service, user, None)


def _checked(service: Service, username: str, password: str, author: Author) -> User:
    """The user of this name and password. The password is compared outside of any transaction: it takes its time."""
    with service.store.reading() as connection:
        account = logins.account(connection, username)
    now = datetime.now(UTC)
    if account is not None and account.locked_until is not None and account.locked_until > now:
        raise _locked(account.locked_until, now)
    good = matches(password, None if account is None else account.password_hash)
    if account is None:
        log.warning("login failed", client=author.ip_address)
        raise unauthorised("INVALID_CREDENTIALS", "user name or password is wrong")
    now = datetime.now(UTC)
    with service.store.writing(author) as connection:
        note = logins.succeeded if good and account.user.is_active else logins.failed
        until = None if good and not account.user.is_active else note(connection, account.user.id, now)
    if not good:
        log.warning("login failed", user=account.user.username, client=author.ip_address, locked=until is not None)
        raise unauthorised("INVALID_CREDENTIALS", "user name or password is wrong")
    if not account.user.is_active:
        raise ApiError(400, "INACTIVE_USER", f"user {account.user.username} is not active")
    if until is not None:
        raise _locked(until, now)
    return account.user


def _locked(until: datetime, now: datetime) -> ApiError:
    seconds = max(1, round((until - now).total_seconds()))
    detail = f"too many failed logins in a row: the account is locked until {until.isoformat(timespec='seconds')}"
    return ApiError(423, "ACCOUNT_LOCKED", detail, headers={"Retry-After": str(seconds)})


def _answer(service: Service, user: User, session_id: str | None) -> LoggedIn:
    return LoggedIn(
        access_token=tokens.issue(service.settings, user.id, session_id),
        expires_in=service.settings.token_minutes * 60,
        user=UserOut.of_user(user),
    )
