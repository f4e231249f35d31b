"""The station's results as they come, for whoever looks on: nobody who looks can hold a machine up."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from agent.history import History
from contracts.record import ProcessRecord

_UNSEEN = 100
"""Results kept for one who looks on and does not take them; then the oldest are left out for that one."""


class Results:
    """``kept()`` with each record that is on disk. ``last`` is the newest of each machine, ``counts`` how many;
    ``history`` keeps what was read for them."""

    def __init__(self, history: History | None = None) -> None:
        self.history = history
        self.last: dict[str, ProcessRecord] = {}
        self.counts: dict[str, int] = {}
        self.began_at = datetime.now(UTC)
        self._looking: list[tuple[deque[tuple[int, ProcessRecord]], asyncio.Event]] = []

    def kept(self, seq: int, record: ProcessRecord) -> None:
        """It is on disk under this number."""
        name = str(record.machine)
        self.last[name] = record
        self.counts[name] = self.counts.get(name, 0) + 1
        for waiting, changed in self._looking:
            waiting.append((seq, record))
            changed.set()

    @contextmanager
    def looked_at(self) -> Iterator["Onlooker"]:
        """See every result that is kept from now on."""
        waiting: deque[tuple[int, ProcessRecord]] = deque(maxlen=_UNSEEN)
        changed = asyncio.Event()
        self._looking.append((waiting, changed))
        try:
            yield Onlooker(waiting, changed)
        finally:
            self._looking.remove((waiting, changed))


class Onlooker:
    """One who looks on."""

    def __init__(self, waiting: deque[tuple[int, ProcessRecord]], changed: asyncio.Event) -> None:
        self._waiting = waiting
        self._changed = changed

    async def next(self) -> tuple[int, ProcessRecord]:
        """The next result, with its number."""
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.popleft()
