"""Scans: what one machine of a station reads of the unit that another one works on (``unit: {..., within: 5m}``).

A scan is used once, for the first result after it, and only where nothing speaks against it. It is held in memory and
ends with the link to the scanner and with the process: what was scanned meanwhile would not be known, and the scan
before it would be taken for it. Without a scan the record is an ERROR that says why, never another unit's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from agent.clock import CentralClock
from agent.settings.machine import MachineSettings
from drivers.base import MachineEvent, Reading

log = structlog.get_logger()

CLOCK_STEP_S = 1.0
"""The station's clock and the time since boot may part by this between scan and result; by more, the clock was set."""


@dataclass(frozen=True)
class _Scan:
    reading: Reading
    signalled_at: datetime
    heard_at: datetime
    heard_s: float
    code: str


class Scans:
    """What ``scanner`` has read and no record was made of yet. ``points`` are those that tell one unit from another."""

    def __init__(self, scanner: str, points: Collection[str], within_s: float, clock: CentralClock) -> None:
        self._scanner = scanner
        self._points = sorted(points)
        self._within_s = within_s
        self._clock = clock
        self._held: list[_Scan] = []
        self._looked_at: list[_Scan] = []
        self._log = log.bind(machine=scanner)

    def heard(self, event: MachineEvent, reading: Reading) -> None:
        """The scanner has read something. The same code again is the same scan."""
        found = [reading.values.get(point) for point in self._points]
        code = " ".join(str(point.original if point.value is None else point.value) for point in found if point)
        now_s = self._clock.since_boot()
        scan = _Scan(reading, event.signalled_at, datetime.now(UTC), now_s, code)
        kept = [one for one in self._held if one.code != code and now_s - one.heard_s <= self._within_s]
        self._held = [*kept, scan]

    def forget(self, why: str) -> None:
        """What was scanned says nothing of the next unit any more."""
        for scan in self._held:
            self._log.warning("scan not used", code=scan.code, why=why)
        self._held = []

    def before(self, result: MachineEvent, *, is_the_next: bool) -> Reading | str:
        """The one scan before this result; else why there is none, in a technician's words.

        ``is_the_next`` is False where results before this one may be missing, or where nobody knows how long it has
        stood there: a scan may then be another unit's. ``used()`` ends what was looked at here.
        """
        self._looked_at = [scan for scan in self._held if scan.signalled_at <= result.signalled_at]
        found = self._found(self._looked_at, result, is_the_next=is_the_next)
        return found if isinstance(found, Reading) else f"{found}; scan the unit again and repeat it"

    def used(self) -> None:
        """The record is on disk: what it was made of is used, and what was passed over is about no unit."""
        self._held = [scan for scan in self._held if scan not in self._looked_at]
        self._looked_at = []

    def _found(self, scans: list[_Scan], result: MachineEvent, *, is_the_next: bool) -> Reading | str:
        if not scans:
            return f"{self._scanner} read nothing before this result"
        if not is_the_next:
            return f"{self._scanner} read {scans[-1].code}, maybe for a result that was missed"
        if any(self._clock_was_set_since(scan) for scan in scans):
            return f"the station's clock was set since {self._scanner} read {scans[-1].code}"
        ages = [(result.signalled_at - scan.signalled_at).total_seconds() for scan in scans]
        in_time = [scan for scan, age in zip(scans, ages, strict=True) if age <= self._within_s]
        if not in_time:
            late = f"{self._scanner} read {scans[-1].code} {ages[-1]:.0f} s before this result"
            return f"{late}, unit.within allows {self._within_s:g} s"
        if len(in_time) > 1:
            codes = ", ".join(scan.code for scan in in_time)
            return f"{self._scanner} read {len(in_time)} codes before this result: {codes}"
        return in_time[0].reading

    def _clock_was_set_since(self, scan: _Scan) -> bool:
        by_clock = (datetime.now(UTC) - scan.heard_at).total_seconds()
        return abs(by_clock - (self._clock.since_boot() - scan.heard_s)) > CLOCK_STEP_S


def scans_of(machines: Mapping[str, MachineSettings], clock: CentralClock) -> dict[str, Scans]:
    """The scans of a station, by machine: the same ones under the scanner's name and under that of its reader."""
    found: dict[str, Scans] = {}
    for name, machine in machines.items():
        unit = machine.unit
        if unit.scanner is not None and unit.within is not None:
            scans = Scans(unit.scanner, unit.scanned.values(), unit.within, clock)
            found |= {name: scans, unit.scanner: scans}
    return found
