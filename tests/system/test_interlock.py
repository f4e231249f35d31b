"""From the machine's request to the answer at the machine: a real agent, broker, central and Modbus machine.

``INTERLOCK_TRIES=500`` kills central in the middle of so many requests (``-o faulthandler_timeout=3600``: it takes
half an hour); the suite does it a few times.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agent.settings import load
from central.store import Store
from contracts.facts import HoldPlaced
from contracts.measurement import Scalar
from contracts.record import ProcessRecord
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.simulator import ModbusSimulator
from tests.contract.test_store_interlock import Line, lot_of
from tests.support.agents import CONFIG, addresses, agent, kept
from tests.support.api import PASSWORD
from tests.support.brokers import RunningBroker, iotcore_broker
from tests.support.line import central, permits
from tests.support.processes import Process
from tests.support.serving import add_user, served
from tests.support.stores import minutes

TRIES = int(os.environ.get("INTERLOCK_TRIES", "3"))
LIMIT_S = 2.0 if TRIES < 100 else 0.5
"""Beside the other tests of the suite a machine has little of the processor."""
POLL_S = 0.02
NO_HURRY_S = 20.0
"""Where the test is about who answers, and not about how soon."""
UNITS = [f"SN-261102-{number:03d}" for number in range(1, 5)]


@dataclass
class Machine:
    """The sensor tester of P03-A; counts its requests and results."""

    simulator: ModbusSimulator
    limit_s: float = LIMIT_S
    requests: int = 0
    results: int = 0
    answers: list[str] = field(default_factory=list)

    async def ask(self, serial: str) -> dict[str, Scalar] | None:
        """What it is answered within its own limit: the station's and two looks more. None: silence, which means no."""
        self.requests += 1
        values = {"request_serial": serial, "request_number": self.requests}
        answer = await self.simulator.ask(values, self.limit_s + 2 * POLL_S)
        return None if answer is None else dict(answer)

    async def measure(self, serial: str, temperature: float = 60.0) -> None:
        """One result, until it is acknowledged."""
        self.results += 1
        values = {"serial_number": serial, "temperature": temperature, "tof_i2c": True, "judgement": 1}
        await self.simulator.cycle({**values, "result_counter": self.results}, self.results)


@asynccontextmanager
async def asking_machine(limit_s: float = LIMIT_S) -> AsyncIterator[tuple[Machine, list[str]]]:
    """The machine, and the overrides that lead its agent there."""
    chosen = [
        "machines.tester.interlock.enabled=true",
        f"machines.tester.interlock.limit={limit_s:g}s",
        f"machines.tester.trigger.poll={POLL_S * 1000:g}ms",
    ]
    settings = load(CONFIG / "P03-A.yaml", chosen).machines["tester"].protocol_settings
    assert isinstance(settings, ModbusSettings)
    simulator = ModbusSimulator("tester", settings)
    overrides = [*chosen, *addresses("tester", await simulator.start())]
    try:
        yield Machine(simulator, limit_s), overrides
    finally:
        await simulator.stop()


def opened(url: str) -> Store:
    """A database with a LOT, and units that have passed the first two processes."""
    store = Store(url)
    store.migrate()
    lot_of(store)
    line = Line(store)
    for unit in UNITS:
        line.went("1P 2P", unit)
    return store


async def told(digests: Path) -> None:
    """Until the station knows central's digest of the LOT, on disk."""
    async with asyncio.timeout(60):
        while UNITS[-1].encode() not in _content(digests):
            await asyncio.sleep(0.05)


def _content(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("outbox.db*"))


def answers(folder: Path) -> list[tuple[bool, str, str | None]]:
    """Granted, decided by, refusal: every answer the station kept."""
    records = [one for one in kept(folder) if one.get("kind") == "permit"]
    return [(one["granted"], one["decided_by"], one.get("refusal")) for one in records]


async def test_without_a_broker_central_decides_over_http(tmp_path: Path) -> None:
    store, folder, file = opened(f"sqlite:///{tmp_path}/central.db"), tmp_path / "P03-A", tmp_path / "P03-A.yaml"
    add_user(store, "P03-A")
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n", encoding="utf-8")
    try:
        async with served(store) as port, asking_machine(NO_HURRY_S) as (machine, overrides):
            http = f"{{url: 'http://127.0.0.1:{port}', username: P03-A, password: 'file:{secret}'}}"
            text = (CONFIG / "P03-A.yaml").read_text(encoding="utf-8")
            file.write_text(f"{text}\ninterlock: {{http: {http}}}\n", encoding="utf-8")
            async with agent(file, folder, overrides) as station:
                await station.line("machine connected")
                await station.line("central can be asked over HTTP")
                yes = await machine.ask(UNITS[0])
                assert yes is not None
                assert (yes["granted"], yes["serial_number"]) == (1, UNITS[0])
                await station.stop()
        [answer] = kept(folder)
        assert (answer["decided_by"], answer["by_http"]) == ("CENTRAL", True)
        assert PASSWORD not in "".join(station.output)
    finally:
        store.close()


