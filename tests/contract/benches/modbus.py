"""A Modbus machine behind TCP, and one on a serial cable with a lasting name. Its result takes several requests."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.base import RawValue
from drivers.modbus.addresses import Table
from drivers.modbus.driver import ModbusDriver
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.simulator import ModbusSimulator
from tests.contract.bench import ResultBench
from tests.support.relay import Relay

VALUES: Mapping[str, RawValue] = {
    "serial_number": "SN-241118-001",
    "temperature": 60.5,
    "pressure": -1.25,
    "cycles": 70_000,
    "sensor_ok": True,
    "clamped": False,
    "judgement": 1,
}
OTHER_VALUES: Mapping[str, RawValue] = {
    "serial_number": "SN-241118-002",
    "temperature": 61.25,
    "pressure": 1.5,
    "cycles": 3,
    "sensor_ok": False,
    "clamped": True,
    "judgement": 2,
}


def settings(connect: Mapping[str, object]) -> ModbusSettings:
    """A machine with points in all four tables, and an acknowledgement."""
    return ModbusSettings.model_validate(
        {
            "connect": connect,
            "trigger": {"point": "n", "poll": "10ms"},
            "points": {
                "n": {"holding_register": 0, "type": "uint16"},
                "serial_number": {"holding_register": 10, "type": "string", "length": 20},
                "temperature": {"holding_register": 300, "type": "float32", "word_order": "little", "unit": "degC"},
                "pressure": {"input_register": 7, "type": "int16", "scale": 0.01, "unit": "bar"},
                "cycles": {"input_register": 8, "type": "uint32", "byte_order": "little"},
                "sensor_ok": {"discrete_input": 4},
                "clamped": {"coil": 21},
                "judgement": {"holding_register": 302, "type": "uint16"},
                "ask": {"holding_register": 60, "type": "uint16"},
                "ask_serial": {"holding_register": 61, "type": "string", "length": 20},
            },
            "interlock": {
                "request": {"point": "ask"},
                "serial_number": "ask_serial",
                "answer": [
                    {"holding_register": 80, "type": "string", "length": 20, "value": "{serial_number}"},
                    {"holding_register": 90, "type": "uint16", "value": "{attempt}"},
                    {"holding_register": 91, "type": "uint16", "value": "{granted}"},
                    {"coil": 30, "value": "{reject_label}"},
                    {"holding_register": 95, "type": "string", "length": 20, "value": "{code}"},
                    {"holding_register": 110, "type": "string", "length": 16, "value": "{text_ko}"},
                    {"holding_register": 120, "type": "uint16", "value": "{request}"},
                ],
            },
            "acknowledge": {"write": {"holding_register": 50, "type": "uint16"}},
        }
    )


class TearingSimulator(ModbusSimulator):
    """Can put the next result into its registers between two requests of one reading."""

    def __init__(self, machine: str, settings: ModbusSettings, link: Path | None = None) -> None:
        super().__init__(machine, settings, link)
        self._next: Mapping[str, RawValue] | None = None
        self._memory.before_read.append(self._will_be_read)

    async def tear(self, values: Mapping[str, RawValue]) -> None:
        """These values are there at the second half of the next reading."""
        self._next = values

    def _will_be_read(self, table: Table, addresses: range) -> None:
        waiting = self._next
        if waiting is not None and (table, addresses.start) == ("holding_register", 300):
            self._next = None
            self.show(waiting)


@asynccontextmanager
async def modbus_tcp_bench(tmp_path: Path) -> AsyncIterator[ResultBench]:
    """A machine behind a relay that can be cut."""
    simulator = TearingSimulator("tester", settings({"transport": "tcp", "host": "127.0.0.1"}))
    reached = await simulator.start()
    try:
        async with Relay(str(reached["connect.host"]), int(reached["connect.port"])) as relay:
            here = settings({"transport": "tcp", "host": relay.host, "port": relay.port})
            async with Relay(relay.host, relay.port) as closed:
                await closed.cut()
            absent = settings({"transport": "tcp", "host": closed.host, "port": closed.port})
            yield ResultBench(
                simulator=simulator,
                driver=lambda: ModbusDriver("tester", here),
                values=VALUES,
                other_values=OTHER_VALUES,
                cycle_key="n",
                present=simulator.present,
                unreadable="temperature",
                cut=relay.cut,
                restore=relay.restore,
                unreachable=lambda: ModbusDriver("absent", absent),
                tear=simulator.tear,
            )
    finally:
        await simulator.stop()


@asynccontextmanager
async def modbus_rtu_bench(tmp_path: Path) -> AsyncIterator[ResultBench]:
    """A machine on a cable of pseudo-terminals; its station's end keeps its name."""
    link = tmp_path / "machine"
    here = settings({"transport": "rtu", "port": str(link)})
    absent = settings({"transport": "rtu", "port": str(tmp_path / "absent")})
    simulator = TearingSimulator("tester", here, link=link)

    async def cut() -> None:
        simulator.unplug()

    await simulator.start()
    try:
        yield ResultBench(
            simulator=simulator,
            driver=lambda: ModbusDriver("tester", here),
            values=VALUES,
            other_values=OTHER_VALUES,
            cycle_key="n",
            present=simulator.present,
            unreadable="temperature",
            cut=cut,
            restore=simulator.plug,
            unreachable=lambda: ModbusDriver("absent", absent),
            tear=simulator.tear,
        )
    finally:
        await simulator.stop()
