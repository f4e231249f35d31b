"""What agent and central say to each other over one connection: births, records out, commits in (design.md)."""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from agent.clock import CentralClock
from agent.delivery import BATCH_BYTES, Delivery, Lane
from agent.interlock import Interlock
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
from contracts.errors import LinkError
from contracts.topics import StationTopics, criteria
from messaging.session import Message, Session

log = structlog.get_logger()

CLOCK_NOTE = "clock"
UNACKNOWLEDGED_BYTES = 4 * MAX_MESSAGE_BYTES
"""Handed to the broker and not yet in its custody, at most: this is held in memory."""


class Speaker:
    """Who speaks: the station, and the one process that does it. ``instance`` is minted at each start."""

    def __init__(self, settings: StationSettings, outbox: Outbox, software: str, instance: str) -> None:
        self.station = settings.station
        self.topics = StationTopics(self.station.site, self.station.line, self.station.id)
        self.criteria_topic = criteria(self.station.process)
        self.instance = instance
        self._outbox = outbox
        self._software = software

    async def birth(self, *, online: bool, compare_from: int | None = None) -> Birth:
        """What the station says of itself now, and whether it asks what of its stream is its own. Raises StoreError."""
        state = await self._outbox.state()
        return Birth(
            site=self.station.site,
            line=self.station.line,
            station=self.station.id,
            online=online,
            instance=self.instance,
            stream_id=state.stream_id,
            last_seq=state.last_seq,
            oldest_available=state.oldest_available,
            earlier=state.earlier,
            parked=state.parked,
            troubles=self._outbox.troubles(),
            compare_from=compare_from,
            host=socket.gethostname(),
            software=self._software,
            at=datetime.now(UTC),
        )

    def header(self, stream_id: str, last_seq: int | None) -> RecordsHeader:
        """The head of a message of records."""
        return RecordsHeader(
            site=self.station.site,
            line=self.station.line,
            station=self.station.id,
            stream_id=stream_id,
            sent_at=datetime.now(UTC),
            instance=self.instance,
            last_seq=last_seq,
        )


