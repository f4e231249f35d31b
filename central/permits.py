"""The interlock's other end: questions in, answers out at once; and what stations need to decide without us.

A service of its own: a batch of records that is being stored does not keep a machine waiting. Questions are answered
one after the other by one thread; the LOTs' route digests are published by another.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog
from pydantic import ValidationError

from central.settings import PermitSettings
from central.store import Changed, Seat, Store
from contracts.digest import RouteDigest
from contracts.errors import DataError, LinkError, StoreError
from contracts.interlock import (
    AnyAnswer,
    AnyQuestion,
    NumbersRequest,
    PermitRequest,
    PermitReturned,
    question_adapter,
)
from contracts.topics import StationTopics, all_stations, parse, route
from messaging.broker import BrokerAddress
from messaging.lives import live_again_and_again
from messaging.session import Message, Session

log = structlog.get_logger()

CLIENT_ID = "neurohub-permits"
PUBLISH_EVERY_S = 0.5
"""How long a change of a LOT may take to reach the stations."""
NUMBERS_WITHIN_S = 30.0
DATABASE_RETRY_S = 1.0

Done = TypeVar("Done")


@dataclass
class Counters:
    """What this service has done since it started."""

    granted: int = 0
    refused: int = 0
    returned: int = 0
    blocks: int = 0
    digests: int = 0
    misunderstood: int = 0
    too_late: int = 0


class Responder:
    """Answers every station's questions, until stop(). A lost broker or database is tried again for ever."""

    def __init__(self, store: Store, digests: Store, address: BrokerAddress, settings: PermitSettings) -> None:
        self._store = store
        self._digests = digests
        self._address = address
        self._settings = settings
        self._seat = Seat(store.database, None, service="permits")
        self._answering = ThreadPoolExecutor(max_workers=1, thread_name_prefix="permits")
        self._publishing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="route-digests")
        self._stopping = asyncio.Event()
        self._told = ""
        self.counters = Counters()

    async def run(self) -> None:
        """Raises SetupError when another service gives permits on this database."""
        try:
            await live_again_and_again(self._life, lost=self._lost)
        finally:
            self._answering.shutdown(wait=True)
            self._publishing.shutdown(wait=True)
            self._seat.close()

    def stop(self) -> None:
        """Finish the answer in hand, then return from run()."""
        self._stopping.set()

    async def turn(self) -> None:
        """Return once the answering thread has turned (systemd's watchdog asks)."""
        await self._in(self._answering, lambda: None)

    async def _life(self) -> None:
        if not await self._begin():
            return
        session = Session(self._address, client_id=CLIENT_ID)
        tasks: list[asyncio.Task[None]] = []
        try:
            await session.open([all_stations("interlock")])
            log.info("broker connected", broker=str(self._address))
            self._told = ""
            heard: asyncio.Queue[tuple[float, Message]] = asyncio.Queue()
            stopping = asyncio.create_task(_until(self._stopping))
            tasks = [
                stopping,
                asyncio.create_task(self._hear(session, heard)),
                asyncio.create_task(self._answer_all(session, heard)),
                asyncio.create_task(self._publish_all(session)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await session.close()
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end

    async def _begin(self) -> bool:
        """Sit down; every digest is published again, because the broker may be another. False: stop() came first."""
        while not self._stopping.is_set():
            try:
                await self._in(self._answering, self._seat.take)
                await self._in(self._publishing, self._digests.publish_again)
            except (LinkError, StoreError) as error:
                self._tell_no_database(error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DATABASE_RETRY_S):
                        await self._stopping.wait()
            else:
                return True
        return False

    # -- questions ---------------------------------------------------------------------------------------------------

    async def _hear(self, session: Session, heard: asyncio.Queue[tuple[float, Message]]) -> None:
        """A question is acknowledged when it is heard: a station that hears nothing decides by itself."""
        while True:
            message = await session.next_message()
            session.acknowledge(message)
            heard.put_nowait((time.monotonic(), message))

    async def _answer_all(self, session: Session, heard: asyncio.Queue[tuple[float, Message]]) -> None:
        while True:
            at, message = await heard.get()
            found = parse(message.topic)
            question = None if found is None else self._understood(message, found[0])
            if question is None or found is None:
                continue
            within_s = question.within_seconds if isinstance(question, PermitRequest) else NUMBERS_WITHIN_S
            if time.monotonic() - at > within_s:
                self.counters.too_late += 1
                log.warning("question answered by nobody in time", station=question.station, kind=question.kind)
                continue
            try:
                answer = await self._in(self._answering, partial(self._answer, question))
            except DataError as error:
                log.error("question not answered", station=question.station, error=str(error))
            except (LinkError, StoreError) as error:
                self._tell_no_database(error)
            else:
                self._told = ""
                if answer is not None:
                    await session.publish(found[0].permits, answer.model_dump_json().encode())

    def _understood(self, message: Message, topics: StationTopics) -> AnyQuestion | None:
        try:
            question = question_adapter.validate_json(message.payload, strict=True)
        except ValidationError as error:
            self.counters.misunderstood += 1
            log.warning("question not understood", topic=message.topic, error=str(error)[:300])
            return None
        if (question.site, question.line, question.station) != (topics.site, topics.line, topics.station):
            self.counters.misunderstood += 1
            log.warning("question in another station's name", topic=message.topic, station=question.station)
            return None
        return question

    def _answer(self, question: AnyQuestion) -> AnyAnswer | None:
        if isinstance(question, PermitReturned):
            self.counters.returned += self._store.return_permit(question)
            return None
        if isinstance(question, NumbersRequest):
            block = self._store.reserve_numbers(question, self._settings.serial_number)
            self.counters.blocks += bool(block.numbers)
            return block
        answer = self._store.answer_permit(question)
        self.counters.granted += answer.granted
        self.counters.refused += not answer.granted
        return answer

    # -- route digests -----------------------------------------------------------------------------------------------

    async def _publish_all(self, session: Session) -> None:
        while True:
            try:
                due = await self._in(self._publishing, self._digests.route_digests)
                for changed, digest in due:
                    await self._publish(session, changed, digest)
            except StoreError as error:
                self._tell_no_database(error)
                due = []
            if not due:
                await asyncio.sleep(PUBLISH_EVERY_S)

    async def _publish(self, session: Session, changed: Changed, digest: RouteDigest) -> None:
        """Retained: a station that was away learns of it too."""
        await (await session.publish(route(changed.lot_number), digest.encoded(), retain=True))
        await self._in(self._publishing, partial(self._digests.digest_published, changed))
        self.counters.digests += 1

    async def _in(self, thread: ThreadPoolExecutor, work: Callable[[], Done]) -> Done:
        return await asyncio.get_running_loop().run_in_executor(thread, work)

    def _tell_no_database(self, error: LinkError | StoreError) -> None:
        if self._told != str(error):
            log.error("database does not answer, stations decide by themselves", error=str(error))
            self._told = str(error)

    def _lost(self, error: LinkError) -> None:
        if self._told != str(error):
            log.warning("link lost", error=str(error))
            self._told = str(error)


async def _until(event: asyncio.Event) -> None:
    await event.wait()
