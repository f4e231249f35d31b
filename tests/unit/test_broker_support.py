"""The brokers of the tests do what tests of lost messages rely on: same address, forgetting, remembering, limits."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.errors import LinkError
from messaging.broker import BrokerAddress
from messaging.session import Message, Session
from tests.support.brokers import HOST, RunningBroker, iotcore_broker, mosquitto_broker

TOPIC = "f2x/v1/gimcheon/KR01/P03-A/state"


@pytest.fixture(params=["iotcore", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with iotcore_broker() if request.param == "iotcore" else mosquitto_broker(tmp_path) as running:
        yield running


@asynccontextmanager
async def session(broker: RunningBroker, *subscriptions: str) -> AsyncIterator[Session]:
    opened = Session(BrokerAddress(HOST, broker.port), client_id=f"test-{uuid.uuid4().hex}")
    try:
        await opened.open(subscriptions)
        yield opened
    finally:
        await opened.close()


async def publish(broker: RunningBroker, payload: bytes, *, topic: str = TOPIC, retain: bool = True) -> None:
    async with session(broker) as ours, asyncio.timeout(10):
        await (await ours.publish(topic, payload, retain=retain))


async def retained(broker: RunningBroker) -> bytes | None:
    """What the broker keeps on TOPIC: a message to a topic of our own, sent after subscribing, says when to stop."""
    done = f"done/{uuid.uuid4().hex}"
    async with session(broker, TOPIC, done) as ours, asyncio.timeout(10):
        await (await ours.publish(done, b""))
        kept: Message | None = None
        while (message := await ours.next_message()).topic != done:
            kept = message
        return kept.payload if kept else None


async def test_a_retained_message_is_kept_while_the_broker_runs(broker: RunningBroker) -> None:
    assert await retained(broker) is None
    await publish(broker, b"born")
    assert await retained(broker) == b"born"


async def test_a_kill_ends_the_links_and_the_restart_is_at_the_same_address(broker: RunningBroker) -> None:
    url, pid = broker.url, broker.process.pid
    async with session(broker) as ours:
        await broker.kill()
        with pytest.raises(LinkError):
            await asyncio.wait_for(ours.lost(), 10)
    with pytest.raises(LinkError):
        await publish(broker, b"")
    await broker.restart()
    assert broker.url == url
    assert broker.process.pid != pid
    await publish(broker, b"back")


async def test_the_embedded_broker_forgets_everything_with_its_process() -> None:
    async with iotcore_broker() as broker:
        await publish(broker, b"born")
        await broker.stop()
        await broker.restart()
        assert await retained(broker) is None


async def test_mosquitto_remembers_over_a_stop_until_it_is_wiped(tmp_path: Path) -> None:
    async with mosquitto_broker(tmp_path) as broker:
        await publish(broker, b"born")
        await broker.stop()
        await broker.restart()
        assert await retained(broker) == b"born"
        await broker.stop()
        await broker.restart(wipe=True)
        assert await retained(broker) is None


async def test_mosquitto_without_persistence_forgets(tmp_path: Path) -> None:
    async with mosquitto_broker(tmp_path, persistence=False) as broker:
        await publish(broker, b"born")
        await broker.stop()
        await broker.restart()
        assert await retained(broker) is None


@pytest.mark.parametrize("kind", ["iotcore", "mosquitto"])
async def test_a_packet_over_the_limit_ends_the_link_and_one_below_passes(kind: str, tmp_path: Path) -> None:
    limit = 64 * 1024
    running = iotcore_broker(max_packet=limit) if kind == "iotcore" else mosquitto_broker(tmp_path, max_packet=limit)
    async with running as broker:
        await publish(broker, b"x" * (limit - 200))
        async with session(broker) as ours:
            await ours.publish(TOPIC, b"x" * (limit + 200))
            with pytest.raises(LinkError):
                await asyncio.wait_for(ours.lost(), 10)


async def test_a_broker_that_cannot_start_fails_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no_such_setting"):
        async with mosquitto_broker(tmp_path, lines=["no_such_setting 1"]):
            pytest.fail("it started")
