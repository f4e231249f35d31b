"""What each kind of fault does to the line, and how it is undone."""

import asyncio
import contextlib
import json
import resource
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from contracts.errors import LinkError
from tests.chaos.history import Disturbance
from tests.chaos.kept_running import KeptRunning
from tests.chaos.line import Line, Station
from tests.chaos.machines import Machine
from tests.chaos.schedule import Fault, Kind
from tests.support.relay import Relay

NO_ROOM = (0, resource.RLIM_INFINITY)
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
LATE_S = 1.5
HOURS = 12
MESSAGES = 40
SHARED, BACKLOG_S = 0.7, 5.0
"""Of the copied outboxes, this share is copied while up to so many seconds of results are not delivered yet."""
DELIVERED_WITHIN_S = 300.0
RECOVERS_WITHIN_S = 60.0
"""After something of a station is mended its agent has this long to look at its machines again."""


class StuckError(Exception):
    """The line does not come back although everything is mended. The text says what is missing."""


class Breaking:
    """Does the faults of a schedule to a line, each at its time; what is done is written to ``log``.

    One thing is broken by one fault at a time: a fault whose turn comes while its target is still broken waits.
    """

    def __init__(self, line: Line, log: Path) -> None:
        self._line = line
        self._log = log
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.done: list[Fault] = []
        self.broken: set[Fault] = set()
        self.repeated_messages = 0

    async def carry_out(self, faults: list[Fault]) -> None:
        """All of them. Returns when the last is undone."""
        began = asyncio.get_running_loop().time()

        async def one(fault: Fault) -> None:
            await asyncio.sleep(max(0.0, began + fault.at_s - asyncio.get_running_loop().time()))
            async with self._turns[_thing(fault)]:
                self.broken.add(fault)
                self._write(fault, "begins")
                try:
                    async with self._seen_by_stations(fault):
                        await self._break(fault)
                except (AssertionError, TimeoutError) as error:
                    raise StuckError(f"{fault}: {type(error).__name__} {error}") from error
                finally:
                    self.broken.discard(fault)
                self._write(fault, "is undone")
                self.done.append(fault)

        async with asyncio.TaskGroup() as all_of_them:
            for fault in faults:
                all_of_them.create_task(one(fault))

    @asynccontextmanager
    async def _seen_by_stations(self, fault: Fault) -> AsyncIterator[None]:
        """A station that is away, or whose disk refuses, does not see everything that a counting machine shows."""
        station = fault.target.partition(".")[0]
        disturbance = Disturbance(station, self._line.clock.now())
        if station in self._line.stations:
            self._line.history.disturbances.append(disturbance)
        try:
            yield
        finally:
            disturbance.to_s = self._line.clock.now() + RECOVERS_WITHIN_S

    async def _break(self, fault: Fault) -> None:
        line, kind = self._line, fault.kind
        match kind:
            case Kind.AGENT_KILLED:
                await _killed(line.stations[fault.target].agent, fault.lasts_s)
            case Kind.INGESTOR_KILLED:
                await _killed(line.ingestors[fault.target], fault.lasts_s)
            case Kind.AGENT_PAUSED:
                await _paused(line.stations[fault.target].agent, fault.lasts_s)
            case Kind.INGESTOR_PAUSED:
                await _paused(line.ingestors[fault.target], fault.lasts_s)
            case Kind.BROKER_KILLED | Kind.BROKER_WIPED:
                await line.broker.kill()
                await asyncio.sleep(fault.lasts_s)
                await line.broker.restart(wipe=kind is Kind.BROKER_WIPED)
            case Kind.BROKER_PAUSED:
                await line.broker_runs()
                line.broker.process.signal(signal.SIGSTOP)
                await asyncio.sleep(fault.lasts_s)
                with contextlib.suppress(ProcessLookupError):
                    line.broker.process.signal(signal.SIGCONT)
            case Kind.DATABASE_KILLED | Kind.DATABASE_PAUSED:
                await self._break_database(fault)
            case Kind.STATION_CUT_OFF | Kind.STATION_UNHEARD | Kind.STATION_SLOW | Kind.STATION_REORDERED:
                await _disturbed(line.stations[fault.target].to_broker, kind.value.removeprefix("station_"), fault)
            case Kind.CENTRAL_CUT_OFF | Kind.CENTRAL_UNHEARD | Kind.CENTRAL_SLOW | Kind.CENTRAL_REORDERED:
                await _disturbed(line.from_broker[fault.target], kind.value.removeprefix("central_"), fault)
            case Kind.DISK_REFUSES:
                await _no_file_may_grow(line.stations[fault.target].agent, fault.lasts_s)
            case Kind.DISK_FULL:
                disk = line.stations[fault.target].disk
                assert disk is not None
                await asyncio.to_thread(disk.fill)
                await asyncio.sleep(fault.lasts_s)
                disk.free()
            case Kind.CLOCK_JUMPS:
                line.stations[fault.target].set_clock(round((fault.strength * 2 - 1) * HOURS * 3600))
            case Kind.MACHINE_CUT_OFF:
                machine = line.machines[fault.target]
                await machine.cut()
                await asyncio.sleep(fault.lasts_s)
                await machine.mend()
            case Kind.MACHINE_SILENT:
                await _silent(line.machines[fault.target], fault.lasts_s)
            case Kind.MACHINE_RESTARTED:
                await line.machines[fault.target].restart(fault.lasts_s)
            case Kind.MESSAGES_REPEATED:
                await self._repeat_messages(fault)
            case Kind.OUTBOX_COPIED:
                await self._copy_outbox(fault)

    async def _break_database(self, fault: Fault) -> None:
        cluster = self._line.cluster
        assert cluster is not None
        if fault.kind is Kind.DATABASE_KILLED:
            await asyncio.to_thread(cluster.kill)
            await asyncio.sleep(fault.lasts_s)
            await asyncio.to_thread(cluster.start)
        else:
            cluster.signal(signal.SIGSTOP)
            await asyncio.sleep(fault.lasts_s)
            cluster.signal(signal.SIGCONT)

    async def _copy_outbox(self, fault: Fault) -> None:
        """A copy works beside the original, then makes no more and delivers what it has, with the original cut off.

        Every other one is an image: whose is what, it and the original have to be told by central.
        """
        original = self._line.stations[fault.target]
        async with self._turns[fault.target], self._turns[f"cable of {fault.target}"]:
            if fault.strength < SHARED:
                # What is not delivered yet at this moment, both will deliver.
                original.to_broker.freeze()
                await asyncio.sleep(fault.strength / SHARED * BACKLOG_S)
            copy = await self._line.copy(original, as_image=fault.number % 2 == 0)
            original.to_broker.thaw()
        holding = [machine for machine in copy.machines.values() if machine.holds]
        for machine in holding:
            machine.work()
        await asyncio.sleep(fault.lasts_s)
        await asyncio.gather(*(machine.finish() for machine in holding))
        async with self._turns[f"cable of {fault.target}"]:
            # Both have the same name at the broker, which lets one in at a time: the copy alone is done sooner.
            await original.to_broker.cut()
            await delivered([copy])
            await original.to_broker.restore()
        for machine in copy.machines.values():
            await machine.stop()

    async def _repeat_messages(self, fault: Fault) -> None:
        count = 1 + round(fault.strength * MESSAGES)
        while True:
            try:
                self.repeated_messages += await self._line.repeater.repeat(count, Random(fault.strength))
            except LinkError:
                continue  # the broker went away: another fault's doing
            return

    def _write(self, fault: Fault, what: str) -> None:
        entry: dict[str, Any] = {"at_s": round(self._line.clock.now(), 3), "what": what, "number": fault.number}
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({**entry, "kind": fault.kind, "target": fault.target}) + "\n")


