"""A whole run: start the line, break it by the schedule, heal it, let it drain, compare."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from central.store import Store
from contracts.errors import NeuroHubError
from tests.chaos.breaking import Breaking
from tests.chaos.compare import Findings, compare
from tests.chaos.database import OutboxRow, arrived, differences, records_of
from tests.chaos.history import Made
from tests.chaos.line import Line, Parts
from tests.chaos.progress import Progress
from tests.chaos.schedule import KINDS, Fault, Kind, schedule
from tests.chaos.small_disk import can_mount

ARRIVES_WITHIN_S = 300.0
"""After everything is mended: until a result made from now on has arrived from every machine."""


class StuckError(Exception):
    """The line does not come back although everything is mended. The text says what is missing."""


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
    quarantined: int = 0
    sent_again: int = 0
    repeated_messages: int = 0
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
            "in quarantine": [f"{self.quarantined} entries"] if self.quarantined else [],
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
        self._outboxes: list[OutboxRow] = []

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
                await self._breaking.carry_out(faults)
                self._progress.say("everything is mended; waiting for what is still on its way")
                try:
                    await self._drain(store)
                    report.waiting = await self._end(store)
                except StuckError as error:
                    report.stuck.append(str(error))
            await self._stop_stations()
            self._compare(store, report)
            report.repeated_messages = self._breaking.repeated_messages
            report.ended_by_themselves = [end for one in line.everything_kept_running() for end in one.ends]
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

    async def _end(self, store: Store) -> list[str]:
        """Stop the agents as an administrator would, and start again those that had not delivered everything yet.

        Answers what central never committed.
        """
        deadline = time.monotonic() + ARRIVES_WITHIN_S
        while True:
            waiting = []
            for station in self._line.stations.values():
                if (code := await station.agent.stop()) != 0:
                    raise StuckError(f"{station.agent.name} ended with {code} on SIGTERM")
                rows = station.outbox()
                if any(waits for _, _, _, waits in rows):
                    waiting.append(f"{station.id}: {sum(waits for _, _, _, waits in rows)} records")
                    await station.agent.start()
                    await station.is_ready()
            if not waiting or time.monotonic() > deadline:
                return waiting
            await asyncio.sleep(2.0)  # what was started has to deliver before it is asked again

    async def _stop_stations(self) -> None:
        for station in self._line.stations.values():
            await station.agent.kill()
            rows = await asyncio.to_thread(station.outbox)
            self._outboxes += [(station.id, stream_id, seq, body) for stream_id, seq, body, _ in rows]
        for ingestor in self._line.ingestors.values():
            await ingestor.kill()

    def _compare(self, store: Store, report: Report) -> None:
        records = records_of(store)
        report.findings = compare(self._line.history, records)
        report.quarantined = store.counts().quarantined
        report.different = differences(store, self._outboxes, self._options.folder / "clean.db")
        text = "".join(record.model_dump_json(exclude_defaults=True) + "\n" for record in records)
        (self._options.folder / "records.jsonl").write_text(text, encoding="utf-8")


def counted(faults: Sequence[Fault]) -> dict[Kind, int]:
    """How often each kind came."""
    counts = Counter(fault.kind for fault in faults)
    return {kind: counts[kind] for kind in Kind if counts[kind]}
