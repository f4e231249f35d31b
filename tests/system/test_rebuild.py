"""Central's database is lost or older than the world: the stations' records come back (law 7)."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from central.store import Store
from contracts.facts import LotCreated, UnitScrapped
from contracts.record import ProcessRecord
from tests.support.brokers import iotcore_broker
from tests.support.line import central, fill, held, opened, station, until
from tests.support.postgres import Cluster
from tests.support.records import NOON, record

STATIONS = ("P03-A", "P03-B", "P03-C")
LOT = "WF-KR-261123D-001"


@dataclass
class Database:
    """A database that can be copied aside, brought back, and lost."""

    url: str
    save: Callable[[], None]
    restore: Callable[[], None]
    empty: Callable[[], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        path, saved = tmp_path / "central.db", tmp_path / "backup.db"

        def save() -> None:
            assert not Path(f"{path}-wal").exists(), "the last connection that closed wrote everything into the file"
            shutil.copy(path, saved)

        def empty() -> None:
            for part in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                part.unlink(missing_ok=True)

        def restore() -> None:
            empty()
            shutil.copy(saved, path)

        yield Database(f"sqlite:///{path}", save, restore, empty)
        return
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    with ExitStack() as databases:
        url = databases.enter_context(cluster.database())
        name = url.rsplit("/", 1)[1]
        databases.callback(lambda: cluster.run(f"DROP DATABASE IF EXISTS {name}_saved WITH (FORCE)"))

        def renew(template: str) -> None:
            cluster.run(f"DROP DATABASE {name} WITH (FORCE)")
            cluster.run(f"CREATE DATABASE {name} TEMPLATE {template}")

        yield Database(
            url,
            save=lambda: cluster.run(f"CREATE DATABASE {name}_saved TEMPLATE {name}"),
            restore=lambda: renew(f"{name}_saved"),
            empty=lambda: renew("template0"),
        )


def units(name: str, first: int, count: int) -> list[ProcessRecord]:
    """Records of one station; units and LOT are shared with the others."""
    offset = STATIONS.index(name) / 10
    return [
        record(number, station=name, temperature=60.0 + offset * (number % 12))
        for number in range(first, first + count)
    ]


def rows_of(url: str) -> dict[str, list[dict[str, Any]]]:
    store = Store(url)
    try:
        return store.canonical_rows()
    finally:
        store.close()


def arrived(url: str, count: int) -> Callable[[], Awaitable[bool]]:
    """True once so many records are there."""
    store = Store(url)

    async def look() -> bool:
        found = await asyncio.to_thread(store.counts)
        store.close()
        return found.records == count

    return look


async def test_a_database_restored_from_an_older_backup_becomes_what_it_was(database: Database, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in STATIONS}
    async with opened(database.url) as store, iotcore_broker() as broker:
        for name, folder in folders.items():
            await fill(folder, units(name, 1, 40))
        store.add_decision(LotCreated(author="park", decided_at=NOON, reason="order", lot_number=LOT))
        async with central(database.url, broker.url) as process, AsyncExitStack() as agents:
            for name, folder in folders.items():
                await agents.enter_async_context(station(name, folder, broker.url))
            await until(arrived(database.url, 120))
            await process.stop()
        scrap = UnitScrapped(author="park", decided_at=NOON, reason="bent", serial_number=f"{LOT}-0007")
        store.add_decision(scrap)
        store.close()
        database.save()

        # The world goes on: more of the same units, and a station that is new.
        for name, folder in folders.items():
            await fill(folder, units(name, 30, 60))
        folders["P03-D"] = tmp_path / "P03-D"
        await fill(folders["P03-D"], [record(number, station="P03-D") for number in range(1, 31)])
        async with AsyncExitStack() as agents:
            running = [
                await agents.enter_async_context(station(name, folder, broker.url)) for name, folder in folders.items()
            ]
            async with central(database.url, broker.url) as process:
                await until(arrived(database.url, 330), process, *running)
                await process.kill()
            before = rows_of(database.url)
            database.restore()
            assert rows_of(database.url) != before
            # The stations are connected all the while, and nobody tells them anything but central.
            async with central(database.url, broker.url) as process:
                await until(arrived(database.url, 330), process, *running)
                assert await process.stop() == 0
        assert rows_of(database.url) == before


async def test_an_empty_database_gets_everything_the_stations_keep(database: Database, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in STATIONS}
    streams = [await fill(folder, units(name, 1, 50)) for name, folder in folders.items()]
    async with opened(database.url) as lost, iotcore_broker() as broker, AsyncExitStack() as agents:
        running = [
            await agents.enter_async_context(station(name, folder, broker.url)) for name, folder in folders.items()
        ]
        async with central(database.url, broker.url) as process:
            await until(arrived(database.url, 150), process, *running)
            await process.stop()
        epoch = lost.epoch
        lost.close()
        database.empty()
        async with opened(database.url) as empty:
            assert empty.epoch != epoch
            async with central(database.url, broker.url) as process:
                await until(arrived(database.url, 150), process, *running)
                await process.stop()
            found = empty.canonical_rows()
    async with opened(f"sqlite:///{tmp_path}/reference.db") as reference:
        for name, folder in folders.items():
            reference.ingest(held(name, folder))
        assert found == reference.canonical_rows()
    assert {row["stream_id"] for row in found["streams"]} == set(streams)
