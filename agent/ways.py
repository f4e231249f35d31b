"""The ways to central for a question whose answer is wanted soon: MQTT, and HTTP where the station has it too.

Both ways carry the same question with the same ``request_id``, so central gives one answer whichever way it takes.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from contracts.errors import LinkError
from contracts.interlock import AnyAnswer, AnyQuestion, PermitAnswer, PermitRequest, PermitReturned
from messaging.session import Session

MQTT_SHARE = 0.4
"""Of the time for an answer: so long it is waited for over MQTT alone, where there is a second way."""


class SecondWay(Protocol):
    """Central, asked by another way than MQTT."""

    def ask(self, question: PermitRequest, take: Callable[[PermitAnswer], None]) -> "asyncio.Task[None]":
        """Ask; the answer goes to ``take``, however late. The task ends with it, or when there will be none."""

    def give_back(self, returned: PermitReturned) -> None:
        """A permit came to nothing."""


@dataclass(frozen=True)
class Answered:
    """What central said; None: nothing in time."""

    answer: AnyAnswer | None = None
    by_http: bool = False


class _Waiting:
    """Somebody waits for an answer. ``silent`` is done when none can come over MQTT any more."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Answered] = loop.create_future()
        self.silent: asyncio.Future[None] = loop.create_future()

    def is_silent(self) -> None:
        """The link is gone."""
        if not self.silent.done():
            self.silent.set_result(None)


class Ways:
    """Made once; ``attach()`` and ``detach()`` with each connection to the broker, ``take()`` with what is answered
    there. ``late`` gets every answer that nobody waits for."""

    def __init__(self, topic: str, http: SecondWay | None, late: Callable[[AnyAnswer], None]) -> None:
        self._topic = topic
        self._http = http
        self._late = late
        self._session: Session | None = None
        self._waiting: dict[str, _Waiting] = {}

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the broker."""
        return self._session is not None

    def attach(self, session: Session) -> None:
        """Central may be reached over this session."""
        self._session = session

    def detach(self) -> None:
        """It may not: whoever waits takes the second way at once, or has no answer."""
        self._session = None
        for waiting in self._waiting.values():
            waiting.is_silent()

    def take(self, answer: AnyAnswer, *, by_http: bool = False) -> None:
        """An answer is there. The first one to a question counts."""
        waiting = self._waiting.get(answer.request_id)
        if waiting is not None and not waiting.answer.done():
            waiting.answer.set_result(Answered(answer, by_http))
        else:
            self._late(answer)

    async def ask(self, question: AnyQuestion, within_s: float) -> Answered:
        """Central's answer. Over MQTT first; a permit over HTTP as well, when ``MQTT_SHARE`` of the time has brought
        nothing, and at once when there is no connection to the broker. Ends early when no way is left."""
        http = self._http if isinstance(question, PermitRequest) else None
        if within_s <= 0 or (self._session is None and http is None):
            return Answered()
        began_at = asyncio.get_running_loop().time()
        mqtt_s = within_s if http is None else MQTT_SHARE * within_s
        waiting = self._waiting[question.request_id] = _Waiting()
        try:
            await self._publish(question, waiting, mqtt_s)
            await _first_of(waiting.answer, [waiting.silent], began_at + mqtt_s)
            if http is not None and isinstance(question, PermitRequest) and not waiting.answer.done():
                asked = http.ask(question, partial(self.take, by_http=True))
                await _first_of(waiting.answer, [waiting.silent, asked], began_at + within_s)
            return waiting.answer.result() if waiting.answer.done() else Answered()
        finally:
            del self._waiting[question.request_id]

    def give_back(self, returned: PermitReturned) -> None:
        """Central is told by every way there is; where it hears nothing, the lease ends by its time."""
        if self._http is not None:
            self._http.give_back(returned)
        if self._session is not None:
            task = asyncio.ensure_future(self._session.publish(self._topic, returned.model_dump_json().encode()))
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception())

    async def _publish(self, question: AnyQuestion, waiting: _Waiting, within_s: float) -> None:
        if self._session is None:
            waiting.is_silent()
            return
        try:
            async with asyncio.timeout(within_s):
                await self._session.publish(self._topic, question.model_dump_json().encode())
        except TimeoutError:
            pass  # it may have gone out
        except LinkError:
            waiting.is_silent()


async def _first_of(answer: "asyncio.Future[Answered]", ways: Sequence["asyncio.Future[None]"], until: float) -> None:
    """Return with the answer, when every way has ended without one, or at this time of the loop's clock."""
    loop = asyncio.get_running_loop()
    while not answer.done() and loop.time() < until:
        still_open = [way for way in ways if not way.done()]
        if not still_open:
            return
        ends: list[asyncio.Future[Any]] = [answer, *still_open]
        await asyncio.wait(ends, timeout=until - loop.time(), return_when=asyncio.FIRST_COMPLETED)
