"""What a result says, in a few characters that are kept beside its number: another result under the same number is told
from the same one read again."""

import hashlib

from agent.settings import MachineSettings
from drivers.base import Reading


def content_of(machine: MachineSettings, reading: Reading) -> str:
    """A digest of which unit it is, of what was measured and of the machine's own verdict.

    Times, qualities and points that are none of these are left out: they may differ from one look at the same result to
    the next.
    """
    unit = machine.unit
    points = {name for key, name in unit.by_key.items() if key not in unit.scanned and key != "operator"}
    points |= {*machine.measurements, *(name for table in machine.tables.values() for name in table.values())}
    if machine.machine_verdict is not None:
        points.add(machine.machine_verdict.point)
    found = [(name, reading.values[name]) for name in sorted(points & reading.values.keys())]
    told = [(name, point.original if point.value is None else point.value) for name, point in found]
    return hashlib.sha256(ascii(told).encode()).hexdigest()[:32]
