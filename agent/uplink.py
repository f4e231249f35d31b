"""Outbox -> MQTT, commit acknowledgements back (design.md, Commit protocol).

A row is settled only by central's commit. The broker's PUBACK only frees room in the window of what is on its way.
"""

import asyncio
import socket
import time
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

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
from contracts.errors import LinkError, StoreError
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
    """Delivers the outbox's present stream to central, as long as it runs."""

    def __init__(self, settings: StationSettings, address: BrokerAddress, outbox: Outbox, software: str) -> None:
        station = settings.station
        self._station = station
        self._topics = StationTopics(station.site, station.line, station.id)
        self._address = address
        self._outbox = outbox
        self._software = software
        self._resend_after_s = settings.resend_after
        self._more = asyncio.Event()
        self._stopping = False
        self._told = ""
        self._stream_id = ""
        self._commit: Commit | None = None
        self._sent_up_to = 0
        self._progress_at = 0.0

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._more.set()

    def stop(self) -> None:
        """End soon: say goodbye to the broker and return from run()."""
        self._stopping = True
        self._more.set()

    async def run(self) -> None:
        """Deliver until stop(). A lost broker is tried again for ever; nothing is lost by its absence."""
        await live_again_and_again(self._life, lost=self._lost)

    async def _life(self) -> None:
        if self._stopping:
            return
        self._commit = None
        self._stream_id = (await self._outbox.state()).stream_id
        session = Session(
            self._address,
            client_id=f"neurohub-agent-{self._station.site}-{self._station.line}-{self._station.id}",
            will=Will(self._topics.state, (await self._birth(online=False)).model_dump_json().encode()),
        )
        try:
            await session.open([self._topics.commits])
            log.info("broker connected", broker=str(self._address))
            self._told = ""
            await session.publish(
                self._topics.state, (await self._birth(online=True)).model_dump_json().encode(), retain=True
            )
            listening = asyncio.create_task(self._listen(session))
            sending = asyncio.create_task(self._send(session))
            try:
                await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (listening, sending):
                    task.cancel()
                ends = await asyncio.gather(listening, sending, return_exceptions=True)
            for end in ends:
                if isinstance(end, StoreError):
                    raise LinkError(f"uplink paused: {end}") from end
                if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                    raise end
            await self._goodbye(session)
        finally:
            self._outbox.live = False
            await session.close()

    async def _goodbye(self, session: Session) -> None:
        try:
            async with asyncio.timeout(GOODBYE_S):
                state = (await self._birth(online=False)).model_dump_json().encode()
                await (await session.publish(self._topics.state, state, retain=True))
        except (TimeoutError, LinkError) as error:
            log.info("broker gone before goodbye", error=str(error))

    async def _birth(self, *, online: bool) -> Birth:
        state = await self._outbox.state()
        return Birth(
            site=self._station.site,
            line=self._station.line,
            station=self._station.id,
            online=online,
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
            await self._adopt(session, message)
            session.acknowledge(message)

    async def _adopt(self, session: Session, message: Message) -> None:
        try:
            commit = Commit.model_validate_json(message.payload)
        except ValidationError as error:
            log.warning("commit not understood", error=str(error)[:300])
            return
        if commit.stream_id != self._stream_id:
            return
        state = await self._outbox.state()
        if commit.highest > state.sent:
            # An older image of this outbox was restored: its next numbers are taken already.
            self._stream_id = await self._outbox.mint_stream(commit)
            log.error("central knows more of this stream than the outbox: new stream", stream_id=self._stream_id)
            self._commit = None
            self._sent_up_to = 0
            await session.publish(
                self._topics.state, (await self._birth(online=True)).model_dump_json().encode(), retain=True
            )
            return
        await self._outbox.settle(commit)
        before = self._commit
        self._commit = commit
        if before is None or commit.highest < before.highest or commit.epoch != before.epoch:
            # A first word, or a central that knows less than before: begin at what it lacks.
            self._sent_up_to = commit.committed_seq
        if before is None or (commit.committed_seq, commit.ranges) != (before.committed_seq, before.ranges):
            self._progress_at = time.monotonic()
        self._outbox.live = True
        self._more.set()

    # -- records out -------------------------------------------------------------------------------------------------

    async def _send(self, session: Session) -> None:
        while not self._stopping:
            self._more.clear()
            if self._commit is not None:
                while await self._send_batch(session):
                    pass
            await self._wait()

    async def _send_batch(self, session: Session) -> bool:
        """Send the next batch. False when there is nothing to send, or the window is full."""
        commit = self._commit
        if commit is None or self._stopping or self._sent_up_to - commit.committed_seq >= WINDOW_RECORDS:
            return False
        if self._sent_up_to <= commit.committed_seq:
            self._progress_at = time.monotonic()
        rows = await self._outbox.unsettled(
            max(self._sent_up_to, commit.committed_seq),
            max_rows=BATCH_RECORDS,
            max_bytes=MAX_MESSAGE_BYTES - HEADER_BYTES,
        )
        if not rows:
            return False
        if len(rows) == 1 and len(rows[0].body) > MAX_MESSAGE_BYTES - HEADER_BYTES:
            await self._park(rows[0])
            return True
        await self._outbox.mark_sent(rows[-1].seq)
        header = RecordsHeader(
            site=self._station.site,
            line=self._station.line,
            station=self._station.id,
            stream_id=self._stream_id,
            sent_at=datetime.now(UTC),
        )
        payload = encode_records(header, [(row.seq, row.body) for row in rows])
        custody = await session.publish(
            self._topics.records,
            payload,
            user_properties={
                PROPERTY_STREAM: self._stream_id,
                PROPERTY_FIRST: str(rows[0].seq),
                PROPERTY_LAST: str(rows[-1].seq),
            },
        )
        if self._commit is commit:
            self._sent_up_to = rows[-1].seq
        if len(rows) > 1:
            await custody
        return True

    async def _park(self, row: Row) -> None:
        reason = f"{len(row.body)} bytes: larger than a message may be"
        await self._outbox.park(row.seq, reason)
        log.error("record parked: it cannot be sent", seq=row.seq, reason=reason)

    async def _wait(self) -> None:
        """Until there is something new; without progress for a while, begin again at the first uncommitted."""
        commit = self._commit
        outstanding = commit is not None and self._sent_up_to > commit.committed_seq
        try:
            async with asyncio.timeout(self._resend_after_s if outstanding else None):
                await self._more.wait()
        except TimeoutError:
            self._maybe_resend()

    def _maybe_resend(self) -> None:
        commit = self._commit
        if commit is not None and time.monotonic() - self._progress_at >= self._resend_after_s:
            log.warning("no commit from central, sending again", first=commit.committed_seq + 1, last=self._sent_up_to)
            self._sent_up_to = commit.committed_seq
            self._progress_at = time.monotonic()

    def _lost(self, error: LinkError) -> None:
        if self._told != str(error):
            log.warning("broker link lost", error=str(error))
            self._told = str(error)
