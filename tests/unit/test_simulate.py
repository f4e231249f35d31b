"""A line typed to `simulate` that no machine can make a result of: told in words, and no number is used up by it."""

import asyncio
import json
import subprocess
import sys
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


def simulated(file: Path, standard_input: Path) -> subprocess.CompletedProcess[str]:
    """``simulate`` as a person starts it, with this for its standard input."""
    with standard_input.open("rb") as given:
        return subprocess.run(
            [sys.executable, "-m", "agent", "simulate", str(file)],
            stdin=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def test_standard_input_that_cannot_be_waited_for_is_read_to_its_end(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text('\n{"machine": "testr"}\n', encoding="utf-8")
    station = Path("config/stations/P03-A.yaml")

    nothing, some = simulated(station, Path("/dev/null")), simulated(station, lines)

    assert [(done.returncode, done.stderr) for done in (nothing, some)] == [(0, ""), (0, "")]
    assert [len(done.stdout.splitlines()) for done in (nothing, some)] == [1, 2]
    assert "a line names one of tester" in some.stdout


def test_a_machine_that_cannot_be_simulated_is_told_in_a_sentence(tmp_path: Path) -> None:
    sample = Path("drivers/opcua/sample.yaml").read_text(encoding="utf-8")
    file = tmp_path / "station.yaml"
    of_a_list = 'serial_number:  {node_id: "ns=2;s=Steps", field: "Steps[1].Code"}'
    file.write_text(
        sample.replace('serial_number:  {node_id: "ns=2;s=Marker.SerialNumber"}', of_a_list), encoding="utf-8"
    )

    done = simulated(file, Path("/dev/null"))

    assert done.returncode == 2
    assert done.stderr == (
        "machine marker cannot be simulated: point serial_number: field Steps[1].Code reaches into a list, which the "
        "simulator does not make; name members alone (a real machine takes this)\n"
    )


async def test_a_fault_with_values_happens_in_that_very_result(
    settings: MachineSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = SimulatedMachine(settings, protocols()["modbus"].simulator("tester", settings.protocol_settings))
    happened: list[tuple[str, int]] = []

    async def misbehave(name: str) -> None:
        happened.append((name, machine._count))

    machine.misbehave = misbehave  # type: ignore[method-assign]
    await machine.simulator.start()
    try:
        for line in ({}, {"fault": "drop_link", "after": 0.01}, {"after": -1}, {"after": "soon"}):
            await machine._answered({"values": GOOD, **line})
    finally:
        await machine.simulator.stop()
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert happened == [("drop_link", 1)]
    assert [line.get("cycle_key") for line in said] == [1, 2, None, None]
    assert said[2]["error"] == "after: seconds from 0 to 3600 are needed, found -1"


def test_a_script_is_played_until_each_of_its_results_is_made(tmp_path: Path, settings: MachineSettings) -> None:
    script = tmp_path / "shift.jsonl"
    lines = [{"values": GOOD, "id": 1}, {"values": GOOD, "fault": "nothing"}, {"values": GOOD, "id": 3}]
    script.write_text("\n".join(json.dumps({"machine": "tester", **line}) for line in lines), encoding="utf-8")
    station = tmp_path / "P03-A.yaml"  # the one that waits for nobody
    command = [sys.executable, "-m", "agent", "simulate", str(station), "--script"]

    played = subprocess.run([*command, script], capture_output=True, text=True, timeout=60, check=False)
    hello, *said = [json.loads(line) for line in played.stdout.splitlines()]
    assert played.returncode == 0, played.stderr
    assert hello["station"] == "P03-A"
    assert [line.get("cycle_key") for line in said] == [1, None, 2]
    assert "nothing is no fault of this machine" in said[1]["error"]

    missing = subprocess.run([*command, "/none"], capture_output=True, text=True, timeout=60, check=False)
    assert missing.returncode == 2
    assert "/none cannot be read: No such file" in missing.stderr
