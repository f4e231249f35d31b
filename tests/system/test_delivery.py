"""The way from the outbox to the database over a real broker, broken on purpose (laws 2 and 3)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.outbox import Outbox
from agent.settings import StationSettings, load
from agent.uplink import Uplink
from central.ingestor import Ingestor
from central.store import Store
from contracts.criteria import Criteria, Criterion
from contracts.envelope import MAX_MESSAGE_BYTES, Birth, Commit, HeldStream
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.support.brokers import RunningBroker, iotcore_broker, mosquitto_broker
from tests.support.records import record

TOPICS = StationTopics("gimcheon", "KR01", "P03-A")
PATIENCE_S = 30.0


@pytest.fixture(params=["iotcore", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    maker = iotcore_broker() if request.param == "iotcore" else mosquitto_broker(tmp_path)
    async with maker as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(f"sqlite:///{tmp_path / 'central.db'}")
    made.migrate()
    return made


def address_of(broker: RunningBroker) -> BrokerAddress:
    return BrokerAddress("127.0.0.1", broker.port)


@asynccontextmanager
async def central(store: Store, broker: RunningBroker) -> AsyncIterator[Ingestor]:
    ingestor = Ingestor(store, address_of(broker))
    running = asyncio.create_task(ingestor.run())
    yield ingestor
    ingestor.stop()
    await running


@asynccontextmanager
async def station(folder: Path, broker: RunningBroker) -> AsyncIterator[tuple[Outbox, Uplink]]:
    settings: StationSettings = load(Path("config/stations/P03-A.yaml"), ["resend_after=300ms", f"state_dir={folder}"])
    outbox = Outbox(folder / "outbox.db")
    outbox.open()
    uplink = Uplink(settings, [address_of(broker)], outbox, "test")
    running = asyncio.create_task(uplink.run())
    try:
        yield outbox, uplink
    finally:
        uplink.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        outbox.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.02)


async def settled(outbox: Outbox) -> bool:
    return (await outbox.state()).unsettled == 0


def numbers(store: Store) -> list[int]:
    return sorted(row["seq"] for row in store.canonical_rows()["process_data"])


async def test_a_result_goes_all_the_way_and_is_settled(broker: RunningBroker, store: Store, tmp_path: Path) -> None:
    async with central(store, broker), station(tmp_path, broker) as (outbox, uplink):
        for number in range(1, 21):
            await outbox.append(record(number))
            uplink.wake()
        await until(lambda: settled(outbox))
        assert numbers(store) == list(range(1, 21))
    store.close()


async def test_nothing_is_settled_while_central_is_away(broker: RunningBroker, store: Store, tmp_path: Path) -> None:
    async with central(store, broker), station(tmp_path, broker) as (outbox, _):
        await outbox.append(record(1))
        await until(lambda: settled(outbox))
    async with station(tmp_path, broker) as (outbox, uplink):
        for number in range(2, 8):
            await outbox.append(record(number))
            uplink.wake()
        # The broker takes them and answers; three resends later nobody has committed them.
        await asyncio.sleep(1.0)
        assert (await outbox.state()).unsettled == 6
        async with central(store, broker):
            await until(lambda: settled(outbox))
    assert numbers(store) == list(range(1, 8))
    store.close()


async def test_a_broker_that_forgets_everything_costs_nothing(
    broker: RunningBroker, store: Store, tmp_path: Path
) -> None:
    async with central(store, broker), station(tmp_path, broker) as (outbox, uplink):
        for number in range(1, 11):
            await outbox.append(record(number))
            uplink.wake()
        await broker.kill()
        for number in range(11, 31):
            await outbox.append(record(number))
            uplink.wake()
        await broker.restart(wipe=True)
        await until(lambda: settled(outbox))
        assert numbers(store) == list(range(1, 31))
    store.close()


async def test_a_backlog_is_delivered_in_batches_and_once(broker: RunningBroker, store: Store, tmp_path: Path) -> None:
    async with station(tmp_path, broker) as (outbox, uplink):
        await asyncio.gather(*(outbox.append(record(number % 100 + 1)) for number in range(1500)))
        uplink.wake()
        async with central(store, broker) as ingestor:
            await until(lambda: settled(outbox))
            assert numbers(store) == list(range(1, 1501))
            assert ingestor.counters.inserted == 1500
    store.close()


async def test_a_restored_outbox_begins_a_new_stream(broker: RunningBroker, store: Store, tmp_path: Path) -> None:
    image = tmp_path / "image"
    async with central(store, broker):
        async with station(tmp_path, broker) as (outbox, _):
            old = (await outbox.state()).stream_id
            await outbox.append(record(1))
            await until(lambda: settled(outbox))
        image.mkdir()
        (image / "outbox.db").write_bytes((tmp_path / "outbox.db").read_bytes())
        async with station(tmp_path, broker) as (outbox, uplink):
            await outbox.append(record(2))
            uplink.wake()
            await until(lambda: settled(outbox))
        async with station(image, broker) as (outbox, uplink):
            await outbox.append(record(3))
            await outbox.append(record(4))
            uplink.wake()

            async def renewed() -> bool:
                return (await outbox.state()).stream_id != old and await settled(outbox)

            await until(renewed)
    serials = sorted(row["serial_number"] for row in store.canonical_rows()["process_data"])
    assert serials == [f"WF-KR-261123D-001-{number:04d}" for number in (1, 2, 3, 4)]
    store.close()


async def test_a_birth_is_answered_for_each_stream_the_station_holds_the_present_one_last(
    broker: RunningBroker, store: Store
) -> None:
    birth = Birth(
        site=TOPICS.site, line=TOPICS.line, station=TOPICS.station, online=True,
        stream_id="a" * 32, last_seq=3, oldest_available=1,
        earlier=(HeldStream(stream_id="b" * 32, last_seq=7, oldest_available=2),),
        host="pc", software="test", at=datetime.now(UTC),
    )  # fmt: skip
    async with central(store, broker), AsyncExitStack() as stack:
        session = Session(address_of(broker), client_id="station")
        stack.push_async_callback(session.close)
        await session.open([TOPICS.commits])
        await session.publish(TOPICS.state, birth.model_dump_json().encode(), retain=True)
        async with asyncio.timeout(PATIENCE_S):
            said = [Commit.model_validate_json((await session.next_message()).payload) for _ in range(2)]
        assert [commit.stream_id for commit in said] == ["b" * 32, "a" * 32]
        assert {commit.answers for commit in said} == {birth.at}
    store.close()


async def test_a_record_too_large_is_parked_and_holds_up_nothing(
    broker: RunningBroker, store: Store, tmp_path: Path
) -> None:
    async with central(store, broker), station(tmp_path, broker) as (outbox, uplink):
        await outbox.append(record(1, note="x" * MAX_MESSAGE_BYTES))
        await outbox.append(record(2))
        uplink.wake()

        async def only_the_parked_one_waits() -> bool:
            state = await outbox.state()
            return (state.unsettled, state.parked) == (1, 1)

        await until(only_the_parked_one_waits)
        assert numbers(store) == [2]
    store.close()


async def test_poison_is_quarantined_and_the_stream_goes_on(
    broker: RunningBroker, store: Store, tmp_path: Path
) -> None:
    poison = [b"", b"{", b"\xff\x00", b'{"v": 2}', b'{"v": 1, "records": []}', b"x" * 300_000]
    async with central(store, broker) as ingestor, station(tmp_path, broker) as (outbox, uplink):
        await outbox.append(record(1))
        await until(lambda: settled(outbox))
        stranger = Session(address_of(broker), client_id="stranger")
        await stranger.open()
        for payload in poison:
            await (await stranger.publish(TOPICS.records, payload))
        await outbox.append(record(2))
        uplink.wake()

        async def all_kept() -> bool:
            return ingestor.counters.quarantined == len(poison) and await settled(outbox)

        await until(all_kept)
        assert numbers(store) == [1, 2]
        assert store.counts().quarantined == len(poison)
        await stranger.close()
    store.close()


async def test_a_central_that_the_broker_does_not_let_speak_says_so(tmp_path: Path, store: Store) -> None:
    """Its acknowledgements and criteria are refused: to the stations it looks as if it were away."""
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite f2x/v1/+/+/+/records\ntopic readwrite f2x/v1/+/+/+/state\n")
    acl.chmod(0o644)
    limits = {"temperature": Criterion(upper=61.0, unit="degC")}
    store.criteria.add(Criteria(process="P03_SENSOR_INSPECTION", criteria=limits), "park", "first")

    async def raised() -> bool:
        return len(store.alarms()) == 2

    with capture_logs() as logs:
        async with (
            mosquitto_broker(tmp_path, lines=[f"acl_file {acl}"]) as broker,
            central(store, broker),
            station(tmp_path, broker),
        ):
            await until(raised)
            await asyncio.sleep(1.5)  # it is tried again, and not told again
    assert {alarm.kind for alarm in store.alarms()} == {"the broker does not let central speak"}
    assert sorted(alarm.station for alarm in store.alarms()) == ["P03-A", "central"]
    told = [line["topic"] for line in logs if str(line["event"]).startswith("the broker does not let central speak")]
    assert sorted(told) == ["f2x/v1/criteria/P03_SENSOR_INSPECTION", TOPICS.commits]
    store.close()
