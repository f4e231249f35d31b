"""The life of one machine: open, listen, read, keep, acknowledge, reopen. The one owner of reconnecting."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from agent.cycles import Cursor, Relation, Step, step
from agent.judging import Cycle, judged
from agent.outbox import Outbox
from agent.parsing import cycle_key_of, parse
from agent.settings import MachineSettings, StationSettings
from contracts.criteria import CriteriaSet
from contracts.errors import LinkError, SetupError, StoreError
from contracts.measurement import Scalar
from drivers.base import Acknowledging, Driver, MachineEvent, Performing, Reading
from messaging.lives import live_again_and_again

log = structlog.get_logger()

Kept = TypeVar("Kept")

SETUP_RETRY_S = 30.0
"""A machine with a configuration that cannot work is tried again this often: it may be mended at the machine."""
DISK_RETRY_S = 1.0


class Supervisor:
    """Owns one machine's driver.

    ``companions`` are supervisors of machines that work for this one's units; ``kept`` is called when a result is on
    disk.
    """

    def __init__(
        self,
        machine: MachineSettings,
        settings: StationSettings,
        criteria: CriteriaSet,
        driver: Driver,
        outbox: Outbox,
        software: str,
        companions: Mapping[str, "Supervisor"],
        kept: Callable[[], None],
    ) -> None:
        self._machine = machine
        self._settings = settings
        self._criteria = criteria
        self._driver = driver
        self._outbox = outbox
        self._software = software
        self._companions = companions
        self._kept = kept
        self._log = log.bind(machine=machine.name)
        self._open = asyncio.Event()
        self._told = ""
        self._readings: asyncio.Queue[Reading] = asyncio.Queue()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Live until stop(); a lost link is opened again, with growing waits."""
        reconnect = self._machine.reconnect
        await live_again_and_again(
            self._life,
            lost=self._lost,
            first_wait_s=reconnect.initial,
            longest_wait_s=reconnect.max,
            pause=self._pause,  # ends at stop(): a machine that is away does not hold the station
        )

    def stop(self) -> None:
        """Finish the cycle in hand, then end."""
        self._stopping.set()

    async def answer(self, job: Mapping[str, Scalar], timeout_s: float) -> Reading | str:
        """As a companion: do the job, or report the next thing this machine says; else why there is nothing."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._open.wait()
                if isinstance(self._driver, Performing):
                    return await self._driver.perform(job)
                return await self._readings.get()
        except TimeoutError:
            state = "said nothing" if self._open.is_set() else f"was not connected ({self._told or 'still connecting'})"
            return f"{self._machine.name} {state} within {timeout_s:g} s"
        except LinkError as error:
            return f"{self._machine.name}: {error}"

    def forget(self) -> None:
        """As a companion: what was said before the job began is not about it."""
        while not self._readings.empty():
            self._log.warning("companion spoke unasked", values=_values(self._readings.get_nowait()))

    # -- one life of the link ----------------------------------------------------------------------------------------

    async def _life(self) -> None:
        while not self._stopping.is_set():
            try:
                try:
                    await self._driver.open()
                    self._log.info("machine connected", again=bool(self._told))
                    self._told = ""
                    self._open.set()
                    await self._listen()
                    return
                finally:
                    self._open.clear()
                    await self._driver.close()
            except SetupError as error:
                self._tell("machine set up wrongly", error)
                await self._pause(SETUP_RETRY_S)

    async def _listen(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        event: asyncio.Task[MachineEvent] | None = None
        try:
            while not self._stopping.is_set():
                event = asyncio.create_task(self._driver.next_event())
                await asyncio.wait({event, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    return
                await self._cycle(event.result())
        finally:
            for task in (stopping, event):
                if task is not None and not task.done():
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)

    async def _cycle(self, event: MachineEvent) -> None:
        reading = await self._driver.read(event)
        if not self._machine.records:
            self._readings.put_nowait(reading)
            return
        key = cycle_key_of(self._machine, reading)
        found: Step | None = None
        if key is not None:
            cursor = await self._keep(lambda: self._outbox.cursor(self._machine.name))
            found = step(cursor, self._machine.name, key, self._machine.counter_modulus)
            if found.relation is Relation.REPEAT:
                await self._acknowledge(reading, key)
                return
            if found.relation is Relation.FIRST and event.first and (self._without_handshake() or key == 0):
                baseline = found.cursor
                # What stood there before this station first listened is the baseline, not a result of ours.
                await self._keep(lambda: self._outbox.keep_cursor(baseline))
                return
            if found.missed is None or found.missed > 0:
                self._log.warning("results missed", missed=found.missed, cycle_key=key)
        elif event.first and self._machine.cycle_key is None and self._without_handshake():
            return
        await self._record(event, reading, found)
        await self._acknowledge(reading, key)

    async def _record(self, event: MachineEvent, reading: Reading, found: Step | None) -> None:
        answers: dict[str, tuple[MachineSettings, Reading | str]] = {}
        job = self._job(reading)
        for companion in self._companions.values():
            companion.forget()
        for wanted in self._machine.companions:
            other = self._companions[wanted.machine]
            answers[wanted.machine] = (other._machine, await other.answer(job, wanted.timeout))
        parsed = parse(self._machine, reading, self._criteria, answers)
        cursor_unknown = found is None or (found.relation is Relation.FIRST and event.first)
        cycle = Cycle(
            machine=self._machine.name,
            completed_at=datetime.now(UTC) if event.first else event.signalled_at.astimezone(UTC),
            source_timestamp=_source_timestamp(self._machine, reading),
            step=found,
            possible_repeat=cursor_unknown and (event.first or self._machine.cycle_key is None),
            raw=reading.raw,
        )
        record = judged(parsed, cycle, self._settings, self._criteria, self._software)
        cursor: Cursor | None = found.cursor if found is not None else None
        seq = await self._keep(lambda: self._outbox.append(record, cursor))
        self._kept()
        self._log.info(
            "result kept",
            seq=seq,
            outcome=record.outcome.value,
            serial_number=record.serial_number,
            cycle_key=record.cycle_key,
        )

    async def _keep(self, work: Callable[[], Awaitable[Kept]]) -> Kept:
        """Until the disk takes it: a full disk stops acknowledging the machine and loses nothing."""
        told = False
        while True:
            try:
                return await work()
            except StoreError as error:
                if not told:
                    self._log.error("result not kept, machine not acknowledged", error=str(error))
                    told = True
                if self._stopping.is_set():
                    raise LinkError(f"{self._machine.name}: stopped while the disk refused a result") from error
                await self._pause(DISK_RETRY_S)

    async def _acknowledge(self, reading: Reading, key: Scalar | None) -> None:
        if isinstance(self._driver, Acknowledging):
            await self._driver.acknowledge(reading, key)

    def _without_handshake(self) -> bool:
        return getattr(self._machine.protocol_settings, "acknowledge", None) is None

    def _job(self, reading: Reading) -> dict[str, Scalar]:
        parsed = parse(self._machine, reading)
        job: dict[str, Scalar] = {"date": datetime.now(UTC).date().isoformat()}
        given = {
            "serial_number": parsed.serial_number,
            "lot_number": parsed.lot_number,
            "product_model": parsed.product_model or self._settings.product_model,
        }
        return job | {name: value for name, value in given.items() if value is not None}

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _lost(self, error: LinkError) -> None:
        self._tell("machine link lost", error)

    def _tell(self, event: str, error: Exception) -> None:
        """Once when lost, not at every attempt."""
        if self._told != str(error):
            self._log.warning(event, error=str(error))
            self._told = str(error)


def _source_timestamp(machine: MachineSettings, reading: Reading) -> datetime | None:
    point = reading.values.get(machine.cycle_key) if machine.cycle_key is not None else None
    return point.source_timestamp if point is not None else None


def _values(reading: Reading) -> dict[str, object]:
    return {name: point.value for name, point in reading.values.items()}
