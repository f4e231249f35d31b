"""What the permit told the machine of the unit it is working on, as measurements that a result is compared with.

``firmware_version: {same_as: permit.firmware}`` judges a flasher's report by what the unit's product model wants. The
record then holds both, and the verdict can be repeated from it alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from contracts.criteria import CriteriaSet
from contracts.measurement import Measurement, Quality, Scalar

MACHINE = "permit"
"""Stands before these names as another machine's name does; no machine may have it."""
NAMES: Mapping[str, str] = {
    "permit.serial_number": "the permit names no unit",
    "permit.product_model": "the permit names no product model",
    "permit.firmware": "the permit names no firmware: give it in the product model's specifications",
    "permit.firmware_checksum": "the permit names no checksum: give it in the product model's specifications",
}
"""What a rule may be compared with (``same_as``), and why there is no value where the permit has none."""


@dataclass(frozen=True)
class Told:
    """The last answer to a machine while its permit waits for the result; ``serial_number`` None: none waits.

    ``number``: the machine was told to give the unit this number.
    """

    serial_number: str | None = None
    number: str | None = None
    values: Mapping[str, Scalar] = field(default_factory=dict)

    def of(self, serial_number: str | None) -> Mapping[str, str]:
        """What the permit says of this unit; nothing of another one, and nothing that it leaves open."""
        if not self.is_of(serial_number):
            return {}
        return {name: str(value) for name, value in self.values.items() if value != ""}

    def rejects(self, serial_number: str | None) -> bool:
        """Whether this unit was permitted as a failed one, for its reject label alone."""
        return self.is_of(serial_number) and self.values.get("reject_label") is True

    def attempt(self, serial_number: str | None) -> int:
        """Which measurement here this is to be, by the permit; 0 where it does not say."""
        attempt = self.values.get("attempt") if self.is_of(serial_number) else None
        return attempt if isinstance(attempt, int) else 0

    def is_of(self, serial_number: str | None) -> bool:
        """Whether the permit that waits for its result is this unit's."""
        return serial_number is not None and serial_number == self.serial_number

    def measurements(self, criteria: CriteriaSet, serial_number: str | None) -> tuple[Measurement, ...]:
        """Those that a criterion is compared with, of this unit's permit. A name without a value says why: who needs
        it is an ERROR."""
        wanted = dict.fromkeys(rule.same_as for rule in criteria.criteria.values() if rule.same_as in NAMES)
        return tuple(self._measurement(name, serial_number) for name in _texts(wanted))

    def _measurement(self, name: str, serial_number: str | None) -> Measurement:
        if not self.is_of(serial_number):
            return _none(name, "no permit was given for this result")
        value = self.of(serial_number).get(name.partition(".")[2])
        return _none(name, NAMES[name]) if value is None else Measurement(name=name, value=value)


def _texts(names: Iterable[str | None]) -> Iterable[str]:
    return (name for name in names if name is not None)


def _none(name: str, why: str) -> Measurement:
    return Measurement(name=name, quality=Quality.BAD, problem=why)
