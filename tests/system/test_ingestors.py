"""Several ingestors on one database, one of them killed again and again: the same rows as with one (law 3)."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from central.ingestor import Ingestor
from central.store import Store
from contracts.envelope import Birth, Commit, RecordsHeader, encode_records
from contracts.record import ProcessRecord, canonical
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.support.brokers import mosquitto_broker
from tests.support.line import PATIENCE_S, central, fill, held, opened, station, until
from tests.support.records import record

STATIONS = ("P03-A", "P03-B", "P03-C", "P03-D")
RECORDS = 500


def units(number: int, name: str) -> list[ProcessRecord]:
    """A station's records; every unit and LOT is worked on by every station."""
    return [record(1 + seq % 200, station=name, temperature=60 + (seq * number) % 3 / 2) for seq in range(RECORDS)]


async def test_three_ingestors_and_one_that_dies_again_and_again_are_as_one(postgres_url: str, tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in STATIONS}
    for number, (name, folder) in enumerate(folders.items()):
        await fill(folder, units(number, name))
    async with opened(postgres_url) as store, mosquitto_broker(tmp_path) as broker, AsyncExitStack() as running:
        ingestors = [
            await running.enter_async_context(central(postgres_url, broker.url, "--instance", name)) for name in "12"
        ]
        for process in ingestors:
            await process.line("broker connected")
        agents = []
        for name, folder in folders.items():
            async with central(postgres_url, broker.url, "--instance", "3") as victim:
                await victim.line("broker connected")
                agents.append(await running.enter_async_context(station(name, folder, broker.url)))
                await agents[-1].line("broker connected")
                await asyncio.sleep(0.1)  # in the middle of its share
                await victim.kill()
        await until(lambda: _all_here(store), *ingestors, *agents)
        assert [await process.stop() for process in ingestors] == [0, 0]
        said = [line for process in ingestors for line in process.output]
        assert not [line for line in said if '"level": "error"' in line or "Error" in line], "no deadlock, no dispute"
        found = store.canonical_rows()
    async with opened(f"sqlite:///{tmp_path}/alone.db") as alone:
        for name, folder in folders.items():
            alone.ingest(held(name, folder))
        assert found == alone.canonical_rows()


async def test_the_work_is_shared_and_every_one_answers_a_birth(postgres_url: str, tmp_path: Path) -> None:
    topics, stream_id = StationTopics("gimcheon", "KR01", "P03-A"), "a" * 32
    who = {"site": topics.site, "line": topics.line, "station": topics.station, "stream_id": stream_id}
    birth = Birth(**who, online=True, last_seq=40, oldest_available=1, host="pc", software="0", at=datetime.now(UTC))
    async with (
        opened(postgres_url) as store,
        opened(postgres_url) as other,
        mosquitto_broker(tmp_path) as broker,
    ):
        address = BrokerAddress("127.0.0.1", broker.port)
        ingestors = [Ingestor(one, address, instance=name) for one, name in ((store, "1"), (other, "2"))]
        running = [asyncio.create_task(ingestor.run()) for ingestor in ingestors]
        session = Session(address, client_id="a-station")
        await session.open([topics.commits])
        await session.publish(topics.state, birth.model_dump_json().encode(), retain=True)
        async with asyncio.timeout(PATIENCE_S):
            # Who answers has heard the birth last of all: its share of the records comes to it already.
            answers = [await _commit(session) for _ in ingestors]
            assert [answer.answers for answer in answers] == [birth.at] * 2
            for seq in range(1, 41):
                payload = encode_records(RecordsHeader(**who, sent_at=birth.at), [(seq, canonical(record(seq)))])
                await session.publish(topics.records, payload)
            while (await _commit(session)).committed_seq < 40:
                pass
        assert sum(ingestor.counters.inserted for ingestor in ingestors) == 40
        assert min(ingestor.counters.inserted for ingestor in ingestors) > 0
        for ingestor in ingestors:
            ingestor.stop()
        await asyncio.gather(*running)
        await session.close()


async def test_a_database_that_was_away_while_nothing_was_written_is_opened_anew(
    postgres_url: str, tmp_path: Path
) -> None:
    """It may have been restored, or another one have taken its place: a station that believed it to be the same one
    would leave out, as late, what it says."""
    topics, stream_id = StationTopics("gimcheon", "KR01", "P03-A"), "a" * 32
    who = {"site": topics.site, "line": topics.line, "station": topics.station, "stream_id": stream_id}
    async with opened(postgres_url) as store, opened(postgres_url) as other, mosquitto_broker(tmp_path) as broker:
        address = BrokerAddress("127.0.0.1", broker.port)
        ingestor = Ingestor(store, address)
        running = asyncio.create_task(ingestor.run())
        session = Session(address, client_id="a-station")
        await session.open([topics.commits])
        generations = []
        async with asyncio.timeout(PATIENCE_S):
            for seq in (1, 2):
                payload = encode_records(
                    RecordsHeader(**who, sent_at=datetime.now(UTC)), [(seq, canonical(record(seq)))]
                )
                while len(generations) < seq:
                    # Said again until it is heard, as a station does: what the ingestor had in hand it gives up.
                    await session.publish(topics.records, payload)
                    try:
                        async with asyncio.timeout(2):
                            generations.append((await _commit(session)).generation)
                    except TimeoutError:
                        continue
                with other.database.writing() as connection:
                    everyone = "pid <> pg_backend_pid() AND datname = current_database()"
                    connection.exec_driver_sql(
                        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {everyone}"
                    )
        await session.close()
        ingestor.stop()
        await running
    assert len(set(generations)) == 2


async def _commit(session: Session) -> Commit:
    return Commit.model_validate_json((await session.next_message()).payload)


async def _all_here(store: Store) -> bool:
    return (await asyncio.to_thread(store.counts)).records == RECORDS * len(STATIONS)
