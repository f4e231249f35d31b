"""The ingestor's session at real brokers: what waits for a client that was killed is taken, however much it is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contracts.errors import LinkError
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.support.brokers import HOST, RunningBroker, iotcore_broker, mosquitto_broker

TOPIC = "line/records"
PATIENCE_S = 30.0
MORE_THAN_A_BROKER_SENDS_AT_ONCE = 450


@pytest.fixture(params=["iotcore", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with iotcore_broker() if request.param == "iotcore" else mosquitto_broker(tmp_path) as running:
        yield running


async def resumed(broker: RunningBroker) -> Session:
    """The same client once more: the broker has kept its subscription and what came for it."""
    session = Session(
        BrokerAddress(HOST, broker.port), client_id="taker", clean_start=False, session_expiry_s=86400, keepalive_s=60
    )
    await session.open([TOPIC, "line/state"])
    return session


async def test_more_unacknowledged_messages_than_the_broker_sends_at_once_do_not_shut_a_killed_client_out(
    broker: RunningBroker,
) -> None:
    killed = await resumed(broker)
    sender = Session(BrokerAddress(HOST, broker.port), client_id="sender")
    await sender.open()
    try:
        await kill(killed)
        for number in range(MORE_THAN_A_BROKER_SENDS_AT_ONCE):
            await (await sender.publish(TOPIC, b"%d" % number))
        again = await resumed(broker)
        try:
            received: list[int] = []
            async with asyncio.timeout(PATIENCE_S):
                while len(set(received)) < MORE_THAN_A_BROKER_SENDS_AT_ONCE:
                    message = await again.next_message()
                    received.append(int(message.payload))
                    again.acknowledge(message)
                # The subscription stands too: a topic that had nothing waiting is heard.
                await sender.publish("line/state", b"born")
                while (await again.next_message()).topic != "line/state":
                    pass
            assert sorted(set(received)) == list(range(MORE_THAN_A_BROKER_SENDS_AT_ONCE))
        finally:
            await again.close()
    finally:
        await sender.close()


async def test_a_client_killed_with_messages_in_hand_gets_them_again(broker: RunningBroker) -> None:
    first = await resumed(broker)
    sender = Session(BrokerAddress(HOST, broker.port), client_id="sender")
    await sender.open()
    try:
        for number in range(MORE_THAN_A_BROKER_SENDS_AT_ONCE):
            await sender.publish(TOPIC, b"%d" % number)
        async with asyncio.timeout(PATIENCE_S):
            in_hand = [await first.next_message() for _ in range(90)]
        for message in in_hand[:7]:
            first.acknowledge(message)
        await kill(first)
        again = await resumed(broker)
        try:
            left = set(range(7, MORE_THAN_A_BROKER_SENDS_AT_ONCE))
            async with asyncio.timeout(PATIENCE_S):
                while left:
                    message = await again.next_message()
                    left.discard(int(message.payload))
                    again.acknowledge(message)
        finally:
            await again.close()
    finally:
        await sender.close()


async def test_a_broker_that_never_answers_a_subscription_is_a_lost_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.session.CONNECT_TIMEOUT_S", 0.3)

    async def says_hello_and_nothing_else(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(bytes([0x20, 3, 0, 0, 0]))  # CONNACK of MQTT 5: no session, success, no properties
        await reader.read()
        writer.close()

    server = await asyncio.start_server(says_hello_and_nothing_else, HOST, 0)
    session = Session(BrokerAddress(HOST, server.sockets[0].getsockname()[1]), client_id="taker")
    with pytest.raises(LinkError, match="does not answer"):
        await session.open([TOPIC])
    await session.close()
    server.close()


async def kill(session: Session) -> None:
    """End as a killed process does: the socket closes, no goodbye is said."""
    transport = session._client.socket()
    assert transport is not None
    session._detach()
    transport.close()
    await session.close()
