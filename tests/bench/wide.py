"""One agent with OPC-UA machines of a hundred points each, measured as a fleet is.

The least that serves them is asyncua alone: a subscription to the counter, one Read of all points and one of the
counter afterwards, a commit, a publish, a write.
"""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.base import RawValue
from tests.bench.fleet import Fleet, measure
from tests.bench.parts import Backbone, serial_number
from tests.support.processes import Process

POINTS = 100
"""All that a snapshot reads: counter and serial number among them."""
MEASURED = [f"force_{number:02d}" for number in range(POINTS - 2)]

_STATION = """
station: {id: BENCH, site: gimcheon, line: KR01, process: P06_PERFORMANCE_TEST}
broker: {url: mqtt://127.0.0.1:1883}
product_model: WR-100
machines:
"""
_MACHINE = """
  tester-%d:
    protocol: opcua
    connect: {url: "opc.tcp://tester-%d.line:4840"}
    trigger: {point: counter, sampling: 50ms}
    points:
      counter:       {node_id: "ns=2;s=counter", type: uint32}
      serial_number: {node_id: "ns=2;s=serial_number"}
%s
    cycle_key: counter
    acknowledge: {write: {node_id: "ns=2;s=ack"}}
"""


async def run(machines_of: Sequence[int], seconds: float) -> None:
    """Measure an agent with each of these numbers of machines, and print them beside asyncua alone."""
    fleets = [Fleet("OPC-UA", count, station_file(count), result, asyncua_alone) for count in machines_of]
    await measure(f"wide: {POINTS} points a snapshot", fleets, seconds)


def station_file(count: int) -> str:
    """A station with so many testers, each of whose measurements has a limit."""
    points = "\n".join(f'      {name}: {{node_id: "ns=2;s={name}", type: double, unit: kgf}}' for name in MEASURED)
    criteria = "\n".join(f"  {name}: {{nominal: 12, tolerance: 2, unit: kgf}}" for name in MEASURED)
    testers = "".join(_MACHINE % (number, number, points) for number in range(count))
    return f"{_STATION}{testers}\ncriteria:\n{criteria}\n"


def result(unit: int, cycle: int) -> Mapping[str, RawValue | None]:
    """Every number is of this cycle."""
    forces = {name: 11.0 + (cycle + place) % 20 / 10 for place, name in enumerate(MEASURED)}
    return {**forces, "serial_number": serial_number(unit), "counter": cycle}


@asynccontextmanager
async def asyncua_alone(folder: Path, line: Backbone, overrides: list[str]) -> AsyncIterator[Process]:
    """The least a station with these machines can be."""
    urls = [override.partition("=")[2] for override in overrides if ".connect.url=" in override]
    names = ",".join(["serial_number", *MEASURED, "counter"])
    arguments = [str(line.broker.port), str(folder / "minimal.db"), names, *urls]
    async with Process([sys.executable, "-m", "tests.bench.minimal_opcua", *arguments]) as process:
        await process.line("running")
        yield process
