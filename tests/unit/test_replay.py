"""A file is tried on what really came in: a wrong scale found later is proven on the frames of before."""

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent import history
from agent.cli import app
from agent.history import FILE, History, Judged, Line, before, lines_of
from agent.recording import record_machine
from agent.replay import replayed
from agent.settings import StationSettings, load
from contracts.errors import LinkError, SetupError
from drivers.base import PointValue, Reading
from drivers.cable import PtyCable
from drivers.registry import protocols
from tests.support.records import NOON, record

CONFIG = Path(__file__).parents[2] / "config" / "stations"
MODBUS = (CONFIG / "P03-A.yaml").read_text(encoding="utf-8")
GOOD: dict[str, Any] = {"serial_number": "SN-241118-001", "temperature": 60.25, "tof_i2c": True, "judgement": 1}
SERIAL = """\
station: {{id: P02-A, site: gimcheon, line: KR01, process: P02_LMA_ASSEMBLY}}
broker: {{url: mqtt://127.0.0.1:1883}}
state_dir: {state_dir}
machines:
  driver:
    protocol: serial
    connect: {{port: {port}}}
    frame: {{end: "\\r\\n"}}
    message: {{format: key_value}}
    points: {{serial_number: {{key: code}}, torque: {{key: torque, type: float, unit: Nm}}}}
criteria: {{torque: {{lower: 0.8, upper: 1.2, unit: Nm}}}}
"""


def settings(tmp_path: Path, text: str) -> StationSettings:
    file = tmp_path / "station.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file)


async def modbus_line() -> Line:
    """One result of the tester, read by the driver from registers."""
    machine = load(CONFIG / "P03-A.yaml").machines["tester"]
    simulator: Any = protocols()["modbus"].simulator("tester", machine.protocol_settings)
    reached = await simulator.start()
    sets = [f"machines.tester.{key}={value}" for key, value in reached.items()]
    simulator.show(GOOD | {"result_counter": 3})
    driver = protocols()["modbus"].driver("tester", load(CONFIG / "P03-A.yaml", sets).machines["tester"].wire)
    try:
        await driver.open()
        reading = await driver.read(await driver.next_event())
    finally:
        await driver.close()
        await simulator.stop()
    return Line(
        machine="tester",
        at=NOON,
        reading=reading,
        serial_number="SN-241118-001",
        outcome="PASS",
        measurements={
            "temperature": Judged(value=60.25, unit="degC", verdict="PASS"),
            "tof_i2c": Judged(value=True, verdict="PASS"),
        },
    )


async def test_a_wrong_scale_is_proven_on_registers_of_before(tmp_path: Path) -> None:
    line = Line.model_validate_json((await modbus_line()).model_dump_json(exclude_defaults=True))
    (same,) = replayed(settings(tmp_path, MODBUS), [line])
    assert (same.outcome, same.differences) == ("PASS", ())
    scaled = MODBUS.replace("word_order: little, unit: degC", "word_order: little, scale: 0.1, unit: degC")
    (found,) = replayed(settings(tmp_path, scaled), [line])
    assert found.differences == ("outcome: PASS -> FAIL", "temperature: 60.25 degC PASS -> 6.025 degC FAIL")


async def test_a_point_at_another_register_is_found_among_those_that_were_read_or_told(tmp_path: Path) -> None:
    line = await modbus_line()
    moved = MODBUS.replace("holding_register: 40, type", "holding_register: 30, type")
    (found,) = replayed(settings(tmp_path, moved), [line])
    assert any("neither pass nor fail" in problem for problem in found.problems)
    away = MODBUS.replace("holding_register: 30,", "holding_register: 300,")
    (found,) = replayed(settings(tmp_path, away), [line])
    assert any("not among the registers that were read then" in problem for problem in found.problems)
    assert found.outcome == "ERROR"


def serial_line(raw: bytes) -> Line:
    values = {"serial_number": PointValue("SN-241118-001"), "torque": PointValue(1.0)}
    return Line(machine="driver", at=NOON, reading=Reading(NOON, values, raw), outcome="PASS")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("key: torque", "key: force", "key 'force' is not in the frame"),
        ('end: "\\r\\n"', 'end: ";"', "torque"),
        ("upper: 1.2", "upper: 0.9", "outcome: PASS -> FAIL"),
    ],
)
def test_serial_bytes_are_framed_and_taken_apart_anew(old: str, new: str, says: str, tmp_path: Path) -> None:
    text = SERIAL.format(state_dir=tmp_path, port="/dev/null")
    assert old in text
    (found,) = replayed(settings(tmp_path, text.replace(old, new)), [serial_line(b"code=SN-1;torque=1.0\r\n")])
    assert says in "\n".join((*found.differences, *found.problems))


