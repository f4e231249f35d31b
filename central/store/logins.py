"""Logins: failures in a row that lock an account, and sessions that were ended before their tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from central.store.statements import insert_once
from central.store.tables import ended_sessions, idempotency_keys, logins, users
from central.store.users import SHOWN, User, user_of

FAILURES = 5
"""So many failed logins in a row lock an account for ``LOCKED``."""
LOCKED = timedelta(minutes=10)
REPEATED_WITHIN = timedelta(days=1)
"""How long the answer of a request with an Idempotency-Key is kept."""


@dataclass(frozen=True)
class Account:
    """What a login is checked against."""

    user: User
    password_hash: str | None
    locked_until: datetime | None


def account(connection: sa.Connection, username: str) -> Account | None:
    """The account of this name, without case."""
    wanted = (
        sa.select(*SHOWN, users.c.password_hash, logins.c.locked_until)
        .join_from(users, logins, isouter=True)
        .where(users.c.username_key == username.casefold())
    )
    row = connection.execute(wanted).mappings().one_or_none()
    return None if row is None else Account(user_of(row), row["password_hash"], row["locked_until"])


def failed(connection: sa.Connection, user_id: int, now: datetime) -> datetime | None:
    """Count a failed login; answers until when the account is locked now."""
    insert_once(connection, logins, [{"user_id": user_id, "failed": 0, "locked_until": None}])
    row = connection.execute(sa.select(logins).where(logins.c.user_id == user_id).with_for_update()).one()
    locked: datetime | None = row.locked_until
    if locked is not None and locked > now:
        return locked
    count = row.failed + 1
    until = now + LOCKED if count >= FAILURES else None
    values = {"failed": 0 if until else count, "locked_until": until}
    connection.execute(sa.update(logins).where(logins.c.user_id == user_id).values(values))
    return until


def succeeded(connection: sa.Connection, user_id: int, now: datetime) -> datetime | None:
    """Forget the failures and note the login, unless others locked the account meanwhile: answers until when."""
    row = connection.execute(sa.select(logins).where(logins.c.user_id == user_id).with_for_update()).one_or_none()
    if row is not None:
        locked: datetime | None = row.locked_until
        if locked is not None and locked > now:
            return locked
        connection.execute(sa.delete(logins).where(logins.c.user_id == user_id))
    connection.execute(sa.update(users).where(users.c.id == user_id).values(last_login_at=now))
    return None


def unlock(connection: sa.Connection, user_id: int) -> None:
    """Forget what failed."""
    connection.execute(sa.delete(logins).where(logins.c.user_id == user_id))


def end_session(connection: sa.Connection, session_id: str, forget_at: datetime) -> None:
    """No token of this session is good any more; ``forget_at``: none of them lives longer."""
    insert_once(connection, ended_sessions, [{"session_id": session_id, "forget_at": forget_at}])


def of_session(connection: sa.Connection, user_id: int, session_id: str) -> tuple[User, bool] | None:
    """The user, and whether the session was ended; None where there is no such user (any more)."""
    ended = sa.exists().where(ended_sessions.c.session_id == session_id)
    row = connection.execute(sa.select(*SHOWN, ended.label("ended")).where(users.c.id == user_id)).mappings().first()
    return None if row is None else (user_of(row), bool(row["ended"]))


def forget(connection: sa.Connection, now: datetime) -> None:
    """Delete what is of no use any more: ended sessions whose tokens have expired, answers nobody repeats."""
    connection.execute(sa.delete(ended_sessions).where(ended_sessions.c.forget_at < now))
    connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.created_at < now - REPEATED_WITHIN))
