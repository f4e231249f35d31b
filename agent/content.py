"""What a result says, in a few characters that are kept beside its number: another result under the same number is told
from the same one read again."""

import hashlib

from agent.settings import MachineSettings
from drivers.base import Reading


class Contents:
    """Digests of one machine's results, ``settings.content``: two are comparable where the settings are the same.

    A result is which unit it is, what was measured, and the machine's own verdict. Times, qualities and points that are
    none of these are left out: they may differ from one look at the same result to the next.
    """

    def __init__(self, machine: MachineSettings) -> None:
        unit = machine.unit
        points = {name for key, name in unit.by_key.items() if key not in unit.scanned and key != "operator"}
        points |= {*machine.measurements, *(name for table in machine.tables.values() for name in table.values())}
        if machine.machine_verdict is not None:
            points.add(machine.machine_verdict.point)
        self._points = sorted(points)
        self._settings = _digest((self._points, machine.protocol_settings))[:8]

    def of(self, reading: Reading) -> str:
        """The digest of this reading."""
        found = [(name, reading.values[name]) for name in self._points if name in reading.values]
        told = [(name, point.original if point.value is None else point.value) for name, point in found]
        return f"{self._settings}.{_digest(told)[:32]}"


def _digest(value: object) -> str:
    return hashlib.sha256(ascii(value).encode()).hexdigest()
