"""One agent with many machines: memory and processor time for each, and whether a result was lost.

Fifty Modbus machines, each polled ten times a second; together they make ten results a second. Beside it the minimal
loop with the same machines. Machines, broker and central are processes of others, and not counted.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.cpu import Crew, Result, minimal_loop, modbus_result, station_file
from tests.bench.figures import cpu_seconds, memory, table, times
from tests.bench.parts import Backbone, backbone, machines
from tests.support.agents import agent, kept
from tests.support.processes import Process

POLL_S = 0.1
RESULTS_PER_SECOND = 10


@dataclass(frozen=True)
class Fleet:
    """Some machines of one agent: their station's file, what each makes, and the least that serves them."""

    machines: str
    count: int
    station: str
    result: Result
    least: Callable[[Path, Backbone, list[str]], AbstractAsyncContextManager[Process]]


@dataclass(frozen=True)
class Cost:
    """MiB, CPU seconds per second at work and between results; results made, lost and kept twice."""

    rss: float
    working: float
    idle: float
    made: int = 0
    lost: int = 0
    doubled: int = 0


async def run(machines_of: Sequence[int], seconds: float) -> None:
    """Measure an agent with each of these numbers of Modbus machines, and print them beside the minimal loop."""

    def least(folder: Path, line: Backbone, overrides: list[str]) -> AbstractAsyncContextManager[Process]:
        return minimal_loop(folder, line, overrides, POLL_S)

    fleets = [Fleet("Modbus", count, station_file(count, POLL_S), modbus_result, least) for count in machines_of]
    await measure(f"fleet: {1 / POLL_S:g} polls a second and machine", fleets, seconds)


async def measure(title: str, fleets: Sequence[Fleet], seconds: float) -> None:
    """Measure these and print them; the first is what others are compared with."""
    rows: list[list[str]] = []
    single: Cost | None = None
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        async with backbone(Path(name)) as line:
            for fleet in fleets:
                folder = Path(name) / str(fleet.count)
                folder.mkdir()
                ours, least = await _measure(fleet, seconds, folder, line)
                single = single or ours
                rows.append(_row(f"agent, {fleet.count} {fleet.machines} machines", fleet.count, ours, least, single))
                rows.append(_row("least that serves them", fleet.count, least, least, least))
    print(f"{title}, {RESULTS_PER_SECOND} results a second together, {seconds:g} s; milliseconds of CPU per second\n")
    head = ["", "RSS MiB", "KiB per machine", "CPU at work", "ratio", "CPU between results", "ratio", "per machine"]
    print(table([*head, "results", "lost", "doubled"], rows))


async def _measure(fleet: Fleet, seconds: float, folder: Path, line: Backbone) -> tuple[Cost, Cost]:
    file = folder / "BENCH.yaml"
    file.write_text(fleet.station, encoding="utf-8")
    every_s = fleet.count / RESULTS_PER_SECOND
    async with machines(file) as (simulators, overrides), fleet.least(folder, line, overrides) as process:
        least = await _cost(process, Crew(simulators, every_s, fleet.result), seconds)
    async with (
        machines(file) as (simulators, overrides),
        agent(file, folder / "state", overrides, broker_url=line.broker.url) as process,
    ):
        for _ in simulators:
            await process.line("machine connected")
        await process.line("broker connected")
        crew = Crew(simulators, every_s, fleet.result)
        ours = await _cost(process, crew, seconds)
        await process.stop()
    records = Counter((record["machine"], record["cycle_key"]) for record in kept(folder / "state"))
    lost, doubled = crew.made - len(records), sum(records.values()) - len(records)
    return replace(ours, made=crew.made, lost=lost, doubled=doubled), least


async def _cost(process: Process, crew: Crew, seconds: float) -> Cost:
    async with crew.working():
        await asyncio.sleep(min(2.0, seconds))
        spent = cpu_seconds(process.pid)
        await asyncio.sleep(seconds)
        working = (cpu_seconds(process.pid) - spent) / seconds
    await asyncio.sleep(min(1.0, seconds))
    quiet, spent = seconds / 3, cpu_seconds(process.pid)
    await asyncio.sleep(quiet)
    return Cost(memory(process.pid).rss, working, (cpu_seconds(process.pid) - spent) / quiet)


def _row(name: str, count: int, cost: Cost, least: Cost, single: Cost) -> list[str]:
    more = (cost.rss - single.rss) / (count - 1) * 1024 if count > 1 and cost is not least else None
    return [
        name,
        f"{cost.rss:.1f}",
        "" if more is None else f"{more:.0f}",
        f"{cost.working * 1000:.0f}",
        times(cost.working, least.working),
        f"{cost.idle * 1000:.0f}",
        times(cost.idle, least.idle),
        f"{cost.idle / count * 1000:.2f}",
        *(("", "", "") if cost is least else (str(cost.made), str(cost.lost), str(cost.doubled))),
    ]
