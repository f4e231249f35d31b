"""``/events`` and ``/ws``: records, stations' states and alarms as they happen, one way.

A browser's EventSource and WebSocket send no header: the token may stand in the query, which no log of ours holds.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Header, Query, Request, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.websockets import WebSocketDisconnect

from central.api.current import Bearer, CurrentService, Service, at_least, session_of
from central.api.errors import ApiError, answers
from central.api.feed import Event, Feed
from central.api.paging import LARGEST_ID
from central.store.users import Role, User

log = structlog.get_logger()

router = APIRouter(tags=["events"])

_CHECKED_S = 15.0
"""How often a watcher's token is looked at again."""
_REFUSED, _TOO_SLOW = 4401, 1013
Token = Annotated[str | None, Query(max_length=4096, description="Where no Authorization header can be sent")]
Since = Annotated[int | None, Query(ge=0, le=LARGEST_ID, description="As Last-Event-ID")]


def _user(service: Service, token: str | None) -> User:
    return at_least(Role.MANAGER, session_of(service, token))


async def _token(request: Request, service: CurrentService, bearer: Bearer, access_token: Token = None) -> str | None:
    token = bearer or access_token
    request.scope["neurohub.user"] = (await run_in_threadpool(_user, service, token)).username
    return token


async def _following(service: Service, feed: Feed, token: str | None, since: int | None) -> AsyncGenerator[Event, None]:
    """As long as the token is good, and the watcher not too slow."""
    checked = time.monotonic()
    async with aclosing(feed.follow(since, _CHECKED_S)) as events:
        async for event in events:
            if time.monotonic() - checked >= _CHECKED_S:
                try:
                    await run_in_threadpool(_user, service, token)
                except ApiError:
                    return
                checked = time.monotonic()
            if event is not None:
                yield event


@router.get("/events", response_class=EventSourceResponse, responses=answers())
async def events(
    request: Request,
    service: CurrentService,
    token: Annotated[str | None, Depends(_token)],
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_ID)] = None,
    since: Since = None,
) -> AsyncGenerator[ServerSentEvent, None]:
    """Server-sent events ``record``, ``station`` and ``alarm``, until the token is good no more.

    It begins with every station and every open alarm. Who comes back with ``Last-Event-ID`` is told which records
    changed meanwhile, some a second time; ``reset`` says that there are too many, and the lists are to be read anew.
    """
    after = since if last_event_id is None else last_event_id
    async with aclosing(_following(service, request.app.state.feed, token, after)) as found:
        async for event in found:
            cursor = None if event.cursor is None else str(event.cursor)
            yield ServerSentEvent(event=event.kind, data=event.data, id=cursor)


@router.websocket("/ws")
@router.websocket("/ws/")
async def socket(socket: WebSocket, access_token: Token = None, since: Since = None) -> None:
    """The same as JSON: ``{"event": ..., "id": ..., "data": ...}``. Closed with 4401 where the token is not good, or no
    longer, and with 1013 where it was read too slowly: come back with ``since``, the last ``id``."""
    service: Service = socket.app.state.service
    scheme, _, bearer = socket.headers.get("authorization", "").partition(" ")
    token = bearer if scheme.lower() == "bearer" else access_token
    await socket.accept()
    try:
        user = await run_in_threadpool(_user, service, token)
    except ApiError as error:
        await socket.close(_REFUSED, error.code)
        return
    log.info("watched over a websocket", user=user.username, client=socket.client.host if socket.client else None)
    tasks = [asyncio.create_task(_send(socket, service, token, since)), asyncio.create_task(_gone(socket))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            with suppress(WebSocketDisconnect):
                task.result()


async def _send(socket: WebSocket, service: Service, token: str | None, since: int | None) -> None:
    async with aclosing(_following(service, socket.app.state.feed, token, since)) as found:
        async for event in found:
            await socket.send_json({"event": event.kind, "id": event.cursor, "data": event.data})
    try:
        await run_in_threadpool(_user, service, token)
    except ApiError as error:
        await socket.close(_REFUSED, error.code)
    else:
        await socket.close(_TOO_SLOW, "READ_TOO_SLOWLY")


async def _gone(socket: WebSocket) -> None:
    """What a watcher says is heard by nobody."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