def _thing(fault: Fault) -> str:
    """What is broken: a process, a cable, a disk. Different things of one station may break at the same time."""
    match fault.kind:
        case Kind.STATION_CUT_OFF | Kind.STATION_UNHEARD | Kind.STATION_SLOW | Kind.STATION_REORDERED:
            return f"cable of {fault.target}"
        case Kind.CENTRAL_CUT_OFF | Kind.CENTRAL_UNHEARD | Kind.CENTRAL_SLOW | Kind.CENTRAL_REORDERED:
            return f"cable of {fault.target}"
        case Kind.OUTBOX_COPIED:
            return f"copy of {fault.target}"
        case Kind.DISK_FULL:
            return f"disk of {fault.target}"
        case Kind.CLOCK_JUMPS | Kind.MESSAGES_REPEATED:
            return f"{fault.kind} {fault.target}"
        case _:
            return fault.target


async def delivered(stations: Iterable[Station]) -> list[str]:
    """Stop these agents as an administrator would; start again those that have not delivered everything, and so on.

    Answers what central never committed. Raises StuckError for an agent that does not end as it should.
    """
    deadline, pause_s = time.monotonic() + DELIVERED_WITHIN_S, 2.0
    while True:
        waiting = []
        for station in stations:
            if station.agent.is_kept and (code := await station.agent.stop()) != 0:
                raise StuckError(f"{station.agent.name} ended with {code} on SIGTERM")
            if waits := sum(row.waits for row in await asyncio.to_thread(station.outbox)):
                waiting.append(f"{station.name}: {waits} records")
                await station.agent.start()
                await station.is_running()
        if not waiting or time.monotonic() > deadline:
            return waiting
        await asyncio.sleep(pause_s)  # what was started has to deliver before it is asked again
        pause_s = min(2 * pause_s, 30.0)


async def _killed(program: KeptRunning, lasts_s: float) -> None:
    await program.is_running()
    await program.kill()
    await asyncio.sleep(lasts_s)
    await program.start()


async def _paused(program: KeptRunning, lasts_s: float) -> None:
    await program.is_running()
    program.pause()
    await asyncio.sleep(lasts_s)
    program.go_on()


async def _no_file_may_grow(agent: KeptRunning, lasts_s: float) -> None:
    await agent.is_running()
    _limit(agent, NO_ROOM)
    await asyncio.sleep(lasts_s)
    _limit(agent, UNLIMITED)


def _limit(agent: KeptRunning, limit: tuple[int, int]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself: the next one has no limit
        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, limit)


async def _silent(machine: Machine, lasts_s: float) -> None:
    assert machine.relay is not None
    machine.relay.freeze()
    await asyncio.sleep(lasts_s)
    machine.relay.thaw()


async def _disturbed(relay: Relay, how: str, fault: Fault) -> None:
    undo: Callable[[], None]
    match how:
        case "cut_off":
            await relay.cut()
            await asyncio.sleep(fault.lasts_s)
            await relay.restore()
            return
        case "unheard":
            relay.freeze()
            undo = relay.thaw
        case "slow":
            relay.slow(LATE_S)
            undo = lambda: relay.slow(0.0)  # noqa: E731  # one of three, told in one place
        case _:
            relay.shuffle(LATE_S)
            undo = lambda: relay.shuffle(0.0)  # noqa: E731  # one of three, told in one place
    await asyncio.sleep(fault.lasts_s)
    undo()
