"""Outbox -> MQTT, commit acknowledgements back: one connection after another, to one broker or the next.

A row is settled only by central's commit. The broker's PUBACK proves the broker's custody and no more.
"""

import asyncio
import uuid
from collections.abc import Sequence

import structlog

from agent.clock import CentralClock
from agent.conversation import Conversation, Speaker
from agent.criteria import StationCriteria
from agent.faults import Faults
from agent.interlock import Interlock
from agent.outbox import Outbox
from agent.settings import StationSettings
from contracts.errors import LinkError, RefusedError, SetupError, StoreError
from messaging.broker import BrokerAddress
from messaging.lives import live_again_and_again
from messaging.session import Session, Will

log = structlog.get_logger()

GOODBYE_S = 2.0
SILENCE_S = 30.0
"""Where there are several brokers, central is waited for this long at one; twice as long each time round."""
LONGEST_SILENCE_S = 300.0


class Uplink:
    """Delivers the outbox's streams to central, as long as it runs.

    The addresses are tried in turn: the next one when one is lost, cannot be reached, or central is not heard there.
    ``faults`` counts mistakes of the program itself: they end a connection, never the station.
    """

    def __init__(
        self,
        settings: StationSettings,
        addresses: Sequence[BrokerAddress],
        outbox: Outbox,
        software: str,
        clock: CentralClock | None = None,
        interlock: Interlock | None = None,
        criteria: StationCriteria | None = None,
    ) -> None:
        self._interlock = interlock or Interlock(settings, outbox)
        self._addresses = list(addresses)
        self._outbox = outbox
        self._clock = clock or CentralClock()
        self._criteria = criteria or StationCriteria(settings, self._clock)
        self._speaker = Speaker(settings, outbox, software, uuid.uuid4().hex)
        self._resend_after_s = settings.resend_after
        self._silence_s = SILENCE_S
        self._more = asyncio.Event()
        self._stopping = asyncio.Event()
        self._told: set[str] = set()
        self._conversation: Conversation | None = None
        self.trouble = ""
        """Why there is no broker, or was none last; empty: nothing went wrong since the last connection."""
        self.broker: str | None = None
        """The broker that is connected; None: none is."""
        self.faults = Faults(log)

    @property
    def central_is_heard(self) -> bool:
        """Whether central has spoken on this connection."""
        return self._conversation is not None and self._conversation.is_heard

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

    async def _connection(self) -> None:
        session = await self._connected()
        if session is None:
            return
        conversation = Conversation(
            session,
            self._speaker,
            self._outbox,
            self._clock,
            self._resend_after_s,
            self._more,
            self._interlock,
            self._criteria.heard,
        )
        self._conversation, self.broker, self.trouble = conversation, str(self._addresses[0]), ""
        try:
            await conversation.hello()
            self._interlock.attach(session)
            await self._first_of(
                asyncio.create_task(conversation.listen()),
                asyncio.create_task(conversation.send()),
                asyncio.create_task(self._expect(conversation)),
            )
            await self._goodbye(session)
        except LinkError:
            self._take_next_address()
            raise
        finally:
            self._conversation = self.broker = None
            self._interlock.detach()
            self._outbox.live = False
            await session.close()

    async def _connected(self) -> Session | None:
        """A session with the first broker that takes one; None when stop() came first. Raises LinkError."""
        errors: list[str] = []
        station = self._speaker.station
        for _ in range(len(self._addresses)):
            address = self._addresses[0]
            session = Session(
                address,
                client_id="-".join(("neurohub-agent", station.site, station.line, station.id)),
                will=Will(
                    self._speaker.topics.state,
                    (await self._speaker.birth(online=False)).model_dump_json().encode(),
                ),
            )
            opened = False
            try:
                topics = [self._speaker.topics.commits, self._speaker.criteria_topic, *self._interlock.topics]
                opening = asyncio.create_task(session.open(topics))
                opened = await self._first_of(opening) is not None
            except LinkError as error:
                errors.append(str(error))
            except SetupError as error:
                # The machines' results are kept meanwhile; somebody may mend it without a restart.
                errors.append(f"uplink set up wrongly: {error}")
            finally:
                if not opened:
                    await session.close()
            if opened:
                log.info("broker connected", broker=str(address))
                self._told.clear()
                return session
            if self._stopping.is_set():
                return None
            self._take_next_address()
        raise LinkError("; ".join(errors))

    def _take_next_address(self) -> None:
        self._addresses.append(self._addresses.pop(0))

    async def _expect(self, conversation: Conversation) -> None:
        """Where there is another broker: raises LinkError when central is not heard at this one."""
        if len(self._addresses) == 1:
            await self._stopping.wait()
            return
        await conversation.silence(self._silence_s)
        self._silence_s = SILENCE_S if conversation.is_heard else min(2 * self._silence_s, LONGEST_SILENCE_S)
        raise LinkError(f"central is not heard at broker {self._addresses[0]}, trying the next")

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

    async def _goodbye(self, session: Session) -> None:
        try:
            async with asyncio.timeout(GOODBYE_S):
                state = (await self._speaker.birth(online=False)).model_dump_json().encode()
                await (await session.publish(self._speaker.topics.state, state, retain=True))
        except (TimeoutError, LinkError, StoreError) as error:
            log.info("broker gone before goodbye", error=str(error))

    def _lost(self, error: LinkError) -> None:
        self.trouble = str(error)
        if isinstance(error, RefusedError):
            return  # told once, however often a connection ends by it
        if str(error) not in self._told:
            log.warning("broker link lost", error=str(error))
            self._told.add(str(error))
