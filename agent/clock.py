"""How far the station's clock runs ahead of central's, measured by how long central's answers take.

Central says when it spoke. That moment lies between our asking and our hearing, so central's time is known within
half of what that took (as in NTP, RFC 5905, section 8). It is kept beside a clock that nobody sets (Linux
CLOCK_BOOTTIME): a station's clock that is put forward or back is found out by the next record, also while central is
away, and by the next process too.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

DRIFT = 100e-6
"""Two clocks of PCs run apart by this at most; s/s."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Sample:
    """Central's time minus the time since boot: ``ahead_s`` give or take ``within_s``, measured ``at_s`` after boot."""

    ahead_s: float
    within_s: float
    at_s: float

    def within_at(self, moment_s: float) -> float:
        """What it is worth later, as the clocks run apart."""
        return self.within_s + DRIFT * abs(moment_s - self.at_s)


class CentralClock:
    """Central's time, as this station knows it. ``since_boot`` and ``wall`` are the clocks, in seconds."""

    def __init__(
        self,
        *,
        since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        wall: Callable[[], float] = time.time,
        boot_id: str | None = None,
    ) -> None:
        self.since_boot = since_boot
        self._wall = wall
        self._boot_id = boot_id if boot_id is not None else _this_boot()
        self._best: Sample | None = None

    def heard(self, asked_s: float, said_at: datetime) -> bool:
        """Central has just been heard: it spoke at ``said_at``, after we asked at ``asked_s`` (since boot).

        Returns True when this is known better now than before.
        """
        now = self.since_boot()
        took = max(0.0, now - asked_s)
        new = Sample(said_at.timestamp() - (now - took / 2), took / 2, now)
        best = self._best
        if best is not None:
            old_within = best.within_at(now)
            contradicted = abs(new.ahead_s - best.ahead_s) > new.within_s + old_within  # central's clock was set
            if new.within_s >= old_within and not contradicted:
                return False
        self._best = new
        return True

    def offset_s(self) -> float | None:
        """How far the station's clock runs ahead of central's now; None while that was never measured."""
        if self._best is None:
            return None
        return round(self._wall() - (self.since_boot() + self._best.ahead_s), 6)

    def within_s(self) -> float | None:
        """How far ``offset_s()`` may be from the truth now, at most; None while that was never measured."""
        return None if self._best is None else round(self._best.within_at(self.since_boot()), 6)

    def as_note(self) -> str:
        """What the next process of this station needs to know."""
        assert self._best is not None, "measure first"
        return json.dumps({"boot": self._boot_id, "sample": vars(self._best)})

    def recall(self, note: str | None) -> None:
        """Take over what an earlier process measured, unless the computer was started anew since."""
        if note is None:
            return
        try:
            kept = json.loads(note)
            if kept["boot"] == self._boot_id:
                self._best = Sample(**{name: float(value) for name, value in kept["sample"].items()})
        except (ValueError, TypeError, KeyError, AttributeError):
            return


def _this_boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
