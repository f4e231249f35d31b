"""Requests that may come twice: the answer is kept with what the request made, in one transaction."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.statements import insert_once
from central.store.tables import idempotency_keys


@dataclass(frozen=True)
class Request:
    """A request under a key of the user's choice. ``digest``: of its method, path and body."""

    user_id: int
    key: str
    digest: str


@dataclass(frozen=True)
class Kept:
    """What is kept under a key: of which request, and how it was answered."""

    digest: str
    status: int
    answer: str


def first(connection: sa.Connection, request: Request, now: datetime) -> Kept | None:
    """None where the key is new, and taken from now on; else what it stands for.

    Of two at once the later waits for the earlier one's transaction.
    """
    mine = (idempotency_keys.c.user_id == request.user_id) & (idempotency_keys.c.key == request.key)
    wanted = sa.select(idempotency_keys).where(mine)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        claim = {"user_id": request.user_id, "key": request.key, "request": request.digest, "created_at": now}
        # Status 0 is seen by nobody: the answer is written before this transaction ends.
        insert_once(connection, idempotency_keys, [{**claim, "status": 0, "answer": ""}])
        row = connection.execute(wanted).one()
        if row.status == 0:
            return None
    return Kept(row.request, row.status, row.answer)


def keep(connection: sa.Connection, request: Request, status: int, answer: str) -> None:
    """Keep the answer."""
    mine = (idempotency_keys.c.user_id == request.user_id) & (idempotency_keys.c.key == request.key)
    connection.execute(sa.update(idempotency_keys).where(mine).values(status=status, answer=answer))
