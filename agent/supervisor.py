"""The life of one machine: open, listen, read, keep, acknowledge, reopen. The one owner of reconnecting."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from agent.clock import CentralClock
from agent.companion import Companion
from agent.conditions import Conditions
from agent.counter import Counter
from agent.criteria import StationCriteria
from agent.cycles import Relation, Step
from agent.dialogue.driver import DialogueDriver
from agent.disk import PatientDisk, within
from agent.faults import Faults
from agent.golden import GoldenSamples
from agent.history import Line
from agent.interlock import Interlock
from agent.judging import Cycle, told_of, unjudged
from agent.machine_clock import machines_own_time
from agent.making import Making, Said
from agent.outbox import Outbox
from agent.permits import Permits
from agent.results import Results
from agent.scans import Scans
from agent.settings import MachineSettings, StationSettings
from agent.told import Told
from contracts.errors import LinkError, SetupError
from contracts.measurement import Scalar
from drivers.base import (
    Acknowledging,
    Conditioned,
    Driver,
    MachineEvent,
    MachineRequest,
    Measuring,
    Outcomes,
    Reading,
)
from messaging.lives import live_again_and_again

log = structlog.get_logger()

BEGUN_NOTE = "begun:"
NOT_PERMITTED = "for no permit was given for this unit; let the machine ask again (interlock)"
SETUP_RETRY_S = 30.0
"""A machine with a configuration that cannot work is tried again this often: it may be mended at the machine."""


_MOST_ARRIVED = 1000
"""Results that have arrived and are still handled at the end; a machine that never pauses ends all the same."""


class Supervisor:
    """Owns one machine's driver.

    ``companions`` are machines that work for this one's units, ``companion`` is this one's own part in another's;
    ``kept`` is called when a result is on disk. ``scans`` are what the machine's scanner has read; a machine without
    records that has them is the scanner. ``dialogue`` is what waits for what this machine says. ``faults`` counts
    mistakes of the program itself: they end a life of the link, never the station. ``conditions`` are what the machine
    says keeps it from working. ``results`` is told of each record that is on disk.
    """

    def __init__(
        self,
        machine: MachineSettings,
        settings: StationSettings,
        criteria: StationCriteria,
        driver: Driver,
        outbox: Outbox,
        software: str,
        companions: Mapping[str, Companion],
        kept: Callable[[], None],
        clock: CentralClock,
        scans: Scans | None = None,
        interlock: Interlock | None = None,
        dialogue: DialogueDriver | None = None,
        results: Results | None = None,
    ) -> None:
        self._dialogue = dialogue
        self._results = results or Results()
        self._machine = machine
        self._settings = settings
        self._criteria = criteria
        self._driver = driver
        self._outbox = outbox
        self._software = software
        self._companions = companions
        self._kept = kept
        self._clock = clock
        self._scans = scans
        self._log = log.bind(machine=machine.name)
        self._interlock = interlock or Interlock(settings, outbox)
        asking = machine.protocol_settings.asking()
        process = settings.station.process
        self._golden = (
            None if machine.golden is None else GoldenSamples(machine, machine.golden, process, outbox, clock)
        )
        self._permits = (
            Permits(machine, asking, settings, criteria, driver, outbox, self._interlock, software, clock, self._golden)
            if asking is not None
            else None
        )
        self._making = Making(machine, settings, criteria, self._golden, software)
        self._begun = BEGUN_NOTE + machine.name
        self._told = ""
        self.connected_at: datetime | None = None
        """Since when the link stands; None: it does not."""
        self._stopping = asyncio.Event()
        self._disk = PatientDisk(machine.name, self._stopping)
        self.faults = Faults(self._log)
        self.conditions = Conditions(self._log)
        self._counter = Counter(machine, outbox, self._disk, self.conditions)
        self.companion = Companion(machine, driver, self._counter, self.faults, self._acknowledge)
        if isinstance(driver, Conditioned):
            driver.watch_conditions(self.conditions.heard)

    @property
    def figures(self) -> Mapping[str, float]:
        """What the driver measures of its link, by names that end in their unit."""
        return dict(self._driver.figures()) if isinstance(self._driver, Measuring) else {}

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

    @property
    def trouble(self) -> str:
        """Why the link does not stand, as far as is known; empty: it does, or was not tried yet."""
        return self._told

    def stop(self) -> None:
        """Finish the cycle in hand, then end. A companion that is still awaited gets little time."""
        self._stopping.set()
        for companion in self._companions.values():
            companion.hurry()

    # -- as a scanner ------------------------------------------------------------------------------------------------

    async def _scan(self, event: MachineEvent, reading: Reading) -> None:
        """Its number is on disk before it is acknowledged: after a crash it is known, and is about no unit."""
        assert self._scans is not None
        key, found = await self._counter.look(event, reading)
        if found is not None:
            if found.relation is Relation.REPEAT:
                await self._acknowledge(reading, key)
                return
            await self._counter.keep(found.cursor)
        if event.gap or (found is not None and found.missed != 0):
            self._scans.forget("the scanner read something since that did not arrive")
        if not event.first:
            self._scans.heard(event, reading)
        await self._acknowledge(reading, key)

    # -- as a tool of a dialogue -------------------------------------------------------------------------------------

    async def _tool(self, dialogue: DialogueDriver, event: MachineEvent, reading: Reading) -> None:
        """What it says is in the dialogue, on disk, before it is acknowledged."""
        key, found = await self._counter.look(event, reading)
        if found is None or found.relation is not Relation.REPEAT:
            await dialogue.heard(self._machine.name, event, reading)
            if found is not None:
                await self._counter.keep(found.cursor)
        await self._acknowledge(reading, key)

    # -- one life of the link ----------------------------------------------------------------------------------------

    async def _life(self) -> None:
        while not self._stopping.is_set():
            try:
                with self.faults.as_lost_link():
                    await self._one_life()
            except SetupError as error:
                self._tell("machine set up wrongly", error)
                await self._pause(SETUP_RETRY_S)
            else:
                return

    async def _one_life(self) -> None:
        try:
            if not await self._opened():
                return
            self._log.info("machine connected", again=bool(self._told))
            self._told = ""
            self.connected_at = datetime.now(UTC)
            self.companion.connected()
            await self._listen()
        finally:
            self.connected_at = None
            self.companion.disconnected()
            if self._scans is not None and not self._machine.records:
                self._scans.forget("the link to the scanner ended")
            await self._driver.close()

    async def _opened(self) -> bool:
        """Open the driver. False when the station was stopped first: a machine may take long to be absent."""
        opening = asyncio.create_task(self._driver.open())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
            return opening.done()
        finally:
            await _end(opening, stopping)

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
            await self._finish_what_arrived()
        finally:
            await _end(stopping, event)

    async def _finish_what_arrived(self) -> None:
        """What a machine has sent by itself and nobody took yet would be lost with the driver that holds it."""
        for _ in range(_MOST_ARRIVED):
            event = asyncio.create_task(self._driver.next_event())
            try:
                await asyncio.sleep(0)
                if not event.done():
                    return
                await self._cycle(event.result())
            finally:
                await _end(event)

    async def _cycle(self, event: MachineEvent) -> None:
        if isinstance(event, MachineRequest):
            assert self._permits is not None, "a machine asks where its settings say so"
            await self._permits.handle(event)
            self._kept()
            return
        reading = await self._driver.read(event)
        if self._dialogue is not None:
            await self._tool(self._dialogue, event, reading)
            return
        if not self._machine.records:
            await (self.companion.heard if self._scans is None else self._scan)(event, reading)
            return
        key, found = await self._counter.look(event, reading)
        if found is not None:
            if found.relation is Relation.REPEAT:
                await self._acknowledge(reading, key)
                return
            if self._is_baseline(event, found):
                if found.relation is Relation.NEW_EPOCH:
                    self._log.warning("machine restarted, results may be missed", cycle_key=key)
                await self._counter.keep(found.cursor)
                return
            if found.missed is None or found.missed > 0:
                self._log.warning("results missed", missed=found.missed, cycle_key=key)
        elif self._machine.cycle_key is not None:
            if reading.raw is None:
                # It stays where it is: without its number it would be recorded again at every look.
                raise LinkError(f"{self._machine.name}: the cycle key (point {self._machine.cycle_key}) cannot be read")
        elif event.first and self._without_handshake():
            return
        await self._record(event, reading, found)
        await self._acknowledge(reading, key)

    def _is_baseline(self, event: MachineEvent, found: Step) -> bool:
        """What stands there before a first result is no result: as this station starts to listen, or at 0."""
        if event.payload is not None:
            return False
        nothing_yet = found.cursor.key in (0, "")
        if found.relation is Relation.FIRST:
            return event.first and (nothing_yet or self._without_handshake())
        return found.relation is Relation.NEW_EPOCH and nothing_yet

    async def _record(self, event: MachineEvent, reading: Reading, found: Step | None) -> None:
        async with AsyncExitStack() as work:
            # Always in the same order: two machines that share two companions would else wait for each other.
            for name in sorted(self._companions):
                await work.enter_async_context(self._companions[name].hired())
            missed = found.missed if found is not None else int(event.gap)
            is_the_next = missed == 0 and not event.first
            scanned = None if self._scans is None else self._scans.before(event, is_the_next=is_the_next)
            told = Told() if self._permits is None else await self._permits.told()
            said = Said(reading, scanned, told)
            job = self._making.job(said) if self._companions else None
            answers: dict[str, tuple[MachineSettings, Reading | str]] = {}
            if job is not None:
                said = replace(said, again=await self._begins_again(job, found))
                answers = await self._answers(job, told)
            await self._keep_record(event, found, said, answers)
            if self._scans is not None:
                self._scans.used()
            for companion in self._companions.values():
                await companion.release()

    async def _answers(self, job: Mapping[str, Scalar], told: Told) -> dict[str, tuple[MachineSettings, Reading | str]]:
        """What each companion says of this job, one after the other."""
        answers: dict[str, tuple[MachineSettings, Reading | str]] = {}
        for wanted in self._machine.companions:
            other = self._companions[wanted.machine]
            if wanted.needs_permit and self._permits is not None and not told.is_of(str(job.get("serial_number"))):
                answers[wanted.machine] = (other.machine, f"{wanted.machine}: not asked, {NOT_PERMITTED}")
            else:
                answers[wanted.machine] = (other.machine, await other.answer(job, wanted.timeout))
        return answers

    async def _begins_again(self, job: Mapping[str, Scalar], found: Step | None) -> bool:
        """Whether this very job was begun before, and its record was not kept: a label may be there already.

        Only of machines with companions that need a permit; it is noted on disk before they are asked.
        """
        if found is None or not any(wanted.needs_permit for wanted in self._machine.companions):
            return False
        begun = f"{found.cursor.epoch} {found.cursor.key} {job.get('serial_number')}"
        before = await self._disk.keep(lambda: self._outbox.note(self._begun))
        if before != begun:
            await self._disk.keep(lambda: self._outbox.keep_note(self._begun, begun))
        return before == begun

    async def _keep_record(
        self,
        event: MachineEvent,
        found: Step | None,
        said: Said,
        answers: Mapping[str, tuple[MachineSettings, Reading | str]],
    ) -> None:
        reading = said.reading
        # Without a last key to compare with, this may be a result that was kept before a crash.
        unknown = found is None or (found.relation is Relation.FIRST and event.first)
        completed_at = datetime.now(UTC) if event.first else event.signalled_at.astimezone(UTC)
        source_timestamp, source_clock_off = machines_own_time(self._machine, event, reading, completed_at)
        cycle = Cycle(
            machine=self._machine.name,
            completed_at=completed_at,
            source_timestamp=source_timestamp,
            source_clock_off=source_clock_off,
            gap=event.gap,
            step=found,
            possible_repeat=unknown,
            raw=reading.raw,
            clock_offset_seconds=self._clock.offset_s(),
            completed_within_seconds=None if event.first else self._clock.within_s(),
        )
        try:
            record = self._making.record(said, cycle, answers)
        except Exception as error:  # noqa: BLE001  # the result exists, whatever we think of it: a message comes once
            raw = reading.raw if reading.raw is not None else ascii(reading.plain()).encode()
            record = unjudged(replace(cycle, raw=raw), self._settings, self._software, self.faults.tell(error))
        cursors = [found.cursor] if found is not None else []
        for companion in self._companions.values():
            cursors += companion.cursors()
        can_wait = not self._without_handshake()
        notes: Mapping[str, str] = {}
        if self._permits is not None:
            record, notes = await self._permits.permit_of(record)
        if self._golden is not None:
            record, noted = await self._golden.checked(record)
            notes = {**notes, **noted}
        seq = await self._disk.keep(lambda: self._outbox.append(record, *cursors, notes=notes, can_wait=can_wait))
        self._interlock.worked(record)
        if isinstance(self._driver, Outcomes):
            self._driver.outcome(record.outcome.value)
        self._kept()
        self._results.kept(seq, record)
        if self._results.history is not None:
            companions = {name: answer for name, (_, answer) in answers.items()}
            self._results.history.kept(partial(Line.of, seq, record, reading, companions, said.scanned))
        self._log.info("result kept", seq=seq, **told_of(record))

    async def _acknowledge(self, reading: Reading, key: Scalar | None) -> None:
        if isinstance(self._driver, Acknowledging):
            await self._driver.acknowledge(reading, key)

    def _without_handshake(self) -> bool:
        return getattr(self._machine.protocol_settings, "acknowledge", None) is None

    async def _pause(self, seconds: float) -> None:
        await within(seconds, self._stopping)

    def _lost(self, error: LinkError) -> None:
        self._tell("machine link lost", error)

    def _tell(self, event: str, error: Exception) -> None:
        """Once when lost, not at every attempt."""
        if self._told != str(error):
            self._log.warning(event, error=str(error))
            self._told = str(error)
            self.companion.is_away(self._told)


async def _end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel what still runs, and wait for its end."""
    running = [task for task in tasks if task is not None and not task.done()]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
