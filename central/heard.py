"""Does the broker let central speak? To stations that do not hear its acknowledgements it looks as if it were away.

MQTT 5 tells the sender: a broker whose access list forbids a topic refuses the message. That is told once, kept as an
alarm, and told again when it is over.
"""

import asyncio
from collections.abc import Callable

import structlog

from central.store import Alarm, AlarmKind, Claim
from contracts.errors import RefusedError

log = structlog.get_logger()


class Heard:
    """Watches what becomes of central's messages, over every connection. ``alarm`` is called once for each topic."""

    def __init__(self, alarm: Callable[[Alarm], None]) -> None:
        self._alarm = alarm
        self._refused: set[str] = set()

    def watch(self, topic: str, custody: "asyncio.Future[None]", claim: Claim) -> None:
        """``custody`` is the broker's answer to a message on this topic, which is about this stream."""
        custody.add_done_callback(lambda done: self._ended(topic, done, claim))

    def _ended(self, topic: str, custody: "asyncio.Future[None]", claim: Claim) -> None:
        error = None if custody.cancelled() else custody.exception()
        if isinstance(error, RefusedError) and topic not in self._refused:
            self._refused.add(topic)
            log.error(
                "the broker does not let central speak: allow it in the broker's access list",
                topic=topic,
                error=str(error),
            )
            self._alarm(Alarm(AlarmKind.NOT_HEARD, claim, str(error)))
        elif error is None and not custody.cancelled() and topic in self._refused:
            self._refused.discard(topic)
            log.info("the broker lets central speak again", topic=topic)
