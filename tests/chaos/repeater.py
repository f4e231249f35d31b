"""Somebody on the broker who publishes what stations have published once more, in any order."""

import asyncio
from collections import deque
from random import Random

from contracts.errors import LinkError
from contracts.topics import all_stations
from messaging.broker import BrokerAddress
from messaging.lives import live_again_and_again
from messaging.session import Message, Session

REMEMBERED = 300
CONNECTED_WITHIN_S = 300.0


class Repeater:
    """Remembers the last records messages; ``repeat`` publishes some of them again."""

    def __init__(self, host: str, port: int) -> None:
        self._address = BrokerAddress(host, port)
        self._seen: deque[Message] = deque(maxlen=REMEMBERED)
        self._session: Session | None = None
        self._connected = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen; a lost broker is tried again."""
        self._running = asyncio.create_task(live_again_and_again(self._life, lost=lambda _: None, longest_wait_s=1.0))

    async def stop(self) -> None:
        """Listen no more."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def repeat(self, count: int, random: Random) -> int:
        """Publish up to ``count`` of the remembered messages, in any order; answers how many.

        Raises LinkError when the broker goes away meanwhile.
        """
        async with asyncio.timeout(CONNECTED_WITHIN_S):
            await self._connected.wait()
        assert self._session is not None
        chosen = random.sample(list(self._seen), min(count, len(self._seen)))
        for message in chosen:
            await self._session.publish(message.topic, message.payload, user_properties=message.user_properties)
        return len(chosen)

    async def _life(self) -> None:
        session = Session(self._address, client_id="chaos-repeater")
        try:
            await session.open([all_stations("records")])
            self._session = session
            self._connected.set()
            while True:
                message = await session.next_message()
                session.acknowledge(message)
                self._seen.append(message)
        finally:
            self._connected.clear()
            await session.close()


__all__ = ["LinkError", "Repeater"]