def test_what_other_protocols_read_is_judged_by_name(tmp_path: Path) -> None:
    text = (CONFIG / "P06-A.yaml").read_text(encoding="utf-8")
    found = list(
        replayed(settings(tmp_path, text), [serial_line(b""), Line(machine="tester", at=NOON, reading=Reading(NOON))])
    )
    assert [one.outcome for one in found] == ["ERROR"]


async def test_history_is_bounded_and_survives_a_line_cut_off(tmp_path: Path) -> None:
    kept = History(tmp_path, max_bytes=2000)
    for number in range(20):
        reading = Reading(NOON, {"x": PointValue(float(number))}, raw=b"\xff\x00", words={"coil 3": [1]})
        kept.kept(partial(Line.of, number, record(), reading, {"printer": "no answer"}, None))
        await kept.write()
    file = tmp_path / FILE
    assert file.stat().st_size + before(file).stat().st_size < 4000
    with file.open("ab") as opened:
        opened.write(b'{"machine": "tes')
    lines = list(lines_of(file))
    assert lines[-1].seq == 19
    assert lines[-1].reading == Reading(NOON, {"x": PointValue(19.0)}, raw=b"\xff\x00", words={"coil 3": [1]})
    assert lines[-1].companions == {"printer": "no answer"}
    assert [line.seq for line in lines] == sorted(line.seq or 0 for line in lines)


async def test_a_disk_that_is_nearly_full_or_refuses_is_left_to_the_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = History(tmp_path)
    monkeypatch.setattr(history, "_FREE_BYTES", 2**62)
    kept.kept(lambda: serial_line(b""))
    await kept.write()
    assert not os.listdir(tmp_path)
    monkeypatch.undo()
    gone = History(tmp_path / "gone")
    gone.kept(lambda: serial_line(b""))
    await gone.write()


async def test_a_fast_machine_has_its_newest_readings_kept(tmp_path: Path) -> None:
    kept = History(tmp_path)
    for number in range(1000):
        kept.kept(partial(Line, machine="m", at=NOON, reading=Reading(NOON), seq=number))
    await kept.write()
    assert [line.seq for line in lines_of(tmp_path / FILE)] == list(range(800, 1000))


async def test_record_writes_what_a_machine_says_and_replay_judges_it(tmp_path: Path) -> None:
    async with PtyCable() as cable:
        text = SERIAL.format(state_dir=tmp_path, port=cable.a)
        end = os.open(cable.b, os.O_RDWR | os.O_NOCTTY)

        async def speak() -> None:
            while True:
                await asyncio.sleep(0.1)
                os.write(end, b"code=SN-1;torque=1.5\r\n")

        speaking = asyncio.create_task(speak())
        try:
            assert await record_machine(settings(tmp_path, text), "driver", tmp_path / "driver.jsonl", 10, 2) == 2
        finally:
            speaking.cancel()
            os.close(end)
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "station.yaml"), str(tmp_path / "driver.jsonl")])
    assert result.exit_code == 0
    assert result.stdout.count("SN-1  FAIL") in (0, 2)
    assert "torque: 1.5 Nm FAIL" in result.stdout
    assert result.stdout.endswith("2 results replayed, 0 differ\n")
    with pytest.raises(SetupError, match='did you mean "driver"'):
        await record_machine(load(tmp_path / "station.yaml"), "drivr", tmp_path / "x", 1, 1)
    with pytest.raises(LinkError):
        await record_machine(load(tmp_path / "station.yaml"), "driver", tmp_path / "x", 1, 1)


def test_replay_says_what_is_missing_and_ends_by_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(SERIAL.format(state_dir=tmp_path, port="/dev/null"), encoding="utf-8")
    for words in ([], ["--history"], [str(tmp_path / "none"), "--history"]):
        assert CliRunner().invoke(app, ["replay", str(file), *words]).exit_code == 2
    kept = History(tmp_path)
    kept.kept(lambda: serial_line(b"code=SN-1;torque=1.5\r\n"))
    asyncio.run(kept.write())
    result = CliRunner().invoke(app, ["replay", str(file), "--history"])
    assert result.exit_code == 1
    assert "outcome: PASS -> FAIL" in result.stdout


def test_the_answers_of_a_dialogue_are_judged_anew(tmp_path: Path) -> None:
    text = (CONFIG / "P05-A.yaml").read_text(encoding="utf-8")
    answers = {
        "number": 1,
        "serial_number": "SN-241118-001",
        "assembly_time": "170",
        "cable_connection": "OK",
        "final_visual_check": "OK",
    }
    reading = Reading(NOON, {name: PointValue(value) for name, value in answers.items()}, raw=b"{}")
    line = Line(machine="scanner", at=NOON, reading=reading, serial_number="SN-241118-001", outcome="PASS")
    (same,) = replayed(settings(tmp_path, text), [line])
    assert (same.outcome, same.measurements["assembly_time"]) == ("PASS", "170 min PASS")
    (other,) = replayed(settings(tmp_path, text.replace("upper: 180", "upper: 120")), [line])
    assert other.outcome == "FAIL"
