"""Modbus against programs that were not written here: a machine on libmodbus, and mbpoll asking a simulated one.

The machine (``tests/support/modbus_machine.c``) is compiled first. It makes its next result when the one before is
acknowledged; what stands in its registers is a function of the result's number, so a mixture of two would show.
"""

import asyncio
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.outbox import Outbox
from agent.settings import StationSettings, load
from agent.supervisor import Supervisor
from contracts.errors import SetupError
from contracts.measurement import Scalar
from contracts.record import ProcessRecord
from drivers.base import MachineEvent, RawValue
from drivers.cable import PtyCable
from drivers.modbus.codec import shortest_float32
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.simulator import ModbusSimulator
from tests.support.processes import ROOT, Process

PATIENCE_S = 60.0
SOURCE = ROOT / "tests" / "support" / "modbus_machine.c"
ECHO: dict[str, Any] = {"write": {"register": 40051, "type": "uint16"}}
FOUR_PHASE: dict[str, Any] = {"four_phase": {"ready": {"register": 10001}, "ack": {"coil": 0}, "poll": "10ms"}}
POINTS: dict[str, Any] = {
    "n": {"register": 40001, "type": "uint16"},
    "serial_number": {"register": 40011, "type": "string", "length": 22},
    "temperature": {"register": 40031, "type": "float32", "unit": "degC"},
    "cycles": {"register": 40035, "type": "int32", "word_order": "little"},
    "pressure": {"register": 30008, "type": "int16", "scale": 0.01, "unit": "bar"},
    "odd": {"register": 10005},
    "third": {"register": "00022"},
}


def result(number: int) -> dict[str, RawValue]:
    """What the machine shows for its result of this number."""
    (temperature,) = struct.unpack(">f", struct.pack(">f", 60.0 + (number % 100) / 100))
    return {
        "n": number,
        "serial_number": f"SN-261123-{number:06d}",
        "temperature": shortest_float32(temperature),
        "cycles": 70000 * (number % 1000) - 35,
        "pressure": float(f"{-(number % 3000) / 100:.2f}"),
        "odd": number % 2 == 1,
        "third": number % 3 == 0,
    }


