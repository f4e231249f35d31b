"""Driver and simulated machine over every transport: triggers, handshakes, one line for several, its troubles."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.errors import LinkError, SetupError
from drivers.base import Fault, MachineEvent, RawValue, Reading
from drivers.handshake import HandshakeError
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.simulator import ModbusSimulator

TRANSPORTS = ["tcp", "udp", "tls", "rtu_over_tcp", "rtu", "ascii"]
SERIAL = ["rtu", "ascii", "rtu_over_tcp"]
PATIENCE_S = 20.0
RESULT: Mapping[str, RawValue] = {"serial_number": "SN-241118-001", "temperature": 60.1, "ok": True, "state": "GOOD"}
OTHER: Mapping[str, RawValue] = {"serial_number": "SN-241118-002", "temperature": 61.5, "ok": False, "state": "BAD"}
POINTS: Mapping[str, Any] = {
    "n": {"register": 40001, "type": "uint16"},
    "serial_number": {"register": 40011, "type": "string", "length": 20},
    "temperature": {"register": 40301, "type": "float32", "unit": "degC"},
    "ok": {"register": 10005},
    "state": {"register": 30001, "type": "uint16", "values": {"1": "GOOD", "2": "BAD"}},
}
CERTIFICATES = {"ca": "/ca.crt", "cert": "/cert.pem", "key": "/key.pem"}
ECHO = {"write": {"register": 40501, "type": "uint16"}}


def connect(transport: str, place: Path, device_id: int = 1, timeout: str = "2s") -> dict[str, Any]:
    """Keys that reach nothing yet; ``place`` makes them this test's own."""
    keys: dict[str, Any] = {"transport": transport, "device_id": device_id, "timeout": timeout}
    if transport in ("rtu", "ascii"):
        return keys | {"port": str(place / "line")}
    return keys | {"host": place.name, "port": 502} | (CERTIFICATES if transport == "tls" else {})


def settings(connect: Mapping[str, Any], **keys: Any) -> ModbusSettings:
    """A machine that counts its results and waits for their numbers, if ``keys`` say nothing else."""
    written = {"trigger": {"point": "n", "on": "counter", "poll": "10ms"}, "points": POINTS, "acknowledge": ECHO}
    return ModbusSettings.model_validate_json(json.dumps({"connect": connect, **written, **keys}))


class Bench:
    """A started machine, and an open driver that has seen the state it was found in."""

    def __init__(self, simulator: ModbusSimulator, driver: ModbusDriver) -> None:
        self.simulator = simulator
        self.driver = driver

    async def take(self) -> tuple[MachineEvent, Reading]:
        """The next result; a lost link is opened again, as the supervisor does."""
        while True:
            try:
                event = await self.driver.next_event()
                reading = await self.driver.read(event)
            except LinkError:
                await self.reopen()
                continue
            if not event.first or reading.values["n"].value != 0:
                return event, reading

    async def reopen(self) -> None:
        await self.driver.close()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.driver.open()
                except LinkError:
                    await asyncio.sleep(0.01)
                else:
                    return

    async def acknowledge(self, reading: Reading) -> None:
        number = reading.values["n"].value
        assert isinstance(number, int)
        await self.driver.acknowledge(reading, number)

    async def cycle(self, number: int, values: Mapping[str, RawValue] = RESULT) -> Reading:
        """One result, made, taken and acknowledged."""
        making = asyncio.create_task(self.simulator.cycle({**values, "n": number}, number))
        try:
            async with asyncio.timeout(PATIENCE_S):
                _, reading = await self.take()
                assert plain(reading) == {**values, "n": number}
                await self.acknowledge(reading)
                await making
        finally:
            making.cancel()
            await asyncio.wait({making})
        return reading


def plain(reading: Reading) -> dict[str, RawValue | None]:
    return {name: point.value for name, point in reading.values.items() if name in {"n", *RESULT}}


@asynccontextmanager
async def bench(here: ModbusSettings, open_: bool = True) -> AsyncIterator[Bench]:
    """A machine of these settings and its driver."""
    simulator = ModbusSimulator("tester", here)
    try:
        reached = {key.removeprefix("connect."): value for key, value in (await simulator.start()).items()}
        keys = {**here.connect.model_dump(mode="json", exclude_none=True), **reached}
        there = here.model_copy(update={"connect": settings(keys).connect})
        driver = ModbusDriver("tester", there)
        try:
            if open_:
                await driver.open()
                assert (await driver.next_event()).first or here.trigger.on in ("rising", "value")
            yield Bench(simulator, driver)
        finally:
            await driver.close()
    finally:
        await simulator.stop()


