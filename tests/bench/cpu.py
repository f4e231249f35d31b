"""Processor time of one agent with ten Modbus machines, beside a minimal loop that does the same on the same machines.

Each is measured twice: while the machines make 100 results a second, and while they make none and are only polled.
Machines, broker and central are processes of others, and not counted.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from drivers.base import RawValue, Simulator
from tests.bench.figures import cpu_seconds, table, times
from tests.bench.parts import MODBUS, Backbone, backbone, machines
from tests.support.agents import agent
from tests.support.processes import Process

MACHINES = 10
EVERY_S = 0.1
POLL_S = 0.05
WARM_UP_S = 2.0
COUNTER = "result_counter"

_STATION = """
station: {id: BENCH, site: gimcheon, line: KR01, process: P03_SENSOR_INSPECTION}
broker: {url: mqtt://127.0.0.1:1883}
product_model: WR-100
machines:
"""
_MACHINE = """
  tester-%d:
    protocol: modbus
    connect: {transport: tcp, host: tester-%d.line, device_id: 1}
    trigger: {point: result_counter, on: change, poll: %dms}
    points:
      result_counter: {holding_register: 0, type: uint16}
      serial_number:  {holding_register: 10, type: string, length: 24}
      temperature:    {holding_register: 30, type: float32, word_order: little, unit: degC}
      tof_i2c:        {discrete_input: 4}
      judgement:      {holding_register: 40, type: uint16}
    machine_verdict: {point: judgement, pass: 1, fail: 2}
    cycle_key: result_counter
    acknowledge: {write: {holding_register: 50, type: uint16, value: "{cycle_key}"}}
"""
_CRITERIA = """
criteria:
  temperature: {nominal: 60, tolerance: 1, unit: degC, defect: SENSOR_TEMP_FAIL}
  tof_i2c:     {equals: true, defect: SENSOR_TOF_FAIL}
"""


@dataclass(frozen=True)
class Cost:
    """CPU seconds per 1,000 results, CPU seconds per second of polling alone, and how many results a second."""

    per_thousand: float
    idle: float
    rate: float


Result = Callable[[int, int], Mapping[str, RawValue | None]]
"""What a machine shows: of the unit of this number, in its cycle of this number."""


def modbus_result(unit: int, cycle: int) -> Mapping[str, RawValue | None]:
    """Of a sensor tester."""
    return MODBUS.result(unit, COUNTER) | {COUNTER: cycle}


class Crew:
    """The machines: each makes its next result on time, or as soon as the last one is acknowledged."""

    def __init__(
        self, simulators: Mapping[str, Simulator], every_s: float = EVERY_S, result: Result = modbus_result
    ) -> None:
        self._simulators = list(simulators.values())
        self._every_s = every_s
        self._result = result
        self._counts = [0] * len(self._simulators)
        self.made = 0

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """They make results while this lasts; the one in hand is finished."""
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for number in range(len(self._simulators)):
                tasks.create_task(self._work(number, stop))
            yield
            stop.set()

    async def _work(self, number: int, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + self._every_s * number / len(self._simulators)
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due, loop.time() - self._every_s) + self._every_s
            self._counts[number] = self._counts[number] % 65535 + 1
            cycle = self._counts[number]
            unit = (cycle * len(self._simulators) + number) % 99900 + 1
            await self._simulators[number].cycle(self._result(unit, cycle), cycle)
            self.made += 1


async def run(seconds: float, rounds: int) -> None:
    """Measure agent and minimal loop in turn, and print both."""
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        folder = Path(name)
        file = folder / "BENCH.yaml"
        file.write_text(station_file(MACHINES, POLL_S), encoding="utf-8")
        async with backbone(folder) as line, machines(file) as (simulators, overrides):
            crew = Crew(simulators)
            ours, least = [], []
            for number in range(rounds):
                async with minimal_loop(folder, line, overrides, POLL_S) as process:
                    least.append(await _cost(process.pid, crew, seconds))
                async with agent(file, folder / f"state-{number}", overrides, broker_url=line.broker.url) as process:
                    for _ in simulators:
                        await process.line("machine connected")
                    await process.line("broker connected")
                    ours.append(await _cost(process.pid, crew, seconds))
                    await process.stop()
    _print(ours, least)


def station_file(count: int, poll_s: float) -> str:
    """A station with so many sensor testers."""
    testers = "".join(_MACHINE % (number, number, round(poll_s * 1000)) for number in range(count))
    return _STATION + testers + _CRITERIA


@asynccontextmanager
async def minimal_loop(folder: Path, line: Backbone, overrides: list[str], poll_s: float) -> AsyncIterator[Process]:
    """The least a station with these machines can be."""
    ports = [override.partition("=")[2] for override in overrides if ".connect.port=" in override]
    arguments = [str(line.broker.port), str(folder / "minimal.db"), str(poll_s), *ports]
    async with Process([sys.executable, "-m", "tests.bench.minimal", *arguments]) as process:
        await process.line("running")
        yield process


async def _cost(pid: int, crew: Crew, seconds: float) -> Cost:
    async with crew.working():
        await asyncio.sleep(min(WARM_UP_S, seconds))
        made, spent, begun = crew.made, cpu_seconds(pid), asyncio.get_running_loop().time()
        await asyncio.sleep(seconds)
        made, spent = crew.made - made, cpu_seconds(pid) - spent
        took = asyncio.get_running_loop().time() - begun
    await asyncio.sleep(min(1.0, seconds))
    quiet, before = seconds / 3, cpu_seconds(pid)
    await asyncio.sleep(quiet)
    return Cost(spent / made * 1000, (cpu_seconds(pid) - before) / quiet, made / took)


def _middle(costs: list[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        statistics.median(cost.per_thousand for cost in costs),
        statistics.median(cost.idle for cost in costs),
        statistics.median(cost.rate for cost in costs),
    )


def _print(ours: list[Cost], least: list[Cost]) -> None:
    floor = _middle(least)
    rows = [
        [
            name,
            f"{cost.per_thousand * 1000:.0f}",
            times(cost.per_thousand, floor.per_thousand),
            f"{cost.idle * 1000:.0f}",
            times(cost.idle, floor.idle),
            f"{cost.rate:.0f}",
        ]
        for name, cost in (("agent", _middle(ours)), ("minimal loop", floor))
    ]
    polls = MACHINES / POLL_S
    print(f"cpu: {MACHINES} Modbus machines, {polls:.0f} polls a second, {len(ours)} rounds; milliseconds of CPU\n")
    print(table(["", "per 1,000 results", "ratio", "per second of polls alone", "ratio", "results/s"], rows))
