"""A driver without a wire, for tests of what stands above drivers: it says what it is told to say."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from contracts.measurement import Scalar
from drivers.base import MachineEvent, PointValue, RawValue, Reading


def reading(values: Mapping[str, RawValue | PointValue | None], raw: bytes | None = None) -> Reading:
    """A reading of these values."""
    points = {name: value if isinstance(value, PointValue) else PointValue(value) for name, value in values.items()}
    return Reading(datetime.now(UTC), points, raw)


class ToldDriver:
    """``say`` makes the next event; ``broken`` is raised once by the next open, event or read it is set for."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[tuple[MachineEvent, Reading]] = asyncio.Queue()
        self.current: tuple[MachineEvent, Reading] | None = None
        self.acknowledged: list[Scalar | None] = []
        self.opened = 0
        self.closed = 0
        self.is_open = False
        self.refuse_open: list[Exception] = []
        self.refuse_read: list[Exception] = []
        self.refuse_acknowledge: list[Exception] = []
        self.open_takes_for_ever = False

    def say(
        self,
        values: Mapping[str, RawValue | PointValue | None],
        *,
        first: bool = False,
        raw: bytes | None = None,
        at: datetime | None = None,
        gap: bool = False,
        maybe_again: bool = False,
    ) -> None:
        """Signal a result; ``raw`` makes it a message, as pushing machines send."""
        event = MachineEvent(at or datetime.now(UTC), payload=raw, first=first, gap=gap, maybe_again=maybe_again)
        self.said.put_nowait((event, reading(values, raw)))

    async def open(self) -> None:
        """As Driver.open."""
        assert not self.is_open, "opened twice"
        self.opened += 1
        if self.open_takes_for_ever:
            await asyncio.Event().wait()
        if self.refuse_open:
            raise self.refuse_open.pop(0)
        self.is_open = True

    async def next_event(self) -> MachineEvent:
        """As Driver.next_event."""
        if self.current is None:
            self.current = await self.said.get()
        return self.current[0]

    async def read(self, event: MachineEvent) -> Reading:
        """As Driver.read. A result that could not be read stays presented."""
        if self.refuse_read:
            raise self.refuse_read.pop(0)
        assert self.current is not None
        assert self.current[0] is event
        found, self.current = self.current[1], None
        return found

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        """As Acknowledging.acknowledge."""
        if self.refuse_acknowledge:
            raise self.refuse_acknowledge.pop(0)
        self.acknowledged.append(cycle_key)

    async def close(self) -> None:
        """As Driver.close."""
        self.closed += 1
        self.is_open = False


class ToldPrinter(ToldDriver):
    """A machine that works on request: every job is answered with what ``prints`` says, or never."""

    def __init__(self, prints: Reading | Exception | None) -> None:
        super().__init__()
        self.prints = prints
        self.jobs: list[Mapping[str, Scalar]] = []

    async def perform(self, job: Mapping[str, Scalar]) -> Reading:
        """As Performing.perform."""
        self.jobs.append(job)
        if isinstance(self.prints, Exception):
            raise self.prints
        if self.prints is None:
            await asyncio.Event().wait()
        assert self.prints is not None
        return self.prints
