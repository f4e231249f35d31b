"""Events over a real connection: what happens is told to who watches, once more to who comes back, to nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2 as httpx
import pytest
import sqlalchemy as sa
import uvicorn
import websockets

from central.api import feed
from central.api.feed import Feed
from central.api.routers import events as router
from central.store import Alarm, AlarmKind, Author, Claim, Store, tables, watching
from central.store.alarms import raise_alarms
from central.store.users import Role
from tests.support.api import SETTINGS, Api
from tests.support.stores import STREAM, delivery, record

LONG_S = 30
NOW = datetime.now(UTC)


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[str]:
    """The API on a port of its own, in this loop."""
    app: Any = api.client.app
    app.state.feed = Feed(api.store, every_s=0.05)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(LONG_S):
            while not server.started:
                await asyncio.sleep(0.01)
        yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}{SETTINGS.prefix}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def watched(address: str, token: str, **headers: str) -> AsyncIterator[Callable[[str], Any]]:
    """Watches; what it gives answers the next event of a kind."""
    async with httpx.AsyncClient(timeout=LONG_S) as client:
        asked = client.stream("GET", f"http://{address}/events?access_token={token}", headers=headers)
        async with asked as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()

            async def following(kind: str) -> dict[str, Any]:
                event: dict[str, str] = {}
                async for line in lines:
                    name, _, value = line.partition(": ")
                    if line:
                        event[name] = value
                    elif event.get("event") == kind:
                        return {"cursor": event.get("id"), **json.loads(event["data"])}
                    else:
                        event = {}
                raise AssertionError("the events ended")

            yield following


def delivered(store: Store, seq: int, **changes: Any) -> None:
    store.ingest([delivery([(seq, record(serial_number=f"SN-{seq:04d}", **changes))])])


def alarmed(store: Store) -> None:
    with store.database.writing() as connection:
        raise_alarms(connection, [Alarm(AlarmKind.NOT_HEARD, Claim(STREAM, "P03-A"), "not heard")], datetime.now(UTC))


async def test_what_happens_is_told_and_told_again_to_who_comes_back(api: Api) -> None:
    token = api.token(Role.MANAGER)
    delivered(api.store, 1)
    async with served(api) as address:
        async with watched(address, token) as following:
            assert (await following("station"))["station"] == "P03-A"
            delivered(api.store, 2)
            first = await following("record")
            assert (first["serial_number"], first["outcome"], first["operator"]) == ("SN-0002", "PASS", "station-p03-a")
            alarmed(api.store)
            alarm = await following("alarm")
            assert (alarm["kind"], alarm["open"]) == (AlarmKind.NOT_HEARD.value, True)
            api.store.acknowledge_alarms([alarm["id"]])
            assert (await following("alarm"))["open"] is False
        delivered(api.store, 3)
        async with watched(address, token, **{"Last-Event-ID": str(first["cursor"])}) as following:
            while (await following("record"))["serial_number"] != "SN-0003":
                pass


async def test_the_same_is_told_over_a_websocket_and_no_log_holds_the_token(
    api: Api, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    delivered(api.store, 1)
    token = api.token(Role.MANAGER)
    async with served(api) as address, asyncio.timeout(LONG_S):
        async with websockets.connect(f"ws://{address}/ws?access_token={token}") as socket:
            assert json.loads(await socket.recv())["event"] == "station"
            delivered(api.store, 2)
            told = json.loads(await socket.recv())
            assert (told["event"], told["data"]["serial_number"]) == ("record", "SN-0002")
        for bad in ("", f"?access_token={api.token(Role.OPERATOR)}", "?access_token=x.y.z"):
            async with websockets.connect(f"ws://{address}/ws{bad}") as socket:
                with pytest.raises(websockets.ConnectionClosedError) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4401
    said = "".join((caplog.text, *capfd.readouterr()))
    assert "watched over a websocket" in said
    assert token not in said


def test_who_may_not_watch_is_told_so(api: Api) -> None:
    for query, status in (
        ("", 401),
        ("?access_token=x.y.z", 401),
        (f"?access_token={api.token(Role.OPERATOR)}", 403),
        (f"?since=-1&access_token={api.token(Role.MANAGER)}", 422),
    ):
        assert api.client.get(f"/api/v1/events{query}").status_code == status


async def test_a_token_that_is_revoked_ends_the_events(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "_CHECKED_S", 0.05)
    token = api.token(Role.MANAGER)
    async with served(api) as address, watched(address, token) as following:
        bearer = {"Authorization": f"Bearer {token}"}
        answer = await asyncio.to_thread(api.client.post, "/api/v1/auth/logout", headers=bearer)
        assert answer.status_code < 300
        with pytest.raises(AssertionError, match="the events ended"):
            await following("nothing")


async def test_a_watcher_that_is_too_slow_is_sent_away_and_holds_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "KEPT", 2)
    one = Feed(store, every_s=0.02)
    async with aclosing(one.follow(None, 0.02)) as slow, aclosing(one.follow(None, 0.02)) as quick:
        assert await anext(slow) is None
        seen: list[str] = []
        for seq in range(1, 5):
            delivered(store, seq)
            async for event in quick:
                if event is not None and event.kind == "record":
                    seen.append(event.data["serial_number"])
                    break
        assert seen == [f"SN-{seq:04d}" for seq in range(1, 5)]
        async with asyncio.timeout(LONG_S):
            told = [event async for event in slow if event is not None and event.kind == "record"]
        assert told == []


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_what_commits_late_is_told_all_the_same(store: Store) -> None:
    for seq in (1, 2):
        delivered(store, seq)
    noted = sa.update(tables.process_data).values(notes="looked at")
    number = tables.process_data.c.seq
    with store.reading() as connection:
        cursor = watching.Cursor(connection, NOW)

    def told(after_s: float = 0) -> list[str]:
        with store.reading() as connection:
            return [one.record["serial_number"] for one in cursor.look(connection, NOW + timedelta(seconds=after_s))]

    with store.writing(Author(name="late")) as late:
        late.execute(noted.where(number == 1))
        with store.writing(Author(name="early")) as early:
            early.execute(noted.where(number == 2))
        assert told() == ["SN-0002"]
    assert told() == ["SN-0001"]
    assert told(1) == told(120) == told(240) == []
    before = cursor.settled
    with store.writing(Author(name="again")) as again:
        again.execute(noted.where(number == 2).values(notes="again"))
    assert told(250) == ["SN-0002"]
    with store.reading() as connection:
        assert [one.record["serial_number"] for one in watching.after(connection, before, cursor.settled)[1]] == [
            "SN-0002"
        ]
