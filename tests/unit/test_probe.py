"""probe: every point once, judged; and of set-ups broken on purpose the cause that was made, told as the likely one."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.diagnosis import likely_cause
from agent.plausible import better_setting
from agent.probe import Probed, probe
from agent.settings import StationSettings, load
from contracts.criteria import Criterion
from contracts.errors import SetupError
from drivers.base import PointValue
from drivers.cable import PtyCable
from drivers.looking import Sight
from drivers.opcua.driver import OpcUaDriver
from drivers.registry import protocols
from tests.support.opcua import changed
from tests.support.opcua import settings as opcua_settings
from tests.support.opcua import simulated as secured

ROOT = Path(__file__).parents[2]
MODBUS, OPCUA = ROOT / "config/stations/P03-A.yaml", ROOT / "config/stations/P01-A.yaml"
GOOD: dict[str, Any] = {"serial_number": "SN-241118-001", "temperature": 60.25, "tof_i2c": True, "judgement": 1}
SERIAL = """\
station: {{id: P02-A, site: gimcheon, line: KR01, process: P02_LMA_ASSEMBLY}}
broker: {{url: mqtt://127.0.0.1:1883}}
machines:
  driver:
    protocol: serial
    connect: {{port: {port}, baudrate: 115200}}
    frame: {{end: "\\r\\n", timeout: 50ms}}
    message: {{format: key_value}}
    points: {{serial_number: {{key: code}}, torque: {{key: torque, type: float, unit: Nm}}}}
criteria: {{torque: {{lower: 0.8, upper: 1.2, unit: Nm}}}}
"""


@asynccontextmanager
async def simulated(file: Path, values: dict[str, Any]) -> AsyncIterator[list[str]]:
    """The file's machines, one result presented; the --set values that lead to them."""
    settings = load(file)
    (machine,) = settings.machines.values()
    simulator: Any = protocols()[machine.protocol].simulator(machine.name, machine.protocol_settings)
    try:
        yield [f"machines.{machine.name}.{key}={value}" for key, value in (await simulator.start()).items()]
    finally:
        await simulator.stop()


@asynccontextmanager
async def presented(values: dict[str, Any] | None = None) -> AsyncIterator[list[str]]:
    settings = load(MODBUS)
    machine = settings.machines["tester"]
    simulator: Any = protocols()["modbus"].simulator("tester", machine.protocol_settings)
    try:
        sets = [f"machines.tester.{key}={value}" for key, value in (await simulator.start()).items()]
        simulator.show(GOOD | (values or {}))
        yield sets
    finally:
        await simulator.stop()


async def probed(settings: StationSettings, wait_s: float = 0.4) -> Probed:
    (machine,) = settings.machines.values()
    return await probe(settings, machine, wait_s)


async def test_every_point_is_shown_once_with_its_bytes_and_verdict() -> None:
    async with presented() as sets:
        found = await probed(load(MODBUS, sets))
    seen = {sight.name: sight for sight in found.sights}
    assert found.is_whole
    assert list(seen) == list(load(MODBUS).machines["tester"].protocol_settings.points)
    assert (seen["temperature"].value.value, found.units["temperature"]) == (60.25, "degC")
    assert (seen["temperature"].raw, seen["temperature"].address) == ("0000 4271", "holding_register 30 (40031)")
    assert seen["serial_number"].value.value == "SN-241118-001"
    assert {name: one.verdict.value for name, one in found.verdicts.items()} == {
        "temperature": "PASS",
        "tof_i2c": "PASS",
    }


async def test_a_value_outside_its_limits_is_a_fail_and_no_fault_of_the_set_up() -> None:
    async with presented({"temperature": 66.5}) as sets:
        found = await probed(load(MODBUS, sets))
    assert found.verdicts["temperature"].verdict.value == "FAIL"
    assert found.is_whole


async def test_probing_takes_no_result_from_the_station() -> None:
    """Nothing is acknowledged: a machine that waits goes on waiting."""
    settings = load(MODBUS)
    machine = settings.machines["tester"]
    simulator: Any = protocols()["modbus"].simulator("tester", machine.protocol_settings)
    sets = [f"machines.tester.{key}={value}" for key, value in (await simulator.start()).items()]
    try:
        cycle = asyncio.create_task(simulator.cycle(GOOD | {"result_counter": 7}, 7))
        await asyncio.sleep(0)
        found = await probed(load(MODBUS, sets))
        assert found.sights[0].value.value == 7
        assert not cycle.done()
        cycle.cancel()
        await asyncio.gather(cycle, return_exceptions=True)
    finally:
        await simulator.stop()


@pytest.mark.parametrize("wrong", ["temperature.word_order=big", "temperature.byte_order=little"])
async def test_a_wrong_order_of_words_or_bytes_is_recognised_and_the_right_one_proposed(wrong: str) -> None:
    point, _, change = wrong.partition(".")
    key, _, order = change.partition("=")
    async with presented() as sets:
        found = await probed(load(MODBUS, [*sets, f"machines.tester.points.{wrong}"]))
    right = {"big": "little", "little": "big"}[order]
    assert f"with {key}: {right} it is 60.25" in found.proposals[point]
    assert not found.is_whole


async def test_a_device_id_that_is_silent_is_told_with_the_one_that_answers() -> None:
    settings = load(MODBUS)
    machine = settings.machines["tester"]
    simulator: Any = protocols()["modbus"].simulator("tester", machine.protocol_settings)
    sets = [f"machines.tester.{key}={value}" for key, value in (await simulator.start()).items()]
    try:
        found = await probed(load(MODBUS, [*sets, "machines.tester.connect.device_id=5"]))
    finally:
        await simulator.stop()
    assert found.error is not None
    assert "likely cause: the device id, for 1 answers here and 5 does not" in found.error


async def test_a_register_that_is_not_there_is_told_and_the_others_are_read() -> None:
    async with presented() as sets:
        found = await probed(load(MODBUS, [*sets, "machines.tester.points.temperature.holding_register=9000"]))
    problems = {sight.name: sight.value.problem for sight in found.sights if sight.value.problem is not None}
    assert list(problems) == ["temperature"]
    assert "the device has no such register" in str(problems["temperature"])


@asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[int]:
    """Something that is no such machine: says this to whoever asks."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_another_protocol_at_the_port_is_told() -> None:
    async with serving(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        found = await probed(load(MODBUS, [f"machines.tester.connect.port={port}"]))
    assert "does another protocol answer there?" in str(found.error)


async def test_a_port_where_nobody_listens_is_told(unused_tcp_port: int) -> None:
    for file, place in (
        (MODBUS, f"machines.tester.connect.port={unused_tcp_port}"),
        (OPCUA, f"machines.marker.connect.url=opc.tcp://127.0.0.1:{unused_tcp_port}"),
    ):
        found = await probed(load(file, [place]))
        assert "nothing listens at this port" in str(found.cause)


async def test_a_name_that_nobody_knows_is_told() -> None:
    found = await probed(load(MODBUS, ["machines.tester.connect.host=tester-9.invalid"]))
    assert "this computer knows no such name" in str(found.cause)


@pytest.mark.parametrize(
    ("errno_", "says"), [("EHOSTUNREACH", "no route"), ("ENETUNREACH", "no route"), ("ETIMEDOUT", "nothing answers")]
)
def test_what_only_another_network_can_show_is_told_by_its_number(errno_: str, says: str) -> None:
    import errno

    number = getattr(errno, errno_)
    error = RuntimeError("no connection")
    error.__cause__ = OSError(number, os.strerror(number))
    assert says in str(likely_cause(error))


async def test_a_node_that_is_not_on_the_server_is_told_and_the_others_are_read() -> None:
    async with simulated(OPCUA, {}) as sets:
        found = await probed(load(OPCUA, [*sets, 'machines.marker.points.marking_depth.node_id="ns=2;s=Marker.Dpth"']))
    problems = {sight.name: sight.value.problem for sight in found.sights if sight.value.problem is not None}
    assert "BadNodeIdUnknown" in str(problems["marking_depth"])
    assert next(sight for sight in found.sights if sight.name == "result_counter").value.problem is None


async def test_a_certificate_that_nobody_trusts_yet_is_told_with_what_to_do(tmp_path: Path) -> None:
    security = {"policy": "Basic256Sha256", "certificate": "c", "key": "k", "trusted": "t"}
    wanted: dict[str, Any] = {
        "connect": {"url": "opc.tcp://127.0.0.1/", "security": security},
        "trigger": {"point": "n", "sampling": "10ms"},
        "points": {"n": {"node_id": "ns=2;s=n", "type": "uint32"}},
    }
    async with secured(wanted) as (_, keys):
        here = opcua_settings(changed(keys, {"connect.security.trusted": str(tmp_path)}))
        with pytest.raises(SetupError, match=r"is new to this station; .* trust it with neurohub-agent trust"):
            await OpcUaDriver("marker", here).look(0.1)


async def on_a_line(tmp_path: Path, say: Callable[[int], Awaitable[None]]) -> Probed:
    async with PtyCable() as cable:
        file = tmp_path / "station.yaml"
        file.write_text(SERIAL.format(port=cable.a), encoding="utf-8")
        end = os.open(cable.b, os.O_RDWR | os.O_NOCTTY)
        try:
            task = asyncio.create_task(probed(load(file), 0.6))
            speaking = asyncio.ensure_future(say(end))
            found = await task
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        finally:
            os.close(end)
    return found


def saying(data: bytes) -> Callable[[int], Awaitable[None]]:
    async def say(end: int) -> None:
        while True:
            await asyncio.sleep(0.1)
            os.write(end, data)

    return say


async def test_the_next_message_of_a_machine_that_speaks_by_itself_is_shown(tmp_path: Path) -> None:
    found = await on_a_line(tmp_path, saying(b"code=SN-241118-001;torque=1.0\r\n"))
    assert {sight.name: sight.value.value for sight in found.sights} == {
        "serial_number": "SN-241118-001",
        "torque": 1.0,
    }
    assert found.verdicts["torque"].verdict.value == "PASS"
    assert found.sights[0].raw == b"code=SN-241118-001;torque=1.0\r\n".hex(" ")


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"", "let it make a result"),
        (b"\xff\xfe\x98\x86\x00\xe0\xf8\x9e\xe6", "this is noise: likely cause the baudrate"),
        (b"code=SN-241118-001;torque=1.0;", "frame.start, frame.end or frame.checksum are not this machine's"),
    ],
)
async def test_what_a_line_says_instead_of_a_message_names_the_cause(tmp_path: Path, said: bytes, cause: str) -> None:
    found = await on_a_line(tmp_path, saying(said))
    assert cause in str(found.error)


async def test_a_port_that_is_not_there_is_told(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(SERIAL.format(port=tmp_path / "usb-1"), encoding="utf-8")
    assert "check that the adapter is plugged in" in str((await probed(load(file))).error)


async def test_a_tool_that_is_missing_or_may_not_be_run_is_told(tmp_path: Path) -> None:
    sample = ROOT / "drivers/process/sample.yaml"
    for name, says in (("absent", "there is no program"), ("plain", "may not be run")):
        (tmp_path / "plain").write_text("no program", encoding="utf-8")
        settings = load(sample, [f"machines.flasher.run.program={tmp_path / name}"])
        found = await probe(settings, settings.machines["flasher"], 0.1)
        assert says in str(found.error)


@pytest.mark.parametrize(
    ("value", "otherwise", "proposed"),
    [
        (2.4e-41, 60.0, True),
        (4.1e37, 60.12, True),
        (60.0, 2.4e-41, False),
        (327680, 5, True),
        (5, 327680, False),
        (66.5, 60.0, False),
    ],
)
def test_only_a_value_that_cannot_be_has_another_proposed(value: float, otherwise: float, proposed: bool) -> None:
    sight = Sight("x", "", PointValue(value), otherwise={"word_order: little": PointValue(otherwise)})
    rule = None if isinstance(value, int) else Criterion(nominal=60, tolerance=1)
    assert (better_setting(sight, rule) is not None) is proposed


def test_the_command_prints_a_table_and_ends_with_what_it_found(unused_tcp_port: int) -> None:
    place = f"machines.tester.connect.port={unused_tcp_port}"
    result = CliRunner().invoke(app, ["probe", str(MODBUS), "--set", place])
    assert result.exit_code == 1
    assert "likely cause: the computer is there and nothing listens" in result.stdout
    assert CliRunner().invoke(app, ["probe", str(MODBUS), "testr"]).exit_code == 2
    assert (
        'did you mean "temperature"?' in CliRunner().invoke(app, ["probe", str(MODBUS), "tester", "temperatur"]).stderr
    )


def test_the_command_shows_the_table_in_the_language_of_the_locale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agent.probe_command import _show

    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    machine = load(MODBUS).machines["tester"]
    sight = Sight("temperature", "holding_register 30 (40031)", PointValue(60.25), "0000 4271")
    _show(machine, Probed("tester", (sight,), {"temperature": "degC"}), None)
    said = capsys.readouterr().out
    assert "포인트" in said
    assert "60.25" in said
    assert "\x1b" not in said
