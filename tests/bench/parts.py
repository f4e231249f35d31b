"""The parts of the line as a site runs them, each a process of its own: broker, central, agent. Machines run here."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from agent.settings import load
from drivers.base import RawValue, Simulator
from drivers.registry import protocols
from tests.support.agents import CONFIG, addresses
from tests.support.brokers import RunningBroker, iotcore_broker
from tests.support.processes import Process

_FIRST_DAY = date(2024, 11, 18)


@dataclass(frozen=True)
class Backbone:
    """A broker, and central behind it with an SQLite database."""

    broker: RunningBroker
    database: Path


@dataclass(frozen=True)
class Bench:
    """A station that is measured: its file, the machine that makes results, and one good result."""

    protocol: str
    station: str
    machine: str
    values: Mapping[str, RawValue]
    overrides: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """The station's file, as it is shipped."""
        return CONFIG / f"{self.station}.yaml"

    def result(self, number: int, counter: str) -> dict[str, RawValue | None]:
        """The result of unit ``number``; its counter says so too."""
        return {**self.values, "serial_number": serial_number(number), counter: number}


MODBUS = Bench("modbus", "P03-A", "tester", {"temperature": 60.1, "tof_i2c": True, "judgement": 1})
SERIAL = Bench(
    "serial",
    "P04-A",
    "flasher",
    {
        "firmware_version": "v1.2.3",
        "checksum": "9f86d081",
        "upload_result": "OK",
        "attempts": 1,
        "duration": 42.5,
    },
)
OPCUA = Bench(
    "opcua",
    "P06-A",
    "tester",
    {
        "temperatures": [48.0, 52.0, 56.0],
        "displacements": [100.0, 200.0, 240.0],
        "measured_forces": [12.1, 18.4, 24.2],
        "target_forces": [12.0, 18.5, 24.0],
        "tolerances": [2.0, 2.0, 2.0],
        "judgement": 1,
    },
)


def serial_number(number: int) -> str:
    """A number per unit, a hundred units a LOT, 999 LOTs a day."""
    lot, unit = divmod(number - 1, 100)
    day, lot = divmod(lot, 999)
    return f"WF-KR-{_FIRST_DAY + timedelta(days=day):%y%m%d}D-{lot + 1:03d}-{unit + 1:04d}"


@asynccontextmanager
async def backbone(folder: Path) -> AsyncIterator[Backbone]:
    """The embedded broker, and central ingesting from it."""
    async with iotcore_broker() as broker, AsyncExitStack() as stack:
        database = folder / "central.db"
        environment = {"DATABASE_URL": f"sqlite:///{database}", "BROKER_URL": broker.url}
        async with Process([sys.executable, "-m", "central", "migrate"], env=environment) as migration:
            await migration.ended(timeout_s=60)
        central = await stack.enter_async_context(Process([sys.executable, "-m", "central", "ingest"], env=environment))
        await central.line("broker connected")
        yield Backbone(broker, database)
        await central.stop()


@asynccontextmanager
async def machines(file: Path) -> AsyncIterator[tuple[dict[str, Simulator], list[str]]]:
    """A simulator, in this process, for every machine of a station, and the overrides that lead an agent to them."""
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


def counter_of(bench: Bench) -> str:
    """The point in which the machine counts its results."""
    counter = load(bench.file).machines[bench.machine].cycle_key
    assert counter is not None, "a machine that is measured counts its results"
    return counter