async def test_central_decides_and_the_result_carries_its_permit(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/central.db", tmp_path / "P03-A"
    store = opened(url)
    try:
        async with iotcore_broker() as broker, asking_machine() as (machine, overrides):
            async with permits(url, broker.url) as service, central(url, broker.url) as ingest:
                await service.line("broker connected")
                await ingest.line("broker connected")
                async with agent(CONFIG / "P03-A.yaml", folder, overrides, broker_url=broker.url) as station:
                    await station.line("machine connected")
                    await told(folder)
                    yes = await machine.ask(UNITS[0])
                    assert yes is not None
                    assert (yes["granted"], yes["serial_number"], yes["code_number"]) == (1, UNITS[0], 0)
                    await machine.measure(UNITS[0])
                    hold = HoldPlaced(
                        author="kim", decided_at=minutes(99), reason="r", hold_id="h", serial_number=UNITS[1]
                    )
                    store.add_decision(hold)
                    no = await machine.ask(UNITS[1])
                    assert no is not None
                    assert (no["granted"], no["code_number"]) == (0, 12)
                    assert "보류" in str(no["text_ko"])
                    await station.stop()
            [result] = [ProcessRecord.model_validate(one) for one in kept(folder) if "kind" not in one]
            assert answers(folder) == [(True, "CENTRAL", None), (False, "CENTRAL", "ON_HOLD")]
            assert result.permit is not None
    finally:
        store.close()


async def test_without_central_the_digest_and_the_rule_decide_also_after_a_restart(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/central.db", tmp_path / "P03-A"
    opened(url).close()
    async with iotcore_broker() as broker, asking_machine() as (machine, overrides):
        async with (
            permits(url, broker.url) as service,
            agent(CONFIG / "P03-A.yaml", folder, overrides, broker_url=broker.url) as station,
        ):
            await service.line("broker connected")
            await station.line("machine connected")
            await told(folder)
            await station.kill()
        await broker.kill()
        async with agent(CONFIG / "P03-A.yaml", folder, overrides, broker_url=broker.url) as station:
            await station.line("machine connected")
            for serial, granted in ((UNITS[0], 1), ("SN-STRANGER", 1)):
                answer = await machine.ask(serial)
                assert answer is not None
                assert answer["granted"] == granted
            await machine.measure(UNITS[0])
            again = await machine.ask(UNITS[0])
            assert again is not None
            assert (again["granted"], again["code_number"]) == (0, 5)
            await station.stop()
    assert answers(folder) == [
        (True, "DIGEST", None),
        (True, "RULE", None),
        (False, "DIGEST", "PROCESS_ALREADY_PASSED"),
    ]


async def killed_in_the_middle(service: Process, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    await service.kill()


async def test_central_killed_in_the_middle_of_a_request_is_answered_for_in_time(tmp_path: Path) -> None:
    """Whoever answers, the machine hears of it within the limit, and the answer is on disk."""
    url, folder = f"sqlite:///{tmp_path}/central.db", tmp_path / "P03-A"
    opened(url).close()
    chance = random.Random(7)  # moments, no secrets
    silent = 0
    async with (
        iotcore_broker() as broker,
        asking_machine() as (machine, overrides),
        agent(CONFIG / "P03-A.yaml", folder, overrides, broker_url=broker.url) as station,
    ):
        await station.line("machine connected")
        await station.line("broker connected")
        for _ in range(TRIES):
            silent += await _one_try(url, broker, machine, chance.uniform(0.0, 0.06)) is None
        await station.stop()
    found = answers(folder)
    assert silent == 0, f"{silent} of {TRIES} without an answer in time"
    assert len(found) == TRIES
    assert all(granted for granted, _, _ in found)


async def _one_try(url: str, broker: RunningBroker, machine: Machine, delay_s: float) -> dict[str, Scalar] | None:
    async with permits(url, broker.url) as service:
        await service.line("broker connected")
        killing = asyncio.create_task(killed_in_the_middle(service, delay_s))
        answer = await machine.ask(UNITS[0])
        await killing
    return answer
