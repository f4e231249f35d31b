"""What a result says, in a few characters that are kept beside its number: another result under the same number is told
from the same one read again."""

import hashlib

from agent.settings import MachineSettings
from agent.settings.references import point_references
from drivers.base import Reading

_NOT_THE_RESULT = {("cycle_key",), ("cycle_time",), ("unit", "operator")}


class Contents:
    """Digests of one machine's results, ``settings.content``: two are comparable where the settings are the same.

    A result is which unit it is, what was measured, the machine's own verdict, and what else makes the record what it
    is (a rework, a reject label). Times, qualities, who worked and points of no use to the record are left out: they
    may differ from one look at the same result to the next.
    """

    def __init__(self, machine: MachineSettings) -> None:
        self._points = sorted({point for path, point in point_references(machine) if path not in _NOT_THE_RESULT})
        self._settings = _digest((self._points, machine.protocol_settings))[:8]

    def of(self, reading: Reading) -> str:
        """The digest of this reading."""
        found = [(name, reading.values[name]) for name in self._points if name in reading.values]
        told = [(name, point.original if point.value is None else point.value) for name, point in found]
        return f"{self._settings}.{_digest(told)[:32]}"


def _digest(value: object) -> str:
    return hashlib.sha256(ascii(value).encode()).hexdigest()
