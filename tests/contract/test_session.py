"""What an MQTT session promises its owner, on every broker the product runs with, and on none."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from contracts.errors import LinkError
from messaging import session as session_module
from messaging.broker import BrokerAddress
from messaging.session import Message, Session, Will
from tests.support.brokers import RunningBroker, free_port, iotcore_broker, mosquitto_broker
from tests.support.relay import Relay

TOPIC = "f2x/v1/gimcheon/KR01/P03-A/records"
STATE = "f2x/v1/gimcheon/KR01/P03-A/state"
PATIENCE_S = 30.0


@pytest.fixture(params=["iotcore", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Each broker."""
    async with iotcore_broker() if request.param == "iotcore" else mosquitto_broker(tmp_path) as running:
        yield running


@asynccontextmanager
async def connected(port: int, name: str, *topics: str, **wishes: object) -> AsyncIterator[Session]:
    """An open session, closed in the end."""
    session = Session(BrokerAddress("127.0.0.1", port), client_id=name, **wishes)  # type: ignore[arg-type]  # wishes of many types
    try:
        async with asyncio.timeout(PATIENCE_S):
            await session.open(topics)
            yield session
    finally:
        await session.close()


async def said(session: Session, number: int) -> list[Message]:
    """The next messages, each acknowledged."""
    messages = []
    for _ in range(number):
        messages.append(await session.next_message())
        session.acknowledge(messages[-1])
    return messages


async def test_a_message_arrives_as_it_was_published(broker: RunningBroker) -> None:
    """Content of any bytes, the properties beside it, in order."""
    payloads = [b"", b"\x00\xff", b"{}", b"x" * 100_000]
    async with connected(broker.port, "central", TOPIC) as central, connected(broker.port, "station") as station:
        for number, payload in enumerate(payloads):
            properties = {"stream_id": "a" * 32, "first_seq": str(number)}
            await (await station.publish(TOPIC, payload, user_properties=properties))
        messages = await said(central, len(payloads))
        assert [message.payload for message in messages] == payloads
        assert [message.user_properties["first_seq"] for message in messages] == ["0", "1", "2", "3"]
        assert {(message.topic, message.retain) for message in messages} == {(TOPIC, False)}
        assert central.messages_waiting() == []


async def test_what_is_retained_is_there_for_who_comes_later(broker: RunningBroker) -> None:
    async with connected(broker.port, "station") as station:
        await (await station.publish(STATE, b"birth", retain=True))
        await (await station.publish(STATE, b"another birth", retain=True))
        async with connected(broker.port, "central", STATE) as central:
            [message] = await said(central, 1)
            assert (message.payload, message.retain) == (b"another birth", True)


async def test_what_was_not_acknowledged_comes_again(broker: RunningBroker) -> None:
    """A central that ends between receipt and commit has lost nothing."""
    lasting = {"clean_start": False, "session_expiry_s": 60}
    async with connected(broker.port, "station") as station:
        async with connected(broker.port, "central", TOPIC, **lasting) as central:
            for number in range(4):
                await (await station.publish(TOPIC, b"%d" % number))
            await said(central, 2)
            assert (await central.next_message()).payload == b"2"
        await (await station.publish(TOPIC, b"4"))  # while central is away
        async with connected(broker.port, "central", TOPIC, **lasting) as central:
            assert [message.payload for message in await said(central, 3)] == [b"2", b"3", b"4"]


async def test_the_last_will_is_said_for_who_vanishes_and_for_nobody_else(broker: RunningBroker) -> None:
    will = Will(STATE, b"gone")
    async with connected(broker.port, "central", STATE) as central:
        async with connected(broker.port, "polite", will=will):
            pass
        async with Relay("127.0.0.1", broker.port) as cable:
            async with connected(cable.port, "abrupt", will=will) as station:
                await cable.cut()
                with pytest.raises(LinkError):
                    await station.lost()
            message = await central.next_message()
            assert message.payload == b"gone"
        central.acknowledge(message)
        await (await central.publish(STATE, b"the end"))
        [last] = await said(central, 1)
        assert last.payload == b"the end", "the will of a session that was closed"


async def test_a_lost_link_is_told_to_everyone_who_waits(broker: RunningBroker) -> None:
    async with Relay("127.0.0.1", broker.port) as cable, connected(cable.port, "central", TOPIC) as central:
        await (await central.publish(TOPIC, b"came before"))
        async with asyncio.timeout(PATIENCE_S):
            while not central._incoming:
                await asyncio.sleep(0.005)
        cable.freeze()
        published = await central.publish(TOPIC, b"never answered")
        lost = asyncio.create_task(central.lost())
        await cable.cut()
        with pytest.raises(LinkError):
            await lost
        with pytest.raises(LinkError):
            await published
        assert (await central.next_message()).payload == b"came before"
        with pytest.raises(LinkError):
            await central.next_message()
        with pytest.raises(LinkError):
            await central.publish(TOPIC, b"too late")


async def test_a_broker_that_is_killed_is_a_lost_link(broker: RunningBroker) -> None:
    async with connected(broker.port, "central", TOPIC) as central:
        waiting = asyncio.create_task(central.next_message())
        await broker.kill()
        with pytest.raises(LinkError):
            await waiting


async def test_a_broker_that_freezes_is_noticed(broker: RunningBroker) -> None:
    """Its socket stays open, and nothing comes any more."""
    async with connected(broker.port, "central", TOPIC, keepalive_s=1) as central:
        pid = broker.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(LinkError, match=r"silent|lost"):
                await central.lost()
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_a_session_is_opened_once(broker: RunningBroker) -> None:
    """A new connection is a new session."""
    async with connected(broker.port, "central") as central:
        with pytest.raises(RuntimeError):
            await central.open()
        await central.close()
        with pytest.raises(RuntimeError):
            await central.open()


async def test_closing_ends_every_wait_and_leaves_nothing(broker: RunningBroker) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        session = Session(BrokerAddress("127.0.0.1", broker.port), client_id="central")
        await session.open([TOPIC])
        waiting = asyncio.create_task(session.next_message())
        await asyncio.sleep(0)
        await session.close()
        await session.close()
        with pytest.raises(LinkError):
            await waiting
    assert len(os.listdir("/proc/self/fd")) == before


# -- no broker, or one that does not want us -------------------------------------------------------------------------


async def refused(address: BrokerAddress) -> str:
    """What is told when it cannot be opened."""
    session = Session(address, client_id="station")
    try:
        with pytest.raises(LinkError) as told:
            await session.open([TOPIC])
    finally:
        await session.close()
    return str(told.value)


async def test_nobody_at_the_address_is_told_with_the_address() -> None:
    port = free_port()
    assert f"mqtt://127.0.0.1:{port} cannot be reached" in await refused(BrokerAddress("127.0.0.1", port))


async def _silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _hangs_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


async def _talks_of_other_things(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("talk", [_silent, _hangs_up, _talks_of_other_things])
async def test_what_is_no_broker_is_a_lost_link(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "CONNECT_TIMEOUT_S", 0.5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await talk(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        told = await refused(BrokerAddress("127.0.0.1", server.sockets[0].getsockname()[1]))
    assert "broker mqtt://127.0.0.1:" in told


async def test_a_wrong_password_is_told_and_never_shown(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    passwords.chmod(0o600)
    async with mosquitto_broker(tmp_path, lines=[f"password_file {passwords}", "allow_anonymous false"]) as running:
        address = BrokerAddress("127.0.0.1", running.port, username="P03-A", password="hunter2-secret")
        told = await refused(address)
    assert "refuses us: Not authorized" in told
    assert "hunter2" not in told + repr(address) + str(address)
