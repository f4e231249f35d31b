"""browse, scan and sniff find what is there, before any file describes it, and write nothing."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.finding import modbus_at, numbers, table_named
from agent.settings import load
from contracts.errors import SetupError
from documents.document import Document
from documents.issues import Place
from documents.reading import parse
from drivers.cable import PtyCable
from drivers.registry import protocols
from drivers.serial.guessing import guesses
from tests.support.opcua import simulated

CONFIG = Path(__file__).parents[2] / "config" / "stations"
MARKER: dict[str, Any] = {
    "connect": {"url": "opc.tcp://127.0.0.1/"},
    "trigger": {"point": "n", "sampling": "10ms"},
    "points": {
        "n": {"node_id": "ns=2;s=Marker.Counter", "type": "uint32"},
        "depth": {"node_id": "ns=2;s=Marker.Depth", "type": "double", "unit": "mm"},
        "forces": {"node_id": "ns=2;s=Marker.Forces", "type": "double", "array": True},
    },
}


async def run(*words: object) -> tuple[int, str, str]:
    result = await asyncio.to_thread(CliRunner().invoke, app, [*map(str, words)])
    return result.exit_code, result.stdout, result.stderr


async def test_browse_shows_a_servers_nodes_searches_them_and_writes_points(unused_tcp_port: int) -> None:
    async with simulated(MARKER) as (_, keys):
        url = keys["connect"]["url"]
        code, tree, _ = await run("browse", url)
        assert code == 0
        assert "ns=2;s=Marker.Depth" in tree
        assert "i=2253" not in tree  # the server's own nodes
        code, found, _ = await run("browse", url, "--search", "depth", "--yaml")
        assert code == 0
        document = parse(found, Place("found"))
        assert isinstance(document, Document)
        points: Any = document.root.plain()["points"]  # type: ignore[index]  # a mapping
        assert list(points.values()) == [{"node_id": "ns=2;s=Marker.Depth", "type": "double"}]
        assert (await run("browse", url, "--search", "nothing like it"))[0] == 1
    code, _, told = await run("browse", f"opc.tcp://127.0.0.1:{unused_tcp_port}")
    assert code == 2
    assert "cannot be reached" in told
    assert "the server's endpoint is needed" in (await run("browse", "http://x"))[2]


@pytest.fixture
async def tester() -> Any:
    machine = load(CONFIG / "P03-A.yaml").machines["tester"]
    simulator: Any = protocols()["modbus"].simulator("tester", machine.protocol_settings)
    reached = await simulator.start()
    simulator.show({"result_counter": 4660, "tof_i2c": True})
    yield f"{reached['connect.host']}:{reached['connect.port']}"
    await simulator.stop()


async def test_scan_finds_the_devices_that_answer_and_what_can_be_read_of_one(tester: str) -> None:
    code, said, _ = await run("scan", tester, "--ids", "1-2")
    assert (code, said) == (0, "device_id: 1 answers\n")
    code, said, _ = await run("scan", tester, "--device-id", 1, "--table", "holding_register", "--count", 200)
    assert code == 0
    assert "holding_register 0" in said
    assert "4660" in said
    assert "1234" in said  # in hexadecimal
    assert (await run("scan", tester, "--device-id", 1, "--table", "coil", "--first", 60000, "--count", 3))[0] == 1


async def test_scan_tells_that_nobody_is_there(unused_tcp_port: int) -> None:
    code, _, told = await run("scan", f"127.0.0.1:{unused_tcp_port}")
    assert code == 2
    assert "check host and port" in told


def test_what_cannot_be_meant_is_told() -> None:
    assert numbers("1-3,247") == [1, 2, 3, 247]
    for wrong in ("", "1-", "300", "a"):
        with pytest.raises(SetupError, match="device ids from 0 to 255"):
            numbers(wrong)
    with pytest.raises(SetupError, match="there are holding_register"):
        table_named("registers")
    assert str(modbus_at("/dev/ttyUSB0", 9600, "E", 3)) == "/dev/ttyUSB0"
    assert str(modbus_at("10.0.0.1", 9600, "N", 1)) == "10.0.0.1:502"
    with pytest.raises(SetupError, match="parity"):
        modbus_at("/dev/ttyUSB0", 9600, "even", 3)


@contextmanager
def speaking(end: int, data: bytes) -> Iterator[None]:
    async def speak() -> None:
        while True:
            await asyncio.sleep(0.1)
            os.write(end, data)

    task = asyncio.ensure_future(speak())
    try:
        yield
    finally:
        task.cancel()


async def test_sniff_shows_bytes_with_times_and_guesses_the_frame() -> None:
    async with PtyCable() as cable:
        end = os.open(cable.b, os.O_RDWR | os.O_NOCTTY)
        try:
            with speaking(end, b"n=1;torque=1.02\r\n"):
                code, said, _ = await run("sniff", cable.a, "--seconds", 0.5)
        finally:
            os.close(end)
    assert code == 0
    assert said.startswith("9600 baud: ")
    assert b"n=1;torque=1.02\r\n".hex(" ") in said
    assert "n=1;torque=1.02.." in said
    assert 'frame: {end: "\\r\\n"}' in said
    assert "message: {format: key_value}" in said


async def test_sniff_tells_of_silence_and_of_a_port_that_is_not_there(tmp_path: Path) -> None:
    async with PtyCable() as cable:
        code, said, _ = await run("sniff", cable.a, "--seconds", 0.1, "--baudrate", 9600)
    assert code == 1
    assert "nothing came" in said
    code, _, told = await run("sniff", tmp_path / "usb-1")
    assert code == 2
    assert "check that the adapter is plugged in" in told


@pytest.mark.parametrize(
    ("pieces", "frame", "message"),
    [
        ([b"\x0212.5\x03", b"\x0212.6\x03"], 'start: "\\x02", end: "\\x03"', "format: whole"),
        ([b"17,SN-1,OK\r", b"18,SN-2,NG\r"], 'end: "\\r"', 'format: fields, separator: ","'),
        ([b'{"a": 1}\n'], 'end: "\\n"', "format: json"),
        ([b"\x01\x03\x04\xff\xfe", b"\x01\x03\x04\xf0\xfe"], "fixed: 5", None),
        ([b"\x01\x99", b"\x01\x98\x97"], "idle: 20ms", None),
        ([], None, None),
    ],
)
def test_framing_and_form_are_guessed(pieces: list[bytes], frame: str | None, message: str | None) -> None:
    found = "\n".join(guesses(pieces))
    assert (frame or "") in found
    assert (message or "") in found
    assert ("frame:" in found) is (frame is not None)
    assert ("message:" in found) is (message is not None)
