"""A machine's clock beside the station's: its times are kept as they came, and flagged where they cannot be right."""

from datetime import UTC, datetime

from agent.settings import MachineSettings
from drivers.base import MachineEvent, Reading

SOLD_AFTER = datetime(2020, 1, 1, tzinfo=UTC)
"""No machine has made anything for this software before. A clock that lost its battery says 1970 or 2000."""


def cannot_be_right(moment: datetime | None, now: datetime, tolerance_s: float) -> bool:
    """Of a value, which may be as old as it likes: it is from the future, or from a clock that was never set."""
    if moment is None:
        return False
    return moment < SOLD_AFTER or (moment - now).total_seconds() > tolerance_s


def machines_own_time(
    machine: MachineSettings, event: MachineEvent, reading: Reading, completed_at: datetime
) -> tuple[datetime | None, bool]:
    """When the machine says this result came to be, and whether its clock is off.

    A result just signalled must bear about the station's time; one found waiting may be from last week.
    """
    point = reading.values.get(machine.cycle_key) if machine.cycle_key is not None else None
    moment = point.source_timestamp if point is not None else None
    if moment is None:
        return None, False
    off = cannot_be_right(moment, completed_at, machine.clock_tolerance)
    if not event.first:
        off = off or abs((moment - completed_at).total_seconds()) > machine.clock_tolerance
    return moment, off
