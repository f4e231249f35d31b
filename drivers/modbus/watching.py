"""When a look at the trigger means that a result is there, and how often one looks. Pure."""

from dataclasses import dataclass, field

from contracts.measurement import Scalar
from drivers.modbus.settings import Trigger

SLOW = 1.5
"""A poll that takes so many times as long as it should is told."""
ENOUGH_POLLS = 20


class Watch:
    """Told what the trigger shows, it says whether that is a signal. ``first`` is True until it was told anything."""

    def __init__(self, trigger: Trigger) -> None:
        self._on = trigger.on
        equals = trigger.equals
        self._wanted = equals if isinstance(equals, tuple) else (equals,)
        self._before: Scalar | None = None

    @property
    def first(self) -> bool:
        """Nothing was seen yet."""
        return self._before is None

    @property
    def is_on(self) -> bool:
        """The flag that was seen last means that a result is there; never so of a trigger that is no flag."""
        if self._on == "rising":
            return bool(self._before)
        return self._on == "value" and self._before in self._wanted

    def sees(self, value: Scalar) -> bool:
        """The trigger shows this value. A state that stands at the first look is a signal too."""
        before, self._before = self._before, value
        if self._on == "rising":
            return bool(value) and not before
        if self._on == "value":
            return value in self._wanted and value != before
        return value != before or before is None

    def took(self, value: Scalar) -> None:
        """A result was read while the trigger showed this value."""
        self._before = value

    def saw_it_off(self) -> None:
        """The machine took its signal back while nobody looked."""
        if self._on in ("rising", "value"):
            self._before = False if self._on == "rising" else ""


@dataclass
class PollRate:
    """How often the trigger is really looked at, beside how often it should be."""

    wanted_s: float
    polls: int = 0
    _seconds: float = 0.0
    _last_at: float | None = field(default=None)

    def polled(self, now: float) -> None:
        """A look at the trigger has begun."""
        if self._last_at is not None:
            self.polls += 1
            self._seconds += now - self._last_at
        self._last_at = now

    def interrupted(self) -> None:
        """What passes until the next look is no part of the rhythm: a result is handled."""
        self._last_at = None

    @property
    def real_s(self) -> float | None:
        """The mean seconds from one look to the next; None until there were two."""
        return self._seconds / self.polls if self.polls else None

    @property
    def is_slow(self) -> bool:
        """Whether it has been too slow for long enough to say so."""
        return self.polls >= ENOUGH_POLLS and self._seconds > SLOW * self.wanted_s * self.polls
