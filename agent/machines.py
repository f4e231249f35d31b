"""The station's machines, each with its supervisor in a task of its own: started, exchanged one by one, stopped."""

import asyncio
from collections.abc import Callable, Collection, Mapping

import structlog

from agent.settings import StationSettings
from agent.supervisor import Supervisor

log = structlog.get_logger()

FINISH_S = 5.0
"""What a machine has in hand at SIGTERM may take this long; a link to nowhere does not hold the station longer."""

Build = Callable[[StationSettings, Collection[str]], Mapping[str, Supervisor]]
"""Makes the supervisors of these machines; what belongs together is made together."""


class Machines:
    """``start()``, then ``exchange()`` at will, then ``stop()``."""

    def __init__(self, settings: StationSettings, build: Build, tasks: asyncio.TaskGroup) -> None:
        self._settings = settings
        self._build = build
        self._tasks = tasks
        self._running: dict[str, asyncio.Task[None]] = {}
        self.supervisors: dict[str, Supervisor] = {}

    def start(self) -> None:
        """Start all."""
        self._start(self._settings, self._settings.machines)

    async def exchange(self, new: StationSettings, touched: Collection[str]) -> None:
        """Bring these machines to the new settings. Each finishes the cycle it is in first, however long that takes;
        the others are not touched."""
        for names in self._in_order(touched):
            for name in names:
                self.supervisors[name].stop()
            ending = [self._running[name] for name in names]
            if ending:
                await asyncio.wait(ending)
            for name in names:
                del self.supervisors[name], self._running[name]
        self._settings = new
        self._start(new, [name for name in new.machines if name in touched])

    async def stop(self) -> None:
        """Stop all: what is in hand is finished, for a while."""
        for names in self._in_order(self._running):
            for name in names:
                self.supervisors[name].stop()
            await ended({name: self._running[name] for name in names})

    def _start(self, settings: StationSettings, names: Collection[str]) -> None:
        for name, supervisor in self._build(settings, names).items():
            self.supervisors[name] = supervisor
            self._running[name] = self._tasks.create_task(supervisor.run())

    def _in_order(self, names: Collection[str]) -> tuple[list[str], list[str]]:
        """Companions last: the unit in hand may need them."""
        running = [name for name in names if name in self._running]
        recording = [name for name in running if self._settings.machines[name].records]
        return recording, [name for name in running if name not in recording]


async def ended(running: Mapping[str, asyncio.Task[None]]) -> None:
    """Wait for these to end by themselves, for a while; then cancel what does not."""
    if running:
        await asyncio.wait(running.values(), timeout=FINISH_S)
    for name, task in running.items():
        if not task.done():
            log.warning("not ended in time, cancelled", what=name)
            task.cancel()
