"""A station as a process: its start, its machines side by side, and its end on SIGTERM."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.settings import load
from drivers.base import Simulator
from drivers.registry import protocols
from tests.support.agents import CONFIG, addresses, agent, kept
from tests.support.brokers import free_port

SERIAL = "WF-KR-261123D-001-0001"
A_FEW_SECONDS = 4.0
TWO_MACHINES = """
station: {id: P03-X, site: gimcheon, line: KR01, process: P03_SENSOR_INSPECTION}
broker: {url: "mqtt://127.0.0.1:1883"}
state_dir: /var/lib/neurohub/P03-X
machines:
  oven:
    protocol: serial
    connect: {port: /dev/ttyS1}
    points:
      n: {key: n, type: int}
      serial_number: {key: code}
      temperature: {key: t, type: float, unit: degC}
    cycle_key: n
    acknowledge: {send: "ACK {cycle_key}"}
  bus:
    protocol: serial
    connect: {port: /dev/ttyS2}
    points:
      n: {key: n, type: int}
      serial_number: {key: code}
      tof_i2c: {key: tof, type: boolean}
    cycle_key: n
    acknowledge: {send: "ACK {cycle_key}"}
criteria:
  temperature: {nominal: 60, tolerance: 1, unit: degC, defect: SENSOR_TEMP_FAIL}
  tof_i2c: {equals: true, defect: SENSOR_TOF_FAIL}
"""


@asynccontextmanager
async def machines_of(file: Path) -> AsyncIterator[tuple[dict[str, Simulator], list[str]]]:
    """A simulator for every machine of a station, and the overrides that lead an agent to them."""
    simulators: dict[str, Simulator] = {}
    overrides: list[str] = []
    try:
        for name, machine in load(file).machines.items():
            simulators[name] = protocols()[machine.protocol].simulator(name, machine.protocol_settings)
            overrides += addresses(name, await simulators[name].start())
        yield simulators, overrides
    finally:
        for simulator in simulators.values():
            await simulator.stop()


async def test_two_machines_of_one_station_are_recorded_and_judged_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "P03-X.yaml"
    file.write_text(TWO_MACHINES, encoding="utf-8")
    async with machines_of(file) as (machines, overrides), agent(file, tmp_path, overrides) as process:
        async with asyncio.timeout(20):
            await asyncio.gather(
                machines["oven"].cycle({"n": 1, "serial_number": SERIAL, "temperature": 60.2}, 1),
                machines["bus"].cycle({"n": 1, "serial_number": SERIAL, "tof_i2c": False}, 1),
            )
        assert await process.stop() == 0
    outcomes = {record["machine"]: record["outcome"] for record in kept(tmp_path)}
    assert outcomes == {"oven": "PASS", "bus": "FAIL"}


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "silent"])
async def test_sigterm_waits_for_no_absent_machine_and_no_absent_broker(tmp_path: Path, silent: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # takes connections, and says nothing
        port = nobody.getsockname()[1] if silent else free_port()
        overrides = ["machines.tester.connect.host=127.0.0.1", f"machines.tester.connect.port={port}"]
        broker_url = f"mqtt://127.0.0.1:{port}"
        async with agent(CONFIG / "P03-A.yaml", tmp_path, overrides, broker_url=broker_url) as process:
            await process.line("station running")
            if not silent:
                await process.line("machine link lost")
                await process.line("broker link lost")
            begun = time.monotonic()
            assert await process.stop() == 0
            assert time.monotonic() - begun < A_FEW_SECONDS
            await process.line("station stopped")


async def test_sigterm_finishes_the_unit_in_hand_although_a_companion_is_silent(tmp_path: Path) -> None:
    file = CONFIG / "P07-A.yaml"
    async with machines_of(file) as (machines, overrides), agent(file, tmp_path, overrides) as process:
        for name in machines:
            await process.line(f'"machine": "{name}", "again"')
        unit = asyncio.create_task(machines["scanner"].cycle({"n": 1, "code": SERIAL}, 1))
        printed = asyncio.Event()
        machines["printer"].on_printed = lambda zpl: printed.set()  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            await printed.wait()  # the verifier is awaited for 10 s now
        begun = time.monotonic()
        assert await process.stop() == 0
        assert time.monotonic() - begun < A_FEW_SECONDS
        await asyncio.wait_for(unit, 5)
    (record,) = kept(tmp_path)
    assert (record["serial_number"], record["outcome"]) == (SERIAL, "ERROR")


async def test_an_outbox_that_another_agent_uses_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = CONFIG / "P03-A.yaml"
    async with agent(file, tmp_path, []) as process:
        await process.line("station running")
        async with agent(file, tmp_path, []) as second:
            assert await second.ended() == 1
            await second.line("is in use: another agent runs with it")
        assert process.returncode is None
        assert await process.stop() == 0


async def test_a_password_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    text = (CONFIG / "P03-A.yaml").read_text(encoding="utf-8")
    missing = tmp_path / "password"
    file = tmp_path / "P03-A.yaml"
    file.write_text(
        text.replace(
            "broker: {url: mqtt://127.0.0.1:1883}",
            f"broker: {{url: mqtt://127.0.0.1:1883, username: P03-A, password_file: {missing}}}\n"
            f"state_dir: {tmp_path / 'state'}",
        ),
        encoding="utf-8",
    )
    async with agent(file, tmp_path, []) as process:
        assert await process.ended() == 1
        await process.line(f"broker.password_file {missing} cannot be read")
    missing.write_text("secret\n")
    async with agent(file, tmp_path, []) as process:
        await process.line("station running")
        assert await process.stop() == 0
