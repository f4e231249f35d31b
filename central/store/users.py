"""Users: who may log in and as what. Names compare without case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from central.store.errors import ALREADY_EXISTS, IN_USE, ClashError
from central.store.tables import process_data, users


class Role(StrEnum):
    """What a user may do: a higher role may all that a lower one may."""

    OPERATOR = "OPERATOR"
    MANAGER = "MANAGER"
    ADMIN = "ADMIN"

    def includes(self, other: "Role") -> bool:
        """Whether this role may what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class User:
    """A user as the database has it, but for the password's hash."""

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


SHOWN = tuple(users.c[field.name] for field in fields(User))
"""The columns of a user that may be shown."""


def user_of(row: sa.RowMapping) -> User:
    """A row with the columns of ``SHOWN``."""
    return User(**{field.name: row[field.name] for field in fields(User)} | {"role": Role(row["role"])})


def listing(role: Role | None = None, *, is_active: bool | None = None) -> sa.Select[Any]:
    """The users, of a role or all, in the order of their ids."""
    statement = sa.select(*SHOWN).order_by(users.c.id)
    if role is not None:
        statement = statement.where(users.c.role == role.value)
    if is_active is not None:
        statement = statement.where(users.c.is_active == is_active)
    return statement


def find(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> User | None:
    """The one user of whom this is true."""
    row = connection.execute(sa.select(*SHOWN).where(condition)).mappings().one_or_none()
    return None if row is None else user_of(row)


def by_id(connection: sa.Connection, user_id: int) -> User | None:
    """The user of this id."""
    return find(connection, users.c.id == user_id)


def by_name(connection: sa.Connection, username: str) -> User | None:
    """The user of this name, without case."""
    return find(connection, users.c.username_key == username.casefold())


def by_email(connection: sa.Connection, email: str) -> User | None:
    """The user of this e-mail address, without case."""
    return find(connection, sa.func.lower(users.c.email) == email.lower())


def create(connection: sa.Connection, values: Mapping[str, Any], password_hash: str | None, now: datetime) -> User:
    """Add a user. Raises ClashError."""
    _not_taken(connection, values)
    row = {
        **values,
        "username_key": values["username"].casefold(),
        "role": Role(values["role"]).value,
        "password_hash": password_hash,
        "created_at": now,
        "updated_at": now,
    }
    made = connection.execute(sa.insert(users).values(row).returning(users.c.id)).scalar_one()
    return _there(connection, made)


def update(connection: sa.Connection, user_id: int, values: Mapping[str, Any], now: datetime) -> User:
    """Change these columns of a user that is there. Raises ClashError."""
    _not_taken(connection, values, besides=user_id)
    row = {**values, "updated_at": now}
    if "username" in values:
        row["username_key"] = values["username"].casefold()
    if "role" in values:
        row["role"] = Role(values["role"]).value
    connection.execute(sa.update(users).where(users.c.id == user_id).values(row))
    return _there(connection, user_id)


def set_password(connection: sa.Connection, user_id: int, password_hash: str, now: datetime) -> None:
    """Keep the hash of a new password."""
    row = {"password_hash": password_hash, "updated_at": now}
    connection.execute(sa.update(users).where(users.c.id == user_id).values(row))


def password_hash(connection: sa.Connection, user_id: int) -> str | None:
    """The hash of a user's password; None: cannot log in."""
    return connection.execute(sa.select(users.c.password_hash).where(users.c.id == user_id)).scalar_one_or_none()


def delete(connection: sa.Connection, user_id: int) -> bool:
    """Delete a user no record names; False where there is none. Raises ClashError."""
    used = sa.select(sa.exists().where(process_data.c.operator_id == user_id))
    if connection.execute(used).scalar_one():
        raise ClashError(IN_USE, f"records name user {user_id}: make it inactive instead")
    return connection.execute(sa.delete(users).where(users.c.id == user_id)).rowcount == 1


def other_admins(connection: sa.Connection, user_id: int) -> int:
    """How many other active administrators there are. Their rows are locked, so that two do not leave at once."""
    wanted = sa.select(users.c.id).where(
        users.c.role == Role.ADMIN.value, users.c.is_active, users.c.password_hash.is_not(None)
    )
    found: Sequence[int] = connection.execute(wanted.order_by(users.c.id).with_for_update()).scalars().all()
    return len([one for one in found if one != user_id])


def _there(connection: sa.Connection, user_id: int) -> User:
    found = by_id(connection, user_id)
    assert found is not None
    return found


def _not_taken(connection: sa.Connection, values: Mapping[str, Any], besides: int = 0) -> None:
    """The unique keys hold what comes between this look and the write."""
    finders = {"username": by_name, "email": by_email}
    for name, finder in finders.items():
        if name in values:
            other = finder(connection, values[name])
            if other is not None and other.id != besides:
                raise ClashError(ALREADY_EXISTS, f"another user has the {name} {values[name]}", name)
