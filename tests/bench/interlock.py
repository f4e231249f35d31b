"""From a machine's request to the answer at the machine: decided by central, and by the station while central is away.

Each request waits a random while, so that it falls anywhere between two polls of the station. The floor (one fsync, one
PUBACK, one SQLite commit) is measured after each, with the same rest before it. Every answer is checked: a quick
silence is no answer.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.settings import load
from central.store import Store
from contracts.facts import LotCreated, OrderOverridden
from contracts.permit import PermitRecord
from drivers.base import Asking
from drivers.registry import OURS
from tests.bench.figures import Spread, ms, table, times
from tests.bench.floors import MinimalChain
from tests.support.agents import CONFIG, addresses, agent, kept
from tests.support.brokers import iotcore_broker
from tests.support.line import permits

LOT = "WF-KR-261102D-001"
UNIT = f"{LOT}-0001"
REST_S = (0.02, 0.1)
POLLS_MS = (10, 100)
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Case:
    """Who decides, and how often the station looks at the machine."""

    online: bool
    poll_ms: int

    @property
    def name(self) -> str:
        return f"{'central' if self.online else 'station alone'}, poll {self.poll_ms} ms"


async def run(requests: int, warm_up: int) -> None:
    """Measure every case and print it beside the floor; the first ``warm_up`` requests do not count."""
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/central.db"
        _prepare(url)
        async with iotcore_broker() as broker:
            with MinimalChain(folder, broker.port) as floor:
                measured: list[tuple[Case, list[float], int]] = []
                for case in [Case(online, poll_ms) for online in (True, False) for poll_ms in POLLS_MS]:
                    async with _central(url, broker.url, online=case.online):
                        samples, by_central = await _measure(case, requests, warm_up, folder, broker.url, floor)
                        measured.append((case, samples, by_central))
            _print(measured, floor.steps.chain, requests)


def _prepare(url: str) -> None:
    """A LOT, and one unit that a manager lets run at process 3."""
    store = Store(url)
    try:
        store.migrate()
        who = {"author": "bench", "decided_at": datetime.now(UTC), "reason": "measured"}
        store.add_decision(LotCreated(**who, lot_number=LOT))
        store.add_decision(OrderOverridden(**who, serial_number=UNIT, process="P03_SENSOR_INSPECTION"))
    finally:
        store.close()


@asynccontextmanager
async def _central(url: str, broker_url: str, *, online: bool) -> AsyncIterator[None]:
    """The service that gives permits; or none, and no broker that could be asked either."""
    if not online:
        yield
        return
    async with permits(url, broker_url) as service:
        await service.line("broker connected")
        yield
        await service.stop()


async def _measure(
    case: Case, requests: int, warm_up: int, folder: Path, broker_url: str, floor: MinimalChain
) -> tuple[list[float], int]:
    """Seconds from each request to its answer at the machine, and how many central decided."""
    chosen = ["machines.tester.interlock.enabled=true", f"machines.tester.trigger.poll={case.poll_ms}ms"]
    file, state_dir = CONFIG / "P03-A.yaml", folder / case.name.replace(" ", "-").replace(",", "")
    settings = load(file, chosen).machines["tester"].protocol_settings
    machine = OURS["modbus"].simulator("tester", settings)
    assert isinstance(machine, Asking)
    samples: list[float] = []
    reached = addresses("tester", await machine.start())
    try:
        async with agent(
            file, state_dir, [*chosen, *reached], broker_url=broker_url if case.online else None
        ) as process:
            await process.line("machine connected")
            if case.online:
                await process.line("broker connected")
            for number in range(1, warm_up + requests + 1):
                await asyncio.sleep(random.uniform(*REST_S))
                begun = time.perf_counter()
                answer = await machine.ask({"request_serial": UNIT, "request_number": number}, PATIENCE_S)
                seconds = time.perf_counter() - begun
                if answer is None or not answer["granted"]:
                    raise RuntimeError(f"{case.name}: request {number} was answered {answer}")
                await asyncio.sleep(random.uniform(*REST_S))
                await asyncio.to_thread(floor.run)
                if number > warm_up:
                    samples.append(seconds)
            await process.stop()
    finally:
        await machine.stop()
    decided = [PermitRecord.model_validate(one) for one in kept(state_dir)]
    return samples, sum(not one.offline for one in decided[warm_up:])


def _print(measured: Sequence[tuple[Case, list[float], int]], floor: Sequence[float], requests: int) -> None:
    least = Spread.of(floor)
    print(f"interlock: {requests} requests a case, one at a time; milliseconds, median / p99 / largest\n")
    rows = []
    for case, samples, by_central in measured:
        found = Spread.of(samples)
        rows.append(
            [
                case.name,
                f"{ms(found.median)} / {ms(found.p99)} / {ms(found.largest)}",
                f"{times(found.median, least.median)} / {times(found.p99, least.p99)}",
                str(by_central),
            ]
        )
    print(table(["", "request to answer", "request to answer / floor", "decided by central"], rows))
    print(f"\nfloor: {ms(least.median)} / {ms(least.p99)}")
