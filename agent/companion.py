"""A machine that works for another one's units: it does a job for one of them, or tells what it finds."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from agent.counter import Counter
from agent.cycles import Cursor, CycleKey, Relation
from agent.faults import Faults
from agent.settings import MachineSettings
from contracts.errors import LinkError, SetupError
from contracts.measurement import Scalar
from drivers.base import Driver, MachineEvent, Performing, Reading

LAST_ANSWER_S = 2.0
"""Once the station stops, a companion has this long to finish its part of the unit in hand."""

Acknowledge = Callable[[Reading, CycleKey | None], Awaitable[None]]


@dataclass(frozen=True)
class _Said:
    """What a companion said on its own for the job in hand: acknowledged when the record made of it is on disk."""

    reading: Reading
    key: CycleKey | None
    cursor: Cursor | None


class Companion:
    """The part of one machine in another's units. Its own supervisor says when its link stands, and what it says.

    ``acknowledge`` tells the machine that what it said is kept.
    """

    def __init__(
        self, machine: MachineSettings, driver: Driver, counter: Counter, faults: Faults, acknowledge: Acknowledge
    ) -> None:
        self.machine = machine
        self._driver = driver
        self._counter = counter
        self._faults = faults
        self._acknowledge = acknowledge
        self._log = structlog.get_logger().bind(machine=machine.name)
        self._open = asyncio.Event()
        self._away = ""
        self._hired = asyncio.Lock()
        self._asked_at: datetime | None = None
        self._said: asyncio.Queue[_Said] = asyncio.Queue()
        self._used: list[_Said] = []
        self._patience: asyncio.Timeout | None = None
        self._hurried = False

    def connected(self) -> None:
        """The link stands."""
        self._away = ""
        self._open.set()

    def disconnected(self) -> None:
        """The link has ended."""
        self._open.clear()

    def is_away(self, why: str) -> None:
        """Why there is no link."""
        self._away = why

    # -- for whoever hires it ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def hired(self) -> AsyncIterator[None]:
        """As a companion: work for one unit, and for no other at the same time.

        What this machine said before or after is not about that unit: it is told, and belongs to nobody.
        """
        async with self._hired:
            self._asked_at = datetime.now(UTC)
            try:
                yield
            finally:
                self._asked_at = None
                while not self._said.empty():
                    await self._unasked(self._said.get_nowait())
                self._used.clear()

    async def answer(self, job: Mapping[str, Scalar], timeout_s: float) -> Reading | str:
        """While hired: do the job, or report the next thing this machine says; else why there is nothing."""
        try:
            async with asyncio.timeout(min(timeout_s, LAST_ANSWER_S) if self._hurried else timeout_s) as self._patience:
                await self._open.wait()
                if isinstance(self._driver, Performing):
                    return await self._driver.perform(job)
                said = await self._said.get()
                self._used.append(said)
                return said.reading
        except TimeoutError:
            state = "said nothing" if self._open.is_set() else f"was not connected ({self._away or 'still connecting'})"
            when = "before the station was stopped" if self._hurried else f"within {timeout_s:g} s"
            return f"{self.machine.name} {state} {when}"
        except (LinkError, SetupError) as error:
            return f"{self.machine.name}: {error}"
        except Exception as error:  # noqa: BLE001  # the unit's record is made without this companion
            return f"{self.machine.name}: {self._faults.tell(error)}"
        finally:
            self._patience = None

    def hurry(self) -> None:
        """End this wait in answer(), and every later one, soon: the station stops."""
        self._hurried = True
        latest = asyncio.get_running_loop().time() + LAST_ANSWER_S
        patience = self._patience
        if patience is not None and not patience.expired() and (patience.when() or 0.0) > latest:
            patience.reschedule(latest)

    def cursors(self) -> list[Cursor]:
        """While hired: the cursors of what was used, to be kept with the record."""
        return [said.cursor for said in self._used if said.cursor is not None]

    async def release(self) -> None:
        """While hired: the record is on disk, so what was used of this machine's is acknowledged."""
        for said in self._used:
            await self._acknowledge_aside(said)

    # -- for its own supervisor --------------------------------------------------------------------------------------

    async def heard(self, event: MachineEvent, reading: Reading) -> None:
        """The machine said something: it is for the unit in hand, or for none."""
        key, found = await self._counter.look(event, reading)
        if found is not None and found.relation is Relation.REPEAT:
            await self._acknowledge(reading, key)
            return
        cursor = None if found is None else found.cursor
        if cursor is not None and any(_is_same(said.cursor, cursor) for said in self._used):
            return  # said again because it is not acknowledged yet: the record is being made
        said = _Said(reading, key, cursor)
        if self._asked_at is None or event.first or event.signalled_at < self._asked_at:
            await self._unasked(said)
        else:
            self._said.put_nowait(said)

    async def _unasked(self, said: _Said) -> None:
        self._log.warning("companion spoke unasked", values=said.reading.plain())
        if said.cursor is not None:
            await self._counter.keep(said.cursor)
        await self._acknowledge_aside(said)

    async def _acknowledge_aside(self, said: _Said) -> None:
        """A companion's own life notices a lost link; whoever hired it goes on."""
        try:
            await self._acknowledge(said.reading, said.key)
        except (LinkError, SetupError) as error:
            self._log.warning("companion not acknowledged", error=str(error))


def _is_same(one: Cursor | None, other: Cursor) -> bool:
    return one == other and one.content == other.content
