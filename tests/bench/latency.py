"""From a machine's signal to the committed row in central's database, in the idle line: one unit at a time.

Each unit waits a random while, so that its signal falls anywhere between two polls. The time divides at the moment
the driver noticed the signal (the record's ``completed_at``): before it is the poll's share, behind it is ours. The
floor is measured after each unit, with the same rest before it.
"""

import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from drivers.base import Simulator
from tests.bench.figures import Spread, ms, table, times
from tests.bench.floors import MinimalChain, Steps
from tests.bench.parts import MODBUS, OPCUA, SERIAL, Backbone, Bench, backbone, counter_of, machines
from tests.support.agents import agent

LOOK_EVERY_S = 0.0002
REST_S = (0.05, 0.25)
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Case:
    """A bench and how often its machine is looked at; 0 where the machine speaks by itself."""

    bench: Bench
    key: str = ""
    poll_ms: int = 0

    @property
    def name(self) -> str:
        return f"{self.bench.protocol}, {self.key} {self.poll_ms} ms" if self.key else self.bench.protocol

    @property
    def overrides(self) -> list[str]:
        return [f"machines.{self.bench.machine}.trigger.{self.key}={self.poll_ms}ms"] if self.key else []


CASES = (
    Case(MODBUS, "poll", 100),
    Case(MODBUS, "poll", 10),
    Case(OPCUA, "sampling", 100),
    Case(OPCUA, "sampling", 10),
    Case(SERIAL),
)


@dataclass
class Samples:
    """Seconds, one sample per unit: until the driver noticed, from there to the committed row, and both."""

    noticed: list[float] = field(default_factory=list)
    way: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)


async def run(units: int, warm_up: int) -> None:
    """Measure every case and print it beside the floor; the first ``warm_up`` units do not count."""
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        folder = Path(name)
        async with backbone(folder) as line:
            with MinimalChain(folder, line.broker.port) as floor:
                measured = [(case, await _measure(case, units, warm_up, folder, line, floor)) for case in CASES]
            _print(measured, floor.steps, units)


async def _measure(case: Case, units: int, warm_up: int, folder: Path, line: Backbone, floor: MinimalChain) -> Samples:
    bench, samples = case.bench, Samples()
    counter = counter_of(bench)
    state_dir = folder / case.name.replace(" ", "-").replace(",", "")
    async with machines(bench.file) as (simulators, reached_at):
        overrides = [*reached_at, *case.overrides]
        async with agent(bench.file, state_dir, overrides, broker_url=line.broker.url) as process:
            await process.line("machine connected")
            await process.line("broker connected")
            for number in range(1, warm_up + units + 1):
                one = await _unit(simulators[bench.machine], bench, counter, number, line.database)
                await asyncio.sleep(random.uniform(*REST_S))
                await asyncio.to_thread(floor.run)
                if number > warm_up:
                    for kept, seconds in zip((samples.noticed, samples.way, samples.total), one, strict=True):
                        kept.append(seconds)
            await process.stop()
    return samples


async def _unit(
    machine: Simulator, bench: Bench, counter: str, number: int, database: Path
) -> tuple[float, float, float]:
    """One unit: seconds until its signal was noticed, from there to its row, and both."""
    watching = asyncio.create_task(asyncio.to_thread(_next_row, database))
    await asyncio.sleep(random.uniform(*REST_S))
    signalled = time.time()
    await machine.cycle(bench.result(number, counter), number)
    committed, noticed = await watching
    return noticed - signalled, committed - noticed, committed - signalled


def _next_row(database: Path) -> tuple[float, float]:
    """Wait until another row can be seen from outside; when that was, and when its signal had been noticed."""
    deadline = time.monotonic() + PATIENCE_S
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        newest = "SELECT coalesce(max(id), 0) FROM process_data"
        (before,) = connection.execute(newest).fetchone()
        while connection.execute(newest).fetchone()[0] == before:
            if time.monotonic() > deadline:
                raise TimeoutError("no row came into central's database")
            time.sleep(LOOK_EVERY_S)
        committed = time.time()
        (noticed,) = connection.execute("SELECT completed_at FROM process_data ORDER BY id DESC LIMIT 1").fetchone()
    return committed, datetime.fromisoformat(noticed).replace(tzinfo=UTC).timestamp()


def _print(measured: Sequence[tuple[Case, Samples]], floor: Steps, units: int) -> None:
    least = Spread.of(floor.chain)
    print(f"latency: {units} units a case, one at a time; milliseconds, median / p99\n")
    rows = []
    for case, samples in measured:
        noticed, way, total = Spread.of(samples.noticed), Spread.of(samples.way), Spread.of(samples.total)
        rows.append(
            [
                case.name,
                f"{ms(noticed.median)} / {ms(noticed.p99)}",
                f"{ms(way.median)} / {ms(way.p99)}",
                f"{ms(total.median)} / {ms(total.p99)}",
                f"{times(way.median, least.median)} / {times(way.p99, least.p99)}",
            ]
        )
    print(table(["", "signal to noticed", "noticed to row", "signal to row", "noticed to row / floor"], rows))
    parts = {"fsync": floor.fsync, "publish to PUBACK": floor.puback, "SQLite commit": floor.commit}
    told = ", ".join(f"{name} {ms(Spread.of(samples).median)}" for name, samples in parts.items())
    print(f"\nfloor: {ms(least.median)} / {ms(least.p99)} ({told})")
