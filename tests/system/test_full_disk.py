"""A station whose disk is full: nothing is acknowledged that is not kept, what is kept is delivered, all are told."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.settings import load
from central.ingestor import Ingestor
from central.store import Store
from contracts.envelope import Birth
from contracts.topics import StationTopics
from drivers.base import Simulator
from drivers.registry import protocols
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.support.agents import CONFIG, addresses, agent, kept
from tests.support.brokers import RunningBroker, iotcore_broker
from tests.support.disks import small_disk

FILE = CONFIG / "P03-A.yaml"
TOPICS = StationTopics("gimcheon", "KR01", "P03-A")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    with small_disk(tmp_path / "disk", megabytes=1) as place:
        yield place


@asynccontextmanager
async def ingesting(store: Store, broker: RunningBroker) -> AsyncIterator[None]:
    ingestor = Ingestor(store, BrokerAddress("127.0.0.1", broker.port))
    running = asyncio.create_task(ingestor.run())
    try:
        yield
    finally:
        ingestor.stop()
        await running


@asynccontextmanager
async def watching(broker: RunningBroker) -> AsyncIterator[Session]:
    session = Session(BrokerAddress("127.0.0.1", broker.port), client_id="watcher")
    await session.open([TOPICS.state])
    try:
        yield session
    finally:
        await session.close()


async def troubles(session: Session, *, some: bool) -> tuple[str, ...]:
    """What the station says of its disk, once it says something (or nothing more)."""
    async with asyncio.timeout(30):
        while True:
            birth = Birth.model_validate_json((await session.next_message()).payload)
            if bool(birth.troubles) == some:
                return birth.troubles


async def cycle(tester: Simulator, number: int) -> None:
    values = {
        "result_counter": number,
        "serial_number": f"WF-KR-261123D-001-{number:04d}",
        "temperature": 60.5,
        "tof_i2c": True,
        "judgement": 1,
    }
    await tester.cycle(values, number)


def fill_up(disk: Path, *, instead_of: str = "") -> Path:
    """Somebody else takes all the room there is, and that of some files."""
    for file in disk.glob(instead_of) if instead_of else ():
        file.unlink()
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return ballast


async def test_a_full_disk_stops_the_machine_and_not_the_delivery(disk: Path, tmp_path: Path) -> None:
    file = tmp_path / "P03-A.yaml"
    file.write_text(f"{FILE.read_text(encoding='utf-8')}\noutbox: {{reserve: 150kB}}\n", encoding="utf-8")
    tester = protocols()["modbus"].simulator("tester", load(FILE).machines["tester"].protocol_settings)
    overrides = [*addresses("tester", await tester.start()), "machines.tester.trigger.poll=10ms"]
    store = Store(f"sqlite:///{tmp_path / 'central.db'}")
    store.migrate()
    try:
        async with (
            iotcore_broker() as broker,
            ingesting(store, broker),
            watching(broker) as session,
            agent(file, disk, overrides, broker_url=broker.url) as process,
        ):
            await asyncio.wait_for(cycle(tester, 1), 20)
            ballast = fill_up(disk)
            number = 1
            while True:
                number += 1
                waiting = asyncio.create_task(cycle(tester, number))
                done, _ = await asyncio.wait({waiting}, timeout=3)
                if not done:
                    break
            assert 1 < number < 500
            await process.line("no room for results, machines are not acknowledged")
            assert "is full" in (await troubles(session, some=True))[0]
            # What is kept is delivered, and nothing more.
            async with asyncio.timeout(20):
                while len(store.canonical_rows()["process_data"]) < number - 1:
                    await asyncio.sleep(0.05)
            assert not waiting.done()
            assert process.returncode is None
            ballast.unlink()
            await asyncio.wait_for(waiting, 20)
            assert await troubles(session, some=False) == ()
            await process.line("room for results again")
            assert await process.stop() == 0
    finally:
        store.close()
        await tester.stop()
    assert [record["cycle_key"] for record in kept(disk)] == list(range(1, number + 1))
    assert sum("disk refuses, machine not acknowledged" in line for line in process.output) == 1, "told once"


async def test_a_station_that_starts_on_a_full_disk_waits_for_room(disk: Path, tmp_path: Path) -> None:
    ballast = fill_up(disk)
    tester = protocols()["modbus"].simulator("tester", load(FILE).machines["tester"].protocol_settings)
    file = tmp_path / "P03-A.yaml"
    file.write_text(f"{FILE.read_text(encoding='utf-8')}\noutbox: {{reserve: 150kB}}\n", encoding="utf-8")
    try:
        overrides = addresses("tester", await tester.start())
        async with agent(file, disk, overrides) as process:
            told = await process.line("outbox cannot be opened, machines are not acknowledged")
            assert "full" in told or "space" in told
            waiting = asyncio.create_task(cycle(tester, 1))
            ballast.unlink()
            await asyncio.wait_for(waiting, 20)
            assert await process.stop() == 0
        fill_up(disk, instead_of="outbox.db*")
        async with agent(file, disk, overrides) as process:
            await process.line("outbox cannot be opened")
            assert await process.stop() == 0, "it can be stopped while it waits"
    finally:
        await tester.stop()
