"""One agent with many Modbus machines: memory and processor time for each, and whether a result was lost.

Each machine is polled ten times a second; together they make ten results a second. Beside it the minimal loop with the
same machines. Machines, broker and central are processes of others, and not counted.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.cpu import Crew, minimal_loop, station_file
from tests.bench.figures import cpu_seconds, memory, table, times
from tests.bench.parts import Backbone, backbone, machines
from tests.support.agents import agent, kept
from tests.support.processes import Process

POLL_S = 0.1
RESULTS_PER_SECOND = 10


@dataclass(frozen=True)
class Cost:
    """MiB, CPU seconds per second at work and of polls alone; results made, lost and kept twice."""

    rss: float
    working: float
    idle: float
    made: int = 0
    lost: int = 0
    doubled: int = 0


async def run(machines_of: Sequence[int], seconds: float) -> None:
    """Measure an agent with each of these numbers of machines, and print them beside the minimal loop."""
    rows: list[list[str]] = []
    single: Cost | None = None
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        async with backbone(Path(name)) as line:
            for count in machines_of:
                folder = Path(name) / str(count)
                folder.mkdir()
                ours, least = await _measure(count, seconds, folder, line)
                single = single or ours
                rows.append(_row(f"agent, {count} machines", count, ours, least, single))
                rows.append(_row(f"minimal loop, {count} machines", count, least, least, least))
    print(
        f"fleet: {1 / POLL_S:g} polls a second and machine, {RESULTS_PER_SECOND} results a second together, "
        f"{seconds:g} s; milliseconds of CPU per second\n"
    )
    head = ["", "RSS MiB", "KiB per machine", "CPU at work", "ratio", "CPU of polls", "ratio", "per machine"]
    print(table([*head, "results", "lost", "doubled"], rows))


async def _measure(count: int, seconds: float, folder: Path, line: Backbone) -> tuple[Cost, Cost]:
    file = folder / "BENCH.yaml"
    file.write_text(station_file(count, POLL_S), encoding="utf-8")
    every_s = count / RESULTS_PER_SECOND
    async with (
        machines(file) as (simulators, overrides),
        minimal_loop(folder, line, overrides, POLL_S) as process,
    ):
        least = await _cost(process, Crew(simulators, every_s), seconds)
    async with (
        machines(file) as (simulators, overrides),
        agent(file, folder / "state", overrides, broker_url=line.broker.url) as process,
    ):
        for _ in simulators:
            await process.line("machine connected")
        await process.line("broker connected")
        crew = Crew(simulators, every_s)
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
