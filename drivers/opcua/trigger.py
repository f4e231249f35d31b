"""From the trigger's values to signals: what was there first, what is new, and where some may be lost."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from contracts.errors import LinkError
from contracts.measurement import Scalar
from drivers.base import MachineEvent, PointValue
from drivers.opcua.settings import DataTrigger

T = TypeVar("T")


class Source(Protocol):
    """What a driver listens to."""

    async def start(self) -> None:
        """Begin to listen. Raises LinkError or SetupError."""

    async def next_event(self) -> MachineEvent:
        """The next signal. May be cancelled without losing one. Raises LinkError."""

    async def has_read(self, trigger: PointValue | None) -> None:
        """A result was read that was signalled, and this is its trigger's value. Raises LinkError."""

    async def has_another(self) -> bool:
        """Whether a further signal is known of already. Raises LinkError."""

    def done(self) -> None:
        """The last event is done with: it need not be told again after the link was lost."""

    async def stop(self) -> None:
        """Stop what runs. The link ends the subscription. Never raises."""

    def wake(self) -> None:
        """The link broke: whoever waits is told."""


@dataclass(frozen=True)
class Signal(Generic[T]):
    """Something the server told, and when. ``lost``: others before it may be gone."""

    at: datetime
    content: T
    lost: bool = False


class Inbox(Generic[T]):
    """What came and was not taken yet. What came before the link broke is still handed out."""

    def __init__(self, broken: Callable[[], str | None], machine: str) -> None:
        self._broken = broken
        self._machine = machine
        self._waiting: deque[T] = deque()
        self._news = asyncio.Event()
        self.is_told = False
        """The oldest was told before. What was not done with stays for the next life of the link."""

    def put(self, one: T) -> None:
        """Hand it to whoever waits."""
        self._waiting.append(one)
        self._news.set()

    def wake(self) -> None:
        """The link broke: whoever waits is told."""
        self._news.set()

    async def first(self) -> T:
        """The oldest; it stays until ``taken()``. Raises LinkError when nothing waits and the link is broken."""
        while not self._waiting:
            if (why := self._broken()) is not None:
                raise LinkError(f"machine {self._machine}: {why}")
            self._news.clear()
            await self._news.wait()
        return self._waiting[0]

    @property
    def waiting(self) -> Sequence[T]:
        """What came and was not taken yet, the oldest first."""
        return tuple(self._waiting)

    def taken(self) -> None:
        """The oldest is done with."""
        self._waiting.popleft()
        self.is_told = False


class Edges:
    """Which values of a trigger are signals. ``gap``: results may have come before the first of them."""

    def __init__(self, settings: DataTrigger, *, gap: bool) -> None:
        self._settings = settings
        self._gap = gap
        self._heard = False
        self._last: Scalar | None = None
        self._read_ahead: Scalar | None = None
        """What a result was read with before that was signalled."""

    def event(self, at: datetime, point: PointValue) -> MachineEvent | None:
        """The signal of this value, None where it is none: the value before, no value, or the way down."""
        value = point.value
        if value is None or isinstance(value, list):
            return None
        first, before = not self._heard, self._last
        self._heard, self._last = True, value
        if not self._signals(value, None if first else before):
            return None
        read_ahead, self._read_ahead = self._read_ahead, None
        if read_ahead is not None and value == read_ahead:
            self._gap = True  # it took the place of the one that was signalled
            return None
        gap = self._gap and not first
        self._gap = self._gap and first  # what was there first has no results before it: the next one has
        return MachineEvent(at, key=value, first=first, gap=gap, maybe_again=not self._settings.is_flag)

    def _signals(self, value: Scalar, before: Scalar | None) -> bool:
        if self._settings.on == "rising" and before:
            return False
        return value != before and self._settings.means_a_result(value)

    def has_read(self, trigger: PointValue | None) -> None:
        """A result was read with this value of its trigger: where that is a newer one than was told, its own signal is
        still to come, and is none."""
        if not self._settings.is_flag and trigger is not None and not isinstance(trigger.value, list):
            self._read_ahead = trigger.value if trigger.value != self._last else None

    def ahead(self, points: Sequence[PointValue]) -> bool:
        """Whether there is a signal among these values, that come next."""
        before = self._last
        for value in (point.value for point in points):
            if value is None or isinstance(value, list):
                continue
            if self._signals(value, before):
                return True
            before = value
        return False

    def lost(self) -> None:
        """Values before the next one are lost, or may be: the next signal bears the gap, however late it comes."""
        self._gap = True

    def lowered(self) -> None:
        """The flag was seen off, by somebody else."""
        self._last = None if self._settings.on == "value" else False
