"""Outbox -> MQTT, commit acknowledgements back (design.md, Commit protocol).

A row is settled only by central's commit. The broker's PUBACK only frees room in the window of what is on its way.
"""

import asyncio
import socket
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from agent.faults import Faults
from agent.outbox import Outbox, Row
from agent.settings import StationSettings
from contracts.envelope import (
    MAX_MESSAGE_BYTES,
    PROPERTY_FIRST,
    PROPERTY_LAST,
    PROPERTY_STREAM,
    Birth,
    Commit,
    RecordsHeader,
    encode_records,
)
from contracts.errors import LinkError, SetupError, StoreError
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from messaging.lives import live_again_and_again
from messaging.session import Message, Session, Will

log = structlog.get_logger()

WINDOW_RECORDS = 2000
"""Sent and not yet committed, at most."""
BATCH_RECORDS = 200
HEADER_BYTES = 1024
GOODBYE_S = 2.0


class Uplink:
    """Delivers the outbox's present stream to central, as long as it runs.

    ``faults`` counts mistakes of the program itself: they end a connection, never the station.
    """

    def __init__(self, settings: StationSettings, address: BrokerAddress, outbox: Outbox, software: str) -> None:
        station = settings.station
        self._station = station
        self._topics = StationTopics(station.site, station.line, station.id)
        self._address = address
        self._outbox = outbox
        self._software = software
        self._resend_after_s = settings.resend_after
        self._more = asyncio.Event()
        self._stopping = asyncio.Event()
        self._told = ""
        self._instance = uuid.uuid4().hex
        self._stream_id = ""
        self._commit: Commit | None = None
        self._sent_up_to = 0
        self._in_flight: dict[int, None] = {}
        self._progress_at = 0.0
        self._refusal: LinkError | None = None
        self._turn = asyncio.Lock()
        self.faults = Faults(log)

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._more.set()

    def stop(self) -> None:
        """End soon: say goodbye to the broker and return from run()."""
        self._stopping.set()
        self._more.set()

    async def run(self) -> None:
        """Deliver until stop(). A lost broker is tried again for ever; nothing is lost by its absence."""
        await live_again_and_again(self._life, lost=self._lost, pause=self._pause)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _life(self) -> None:
        if self._stopping.is_set():
            return
        try:
            with self.faults.as_lost_link():
                await self._connection()
        except StoreError as error:
            raise LinkError(f"uplink paused: {error}") from error
        except SetupError as error:
            # The machines' results are kept meanwhile; somebody may mend it without a restart.
            raise LinkError(f"uplink set up wrongly: {error}") from error

    async def _connection(self) -> None:
        self._commit, self._refusal = None, None
        self._in_flight.clear()
        birth = await self._birth(online=False)
        self._stream_id = birth.stream_id
        session = Session(
            self._address,
            client_id=f"neurohub-agent-{self._station.site}-{self._station.line}-{self._station.id}",
            will=Will(self._topics.state, birth.model_dump_json().encode()),
        )
        opening = asyncio.create_task(session.open([self._topics.commits]))
        try:
            if await self._first_of(opening) is None:
                return
            log.info("broker connected", broker=str(self._address))
            self._told = ""
            await self._say_hello(session)
            await self._first_of(asyncio.create_task(self._listen(session)), asyncio.create_task(self._send(session)))
            await self._goodbye(session)
        finally:
            self._outbox.live = False
            await session.close()

    async def _first_of(self, *tasks: asyncio.Task[None]) -> asyncio.Task[None] | None:
        """The first of these to end, its error raised; None when stop() came first. The others are cancelled."""
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            ends = await asyncio.gather(*tasks, stopping, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end
        return next((task for task in tasks if not task.cancelled()), None)

    async def _say_hello(self, session: Session) -> None:
        birth = await self._birth(online=True)
        await session.publish(self._topics.state, birth.model_dump_json().encode(), retain=True)

    async def _goodbye(self, session: Session) -> None:
        try:
            async with asyncio.timeout(GOODBYE_S):
                state = (await self._birth(online=False)).model_dump_json().encode()
                await (await session.publish(self._topics.state, state, retain=True))
        except (TimeoutError, LinkError, StoreError) as error:
            log.info("broker gone before goodbye", error=str(error))

    async def _birth(self, *, online: bool) -> Birth:
        state = await self._outbox.state()
        return Birth(
            site=self._station.site,
            line=self._station.line,
            station=self._station.id,
            online=online,
            instance=self._instance,
            stream_id=state.stream_id,
            last_seq=state.last_seq,
            oldest_available=state.oldest_available,
            host=socket.gethostname(),
            software=self._software,
            at=datetime.now(UTC),
        )

    # -- commits in --------------------------------------------------------------------------------------------------

    async def _listen(self, session: Session) -> None:
        while True:
            message = await session.next_message()
            async with self._turn:
                await self._adopt(session, message)
            session.acknowledge(message)

    async def _adopt(self, session: Session, message: Message) -> None:
        try:
            commit = Commit.model_validate_json(message.payload)
        except ValidationError as error:
            log.warning("commit not understood", error=str(error)[:300])
            return
        if commit.stream_id != self._stream_id or (self._commit is not None and commit.is_late(self._commit)):
            return
        copied = self._instance in commit.mint
        if copied or commit.highest > await self._outbox.sent():
            # An older image of this outbox was restored, or a copy of it runs beside us: its numbers are taken.
            self._stream_id = await self._outbox.mint_stream(commit)
            log.error(
                "another agent writes in this stream: new stream"
                if copied
                else "central knows more of this stream than the outbox: new stream",
                stream_id=self._stream_id,
            )
            self._commit = None
            self._in_flight.clear()
            await self._say_hello(session)
            return
        await self._outbox.settle(commit)
        before, self._commit = self._commit, commit
        if before is None or commit.takes_back(before):
            # A first word, or a central that knows less than before or asks again: begin at what it lacks.
            self._begin_again()
        oldest = next(iter(self._in_flight), None)
        self._in_flight = {seq: None for seq in self._in_flight if not commit.covers(seq)}
        if next(iter(self._in_flight), None) != oldest:
            self._progress_at = time.monotonic()
        self._outbox.live = True
        self._more.set()

    def _begin_again(self) -> None:
        """Send next what central lacks first."""
        assert self._commit is not None
        self._sent_up_to = self._commit.committed_seq
        self._in_flight.clear()

    # -- records out -------------------------------------------------------------------------------------------------

    async def _send(self, session: Session) -> None:
        while True:
            self._more.clear()
            while await self._send_batch(session):
                pass
            await self._wait()

    async def _send_batch(self, session: Session) -> bool:
        """Send the next batch. False when there is nothing to send, or the window is full."""
        # A commit that is adopted meanwhile would renumber or settle what is about to be sent.
        async with self._turn:
            if self._refusal is not None:
                raise self._refusal
            if self._commit is None or len(self._in_flight) >= WINDOW_RECORDS:
                return False
            if self._sent_up_to >= self._outbox.last_seq:
                return False  # the writer thread need not look: each question costs it a turn
            rows = await self._outbox.unsettled(
                self._sent_up_to, max_rows=BATCH_RECORDS, max_bytes=MAX_MESSAGE_BYTES - HEADER_BYTES
            )
            if not rows:
                return False
            if len(rows[0].body) > MAX_MESSAGE_BYTES - HEADER_BYTES:
                await self._park(rows[0])
                return True
            await self._outbox.mark_sent(rows[-1].seq)
            custody = await self._publish(session, rows)
            if not self._in_flight:
                self._progress_at = time.monotonic()
            self._in_flight.update((row.seq, None) for row in rows)
            self._sent_up_to = rows[-1].seq
        if len(rows) > 1:
            await custody
        return True

    async def _publish(self, session: Session, rows: Sequence[Row]) -> "asyncio.Future[None]":
        header = RecordsHeader(
            site=self._station.site,
            line=self._station.line,
            station=self._station.id,
            stream_id=self._stream_id,
            sent_at=datetime.now(UTC),
            instance=self._instance,
            last_seq=self._outbox.last_seq,
        )
        custody = await session.publish(
            self._topics.records,
            encode_records(header, [(row.seq, row.body) for row in rows]),
            user_properties={
                PROPERTY_STREAM: self._stream_id,
                PROPERTY_FIRST: str(rows[0].seq),
                PROPERTY_LAST: str(rows[-1].seq),
            },
        )
        custody.add_done_callback(self._custody_ended)
        return custody

    def _custody_ended(self, custody: "asyncio.Future[None]") -> None:
        """A broker that refuses a record (an ACL) is told, also where nobody waits for its answer."""
        error = None if custody.cancelled() else custody.exception()
        if isinstance(error, LinkError):
            self._refusal = error
            self._more.set()

    async def _park(self, row: Row) -> None:
        reason = f"{len(row.body)} bytes: larger than a message may be"
        await self._outbox.park(row.seq, reason)
        log.error("record parked: it cannot be sent", seq=row.seq, reason=reason)

    async def _wait(self) -> None:
        """Until there is something new; without progress for a while, begin again at the first uncommitted."""
        rest_s = self._progress_at + self._resend_after_s - time.monotonic() if self._in_flight else None
        if rest_s is None or rest_s > 0:
            try:
                async with asyncio.timeout(rest_s):
                    await self._more.wait()
            except TimeoutError:
                pass
            else:
                return
        async with self._turn:
            if not self._in_flight or time.monotonic() < self._progress_at + self._resend_after_s:
                return
            first = next(iter(self._in_flight))
            log.warning("no commit from central, sending again", first=first, last=self._sent_up_to)
            self._begin_again()

    def _lost(self, error: LinkError) -> None:
        if self._told != str(error):
            log.warning("broker link lost", error=str(error))
            self._told = str(error)