def settings(connect: dict[str, Any], acknowledge: dict[str, Any], **points: Any) -> ModbusSettings:
    """A machine that counts its results."""
    return ModbusSettings.model_validate(
        {
            "connect": {"timeout": "5s", **connect},
            "trigger": {"point": "n", "on": "counter", "poll": "10ms"},
            "points": {**POINTS, **points},
            "acknowledge": acknowledge,
        }
    )


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine, compiled."""
    made = tmp_path_factory.mktemp("libmodbus") / "modbus_machine"
    subprocess.run(["gcc", "-Wall", "-O1", "-I/usr/include/modbus", SOURCE, "-lmodbus", "-o", made], check=True)
    return made


class Peer:
    """The machine on libmodbus, and the settings that reach it; it can be killed and started again at its place."""

    def __init__(self, program: Path, transport: str, way: str, cable: PtyCable | None) -> None:
        self._program = program
        self._transport = transport
        self._way = way
        self._cable = cable
        self._place = cable.b if cable is not None else "0"
        self._process: Process | None = None
        self.made = 0
        """Number of its last result."""

    @property
    def connect(self) -> dict[str, Any]:
        """Keys that reach it."""
        if self._cable is not None:
            return {"transport": "rtu", "port": self._cable.a, "device_id": 7}
        return {"transport": "tcp", "host": "127.0.0.1", "port": int(self._place), "device_id": 7}

    async def start(self, first: int) -> None:
        """With this result standing there."""
        command = [self._program, self._transport, self._place, "7", str(first), self._way]
        self._process = Process([str(word) for word in command])
        await self._process.__aenter__()
        listening = await self._process.line("listening")
        self._place = listening.split()[1] if self._cable is None else self._place

    async def until_made(self, number: int) -> None:
        """Wait for its result of this number or a later one."""
        assert self._process is not None
        async with asyncio.timeout(PATIENCE_S):
            while self._last() < number:
                await asyncio.sleep(0.005)
        self.made = self._last()

    async def kill(self) -> None:
        """Without a warning."""
        if self._process is not None:
            await self._process.kill()
            self.made = self._last()
            self._process = None

    def _last(self) -> int:
        assert self._process is not None
        made = [int(line.split()[1]) for line in list(self._process.output) if line.startswith("made ")]
        return made[-1] if made else self.made


@asynccontextmanager
async def peer(program: Path, transport: str, way: str = "echo") -> AsyncIterator[Peer]:
    """The machine, started without a result."""
    async with PtyCable() as cable:
        machine = Peer(program, transport, way, cable if transport == "rtu" else None)
        try:
            await machine.start(0)
            yield machine
        finally:
            await machine.kill()


# -- the machine on libmodbus --------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["tcp", "rtu"])
@pytest.mark.parametrize("acknowledge", [ECHO, FOUR_PHASE], ids=["echo", "four_phase"])
async def test_results_are_read_whole_from_all_four_tables(
    program: Path, transport: str, acknowledge: dict[str, Any]
) -> None:
    async with peer(program, transport, "echo" if acknowledge is ECHO else "four_phase") as machine:
        driver = ModbusDriver("tester", settings(machine.connect, acknowledge))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await driver.open()
                number = 0
                while number < 25:
                    reading = await driver.read(await driver.next_event())
                    if reading.values["n"].value == 0:
                        continue
                    number += 1
                    assert {name: point.value for name, point in reading.values.items()} == result(number)
                    await driver.acknowledge(reading, number)
        finally:
            await driver.close()


async def test_a_register_it_does_not_have_is_told_by_both_names(program: Path) -> None:
    async with peer(program, "tcp") as machine:
        driver = ModbusDriver("tester", settings(machine.connect, ECHO, more={"register": 40123, "type": "uint16"}))
        with pytest.raises(SetupError, match=r"point more \(holding_register 122 \(40123\): the device has no such"):
            await driver.open()


async def test_a_bit_is_set_beside_others_that_stay(program: Path) -> None:
    """By the request that changes single bits, which libmodbus knows."""
    signals = {"ready": {"register": 10001}, "ack": {"holding_register": 60, "bit": 4}}
    async with peer(program, "tcp", "four_phase") as machine:
        here = settings(machine.connect, {"four_phase": signals}, beside={"holding_register": 60, "type": "uint16"})
        driver = ModbusDriver("tester", here)
        assert here.acknowledge is not None
        assert here.acknowledge.four_phase is not None
        try:
            await driver.open()
            for on, found in ((True, 0x0010), (False, 0x0000)):
                await driver._link.write_signal(here.acknowledge.four_phase.ack, on)
                reading = await driver.read(MachineEvent(datetime.now(UTC)))
                assert reading.values["beside"].value == found
        finally:
            await driver.close()


# -- restarted under load ------------------------------------------------------------------------------------------


def station(tmp_path: Path, machine: Peer) -> StationSettings:
    """A station with this machine; timeouts and waits are short, so that a restart costs little."""
    lines = [
        "      " + f"{name}: {{{', '.join(f'{key}: {value!r}' for key, value in point.items())}}}"
        for name, point in POINTS.items()
    ]
    keys = ", ".join(f"{key}: {value}" for key, value in {**machine.connect, "timeout": "150ms"}.items())
    file = tmp_path / "station.yaml"
    file.write_text(
        "station: {id: P03-A, site: gimcheon, line: KR01, process: P03_SENSOR_INSPECTION}\n"
        "broker: {url: 'mqtt://127.0.0.1:1883'}\n"
        "machines:\n  tester:\n    protocol: modbus\n"
        f"    connect: {{{keys}}}\n"
        "    trigger: {point: n, on: counter, poll: 10ms}\n"
        "    points:\n" + "\n".join(lines) + "\n"
        "    cycle_key: n\n"
        "    reconnect: {initial: 5ms, max: 50ms}\n"
        "    acknowledge: {write: {register: 40051, type: uint16}}\n"
        "criteria:\n  temperature: {nominal: 60, tolerance: 1, unit: degC}\n",
        encoding="utf-8",
    )
    return load(file)


@asynccontextmanager
async def supervised(here: StationSettings, outbox: Outbox) -> AsyncIterator[None]:
    """The machine's whole life on the station, from its link to the disk."""
    machine = here.machines["tester"]
    assert isinstance(machine.protocol_settings, ModbusSettings)
    driver = ModbusDriver("tester", machine.protocol_settings)
    supervisor = Supervisor(
        machine,
        here,
        StationCriteria(here, CentralClock()),
        driver,
        outbox,
        "test",
        {},
        kept=lambda: None,
        clock=CentralClock(),
    )
    running = asyncio.create_task(supervisor.run())
    try:
        yield
    finally:
        supervisor.stop()
        async with asyncio.timeout(PATIENCE_S):
            await running


async def kept(outbox: Outbox) -> list[ProcessRecord]:
    rows = await outbox.unsettled(outbox.stream_id, 0, max_rows=10_000, max_bytes=10**8)
    return [ProcessRecord.model_validate_json(row.body) for row in rows]