class Conversation:
    """Over one connection, for as long as it lasts: ``hello()``, then ``listen()`` and ``send()`` beside each other.

    ``more`` is set by others when the outbox has something new. ``is_heard`` tells whether central has spoken here.
    """

    def __init__(
        self,
        session: Session,
        speaker: Speaker,
        outbox: Outbox,
        clock: CentralClock,
        resend_after_s: float,
        more: asyncio.Event,
        interlock: Interlock,
        criteria_heard: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._interlock = interlock
        self._session = session
        self._speaker = speaker
        self._outbox = outbox
        self._clock = clock
        self._resend_after_s = resend_after_s
        self._more = more
        self._criteria_heard = criteria_heard
        self._deliveries: dict[str, Delivery] = {}
        self._stream_id = ""
        self._told: Birth | None = None
        self._told_at = 0.0
        self._is_answered = False
        self._compare_from: int | None = None
        self._refusal: LinkError | None = None
        self._unacknowledged = 0
        self._turn = asyncio.Lock()
        self._waiting_since: float | None = None
        self.is_heard = False

    async def hello(self) -> None:
        """Say what the station holds; central answers with what it has of it. Raises LinkError, StoreError."""
        birth = await self._speaker.birth(online=True, compare_from=self._compare_from)
        self._told, self._told_at = birth, self._clock.since_boot()
        self._stream_id = birth.stream_id
        held = [birth.stream_id, *(stream.stream_id for stream in birth.earlier)]
        self._deliveries = {
            name: self._deliveries.get(name) or Delivery(self._outbox, name, self._resend_after_s) for name in held
        }
        await self._session.publish(self._speaker.topics.state, birth.model_dump_json().encode(), retain=True)
        self._wait_from(self._told_at)

    async def listen(self) -> None:
        """Adopt what central says. Raises LinkError when the link is lost."""
        while True:
            message = await self._session.next_message()
            if message.topic == self._speaker.criteria_topic:
                await self._criteria_heard(message.payload)
            elif not self._interlock.heard(message):
                async with self._turn:
                    await self._adopt(message)
            self._session.acknowledge(message)

    async def send(self) -> None:
        """Send what central lacks. Raises LinkError when the link is lost, or the broker refuses a record."""
        while True:
            self._more.clear()
            while await self._send_batch():
                pass
            await self._wait()

    async def silence(self, seconds: float) -> None:
        """Returns when central has been asked, and has said nothing for so long."""
        while True:
            waited = 0.0 if self._waiting_since is None else self._clock.since_boot() - self._waiting_since
            if waited >= seconds:
                return
            await asyncio.sleep(seconds - waited)

    def _wait_from(self, moment: float) -> None:
        if self._waiting_since is None:
            self._waiting_since = moment

    # -- commits in --------------------------------------------------------------------------------------------------

    async def _adopt(self, message: Message) -> None:
        try:
            commit = Commit.model_validate_json(message.payload)
        except ValidationError as error:
            log.warning("commit not understood", error=str(error)[:300])
            return
        delivery = self._deliveries.get(commit.stream_id)
        if delivery is None:
            return
        if commit.stream_id == self._stream_id and not await self._is_of_us(commit):
            return
        if delivery.commit is not None and commit.is_late(delivery.commit):
            return
        await self._outbox.settle(commit)
        now = self._clock.since_boot()
        asked = delivery.adopt(commit, self._last_seq(delivery), now)
        if not message.retain:
            self.is_heard = True
            self._waiting_since = now if any(one.due_at < math.inf for one in self._deliveries.values()) else None
            if self._told is not None and commit.answers == self._told.at:
                asked = max(asked or 0.0, self._told_at)
            if asked is not None and self._clock.heard(asked, commit.at):
                await self._outbox.keep_note(CLOCK_NOTE, self._clock.as_note())
        self._outbox.live = self._deliveries[self._stream_id].commit is not None
        self._more.set()

    async def _is_of_us(self, commit: Commit) -> bool:
        """Whether this tells of our own records: while another may write in our stream, numbers alone say nothing.

        A retained word may be older than the other's; the answer to our birth tells whether there is one.
        """
        assert self._told is not None, "say hello first"
        is_answer = commit.answers == self._told.at
        self._is_answered = self._is_answered or is_answer
        if self._compare_from is not None:
            if is_answer and commit.contents is not None:
                await self._tell_apart(commit)
            return False
        copied = self._speaker.instance in commit.mint
        if self._is_answered and (copied or commit.highest > await self._outbox.sent()):
            # An older image of this outbox was restored, or a copy of it runs beside us.
            await self._ask_from(await self._outbox.first_unsettled())
            return False
        return self._is_answered

    async def _ask_from(self, seq: int | None) -> None:
        """Ask central what it holds from this number on, and send nothing meanwhile; None: all is told."""
        self._compare_from = seq
        self._outbox.live = False
        await self.hello()

    async def _tell_apart(self, commit: Commit) -> None:
        copied = self._speaker.instance in commit.mint
        more = await self._outbox.tell_apart(commit, anew=copied)
        if self._outbox.stream_id != self._stream_id:
            log.error(
                "another agent writes in this stream: new stream"
                if copied
                else "central knows more of this stream than the outbox: new stream",
                stream_id=self._outbox.stream_id,
            )
        await self._ask_from(more)

    # -- records out -------------------------------------------------------------------------------------------------

    async def _send_batch(self) -> bool:
        """Send the next batch. False when there is nothing to send for now."""
        # A commit that is adopted meanwhile would renumber or settle what is about to be sent.
        async with self._turn:
            if self._refusal is not None:
                raise self._refusal
            if self._compare_from is not None:
                return False
            if self._outbox.stream_id != self._stream_id:
                raise LinkError("the outbox began a new stream")
            if self._told is not None and self._told.troubles != self._outbox.troubles():
                await self.hello()
            found = await self._next_batch()
            if found is None:
                return False
            delivery, lane, rows = found
            if (reason := _unfit(rows[0])) is not None:
                await self._park(delivery, lane, rows[0].seq, reason)
                return True
            if delivery.stream_id == self._stream_id:
                await self._outbox.mark_sent(rows[-1].seq)
            now = self._clock.since_boot()
            delivery.sent(lane, rows, now)
            self._wait_from(now)
            custody = await self._publish(delivery, rows)
        if self._unacknowledged > UNACKNOWLEDGED_BYTES:
            await asyncio.wait([custody])
        return True

    async def _next_batch(self) -> tuple[Delivery, Lane, list[Row]] | None:
        """The present stream's turn comes first; of all backlogs, one batch is under way at a time."""
        for delivery in self._deliveries.values():
            found = await delivery.next_batch(self._last_seq(delivery))
            if found is not None:
                return delivery, *found
            if delivery.backlog_is_under_way:
                return None
        return None

    async def _publish(self, delivery: Delivery, rows: Sequence[Row]) -> "asyncio.Future[None]":
        payload = encode_records(
            self._speaker.header(delivery.stream_id, self._last_seq(delivery)), [(row.seq, row.body) for row in rows]
        )
        custody = await self._session.publish(
            self._speaker.topics.records,
            payload,
            user_properties={
                PROPERTY_STREAM: delivery.stream_id,
                PROPERTY_FIRST: str(rows[0].seq),
                PROPERTY_LAST: str(rows[-1].seq),
            },
        )
        self._unacknowledged += len(payload)
        custody.add_done_callback(lambda done: self._custody_ended(done, len(payload)))
        return custody

    def _custody_ended(self, custody: "asyncio.Future[None]", size: int) -> None:
        """A broker that refuses a record (an ACL) is told, also where nobody waits for its answer."""
        self._unacknowledged -= size
        error = None if custody.cancelled() else custody.exception()
        if isinstance(error, LinkError):
            self._refusal = error
            self._more.set()

    async def _park(self, delivery: Delivery, lane: Lane, seq: int, reason: str) -> None:
        await self._outbox.park(delivery.stream_id, seq, reason)
        delivery.passed_over(lane, seq)
        log.error("record parked: it cannot be sent", seq=seq, reason=reason)
        await self.hello()

    async def _wait(self) -> None:
        """Until there is something new; without progress for a while, begin again at the first uncommitted."""
        due_at = min((delivery.due_at for delivery in self._deliveries.values()), default=math.inf)
        rest_s = None if due_at == math.inf else max(0.0, due_at - self._clock.since_boot())
        try:
            async with asyncio.timeout(rest_s):
                await self._more.wait()
        except TimeoutError:
            pass
        async with self._turn:
            now = self._clock.since_boot()
            for delivery in self._deliveries.values():
                span = delivery.silent_for_too_long(now)
                if span is not None:
                    log.warning("no commit from central, sending again", first=span[0], last=span[1])
                    delivery.send_again(self._last_seq(delivery), now)

    def _last_seq(self, delivery: Delivery) -> int:
        if delivery.stream_id == self._stream_id:
            return self._outbox.last_seq
        assert self._told is not None, "say hello first"
        return next(held.last_seq for held in self._told.earlier if held.stream_id == delivery.stream_id)


def _unfit(row: Row) -> str | None:
    """Why a record cannot be sent, or None."""
    if not row.is_intact:
        return "damaged on the disk: it is no longer what was kept"
    if len(row.body) > BATCH_BYTES:
        return f"{len(row.body)} bytes: larger than a message may be"
    return None
