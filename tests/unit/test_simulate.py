"""A line typed to `simulate` that no machine can make a result of: told in words, and no number is used up by it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.settings import MachineSettings, load
from agent.simulate import SimulatedMachine
from drivers.registry import protocols

GOOD = {"serial_number": "SN-241118-001", "temperature": 60.1, "tof_i2c": True, "judgement": 1}


@pytest.fixture
def settings(tmp_path: Path) -> MachineSettings:
    """The sensor tester, which waits for nobody here."""
    text = Path("config/stations/P03-A.yaml").read_text(encoding="utf-8")
    file = tmp_path / "P03-A.yaml"
    file.write_text("".join(line for line in text.splitlines(True) if "acknowledge:" not in line), encoding="utf-8")
    return load(file).machines["tester"]


@pytest.fixture
async def tester(settings: MachineSettings) -> AsyncIterator[SimulatedMachine]:
    simulator = protocols()["modbus"].simulator("tester", settings.protocol_settings)
    await simulator.start()
    machine = SimulatedMachine(settings, simulator)
    running = asyncio.create_task(machine.run())
    yield machine
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await simulator.stop()


async def answers(machine: SimulatedMachine, capsys: pytest.CaptureFixture[str], *lines: Any) -> list[dict[str, Any]]:
    for line in lines:
        machine.waiting.put_nowait({"values": line})
    said: list[str] = []
    async with asyncio.timeout(10):
        while len(said) < len(lines):
            await asyncio.sleep(0)
            said += capsys.readouterr().out.splitlines()
    return [json.loads(line) for line in said]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"temperatur": 70}, 'unknown point "temperatur"; did you mean "temperature"?'),
        ({"temperature": "hot"}, "machine tester, point temperature: 'hot' does not fit float32"),
        ({"tof_i2c": "yes"}, "machine tester, point tof_i2c: 'yes' is neither true nor false"),
        ({"serial_number": "S" * 99}, "is longer than 24 bytes"),
        ({"temperature": {"a": 1}}, ""),
        ([1], 'values are given by name: {"values": {"temperature": 60.1}}'),
        (None, "values are given by name"),
    ],
)
async def test_what_cannot_be_made_is_told_and_uses_no_number(
    tester: SimulatedMachine, capsys: pytest.CaptureFixture[str], wrong: Any, told: str
) -> None:
    first, refused, second = await answers(tester, capsys, GOOD, wrong, GOOD)

    assert told in refused["error"]
    assert (first["cycle_key"], second["cycle_key"]) == (1, 2)