def measured(record: ProcessRecord) -> dict[str, Any]:
    return {one.name: one.value for one in record.measurements} | {"serial_number": record.serial_number}


@pytest.mark.parametrize("transport", ["tcp", "rtu"])
async def test_a_machine_restarted_twenty_times_under_load_has_every_result_once(
    program: Path, transport: str, tmp_path: Path
) -> None:
    """It keeps its registers over a power cut; it is cut at any moment of a result's way."""
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.open()
    try:
        async with peer(program, transport) as machine, supervised(station(tmp_path, machine), outbox):
            for restart in range(20):
                await machine.until_made(machine.made + 1 + restart % 4)
                await machine.kill()
                await machine.start(machine.made)
            await machine.until_made(machine.made + 3)
        records = await kept(outbox)
    finally:
        outbox.close()
    numbers = [record.cycle_key for record in records]
    assert numbers == list(range(1, len(numbers) + 1)), "every result once, in order"
    assert machine.made - 1 <= len(numbers) <= machine.made
    assert len(numbers) >= 50
    for number, record in enumerate(records, 1):
        expected: dict[str, Scalar | list[Scalar]] = {
            name: value for name, value in result(number).items() if name != "n"
        }
        assert measured(record) == expected
        assert record.missed_before == 0
        assert not record.possible_repeat or number == 1, "only the first may have been kept by an outbox before this"


async def test_results_that_a_machine_itself_forgot_are_named_as_a_gap(program: Path, tmp_path: Path) -> None:
    """Its counter begins anew at every power cut: nobody can know what was lost, and the record says so."""
    outbox = Outbox(tmp_path / "outbox.db")
    outbox.open()
    try:
        with capture_logs() as logs:
            async with peer(program, "tcp") as machine, supervised(station(tmp_path, machine), outbox):
                for restart in range(5):
                    await machine.until_made(5 + restart)
                    await machine.kill()
                    await machine.start(0)
                    machine.made = 0
                await machine.until_made(5)
        records = await kept(outbox)
    finally:
        outbox.close()
    lives: dict[int, list[Any]] = {}
    for record in records:
        lives.setdefault(record.cycle_epoch, []).append(record.cycle_key)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in lives.values())
    assert len(lives) == 6, "every life of the machine is one of its own"
    gaps = [entry for entry in logs if entry["event"] in ("results missed", "machine restarted, results may be missed")]
    assert len(gaps) == 5, "none of them in silence"


# -- mbpoll asks a simulated machine -------------------------------------------------------------------------------


async def mbpoll(*arguments: str) -> str:
    """One question of mbpoll, and what it printed."""
    async with Process(["mbpoll", "-1", "-q", "-0", *arguments]) as process:
        assert await process.ended() == 0, process.output
        return "\n".join(process.output)


@pytest.mark.parametrize("transport", ["tcp", "rtu"])
async def test_mbpoll_reads_and_writes_a_simulated_machine(transport: str, tmp_path: Path) -> None:
    place = {"host": tmp_path.name} if transport == "tcp" else {"port": str(tmp_path / "line")}
    simulator = ModbusSimulator("tester", settings({"transport": transport, "device_id": 7, **place}, ECHO))
    reached = await simulator.start()
    try:
        if transport == "tcp":
            here = ["-m", "tcp", "-a", "7", "-p", str(reached["connect.port"])]
        else:
            here = ["-m", "rtu", "-a", "7", "-b", "19200", "-P", "none"]
        where = str(reached["connect.host" if transport == "tcp" else "connect.port"])
        making = asyncio.create_task(simulator.cycle(result(1234), 1234))
        await asyncio.sleep(0)
        assert "[0]: \t1234" in await mbpoll(*here, "-t", "4", "-r", "0", "-c", "1", where)
        assert "[30]: \t60.34" in await mbpoll(*here, "-t", "4:float", "-B", "-r", "30", "-c", "1", where)
        assert f"[34]: \t{70000 * 234 - 35}" in await mbpoll(*here, "-t", "4:int", "-r", "34", "-c", "1", where)
        assert "(-1234)" in await mbpoll(*here, "-t", "3", "-r", "7", "-c", "1", where)
        assert "[4]: \t0" in await mbpoll(*here, "-t", "1", "-r", "4", "-c", "1", where)
        assert not making.done()
        await mbpoll(*here, "-t", "4", "-r", "50", where, "1234")
        async with asyncio.timeout(PATIENCE_S):
            await making
    finally:
        await simulator.stop()
