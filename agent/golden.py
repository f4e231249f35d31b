"""A machine's golden samples: when they are due, what became of them, and whether units may start meanwhile.

What became of them is noted in the commit that keeps the sample's record: a restart forgets and invents nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import structlog
from pydantic import TypeAdapter, ValidationError

from agent.clock import CentralClock
from agent.outbox import Outbox
from agent.settings import MachineSettings
from agent.settings.golden import Golden
from contracts.base import ProcessCode
from contracts.criteria import CriteriaSet, Outcome
from contracts.record import GoldenCheck, Part, ProcessRecord
from contracts.refusals import Refusal, RefusalCode

GOLDEN_NOTE = "golden:"
AHEAD = timedelta(minutes=5)
"""A check that lies further in the future was noted by a wrong clock: nobody knows when it was."""


@dataclass(frozen=True)
class Checked:
    """The last check of one sample, by central's clock as far as it is known, and the machine's results since."""

    at: datetime
    good: bool
    serial_number: str
    results: int = 0


_notes: TypeAdapter[dict[str, Checked]] = TypeAdapter(dict[str, Checked])


class GoldenSamples:
    """One for each machine that has samples."""

    def __init__(
        self, machine: MachineSettings, golden: Golden, process: ProcessCode, outbox: Outbox, clock: CentralClock
    ) -> None:
        self._golden = golden
        self._outbox = outbox
        self._clock = clock
        self._note = GOLDEN_NOTE + machine.name
        self._checked: dict[str, Checked] | None = None
        self._own = {name: sample.criteria_set(process) for name, sample in golden.samples.items()}
        self._log = structlog.get_logger().bind(machine=machine.name)

    def criteria_of(self, serial_number: str | None) -> CriteriaSet | None:
        """What a sample is judged by, where it is one and has criteria of its own."""
        found = self._golden.sample_of(serial_number)
        return None if found is None else self._own[found[0]]

    async def refusal(self, now: datetime) -> Refusal | None:
        """Why no unit may start now, by the station's clock; None: all samples are as they have to be."""
        checked = await self._read()
        for name, sample in self._golden.samples.items():
            last = checked.get(name)
            if last is not None and not last.good:
                detail = f"golden sample {name} ({last.serial_number}) had to {sample.must} and did not, at "
                return Refusal(RefusalCode.GOLDEN_SAMPLE_FAILED, f"{detail}{_told(last.at)}")
        at = self._central_time(now)
        for name in self._golden.samples:
            why = self._is_due(checked.get(name), at)
            if why is not None:
                return Refusal(RefusalCode.GOLDEN_SAMPLE_DUE, f"golden sample {name} {why}")
        return None

    async def checked(self, record: ProcessRecord) -> tuple[ProcessRecord, Mapping[str, str]]:
        """The record with what it says of the machine, and the note to keep with it."""
        known = await self._read()
        if record.part is Part.PRODUCT:
            if not known:
                return record, {}
            found = {name: replace(last, results=last.results + 1) for name, last in known.items()}
        else:
            number = record.serial_number
            named = self._golden.sample_of(number)
            if named is None or number is None or record.outcome not in (Outcome.PASS, Outcome.FAIL):
                return record, {}
            name, sample = named
            good = record.outcome is sample.wanted
            record = record.model_copy(update={"golden": GoldenCheck(sample=name, good=good)})
            at = self._central_time(record.completed_at)
            found = {**known, name: Checked(at, good, number)}
            self._tell(name, record.outcome, good=good)
        self._checked = found
        return record, {self._note: _notes.dump_json(found).decode()}

    def _is_due(self, last: Checked | None, now: datetime) -> str | None:
        if last is None:
            return "was not measured yet"
        if last.at > now + AHEAD:
            return f"was measured at {_told(last.at)}, which is not yet: one clock is wrong"
        if self._golden.cycles is not None and last.results >= self._golden.cycles:
            return f"is due: {last.results} results since {_told(last.at)}"
        begun = self._shift_begun(now)
        if begun is not None and last.at < begun:
            return f"is due in this shift, since {_told(begun)}; it was last measured at {_told(last.at)}"
        return None

    def _shift_begun(self, now: datetime) -> datetime | None:
        """When the present shift began."""
        zone = None if self._golden.timezone is None else ZoneInfo(self._golden.timezone)
        today = now.astimezone(zone).date()
        starts = (
            # Without a zone the computer's own clock says when it is so late.
            datetime.combine(today - timedelta(days=ago), start, tzinfo=zone).astimezone(UTC)
            for ago in (0, 1)
            for start in self._golden.starts
        )
        return max((start for start in starts if start <= now), default=None)

    def _central_time(self, moment: datetime) -> datetime:
        return moment - timedelta(seconds=self._clock.offset_s() or 0.0)

    async def _read(self) -> Mapping[str, Checked]:
        if self._checked is None:
            note = await self._outbox.note(self._note)
            try:
                self._checked = {} if note is None else _notes.validate_json(note)
            except ValidationError as error:
                self._log.error("note of golden samples not understood: they are due", error=str(error)[:200])
                self._checked = {}
        return self._checked

    def _tell(self, name: str, outcome: Outcome, *, good: bool) -> None:
        if good:
            self._log.info("golden sample good", sample=name, outcome=outcome.value)
        else:
            self._log.error("golden sample failed, no unit is started", sample=name, outcome=outcome.value)


def _told(moment: datetime) -> str:
    """As people at the machine read it."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"
