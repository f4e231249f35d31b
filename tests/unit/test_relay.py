"""The relay as a bad cable: late, and with packets that overtake each other; whatever it does, nothing is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.relay import Relay

Ends = tuple[asyncio.StreamWriter, asyncio.StreamReader]


def numbers(arrived: bytearray) -> list[bytes]:
    """Packets of two bytes."""
    packets = [bytes(arrived[at : at + 2]) for at in range(0, len(arrived) - 1, 2)]
    del arrived[: 2 * len(packets)]
    return packets


@asynccontextmanager
async def through(relay_to: int, **settings: object) -> AsyncIterator[tuple[Relay, asyncio.StreamWriter]]:
    async with Relay("127.0.0.1", relay_to, **settings) as relay:  # type: ignore[arg-type]  # a test's shorthand
        _, writer = await asyncio.open_connection(relay.host, relay.port)
        try:
            yield relay, writer
        finally:
            writer.close()


@asynccontextmanager
async def listener() -> AsyncIterator[tuple[int, asyncio.Queue[bytes]]]:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while packet := await reader.read(2):
            heard.put_nowait(packet)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard


async def test_packets_that_may_overtake_do_and_the_others_keep_their_order() -> None:
    sent = [b"%02d" % number for number in range(40)]
    async with (
        listener() as (port, heard),
        through(port, split=numbers, may_be_overtaken=lambda packet: int(packet) % 2 == 0) as (relay, writer),
    ):
        relay.shuffle(0.2)
        writer.write(b"".join(sent)[:-1])
        writer.write(b"".join(sent)[-1:])
        arrived = [await asyncio.wait_for(heard.get(), 10) for _ in sent]
        assert sorted(arrived) == sent, "each once"
        assert arrived != sent
        held = [packet for packet in arrived if int(packet) % 2]
        assert held == [packet for packet in sent if int(packet) % 2]
        relay.shuffle(0.0)
        writer.write(b"".join(sent))
        assert [await asyncio.wait_for(heard.get(), 10) for _ in sent] == sent


async def test_a_slow_relay_keeps_the_order_and_loses_nothing() -> None:
    async with listener() as (port, heard), through(port) as (relay, writer):
        relay.slow(0.05)
        for number in range(10):
            writer.write(b"%02d" % number)
            await writer.drain()
        assert [await asyncio.wait_for(heard.get(), 10) for _ in range(10)] == [b"%02d" % n for n in range(10)]


async def test_a_relay_that_knows_no_packets_cannot_reorder() -> None:
    with pytest.raises(RuntimeError, match="split packets"):
        Relay("127.0.0.1", 1).shuffle(1.0)
