"""Changes a user makes: one transaction that names its author, and for creates done once however often it is asked."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from central.api.bodies import body_digest
from central.api.current import CurrentService, CurrentSession, author_of
from central.api.errors import ApiError
from central.store import Author, Store, repeats

_KEY = re.compile(r"[\x21-\x7e]{1,200}")


class _Change:
    """A change asked for by one request."""

    def __init__(self, store: Store, author: Author, request: repeats.Request | None) -> None:
        self.author = author
        self._store = store
        self._request = request

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """The transaction."""
        with self._store.writing(self.author) as connection:
            yield connection

    def once(self, make: Callable[[sa.Connection], BaseModel], status: int = 201) -> Response:
        """Make something and answer it. A request repeated under its Idempotency-Key gets the first answer: both are
        kept in the one transaction that ``make`` writes in."""
        with self.writing() as connection:
            if self._request is not None:
                kept = repeats.first(connection, self._request, datetime.now(UTC))
                if kept is not None:
                    return self._again(kept)
            answer = make(connection).model_dump_json()
            if self._request is not None:
                repeats.keep(connection, self._request, status, answer)
        return Response(answer, status, media_type="application/json")

    def _again(self, kept: repeats.Kept) -> Response:
        assert self._request is not None
        if kept.digest != self._request.digest:
            raise ApiError(
                409, "IDEMPOTENCY_KEY_REUSED", "this Idempotency-Key was used for another request: take a new one"
            )
        headers = {"Idempotency-Replayed": "true"}
        return Response(kept.answer, kept.status, headers=headers, media_type="application/json")


async def _change(request: Request, service: CurrentService, session: CurrentSession) -> _Change:
    return _Change(service.store, author_of(request, session.user), None)


async def _create(
    request: Request,
    service: CurrentService,
    session: CurrentSession,
    idempotency_key: Annotated[
        str | None,
        Header(description="Of the client's choice; the same request with the same key is done once. Kept for a day."),
    ] = None,
) -> _Change:
    repeated = None
    if idempotency_key is not None:
        if not _KEY.fullmatch(idempotency_key):
            raise ApiError(400, "IDEMPOTENCY_KEY_INVALID", "Idempotency-Key: 1 to 200 printable ASCII characters")
        what = json.dumps([request.method, request.url.path, body_digest(request.scope)])
        repeated = repeats.Request(session.user.id, idempotency_key, sha256(what.encode()).hexdigest())
    return _Change(service.store, author_of(request, session.user), repeated)


Change = Annotated[_Change, Depends(_change)]
"""For updates, deletes and commands."""
Create = Annotated[_Change, Depends(_create)]
"""For creates: takes an Idempotency-Key."""
