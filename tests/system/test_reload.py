"""A running station takes over a changed file: no cycle lost or doubled, and who is not changed never notices.

Short here; ``RELOADS=200 pytest tests/system/test_reload.py`` is the long form.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from agent.control_client import answer_to, asked
from agent.history import FILE, lines_of
from drivers.base import Simulator
from tests.support.agents import kept
from tests.support.brokers import free_port
from tests.support.processes import Process
from tests.system.test_agent_life import machines_of

RELOADS = int(os.environ.get("RELOADS", "10"))
STATION = """\
station: {id: P03-X, site: gimcheon, line: KR01, process: P03_SENSOR_INSPECTION}
broker: {url: "mqtt://127.0.0.1:PORT"}
state_dir: STATE_DIR
machines:
  oven:
    protocol: modbus
    connect: {transport: tcp, host: 127.0.0.1, port: 502}
    trigger: {point: n, on: counter, poll: 10ms}
    points:
      n: {holding_register: 0, type: uint16}
      serial_number: {holding_register: 10, type: string, length: 24}
      temperature: {holding_register: 30, type: float32, unit: degC}
    cycle_key: n
    reconnect: {initial: 10ms, max: 50ms}
    acknowledge: {write: {holding_register: 50, type: uint16, value: "{cycle_key}"}}
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
SERIAL = "WF-KR-261123D-001-0001"


async def cycling(machine: Simulator, made: list[int], values: dict[str, Any]) -> None:
    """One result after the other, each acknowledged before the next."""
    while True:
        number = len(made) + 1
        await machine.cycle({"n": number, "serial_number": SERIAL, **values}, number)
        made.append(number)


def written(file: Path, overrides: list[str], state_dir: Path, **change: str) -> None:
    """The station's file, with where its machines are today and these texts replaced."""
    text = STATION.replace("STATE_DIR", str(state_dir)).replace("PORT", str(free_port()), 1)
    if file.exists():
        before = file.read_text(encoding="utf-8").splitlines()[1]
        text = text.replace(text.splitlines()[1], before)
    places = dict(override.split("=", 1) for override in overrides)
    text = text.replace("port: 502", f"port: {places['machines.oven.connect.port']}")
    text = text.replace("/dev/ttyS2", places["machines.bus.connect.port"])
    for old, new in change.items():
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


async def test_reloading_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    file = tmp_path / "P03-X.yaml"
    file.write_text(STATION.replace("STATE_DIR", str(tmp_path)).replace("PORT", "1883"), encoding="utf-8")
    made: dict[str, list[int]] = {"oven": [], "bus": []}
    async with machines_of(file) as (machines, overrides):
        file.unlink()
        written(file, overrides, tmp_path)
        async with Process([sys.executable, "-m", "agent", "run", str(file)]) as process:
            await process.line("station running")
            load = [
                asyncio.create_task(cycling(machines["oven"], made["oven"], {"temperature": 60.5})),
                asyncio.create_task(cycling(machines["bus"], made["bus"], {"tof_i2c": True})),
            ]
            for number in range(RELOADS):
                before = len(made["oven"])
                written(file, overrides, tmp_path, **{"poll: 10ms": f"poll: {10 + number % 2 + 1}ms"})
                done = await answer_to(tmp_path, {"ask": "reload"})
                assert (done["refused"], done["touched"]) == ([], ["oven"])
                async with asyncio.timeout(20):
                    while len(made["oven"]) < before + 2:
                        await asyncio.sleep(0.01)
            for task in load:
                task.cancel()
            await asyncio.gather(*load, return_exceptions=True)
            assert await process.stop() == 0
            connected = [line for line in process.output if "machine connected" in line]
    keys: dict[str, list[int]] = {"oven": [], "bus": []}
    for record in kept(tmp_path):
        keys[record["machine"]].append(record["cycle_key"])
        assert record.get("missed_before") in (0, None)
    for name, numbers in made.items():
        # The last one may be on disk without the machine having heard of it when the load ended.
        assert keys[name][: len(numbers)] == numbers
        assert len(keys[name]) <= len(numbers) + 1
    assert sum("bus" in line for line in connected) == 1
    assert RELOADS <= sum("oven" in line for line in connected) <= RELOADS + 1


async def test_a_running_station_is_asked_and_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "P03-X.yaml"
    file.write_text(STATION.replace("STATE_DIR", str(tmp_path)).replace("PORT", "1883"), encoding="utf-8")
    async with machines_of(file) as (machines, overrides):
        file.unlink()
        written(file, overrides, tmp_path)
        async with Process([sys.executable, "-m", "agent", "run", str(file)]) as process:
            await process.line("station running")
            watched = asked(tmp_path, {"ask": "watch"})
            assert await anext(watched) == {"watching": True}

            written(file, overrides, tmp_path, **{"nominal: 60": "nominel: 60"})
            refused = (await answer_to(tmp_path, {"ask": "reload"}))["refused"]
            assert 'did you mean "nominal"?' in refused[0]
            written(file, overrides, tmp_path, **{"id: P03-X": "id: P03-Y"})
            assert "restart it" in (await answer_to(tmp_path, {"ask": "reload"}))["refused"][0]

            await machines["oven"].cycle({"n": 1, "serial_number": SERIAL, "temperature": 63.0}, 1)
            assert (await anext(watched))["record"]["outcome"] == "FAIL"

            # Only the criterion: no machine is touched, and the next unit is judged by it.
            written(file, overrides, tmp_path, **{"nominal: 60": "nominal: 63"})
            difference = (await answer_to(tmp_path, {"ask": "diff", "file": str(file)}))["differences"]
            assert difference == ["criteria.temperature.nominal: 60 -> 63"]
            os.kill(process.pid, signal.SIGHUP)
            await process.line("settings reloaded")
            await machines["oven"].cycle({"n": 2, "serial_number": SERIAL, "temperature": 63.0}, 2)
            assert (await anext(watched))["record"]["outcome"] == "PASS"
            await watched.aclose()  # type: ignore[attr-defined]  # it is a generator

            status = await answer_to(tmp_path, {"ask": "status"})
            assert {name: one["connected"] for name, one in status["machines"].items()} == {"bus": True, "oven": True}
            assert (status["machines"]["oven"]["results"], status["machines"]["oven"]["last_outcome"]) == (2, "PASS")
            assert (status["outbox"]["waiting"], status["broker"]["connected"]) == (2, False)
            assert await process.stop() == 0
    assert not (tmp_path / "control.sock").exists()
    assert [(line.machine, line.outcome) for line in lines_of(tmp_path / FILE)] == [("oven", "FAIL"), ("oven", "PASS")]
