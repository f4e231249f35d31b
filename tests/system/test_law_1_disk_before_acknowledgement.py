"""Law 1: no machine's result is acknowledged before it is on disk. Real agents, real protocols, real kills."""

import asyncio
import random
import resource
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.settings import load
from drivers.base import RawValue, Simulator
from drivers.registry import protocols
from tests.support.agents import CONFIG, addresses, agent, kept
from tests.support.processes import Process

KILLS = 8
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
UNMEASURED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
"""A process that ends without room could not write down its coverage."""
NO_ROOM = (0, resource.RLIM_INFINITY)
"""No file may grow: every write of the process to a file is refused by the kernel."""


def sensor_values(number: int) -> dict[str, RawValue | None]:
    return {
        "result_counter": number,
        "serial_number": f"WF-KR-261123D-001-{number:04d}",
        "temperature": 60.5,
        "tof_i2c": True,
        "judgement": 1,
    }


def flasher_values(number: int) -> dict[str, RawValue | None]:
    return {
        "n": number,
        "serial_number": f"WF-KR-261123D-001-{number:04d}",
        "firmware_version": "v1.2.3",
        "checksum": "9f86d081",
        "upload_result": "OK",
        "attempts": 1,
        "duration": 42.5,
    }


MACHINES = {
    "modbus": ("P03-A", "tester", sensor_values),  # presents one result and waits
    "serial": ("P04-A", "flasher", flasher_values),  # repeats its result until it is answered
}


@dataclass
class Machine:
    """A machine that counts its results and remembers which of them the station acknowledged."""

    file: Path
    name: str
    simulator: Simulator
    values: Callable[[int], dict[str, RawValue | None]]
    overrides: list[str]
    number: int = 0
    acknowledged: list[int] = field(default_factory=list)

    async def cycle(self) -> None:
        self.number += 1
        await self.simulator.cycle(self.values(self.number), self.number)
        self.acknowledged.append(self.number)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """One result after the other, each as soon as the last is acknowledged."""

        async def work() -> None:
            while True:
                await self.cycle()

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def agent(self, state_dir: Path, env: Mapping[str, str] | None = None) -> Process:
        return agent(self.file, state_dir, self.overrides, env=env)


@asynccontextmanager
async def started(protocol: str) -> AsyncIterator[Machine]:
    station, name, values = MACHINES[protocol]
    file = CONFIG / f"{station}.yaml"
    settings = load(file).machines[name]
    simulator = protocols()[protocol].simulator(name, settings.protocol_settings)
    reached_at = addresses(name, await simulator.start())
    quick = [f"machines.{name}.trigger.poll=10ms"] if protocol == "modbus" else []
    try:
        yield Machine(file, name, simulator, values, reached_at + quick)
    finally:
        await simulator.stop()


@pytest.fixture(params=sorted(MACHINES))
async def machine(request: pytest.FixtureRequest) -> AsyncIterator[Machine]:
    async with started(request.param) as running:
        yield running


async def test_a_disk_that_refuses_stops_the_acknowledgement_until_there_is_room(
    machine: Machine, tmp_path: Path
) -> None:
    async with machine.agent(tmp_path) as process:
        await process.line("machine connected")
        await asyncio.wait_for(machine.cycle(), 20)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, NO_ROOM)
        cycle = asyncio.create_task(machine.cycle())
        await process.line("disk refuses, machine not acknowledged")
        done, _ = await asyncio.wait({cycle}, timeout=2.5)  # at least two more attempts
        assert not done, "acknowledged, and on no disk"
        assert sum("disk refuses" in line for line in process.output) == 1, "told once, not at every attempt"
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, UNLIMITED)
        await process.line("disk keeps results again")
        await asyncio.wait_for(cycle, 20)
        await asyncio.wait_for(machine.cycle(), 20)
        assert await process.stop() == 0
    assert [record["cycle_key"] for record in kept(tmp_path)] == [1, 2, 3]


async def test_a_station_stopped_while_its_disk_refuses_leaves_the_result_with_the_machine(
    machine: Machine, tmp_path: Path
) -> None:
    async with machine.agent(tmp_path, UNMEASURED) as process:
        await process.line("machine connected")
        await asyncio.wait_for(machine.cycle(), 20)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, NO_ROOM)
        cycle = asyncio.create_task(machine.cycle())
        await process.line("disk refuses, machine not acknowledged")
        assert await process.stop(timeout_s=8) == 0
        assert not cycle.done()
    assert [record["cycle_key"] for record in kept(tmp_path)] == [1]
    async with machine.agent(tmp_path) as process:
        await asyncio.wait_for(cycle, 20)
        await process.stop()
    assert [record["cycle_key"] for record in kept(tmp_path)] == [1, 2]


async def test_killed_at_any_moment_every_acknowledged_result_is_kept_and_kept_once(
    machine: Machine, tmp_path: Path
) -> None:
    moments = random.Random(1)
    async with machine.working():
        for _ in range(KILLS):
            async with machine.agent(tmp_path) as process:
                await more_acknowledged(machine, moments.randrange(1, 4))
                await asyncio.sleep(moments.uniform(0, 0.03))  # any moment of a cycle
                await process.kill()
            keys = [record["cycle_key"] for record in kept(tmp_path)]
            assert machine.acknowledged == keys[: len(machine.acknowledged)], "acknowledged, and not on disk"
            assert keys == list(range(1, len(keys) + 1)), "recorded twice, or out of order"
        async with machine.agent(tmp_path) as process:
            await more_acknowledged(machine, 3)
            assert await process.stop() == 0
    records = kept(tmp_path)
    assert [record["cycle_key"] for record in records] == list(range(1, len(records) + 1))
    assert len(records) - len(machine.acknowledged) in (0, 1)
    assert not [record for record in records if record.get("missed_before")]


async def more_acknowledged(machine: Machine, count: int) -> None:
    wanted = len(machine.acknowledged) + count
    async with asyncio.timeout(20):
        while len(machine.acknowledged) < wanted:
            await asyncio.sleep(0.001)
