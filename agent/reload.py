"""A new file for a running station: checked first, then only what it changes is touched, never within a cycle."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from agent.changes import changes_between, differences
from agent.criteria import StationCriteria
from agent.machines import Machines
from agent.settings import SettingsError, StationSettings, load

log = structlog.get_logger()

Source = Callable[[Path | None], StationSettings]
"""Reads the station's file anew (None), or another one in its place. Raises SettingsError."""


@dataclass(frozen=True)
class Reloaded:
    """What became of it. ``refused`` says why nothing was changed; ``touched`` are the machines that were."""

    refused: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Reloading:
    """``settings`` are those in force. One reload at a time; the next one waits."""

    def __init__(
        self, settings: StationSettings, source: Source, machines: Machines, criteria: StationCriteria
    ) -> None:
        self.settings = settings
        self._source = source
        self._machines = machines
        self._criteria = criteria
        self._turn = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Read the file and do what it says. A file that is wrong, or needs a restart, changes nothing."""
        async with self._turn:
            done = await self._reload()
        if done.refused:
            log.error("new settings refused, the running ones stay", reasons=list(done.refused)[:20])
        else:
            log.info("settings reloaded", machines=list(done.touched), changed=list(done.changed)[:50])
        return done

    async def difference(self, file: Path) -> Sequence[str]:
        """What this file would change, key by key. Raises SettingsError."""
        return differences(self.settings, await asyncio.to_thread(self._source, file))

    async def _reload(self) -> Reloaded:
        try:
            new = await asyncio.to_thread(self._source, None)
        except SettingsError as error:
            return Reloaded(refused=tuple(map(str, error.issues)))
        found = changes_between(self.settings, new)
        if found.restart:
            keys = ", ".join(found.restart)
            return Reloaded(refused=(f"changed, and used only as a station starts: {keys}; restart it for that",))
        changed = tuple(differences(self.settings, new))
        for warning in new.warnings:
            log.warning("settings likely to be regretted", warning=str(warning))
        self._criteria.renew(new)
        await self._machines.exchange(new, found.touched)
        self.settings = new
        return Reloaded(touched=tuple(sorted(found.touched)), changed=changed)


def source_of(file: Path, overrides: Sequence[str] = ()) -> Source:
    """The file a station was started with, and its --set values."""
    return lambda other: load(other or file, overrides)
