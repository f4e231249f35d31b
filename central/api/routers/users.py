"""``/users``: who may log in and as what. Everybody may see and change the own profile; the rest is an ADMIN's."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Self

import sqlalchemy as sa
from fastapi import APIRouter, Query, Response
from pydantic import Field

from central.api.changes import Change, Create
from central.api.current import Admin, CurrentService, Operator, needs
from central.api.errors import ApiError, answers, clash, not_found
from central.api.models import Body, Out
from central.api.paging import Id, Page
from central.api.passwords import Password, hashed, matches
from central.api.people import Department, Email, FullName, Username
from central.store import logins, users
from central.store.errors import ALREADY_EXISTS, ClashError
from central.store.users import Role, User

router = APIRouter(prefix="/users", tags=["users"], responses=answers())
ADMIN = [needs(Role.ADMIN)]


class UserCreate(Body):
    """A new user."""

    username: Username
    email: Email
    full_name: FullName
    role: Role
    department: Department | None = None
    is_active: bool = True
    password: Password


class UserUpdate(Body):
    """What of a user changes; what is left out stays."""

    username: Username = ""
    email: Email = ""
    full_name: FullName = ""
    role: Role = Role.OPERATOR
    department: Department | None = None
    is_active: bool = True


class ProfileUpdate(Body):
    """What a user may change of the own profile: not the name, not the role."""

    email: Email = ""
    full_name: FullName = ""
    department: Department | None = None


class PasswordChange(Body):
    """The password until now, and the new one. An ADMIN who sets another user's needs no old one."""

    old_password: Annotated[str, Field(max_length=1000)] | None = None
    new_password: Password


class UserOut(Out):
    """A user. The password's hash is in no answer."""

    id: int
    username: str
    email: str
    full_name: str
    role: Role
    department: str | None
    is_active: bool
    last_login_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of_user(cls, user: User) -> Self:
        """From the store's."""
        return cls(**asdict(user))


def _found(user: User | None, what: object) -> UserOut:
    if user is None:
        raise not_found("user", what)
    return UserOut.of_user(user)


@router.get("", dependencies=ADMIN)
def list_users(
    service: CurrentService, page: Page, role: Role | None = None, is_active: bool | None = None
) -> list[UserOut]:
    """Every user, or those of a role, or those that are active or not."""
    with service.store.reading() as connection:
        return UserOut.many(page.of(connection, users.listing(role, is_active=is_active)))


@router.post("", dependencies=ADMIN, status_code=201, response_model=UserOut, responses=answers(409))
def create_user(body: UserCreate, change: Create) -> Response:
    """Add a user."""
    values = body.values()
    password_hash = hashed(values.pop("password"))

    def make(connection: sa.Connection) -> UserOut:
        try:
            return UserOut.of_user(users.create(connection, values, password_hash, datetime.now(UTC)))
        except ClashError as error:
            raise clash(error, 400) from error

    return change.once(make)


@router.get("/me")
def own_profile(user: Operator) -> UserOut:
    """The own profile."""
    return UserOut.of_user(user)


@router.put("/me")
def update_own_profile(body: ProfileUpdate, user: Operator, change: Change) -> UserOut:
    """Change the own profile."""
    with change.writing() as connection:
        return _updated(connection, user.id, body)


@router.get("/username/{username}", dependencies=ADMIN, responses=answers(404))
def user_of_name(username: str, service: CurrentService) -> UserOut:
    """The user of a name, without case."""
    with service.store.reading() as connection:
        return _found(users.by_name(connection, username), username)


@router.get("/email/{email}", dependencies=ADMIN, responses=answers(404))
def user_of_email(email: str, service: CurrentService) -> UserOut:
    """The user of an e-mail address, without case."""
    with service.store.reading() as connection:
        return _found(users.by_email(connection, email), email)


@router.get("/role/{role}", dependencies=ADMIN)
def list_role(role: Role, service: CurrentService, page: Page) -> list[UserOut]:
    """The users of a role."""
    with service.store.reading() as connection:
        return UserOut.many(page.of(connection, users.listing(role)))


@router.get("/{user_id}", dependencies=ADMIN, responses=answers(404))
def user(user_id: Id, service: CurrentService) -> UserOut:
    """One of them."""
    with service.store.reading() as connection:
        return _found(users.by_id(connection, user_id), user_id)


@router.put("/{user_id}", responses=answers(404, 409))
def update_user(user_id: Id, body: UserUpdate, admin: Admin, change: Change) -> UserOut:
    """Change what is given. The last active ADMIN stays one."""
    del admin
    with change.writing() as connection:
        before = users.by_id(connection, user_id)
        if before is None:
            raise not_found("user", user_id)
        values = body.values()
        stays = values.get("role", Role.ADMIN.value) == Role.ADMIN.value and values.get("is_active", True)
        if not stays:
            _not_the_last_admin(connection, before)
        return _updated(connection, user_id, body)


@router.delete("/{user_id}", dependencies=ADMIN, status_code=204, responses=answers(404, 409))
def delete_user(user_id: Id, change: Change) -> None:
    """Delete a user whom no record names."""
    with change.writing() as connection:
        before = users.by_id(connection, user_id)
        if before is None:
            raise not_found("user", user_id)
        _not_the_last_admin(connection, before)
        users.delete(connection, user_id)


@router.put("/{user_id}/password", status_code=204, responses=answers(404))
def change_password(
    user_id: Id,
    user: Operator,
    service: CurrentService,
    change: Change,
    body: PasswordChange | None = None,
    old_password: Annotated[str | None, Query(max_length=1000, deprecated=True)] = None,
    new_password: Annotated[Password | None, Query(deprecated=True)] = None,
) -> None:
    """Change the own password, or as an ADMIN that of another user.

    Both belong in the body; in the query they are still taken, and stand in no log.
    """
    if body is None and new_password is None:
        raise ApiError(422, "VALIDATION_ERROR", [{"loc": ["body"], "msg": "Field required", "type": "missing"}])
    old = old_password if body is None else body.old_password
    new = new_password if body is None else body.new_password
    assert new is not None
    if user.id != user_id and not user.role.includes(Role.ADMIN):
        raise ApiError(403, "NOT_YOURS", "this is another user's password", needs=Role.ADMIN.value)
    with service.store.reading() as connection:
        if users.by_id(connection, user_id) is None:
            raise not_found("user", user_id)
        kept = users.password_hash(connection, user_id)
    if user.id == user_id and not matches(old or "", kept):
        raise ApiError(400, "WRONG_PASSWORD", "the old password is wrong")
    made = hashed(new)
    with change.writing() as connection:
        users.set_password(connection, user_id, made, datetime.now(UTC))
        logins.unlock(connection, user_id)


def _updated(connection: sa.Connection, user_id: int, body: Body) -> UserOut:
    try:
        return UserOut.of_user(users.update(connection, user_id, body.values(), datetime.now(UTC)))
    except ClashError as error:
        raise clash(error, 400 if error.code == ALREADY_EXISTS else 409) from error


def _not_the_last_admin(connection: sa.Connection, before: User) -> None:
    if before.role is Role.ADMIN and before.is_active and users.other_admins(connection, before.id) == 0:
        raise ApiError(409, "LAST_ADMIN", f"{before.username} is the last ADMIN: make another one first")
