"""One look at a machine's points, for a technician at the open cabinet: no trigger, nothing written or acknowledged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from drivers.base import PointValue


@dataclass(frozen=True)
class Sight:
    """One point as it stands in the machine now.

    ``raw`` is what came for it, as bytes or as the protocol's own text. ``otherwise``: a change of the settings
    (``word_order: little``) -> what the same bytes would be then.
    """

    name: str
    address: str
    value: PointValue
    raw: str | None = None
    otherwise: Mapping[str, PointValue] = field(default_factory=dict)


@runtime_checkable
class Looking(Protocol):
    """A driver that can show its points without waiting for a result of its machine."""

    async def look(self, wait_s: float) -> Sequence[Sight]:
        """Every point once, in the order of the settings. The driver is closed before and afterwards.

        A machine that speaks by itself is listened to for ``wait_s`` seconds. A point that fails by itself has a
        problem. Raises LinkError or SetupError, with the likely cause.
        """
