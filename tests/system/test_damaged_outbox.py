"""A station whose outbox is damaged goes on, says so, and after a salvage central has everything once."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from agent.settings import load
from central.ingestor import Ingestor
from central.store import Store
from drivers.base import Simulator
from drivers.registry import protocols
from messaging.broker import BrokerAddress
from tests.support.agents import CONFIG, addresses, agent, kept
from tests.support.brokers import RunningBroker, iotcore_broker
from tests.support.processes import Process

FILE = CONFIG / "P03-A.yaml"


@asynccontextmanager
async def central(store: Store, broker: RunningBroker) -> AsyncIterator[Ingestor]:
    ingestor = Ingestor(store, BrokerAddress("127.0.0.1", broker.port))
    running = asyncio.create_task(ingestor.run())
    try:
        yield ingestor
    finally:
        ingestor.stop()
        await running


async def make(tester: Simulator, numbers: range) -> None:
    """Results, each acknowledged before the next is made."""
    for number in numbers:
        values = {
            "result_counter": number,
            "serial_number": f"WF-KR-261123D-001-{number:04d}",
            "temperature": 60.5,
            "tof_i2c": True,
            "judgement": 1,
        }
        await asyncio.wait_for(tester.cycle(values, number), 20)


def scribble(outbox: Path) -> None:
    """The first page of records, and nothing else."""
    content = bytearray(outbox.read_bytes())
    for start in range(4096, len(content), 4096):
        if content[start] == 0x0D and b'"cycle_key":1,' in content[start : start + 4096]:
            content[start : start + 8] = b"\xff" * 8
            outbox.write_bytes(content)
            return
    raise AssertionError("no page of records")


def committed(store: Store) -> set[int]:
    """The cycles central has, each once."""
    found = [json.loads(row["record"])["cycle_key"] for row in store.canonical_rows()["process_data"]]
    assert len(found) == len(set(found)), "doubled"
    return set(found)


async def until_committed(store: Store, keys: set[int]) -> None:
    async with asyncio.timeout(30):
        while not committed(store) >= keys:
            await asyncio.sleep(0.1)


async def test_a_damaged_outbox_is_set_aside_and_comes_back_once(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = load(FILE).machines["tester"]
    tester = protocols()["modbus"].simulator("tester", settings.protocol_settings)
    overrides = [*addresses("tester", await tester.start()), "machines.tester.trigger.poll=10ms"]
    store = Store(f"sqlite:///{tmp_path / 'central.db'}")
    store.migrate()
    try:
        async with iotcore_broker() as broker:
            async with (
                central(store, broker),
                agent(FILE, state, overrides, broker_url=broker.url) as process,
            ):
                await make(tester, range(1, 6))
                await until_committed(store, set(range(1, 6)))
                assert await process.stop() == 0
            # No broker: these wait on the station.
            async with agent(FILE, state, overrides) as process:
                await make(tester, range(6, 31))
                assert await process.stop() == 0
            scribble(state / "outbox.db")
            async with central(store, broker):
                async with agent(FILE, state, overrides, broker_url=broker.url) as process:
                    told = await process.line("outbox damaged: set aside, a new stream begins")
                    assert "Page" in told
                    await make(tester, range(31, 36))
                    await until_committed(store, set(range(31, 36)))
                    assert not committed(store) & set(range(6, 31))
                    assert await process.stop() == 0
                [aside] = state.glob("outbox.db.damaged-*Z")
                command = [sys.executable, "-m", "agent", "outbox", "salvage", aside]
                async with Process(command) as salvage:
                    assert await salvage.ended() == 1, "some are lost, and it says so"
                    await salvage.line("records were not delivered yet")
                    await salvage.line("not found (lost, or deleted after their time): 1")
                async with agent(FILE, state, overrides, broker_url=broker.url) as process:
                    # Cycle 1 and its neighbours were with central before; the rest was in other pages.
                    await until_committed(store, set(range(1, 36)))
                    assert await process.stop() == 0
                    assert not any("damaged" in line for line in process.output)
    finally:
        store.close()
        await tester.stop()
    assert {record["cycle_key"] for record in kept(state)} >= set(range(6, 36))
