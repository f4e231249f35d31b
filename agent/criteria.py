"""The criteria this station judges by: central's last valid word, kept on disk; the file's own until there is one.

A revision takes effect at its named time by central's clock, also while central is away. A word that is broken, older
than what is known, or tells a revision otherwise than before is refused, told once and counted.
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from pydantic import ValidationError

from agent.clock import CentralClock
from agent.judging import criteria_for, measured_by
from agent.settings import MachineSettings, StationSettings
from contracts.criteria import CriteriaSet, Publication, Revision, in_force, subjects

log = structlog.get_logger()

FILE = "criteria.json"
_MOST_CHOSEN = 256
_MOST_TOLD = 100
_REASON_SHOWN = 300


class StationCriteria:
    """What every machine of the station is judged by. ``refused`` counts words that were not believed."""

    def __init__(self, settings: StationSettings, clock: CentralClock) -> None:
        self._settings = settings
        self._clock = clock
        self._file = settings.state_dir / FILE
        self._own = settings.criteria_set()
        self._known: Publication | None = None
        self._before: Revision | None = None
        self._recalled_at: datetime | None = None
        self._chosen: dict[tuple[bool, str, str | None, str], CriteriaSet] = {}
        self._told: set[str] = set()
        self.refused = 0

    def recall(self) -> None:
        """Take over what an earlier process was told. A file that is damaged is told of, and not believed."""
        try:
            kept = self._file.read_bytes()
            kept_at = datetime.fromtimestamp(self._file.stat().st_mtime, UTC)
        except FileNotFoundError:
            return
        except OSError as error:
            self._refuse(f"{self._file} cannot be read: {error}")
            return
        found = self._understood(kept, str(self._file))
        if found is not None:
            self._known, self._recalled_at = found, kept_at
            log.info("criteria recalled", revisions=_numbers(found))

    def renew(self, settings: StationSettings) -> None:
        """The file was changed. What central said stays; results in hand are judged by what is chosen next."""
        self._settings = settings
        self._own = settings.criteria_set()
        self._chosen.clear()

    async def heard(self, payload: bytes) -> None:
        """Central, or whoever writes in its name, says this. Never raises because of what it says."""
        found = self._understood(payload, "from the broker")
        if found is None or found == self._known:
            return
        reason = self._contradicts(found)
        if reason is not None:
            self._refuse(reason)
            return
        if self._known is not None and found.epoch != self._known.epoch:
            log.warning("criteria of another database of central's", revisions=_numbers(found))
        # What was in force stays known: a result that was made before may be judged after.
        before = self._in_force(datetime.now(UTC))
        self._before = None if before is None or before in found.revisions else before
        self._known = found
        self._chosen.clear()
        log.info("criteria heard", revisions=_numbers(found))
        self._tell_unmeasured(found)
        try:
            await asyncio.to_thread(_write, self._file, payload)
        except OSError as error:
            log.error("criteria not kept on disk: they are lost when the station restarts", error=str(error))

    def for_unit(self, machine: MachineSettings, product_model: str | None, completed_at: datetime) -> CriteriaSet:
        """What a unit is judged by on a machine; ``completed_at`` by this station's clock."""
        revision = self._in_force(completed_at)
        name = self._own.revision if revision is None else revision.name
        key = (revision is self._before, name, None if revision is None else product_model, machine.name)
        found = self._chosen.get(key)
        if found is None:
            whole = self._own
            if revision is not None:
                whole = revision.criteria.chosen(name, product_model, self._settings.station.id, machine.name)
            found = criteria_for(machine, self._settings, whole)
            if len(self._chosen) >= _MOST_CHOSEN:
                self._chosen.clear()
            self._chosen[key] = found
        return found

    def _in_force(self, moment: datetime) -> Revision | None:
        """The revision in force at a moment by the station's clock: by central's last word, else the one before it.

        Without a measured clock a moment before that word was kept is a wrong clock's (a computer whose battery is
        empty begins years ago): then it is what was in force as the word was kept.
        """
        offset_s = self._clock.offset_s()
        at = moment - timedelta(seconds=offset_s or 0.0)
        if offset_s is None and self._recalled_at is not None:
            at = max(at, self._recalled_at)
        return (None if self._known is None else in_force(self._known.revisions, at)) or self._before

    def _understood(self, payload: bytes, where: str) -> Publication | None:
        try:
            found = Publication.model_validate_json(payload)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            self._refuse(f"criteria {where} not understood: {'.'.join(map(str, first['loc']))}: {first['msg']}")
            return None
        if found.process != self._settings.station.process:
            self._refuse(f"criteria {where} are those of {found.process}")
            return None
        return found

    def _contradicts(self, found: Publication) -> str | None:
        """Why this cannot be the next word; a database that was made anew begins at any number."""
        known = self._known
        if known is None or found.epoch != known.epoch:
            return None
        if found.issued < known.issued:
            return f"criteria up to revision {found.issued} are older than those known, up to {known.issued}"
        held = {one.number: one for one in known.revisions}
        changed = [one.number for one in found.revisions if held.get(one.number, one) != one]
        return f"criteria revision {changed[0]} is told otherwise than before" if changed else None

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        if reason not in self._told:
            if len(self._told) >= _MOST_TOLD:
                self._told.clear()
            self._told.add(reason)
            log.error("criteria refused, the last good ones stay", reason=reason[:_REASON_SHOWN], refused=self.refused)

    def _tell_unmeasured(self, found: Publication) -> None:
        """Criteria for what no machine of this station measures make an ERROR of every unit: somebody has to know."""
        measured = {
            name for machine in self._settings.machines.values() for name in measured_by(machine, self._settings)
        }
        for revision in found.revisions:
            missing = sorted(
                {
                    name
                    for where, criterion in revision.criteria.all_criteria()
                    for name in subjects(str(where[-1]), criterion)
                }
                - measured
            )
            if missing:
                log.warning("criteria for what no machine here measures", revision=revision.number, missing=missing)


def _numbers(found: Publication) -> list[int]:
    return [one.number for one in found.revisions]


def _write(path: Path, payload: bytes) -> None:
    """Replace the file in one step that a power cut cannot halve."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
