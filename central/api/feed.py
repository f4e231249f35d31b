"""What happens, for whoever watches: one look a second at the database, while anybody does, for all of a process's
watchers.

Each watcher reads a common list at its own pace. Who is too slow for it is sent away, and comes back to where it was.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder

from central.store import AlarmRow, Store
from central.store.listing import StreamStatus, stream_statuses
from central.store.watching import Change, Cursor, after
from contracts.errors import NeuroHubError

log = structlog.get_logger()

KEPT = 5_000
"""Events a watcher may be behind."""
FARTHEST = 100_000
"""Changes that are told again to who comes back; a list says more than so many of them."""
_STATION = ("station", "site", "line", "online", "host", "software", "parked", "troubles")


@dataclass(frozen=True)
class Event:
    """``cursor`` stands with records: who comes back with it is told what came after."""

    kind: str
    data: dict[str, Any]
    cursor: int | None = None


class Feed:
    """For one event loop. Starts with the first watcher and ends with the last."""

    def __init__(self, store: Store, every_s: float = 1.0) -> None:
        self._store = store
        self._every_s = every_s
        self._watchers = 0
        self._looking: asyncio.Task[None] | None = None
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._end = 0
        self._news = asyncio.Event()
        self._begun = asyncio.Lock()
        self._cursor: Cursor | None = None
        self._stations: dict[str, Event] = {}
        self._alarms: dict[int, Event] = {}

    async def follow(self, cursor: int | None, idle_s: float) -> AsyncGenerator[Event | None, None]:
        """How every station stands, the open alarms, what was missed behind ``cursor``, and then what
        happens; None when nothing did for a while. Ends when the watcher is too slow. Raises what the store raises
        where it cannot begin."""
        self._watchers += 1
        try:
            async with self._begun:
                if self._looking is None:
                    self._cursor = await run_in_threadpool(self._begin)
                    self._looking = asyncio.create_task(self._keep_looking(self._cursor))
                looking = self._looking
            place = self._cursor
            assert place is not None, "it has begun"
            at, upto, settled = self._end, place.highest, place.settled
            for event in (*self._stations.values(), *self._alarms.values()):
                yield event
            if cursor is not None and upto - cursor > FARTHEST:
                yield Event("reset", {"detail": f"more than {FARTHEST} changes were missed: read the lists anew"})
                cursor = None
            while cursor is not None and cursor < upto:
                behind, missed = await run_in_threadpool(self._missed, cursor, settled)
                for change in missed:
                    yield _record(change)
                cursor = behind if behind > cursor else None
            while at >= self._end - len(self._events) and not looking.done():
                news = self._news
                if at < self._end:
                    yield self._events[at - self._end]
                    at += 1
                    continue
                try:
                    await asyncio.wait_for(news.wait(), idle_s)
                except TimeoutError:
                    yield None
        finally:
            self._watchers -= 1
            if self._watchers == 0 and self._looking is not None:
                ended, self._looking = self._looking, None
                ended.cancel()
                await asyncio.wait([ended])

    def _missed(self, cursor: int, settled: int) -> tuple[int, list[Change]]:
        with self._store.reading() as connection:
            return after(connection, cursor, settled)

    async def _keep_looking(self, cursor: Cursor) -> None:
        lost = False
        while True:
            await asyncio.sleep(self._every_s)
            try:
                found = await run_in_threadpool(self._look, cursor)
            except NeuroHubError as error:
                if not lost:
                    log.error("events are not seen: the database is away", error=str(error))
                lost = True
                continue
            if lost:
                log.info("events are seen again")
            lost = False
            if found:
                self._events.extend(found)
                self._end += len(found)
                self._news.set()
                self._news = asyncio.Event()

    def _begin(self) -> Cursor:
        with self._store.reading() as connection:
            cursor = Cursor(connection, datetime.now(UTC))
        self._look(cursor)
        return cursor

    def _look(self, cursor: Cursor) -> list[Event]:
        own = self._store.central_stream
        with self._store.reading() as connection:
            changes = cursor.look(connection, datetime.now(UTC))
            streams = stream_statuses(connection, own)
        alarms = self._store.alarms(acknowledged=False)
        return [*map(_record, changes), *self._of_stations(streams), *self._of_alarms(alarms)]

    def _of_stations(self, streams: list[StreamStatus]) -> list[Event]:
        now = {one.station: _station(one) for one in streams if one.present}
        new = [event for name, event in now.items() if self._stations.get(name) != event]
        self._stations = now
        return new

    def _of_alarms(self, alarms: list[AlarmRow]) -> list[Event]:
        now = {one.id: _alarm(one) for one in alarms}
        new = [event for number, event in now.items() if self._alarms.get(number) != event]
        gone = [event for number, event in self._alarms.items() if number not in now]
        self._alarms = now
        return [*new, *(Event("alarm", {**event.data, "open": False}) for event in gone)]


def _record(change: Change) -> Event:
    return Event("record", jsonable_encoder(dict(change.record)), change.cursor)


def _station(stream: StreamStatus) -> Event:
    return Event("station", jsonable_encoder({name: getattr(stream, name) for name in _STATION}))


def _alarm(alarm: AlarmRow) -> Event:
    return Event("alarm", {**jsonable_encoder(asdict(alarm)), "open": True})
