"""A machine that is asked for its results: at an interval, after a trigger, or once for a unit."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from contracts.errors import DataError, LinkError
from contracts.measurement import Scalar
from drivers.base import Reading
from drivers.fields.gathering import Gathered
from drivers.fields.messages import Message, kind_of, values_of
from drivers.serial.dialogue import Dialogue, UnansweredError
from drivers.serial.framing import Frame
from drivers.serial.settings import SerialSettings
from drivers.serial.talk_settings import Exchange, RequestSettings
from drivers.template import names_in

_QUIET_AT_OPEN_S = 0.05
"""A machine that is asked has to be silent for so long first: what it says then was not asked by us."""

Answered = Callable[[Gathered, Scalar | None, bool], None]
"""Told of a result, the trigger's value, and whether that is the state found when asking began."""


def scalars(reading: Reading) -> dict[str, Scalar]:
    """The values that can be filled into a text."""
    return {
        name: point.value
        for name, point in reading.values.items()
        if point.value is not None and not isinstance(point.value, list)
    }


def reading_of(gathered: Gathered, settings: SerialSettings, at: datetime) -> Reading:
    """What the messages of a result mean."""
    return Reading(at, values_of(gathered.messages, settings, gathered.problem), raw=gathered.raw)


class Asking:
    """Asks over one dialogue. Every failure is a LinkError (or OSError) that says what was asked."""

    def __init__(self, where: str, settings: SerialSettings, dialogue: Dialogue) -> None:
        self._where = where
        self._settings = settings
        self._dialogue = dialogue
        self._announced: deque[tuple[Message, bytes]] = deque()
        self._in_hand: tuple[Message, bytes] | None = None
        self._changed = asyncio.Event()
        self._seen: Scalar | None = None
        self.is_in_vain = False
        """A question had no answer: it may still come, and answers nothing."""

    async def begin(self, *, in_vain: bool) -> None:
        """What is said once the line is open. ``in_vain``: a question of an earlier life had no answer."""
        request = self._settings.request
        if request is not None:
            owed_s = max(exchange.timeout for exchange in (*self._settings.on_open, *request.exchanges))
            await self._dialogue.quiet(owed_s if in_vain else _QUIET_AT_OPEN_S)
        for exchange in self._settings.on_open:
            await self._said(exchange, {})
        self._dialogue.end()

    async def keep_alive(self) -> None:
        """For ever, at the interval."""
        keep_alive = self._settings.keep_alive
        assert keep_alive is not None
        while True:
            await asyncio.sleep(keep_alive.every)
            await self._said(keep_alive, {})
            self._dialogue.end()

    def triggered(self, message: Message, raw: bytes) -> None:
        """The machine said that it is to be asked. What it says again of the same unit is no further result."""
        known = [*self._announced, *((self._in_hand,) if self._in_hand is not None else ())]
        if raw in (before for _, before in known) and self._named_in([message]):
            return
        self._announced.append((message, raw))
        self._changed.set()

    async def ask_on(self, wanted: asyncio.Event, answered: Answered) -> None:
        """For ever: at the interval or after each trigger, whenever a result is wanted."""
        request = self._settings.request
        assert request is not None
        if request.every is None:
            await self._ask_after(request, wanted, answered)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await wanted.wait()
            await asyncio.sleep(max(0.0, due - loop.time()))
            due = max(due, loop.time()) + (request.every or 0.0)
            gathered = await self._asked(request, {}, [], b"")
            if gathered is not None:
                self._tell(gathered, answered)

    async def _ask_after(self, request: RequestSettings, wanted: asyncio.Event, answered: Answered) -> None:
        """For ever, after each trigger. A result that was announced and not fetched is told as one with a problem.

        A request that does not name the unit is answered with the newest result: an earlier one cannot be fetched.
        """
        names_unit = any(names_in(exchange.send or "") for exchange in request.exchanges)
        why = "the link was lost before it was asked for"
        try:
            while True:
                while not self._announced:
                    self._changed.clear()
                    await self._changed.wait()
                await wanted.wait()
                self._in_hand = self._announced.popleft()
                message, raw = self._in_hand
                gathered = Gathered((), raw, "announced and not fetched: the next result was announced")
                if names_unit or not self._announced:
                    asked = await self._asked(request, self._named_in([message]), [message], raw)
                    none = Gathered((), raw, "the machine announced a result, and then said that it has none")
                    if names_unit or not self._announced:
                        gathered = asked or none
                self._in_hand = None
                self._tell(gathered, answered)
        except (LinkError, OSError) as error:
            why = str(error)
            raise
        finally:
            lost = [*((self._in_hand,) if self._in_hand is not None else ()), *self._announced]
            for _, raw in lost:
                answered(Gathered((), raw, f"announced and not fetched: {why}"), None, False)

    async def ask_for(self, job: Mapping[str, Scalar]) -> Gathered:
        """Once, for one unit. Raises LinkError also where the machine has no result."""
        request = self._settings.request
        assert request is not None
        gathered = await self._asked(request, job, [], b"")
        if gathered is None:
            raise LinkError(f"{self._where}: it has no result for this unit")
        return gathered

    async def _asked(
        self, request: RequestSettings, known: Mapping[str, Scalar], before: list[Message], raw: bytes
    ) -> Gathered | None:
        """Every step; the last answer is the result. None where the machine has none just now."""
        frames: Sequence[Frame] = ()
        *_, last = request.exchanges
        try:
            for exchange in request.exchanges:
                self._dialogue.filled(exchange.send or "", known, framed=exchange.framed)
        except DataError as error:
            return Gathered((), raw, str(error))
        try:
            for exchange in request.exchanges:
                frames = await self._said(exchange, known, accept=request.is_on_demand or exchange is not last)
                if exchange.until is not None and not frames:
                    return None
        finally:
            self._dialogue.end()
        raw += b"".join(frame.data for frame in frames)
        messages = list(before)
        for frame in frames:
            try:
                kind = kind_of(frame.body, self._settings)
            except DataError as error:
                return Gathered((), raw, str(error))
            if kind is not None and self._settings.kinds[kind].role == "empty":
                return None
            messages.append(Message(frame.body, kind))
        return Gathered(tuple(messages), raw)

    async def _said(self, exchange: Exchange, known: Mapping[str, Scalar], *, accept: bool = True) -> Sequence[Frame]:
        self.is_in_vain = True
        try:
            frames = await self._dialogue.say(exchange, known, accept=accept)
        except UnansweredError as error:
            sent = f"{exchange.send!r} was sent" if exchange.send is not None else "a message was waited for"
            raise LinkError(
                f"{self._where}: {sent}: {error}; check the machine's power, the cable, connect.baudrate and what its "
                "manual says of this request"
            ) from error
        self.is_in_vain = False
        return frames

    def _named_in(self, before: Sequence[Message]) -> dict[str, Scalar]:
        return scalars(reading_of(Gathered(before, b""), self._settings, datetime.now(UTC))) if before else {}

    def _tell(self, gathered: Gathered, answered: Answered) -> None:
        """An answer is a result, unless a trigger says that it is none, or the one that was seen."""
        trigger = self._settings.trigger
        if trigger is None:
            answered(gathered, None, False)
            return
        found = reading_of(gathered, self._settings, datetime.now(UTC)).values[trigger.point]
        if found.value is None or isinstance(found.value, list):
            raise LinkError(f"{self._where}: trigger point {trigger.point} cannot be read: {found.problem}")
        before, self._seen = self._seen, found.value
        is_new = found.value != before if trigger.on == "change" else bool(found.value) and not before
        if is_new:
            answered(gathered, found.value, before is None)
