"""What agent and central say to each other over one connection: births, records out, commits in (design.md)."""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import structlog
from pydantic import ValidationError

from agent.clock import CentralClock
from agent.delivery import BATCH_BYTES, LONGEST_SILENCE_S, Delivery, Lane
from agent.interlock import Interlock
from agent.outbox import Apart, Outbox, Row
from agent.settings import StationSettings
from contracts.envelope import (
    MAX_MESSAGE_BYTES,
    PROPERTY_INSTANCE,
    PROPERTY_SEQS,
    PROPERTY_STREAM,
    Birth,
    Commit,
    Range,
    RecordsHeader,
    encode_records,
    ranges_of,
    seqs_as_text,
    successor,
)
from contracts.errors import LinkError, RefusedError
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
        self._refused: dict[str, str] = {}

    def troubles(self) -> tuple[str, ...]:
        """What keeps the station from keeping or delivering results, in a technician's words."""
        return (*self._outbox.troubles(), *self._refused.values())

    def heard(self, topic: str, custody: "asyncio.Future[None]") -> None:
        """What became of a message: a broker whose access list forbids it is told once, until it takes one again."""
        error = None if custody.cancelled() else custody.exception()
        if isinstance(error, RefusedError):
            if topic not in self._refused:
                log.error("the broker does not take our messages: allow it in its access list", error=str(error))
            self._refused[topic] = f"{error}; allow it in the broker's access list"[:500]
        elif error is None and not custody.cancelled() and self._refused.pop(topic, None) is not None:
            log.info("the broker takes our messages again", topic=topic)

    async def birth(self, *, online: bool, compare_from: Mapping[str, int | None] = MappingProxyType({})) -> Birth:
        """What the station says of itself now, and from where on it asks what of its streams is its own. Raises
        StoreError."""
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
            earlier=tuple(
                held.model_copy(update={"compare_from": compare_from.get(held.stream_id)}) for held in state.earlier
            ),
            parked=state.parked,
            troubles=self.troubles(),
            compare_from=compare_from.get(state.stream_id),
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
        self._ask_patience_s = resend_after_s
        self._untold: dict[str, Apart] = {}
        self._answered: set[str] = set()
        self._refusal: LinkError | None = None
        self._unacknowledged = 0
        self._turn = asyncio.Lock()
        self._waiting_since: float | None = None
        self.is_heard = False

    async def hello(self) -> None:
        """Say what the station holds; central answers with what it has of it. Raises LinkError, StoreError."""
        asked = {name: apart.ask_from for name, apart in self._untold.items()}
        birth = await self._speaker.birth(online=True, compare_from=asked)
        self._told, self._told_at = birth, self._clock.since_boot()
        self._answered.clear()
        self._stream_id = birth.stream_id
        held = [birth.stream_id, *(stream.stream_id for stream in birth.earlier)]
        for name in held:
            if name not in self._deliveries:
                self._untold[name] = Apart()
        self._untold = {name: apart for name, apart in self._untold.items() if name in held}
        self._deliveries = {
            name: self._deliveries.get(name) or Delivery(self._outbox, name, self._resend_after_s) for name in held
        }
        self._outbox.live = self._stream_id not in self._untold
        topic = self._speaker.topics.state
        custody = await self._session.publish(topic, birth.model_dump_json().encode(), retain=True)
        custody.add_done_callback(lambda done: self._speaker.heard(topic, done))
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
        if delivery is None or message.retain:
            return  # what is retained was said before we were here
        assert self._told is not None, "say hello first"
        self._outbox.central_at = commit.at
        is_answer, asked_at = commit.answers == self._told.at, self._told_at
        if is_answer:
            self._note_answer(commit.stream_id)
        taken = commit.taken.get(self._speaker.instance, ())
        await self._settle(commit, taken)
        now = self._clock.since_boot()
        measured = delivery.take(taken, now)
        if not (delivery.commit is not None and commit.is_late(delivery.commit)) and await self._is_told(commit):
            await delivery.adopt(commit, self._last_seq(delivery))
        self.is_heard = True
        is_owed = self._is_asking or any(one.due_at < math.inf for one in self._deliveries.values())
        self._waiting_since = now if is_owed else None
        if is_answer:
            measured = max(measured or 0.0, asked_at)
        if measured is not None and self._clock.heard(measured, commit.at):
            await self._outbox.keep_note(CLOCK_NOTE, self._clock.as_note())
        self._more.set()

    def _note_answer(self, stream_id: str) -> None:
        self._answered.add(stream_id)
        if stream_id == self._stream_id:
            # It is answered last: of the others, those without an answer are not ours, says central.
            self._outbox.refused = tuple(sorted(self._untold.keys() - self._answered))

    @property
    def _is_asking(self) -> bool:
        """True while central owes us an answer."""
        return bool(self._untold.keys() - set(self._outbox.refused))

    async def _settle(self, commit: Commit, taken: Sequence[Range]) -> None:
        """What central took from this process it holds in our very content, whoever else writes in the stream."""
        if not (taken or commit.disputed):
            return
        settled = await self._outbox.settle(commit.stream_id, taken, commit.disputed)
        if settled.disputed:
            self._tell_disputed(commit.stream_id, settled.disputed)

    async def _is_told(self, commit: Commit) -> bool:
        """Whether it is told what of this stream is ours: while another may write in it, numbers alone say nothing.

        Central's answer to our birth is compared with what is not settled here, and once more whenever somebody else
        turns out to write in the present stream. Asks central where it has to be asked.
        """
        name = commit.stream_id
        if name in self._untold and name not in self._answered:
            return False
        is_present = name == self._stream_id
        copied = is_present and self._speaker.instance in commit.mint
        if name not in self._untold:
            if not (copied or (is_present and commit.highest > await self._outbox.sent())):
                return True
            # An older image of this outbox was restored, or a copy of it runs beside us.
            self._doubt(name, Apart())
        self._ask_patience_s = self._resend_after_s
        apart = await self._outbox.tell_apart(commit, self._untold[name].others, anew=copied)
        if apart.disputed:
            self._tell_disputed(name, apart.disputed)
        if apart.ask_from is not None:
            self._untold[name] = apart
            await self.hello()
            return False
        del self._untold[name]
        self._outbox.refused = tuple(one for one in self._outbox.refused if one != name)
        if apart.others:
            log.error(
                "another agent used our numbers: these results move on", stream_id=name, records=len(apart.others)
            )
            if (moved_to := successor(name)) in self._deliveries:
                self._doubt(moved_to, Apart())
        if self._outbox.stream_id != self._stream_id:
            log.error(
                "another agent writes in this stream: new stream"
                if copied or apart.others
                else "central knows more of this stream than the outbox: new stream",
                stream_id=self._outbox.stream_id,
            )
        if apart.others or self._outbox.stream_id != self._stream_id:
            await self.hello()
        self._outbox.live = self._stream_id not in self._untold
        return name in self._deliveries

    def _doubt(self, name: str, apart: Apart) -> None:
        """Send nothing of this stream until it is told what of it is ours."""
        self._untold[name] = apart
        self._deliveries[name].hold()
        if name == self._stream_id:
            self._outbox.live = False

    def _tell_disputed(self, stream_id: str, records: int) -> None:
        log.error(
            "results disputed: another agent used their numbers; central keeps both in quarantine",
            stream_id=stream_id,
            records=records,
        )

    # -- records out -------------------------------------------------------------------------------------------------

    async def _send_batch(self) -> bool:
        """Send the next batch. False when there is nothing to send for now."""
        # A commit that is adopted meanwhile would renumber or settle what is about to be sent.
        async with self._turn:
            if self._refusal is not None:
                raise self._refusal
            if self._outbox.stream_id != self._stream_id:
                raise LinkError("the outbox began a new stream")
            if self._told is not None and self._told.troubles != self._speaker.troubles():
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
                PROPERTY_SEQS: seqs_as_text(ranges_of([row.seq for row in rows])),
                PROPERTY_INSTANCE: self._speaker.instance,
            },
        )
        self._unacknowledged += len(payload)
        custody.add_done_callback(lambda done: self._custody_ended(done, len(payload)))
        return custody

    def _custody_ended(self, custody: "asyncio.Future[None]", size: int) -> None:
        """A broker that refuses a record (an ACL) is told, also where nobody waits for its answer."""
        self._unacknowledged -= size
        self._speaker.heard(self._speaker.topics.records, custody)
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
        """Until there is something new; without an answer or progress for a while, ask or send again."""
        due_at = min((delivery.due_at for delivery in self._deliveries.values()), default=math.inf)
        if self._is_asking:
            due_at = min(due_at, self._told_at + self._ask_patience_s)
        rest_s = None if due_at == math.inf else max(0.0, due_at - self._clock.since_boot())
        try:
            async with asyncio.timeout(rest_s):
                await self._more.wait()
        except TimeoutError:
            pass
        async with self._turn:
            now = self._clock.since_boot()
            for delivery in list(self._deliveries.values()):
                await self._send_again(delivery, now)
            if self._is_asking and now >= self._told_at + self._ask_patience_s:
                log.warning("central has not answered, asking again")
                self._ask_patience_s = min(2 * self._ask_patience_s, max(LONGEST_SILENCE_S, self._resend_after_s))
                await self.hello()

    async def _send_again(self, delivery: Delivery, now: float) -> None:
        """What has been under way for too long is sent again; where central has something under its number, only when
        it is told that this is not ours."""
        span = delivery.silent_for_too_long(now)
        if span is None or delivery.commit is None:
            return
        doubtful = await self._outbox.in_doubt(delivery.commit)
        if doubtful is not None:
            self._doubt(delivery.stream_id, Apart(ask_from=doubtful))
            await self.hello()
            return
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