# -- every transport -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_results_come_whole_and_are_acknowledged(transport: str, tmp_path: Path) -> None:
    async with bench(settings(connect(transport, tmp_path))) as machine:
        for number in (1, 2, 65535, 0):
            await machine.cycle(number, OTHER if number % 2 else RESULT)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_line_in_trouble_loses_and_mixes_nothing(transport: str, tmp_path: Path) -> None:
    """Each fault the simulator knows, before each of some results."""
    async with bench(settings(connect(transport, tmp_path, timeout="200ms"))) as machine:
        faults = sorted(machine.simulator.faults)
        assert Fault.ANSWER_LATE in faults
        assert (Fault.NOISE in faults) == (transport in SERIAL)
        assert (Fault.DROP_LINK in faults) == (transport != "udp")
        for number, fault in enumerate([*faults, *reversed(faults)], 1):
            await machine.simulator.misbehave(fault)
            await machine.cycle(number, OTHER if number % 2 else RESULT)


async def test_a_fault_that_a_machine_does_not_know_is_refused(tmp_path: Path) -> None:
    async with bench(settings(connect("tcp", tmp_path))) as machine:
        with pytest.raises(ValueError, match="noise is no fault of this machine"):
            await machine.simulator.misbehave(Fault.NOISE)


async def test_another_protocol_behind_the_port_is_told(tmp_path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail server ready\r\n")
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        keys = {"transport": "tcp", "host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
        driver = ModbusDriver("tester", settings(keys))
        with pytest.raises(LinkError, match="does another protocol answer there"):
            await driver.open()
        await driver.close()


async def test_a_certificate_that_nobody_vouches_for_is_told_and_not_believed(tmp_path: Path) -> None:
    async with bench(settings(connect("tls", tmp_path)), open_=False) as machine:
        own = machine.driver._settings.connect.model_dump(mode="json", exclude_none=True)
        stranger = ModbusDriver("tester", settings(own | {"server_name": "someone.else"}))
        with pytest.raises(SetupError, match=r"certificate is refused.*server_name"):
            await stranger.open()
        missing = ModbusDriver("tester", settings(own | {"ca": str(tmp_path / "none.crt")}))
        with pytest.raises(SetupError, match=r"a certificate cannot be used: .*none\.crt"):
            await missing.open()


# -- what it reads -------------------------------------------------------------------------------------------------


async def test_a_register_the_device_does_not_have_is_told_in_both_ways_of_writing(tmp_path: Path) -> None:
    async with bench(settings(connect("tcp", tmp_path)), open_=False) as machine:
        points = {**POINTS, "torque": {"register": 40901, "type": "float32"}}
        keys = machine.driver._settings.connect.model_dump(mode="json", exclude_none=True)
        driver = ModbusDriver("tester", settings(keys, points=points))
        with pytest.raises(SetupError) as told:
            await driver.open()
        assert "point torque (holding_register 900 to 901 (40901 to 40902): the device has no such register" in str(
            told.value
        )


async def test_a_device_that_gives_few_registers_at_once_is_asked_for_few(tmp_path: Path) -> None:
    """Whether the settings say so, or the device does."""
    points = {"n": POINTS["n"]} | {f"p{place}": {"holding_register": place, "type": "uint16"} for place in range(1, 30)}
    for requests in ({"max_registers": 4, "max_gap": 0}, {}):
        here = settings(connect("tcp", tmp_path), points=points, requests=requests)
        async with bench(here, open_=False) as machine:
            asked: list[int] = []

            def most(_table: Any, addresses: range, asked: list[int] = asked) -> None:
                asked.append(len(addresses))
                assert len(addresses) <= 10

            machine.simulator._memory.most_registers = 10
            machine.simulator._memory.before_read.append(most)
            await machine.driver.open()
            assert (await machine.driver.next_event()).first
            await machine.simulator.present({"p7": 7, "p29": 29, "n": 1})
            reading = await machine.driver.read(await machine.driver.next_event())
            assert (reading.values["p7"].value, reading.values["p29"].value) == (7, 29)
            assert not requests or max(asked) == 4


async def test_the_machines_own_clock_stamps_the_result(tmp_path: Path) -> None:
    points = {**POINTS, "made_at": {"register": 40021, "type": "bcd_time", "layout": "YYMMDDhhmmss"}}
    here = settings(connect("tcp", tmp_path), points=points, source_timestamp="made_at")
    async with bench(here) as machine:
        reading = await machine.cycle(1)
        stamp = reading.values["temperature"].source_timestamp
        assert stamp is not None
        assert abs((reading.taken_at - stamp).total_seconds()) < 60
        await machine.simulator.misbehave(Fault.JUMP_CLOCK)
        stamp = (await machine.cycle(2)).values["temperature"].source_timestamp
        assert stamp is not None
        assert stamp.year == 2000, "kept as it came; whether it can be right is judged elsewhere"


async def test_the_real_poll_rate_is_measured_and_a_slow_one_told_once(tmp_path: Path) -> None:
    """A serial line at 1200 baud cannot be asked every 10 ms: five characters of silence alone take longer."""
    slow = connect("rtu", tmp_path) | {"baudrate": 300}
    with capture_logs() as logs:
        async with bench(settings(slow)) as machine:
            waiting = asyncio.create_task(machine.driver.next_event())
            async with asyncio.timeout(PATIENCE_S):
                while not any(entry["event"] == "machine polled slower than set" for entry in logs):
                    await asyncio.sleep(0.05)
            figures = machine.driver.figures()
            waiting.cancel()
            await asyncio.wait({waiting})
    assert figures["poll_interval_set_seconds"] == 0.01
    assert figures["poll_interval_seconds"] > 0.1
    assert len([entry for entry in logs if entry["event"] == "machine polled slower than set"]) == 1


# -- triggers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trigger", "point"),
    [
        ({"on": "rising"}, {"coil": 9}),
        ({"on": "rising"}, {"holding_register": 60, "bit": 3}),
        ({"on": "value", "equals": 3}, {"holding_register": 60, "type": "uint16"}),
        (
            {"on": "value", "equals": ["GOOD", "BAD"]},
            {"holding_register": 60, "type": "uint16", "values": {"0": "BUSY", "1": "GOOD", "2": "BAD"}},
        ),
    ],
    ids=["coil", "bit", "value", "one of several"],
)
async def test_a_flag_that_comes_on_is_a_result(
    trigger: Mapping[str, Any], point: Mapping[str, Any], tmp_path: Path
) -> None:
    here = settings(
        connect("tcp", tmp_path),
        trigger={"point": "done", "counter": "n", "poll": "10ms", **trigger},
        points={**POINTS, "done": point},
    )
    async with bench(here, open_=False) as machine:
        await machine.driver.open()
        for number in (1, 2, 3):
            await machine.cycle(number, OTHER if number % 2 else RESULT)


async def test_a_state_that_is_no_result_is_none(tmp_path: Path) -> None:
    here = settings(
        connect("tcp", tmp_path),
        trigger={"point": "phase", "on": "value", "equals": 3, "poll": "10ms"},
        points={**POINTS, "phase": {"holding_register": 60, "type": "uint16"}},
        acknowledge=None,
    )
    async with bench(here, open_=False) as machine:
        await machine.driver.open()
        waiting = asyncio.create_task(machine.driver.next_event())
        reads = 0

        def was_read(_table: Any, _addresses: range) -> None:
            nonlocal reads
            reads += 1

        machine.simulator._memory.after_read.append(was_read)
        for phase in (1, 2, 4):
            await machine.simulator.present({"phase": phase})
            seen = reads
            async with asyncio.timeout(PATIENCE_S):
                while reads < seen + 2:
                    await asyncio.sleep(0.001)
            assert not waiting.done()
        await machine.simulator.present({"phase": 3})
        event = await waiting
        assert (event.key, event.maybe_again) == (3, False), "a state says more than a number that changes"


# -- acknowledging -------------------------------------------------------------------------------------------------

HANDSHAKES = {
    "coils": {"ready": {"discrete_input": 0}, "ack": {"coil": 0}},
    "all signals": {
        "ready": {"discrete_input": 0},
        "busy": {"discrete_input": 1},
        "error": {"discrete_input": 2},
        "ack": {"coil": 0},
        "echo": {"register": 40501, "type": "uint16"},
    },
    "bits of a register": {"ready": {"holding_register": 80, "bit": 0}, "ack": {"holding_register": 81, "bit": 7}},
    "registers": {"ready": {"holding_register": 80, "on": 5}, "ack": {"holding_register": 81, "on": 2, "off": 9}},
}


@pytest.mark.parametrize("four_phase", HANDSHAKES.values(), ids=HANDSHAKES)
async def test_a_handshake_in_four_phases(four_phase: Mapping[str, Any], tmp_path: Path) -> None:
    acknowledge = {"four_phase": {**four_phase, "poll": "10ms"}}
    async with bench(settings(connect("tcp", tmp_path), acknowledge=acknowledge)) as machine:
        for number in (1, 2, 3):
            await machine.cycle(number)


async def test_the_ready_signal_itself_may_be_the_trigger(tmp_path: Path) -> None:
    """It goes off and on again between two looks; the next result is seen all the same."""
    here = settings(
        connect("tcp", tmp_path),
        trigger={"point": "ready", "on": "rising", "counter": "n", "poll": "50ms"},
        points={**POINTS, "ready": {"discrete_input": 0}},
        acknowledge={"four_phase": {**HANDSHAKES["coils"], "poll": "10ms"}},
    )
    async with bench(here, open_=False) as machine:
        await machine.driver.open()
        for number in range(1, 8):
            await machine.cycle(number)


async def test_an_ack_that_a_crash_left_on_is_taken_back_before_the_first_result(tmp_path: Path) -> None:
    """Else the machine would take it for its next result's, which nobody has kept."""
    acknowledge = {"four_phase": HANDSHAKES["coils"]}
    async with bench(settings(connect("tcp", tmp_path), acknowledge=acknowledge), open_=False) as machine:
        memory = machine.simulator._memory
        memory.put("coil", 0, [1])
        with capture_logs() as logs:
            await machine.driver.open()
        assert memory.get("coil", 0, 1) == [0]
        assert [entry["event"] for entry in logs] == ["acknowledgement taken back that was left on"]
        assert (await machine.driver.next_event()).first
        await machine.cycle(1)


async def test_a_machine_that_went_on_is_not_acknowledged(tmp_path: Path) -> None:
    """It gave up and shows its next result: an ack now would be for that one, before it is kept."""
    acknowledge = {"four_phase": HANDSHAKES["coils"]}
    async with bench(settings(connect("tcp", tmp_path), acknowledge=acknowledge)) as machine:
        making = asyncio.create_task(machine.simulator.cycle({**RESULT, "n": 1}, 1))
        event = await machine.driver.next_event()
        reading = await machine.driver.read(event)
        await machine.simulator.present({**OTHER, "n": 2})
        with capture_logs() as logs:
            await machine.driver.acknowledge(reading, 1)
        assert [entry["event"] for entry in logs] == ["machine went on before it was acknowledged"]
        assert not making.done()
        making.cancel()
        await asyncio.wait({making})


async def test_a_machine_that_does_not_take_ready_back_is_told_with_its_register(tmp_path: Path) -> None:
    four_phase = {**HANDSHAKES["coils"], "limits": {"ready_off": "100ms"}}
    async with bench(settings(connect("tcp", tmp_path), acknowledge={"four_phase": four_phase})) as machine:
        memory = machine.simulator._memory
        memory.put("discrete_input", 0, [1])
        reading = await machine.driver.read(MachineEvent(datetime.now(UTC)))
        with pytest.raises(HandshakeError, match=r"ready \(discrete_input 0 \(10001\)\) was still on after 0\.1 s"):
            await machine.driver.acknowledge(reading, 0)
        assert memory.get("coil", 0, 1) == [0]


async def test_a_flag_that_the_machine_does_not_take_back_is_told(tmp_path: Path) -> None:
    acknowledge = {"write": {"coil": 5, "value": True}}
    async with bench(settings(connect("tcp", tmp_path), acknowledge=acknowledge)) as machine:
        await machine.cycle(1)
        await machine.simulator.present({**RESULT, "n": 2})
        _, reading = await machine.take()
        machine.simulator._memory.put("coil", 5, [1])
        with capture_logs() as logs:
            await machine.acknowledge(reading)
            await machine.acknowledge(reading)
        assert [entry["event"].split(":")[0] for entry in logs] == ["acknowledgement still set from the last result"]


# -- several machines on one line ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_machines_on_one_line_keep_apart_and_a_dead_one_holds_nobody_up(transport: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        benches = [
            await stack.enter_async_context(bench(settings(connect(transport, tmp_path, device_id)), open_=False))
            for device_id in (1, 2, 3)
        ]
        ports = {machine.driver._settings.shared_line().name for machine in benches}
        assert len(ports) == 1
        there = benches[0].driver._settings.connect.model_dump(mode="json", exclude_none=True)
        dead = ModbusDriver("dead", settings(there | {"device_id": 9, "timeout": "100ms"}))
        for machine in benches:
            await machine.driver.open()
            assert (await machine.driver.next_event()).first

        async def try_again_and_again() -> None:
            while True:
                with pytest.raises(LinkError, match="device 9 gave no answer"):
                    await dead.open()
                await dead.close()

        trying = asyncio.create_task(try_again_and_again())

        async def work(machine: Bench, values: Mapping[str, RawValue]) -> None:
            for number in range(1, 6):
                await machine.cycle(number, values)

        try:
            results = [RESULT, OTHER, {**RESULT, "temperature": 59.5}]
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(work(*pair) for pair in zip(benches, results, strict=True)))
            assert not trying.done()
        finally:
            trying.cancel()
            await asyncio.wait({trying})
            await dead.close()
