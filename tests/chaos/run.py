"""A whole run: start the line, break it by the schedule, heal it, let it drain, compare."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from central.store import Store
from contracts.errors import NeuroHubError
from contracts.record import ProcessRecord
from tests.chaos.breaking import Breaking, StuckError, delivered
from tests.chaos.compare import Findings, compare
from tests.chaos.database import arrived, differences, disputed_in, records_of
from tests.chaos.history import Made
from tests.chaos.line import Line, Parts
from tests.chaos.progress import Progress
from tests.chaos.schedule import KINDS, Fault, Kind, schedule
from tests.chaos.small_disk import can_mount

ARRIVES_WITHIN_S = 300.0
"""After everything is mended: until a result made from now on has arrived from every machine."""


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    minutes: float
    seed: int
    per_minute: float
    parts: Parts
    kinds: Collection[Kind]
    folder: Path


@dataclass
class Report:
    """What a run found."""

    findings: Findings
    done: Sequence[Fault]
    waiting: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    repeated_messages: int = 0
    given_up: int = 0
    ended_by_themselves: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def wrong(self) -> dict[str, list[str]]:
        """Everything that must not be, by name."""
        found = {
            **self.findings.wrong,
            "waiting in an outbox": self.waiting,
            "different from a clean database": self.different,
            "stuck": self.stuck,
            "in quarantine": self.quarantined,
        }
        return {name: items for name, items in found.items() if items}


def usable_kinds(wanted: Collection[Kind], line: Line) -> tuple[list[Kind], list[str]]:
    """The kinds that can be done here, and why the others are left out."""
    targets = line.targets()
    usable, left_out = [], []
    for kind in Kind:
        if kind not in wanted:
            continue
        if kind is Kind.CLOCK_JUMPS and line.faketime is None:
            left_out.append(f"{kind}: needs faketime (apt-get install faketime)")
        elif kind is Kind.DISK_FULL and not can_mount():
            left_out.append(f"{kind}: needs root, to mount a small file system")
        elif not targets[KINDS[kind].happens_to]:
            left_out.append(f"{kind}: there is no {KINDS[kind].happens_to} to break in this line")
        else:
            usable.append(kind)
    return usable, left_out


class Run:
    """One run. Use once."""

    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        self._line = Line(options.folder, options.parts, options.seed)
        self._breaking = Breaking(self._line, options.folder / "faults.jsonl")

    async def run(self) -> Report:
        """All of it. Everything is stopped when this returns or raises."""
        began, line = time.monotonic(), self._line
        report = Report(Findings(), self._breaking.done)
        store: Store | None = None
        try:
            self._progress.say("starting the line")
            await line.start()
            store = Store(line.database_url)
            await self._warm_up(store)
            faults = self._schedule()
            with self._progress.shown(lambda: self._state(len(faults))):
                try:
                    await self._breaking.carry_out(faults)
                    await line.broker_runs()
                    self._progress.say("everything is mended; waiting for what is still on its way")
                    await self._drain(store)
                    report.waiting = await delivered([*line.stations.values(), *line.copies])
                except* (StuckError, AssertionError, TimeoutError) as group:
                    report.stuck += [f"{type(error).__name__}: {error}" for error in group.exceptions]
                    report.stuck.append("the run ended here: what had not arrived by then is told as lost")
            await self._stop_stations()
            self._compare(store, report)
            report.repeated_messages = self._breaking.repeated_messages
            programs = [end for one in line.everything_kept_running() for end in one.ends]
            report.ended_by_themselves = [*programs, *line.broker_ends]
        finally:
            line.history.write(self._options.folder / "history.jsonl")
            if store is not None:
                store.close()
            await line.stop()
        report.seconds = time.monotonic() - began
        return report

    def _schedule(self) -> list[Fault]:
        options = self._options
        kinds, left_out = usable_kinds(options.kinds, self._line)
        for reason in left_out:
            self._progress.say(f"left out: {reason}")
        return schedule(options.seed, options.minutes, options.per_minute, kinds, self._line.targets())

    def _state(self, faults: int) -> str:
        broken = ", ".join(sorted(f"{one.kind} {one.target}" for one in self._breaking.broken))
        return f"faults {len(self._breaking.done)}/{faults}   cycles {len(self._line.history.made)}   now: {broken}"

    # -- beginning and end -------------------------------------------------------------------------------------------

    async def _warm_up(self, store: Store) -> None:
        """From every machine one result has arrived: its history begins behind it."""
        for machine in self._line.machines.values():
            machine.work()
        waiting = set(self._line.machines)
        deadline = time.monotonic() + ARRIVES_WITHIN_S
        while waiting:
            if time.monotonic() > deadline:
                raise StuckError(f"nothing arrives from {', '.join(sorted(waiting))}, and nothing was broken yet")
            await asyncio.sleep(0.2)
            there = await self._arrived(store, self._line.history.made)
            for one in list(self._line.history.made):
                name = f"{one.station}.{one.machine}"
                if name in waiting and one.serial_number in there:
                    self._line.history.begin_behind(one)
                    waiting.discard(name)

    async def _drain(self, store: Store) -> None:
        """From every machine a result arrives that was made after all was mended; then no more are made, and the last
        one of every machine arrives too."""
        line = self._line
        mended_at = line.clock.now()

        def after() -> dict[str, list[Made]]:
            found: dict[str, list[Made]] = {name: [] for name in line.machines}
            for one in reversed(line.history.made):
                if one.made_at_s < mended_at:
                    break
                found[f"{one.station}.{one.machine}"].append(one)
            return found

        await self._until_each_arrived(store, after)
        finishing = asyncio.gather(*(machine.finish() for machine in line.machines.values()))
        try:
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                await finishing
        except TimeoutError:
            raise StuckError("a machine's last result is not acknowledged") from None
        last = {name: [machine.last] for name, machine in line.machines.items() if machine.last is not None}
        await self._until_each_arrived(store, lambda: last)

    async def _until_each_arrived(self, store: Store, wanted: Callable[[], dict[str, list[Made]]]) -> None:
        deadline = time.monotonic() + ARRIVES_WITHIN_S
        while True:
            results = wanted()
            there = await self._arrived(store, [one for ones in results.values() for one in ones])
            missing = [name for name, ones in results.items() if not any(one.serial_number in there for one in ones)]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise StuckError(f"no new result arrives from {', '.join(missing)} although everything is mended")
            await asyncio.sleep(0.5)

    async def _arrived(self, store: Store, results: Sequence[Made]) -> set[str]:
        serials = [one.serial_number for one in results[-2000:]]
        try:
            return await asyncio.to_thread(arrived, store, serials)
        except NeuroHubError:
            return set()  # the database is away: asked again

    async def _stop_stations(self) -> None:
        for one in self._line.everything_kept_running():
            await one.kill()

    def _compare(self, store: Store, report: Report) -> None:
        records = records_of(store)
        disputed, report.quarantined = disputed_in(store)
        if disputed and not self._line.copies:
            report.quarantined.append(f"{len(disputed)} disputed records, and no outbox was ever copied")
        history = self._line.history
        report.findings = compare(history, records, [ProcessRecord.model_validate_json(one.body) for one in disputed])
        stations = (*self._line.stations.values(), *self._line.copies)
        held = [row for station in stations for row in station.outbox()] + disputed
        given_up = {name: count for station in reversed(stations) for name, count in station.given_up().items()}
        report.given_up = sum(given_up.values())
        report.different = differences(store, held, given_up, self._options.folder / "clean.db")
        text = "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records)
        (self._options.folder / "records.jsonl").write_text(text, encoding="utf-8")


def counted(faults: Sequence[Fault]) -> dict[Kind, int]:
    """How often each kind came."""
    counts = Counter(fault.kind for fault in faults)
    return {kind: counts[kind] for kind in Kind if counts[kind]}
