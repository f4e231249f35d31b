"""A machine's cycle key against the last one kept: new, repeated, or with a gap (domain.md, counters).

A counter is compared only with its last value. It may wrap (by its modulus); a step back is a new epoch: the
machine was restarted and how many results are missing is not known. A text key is only equal or not.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Self

CycleKey = int | str


@dataclass(frozen=True)
class Cursor:
    """The last cycle of a machine that is on disk. ``epoch`` counts the machine's restarts."""

    machine: str
    key: CycleKey
    epoch: int = 0

    def as_row(self) -> tuple[str, str, int]:
        """Type, text and epoch, as the outbox keeps them."""
        return ("int" if isinstance(self.key, int) else "str"), str(self.key), self.epoch

    @classmethod
    def from_row(cls, machine: str, key_type: str, text: str, epoch: int) -> Self:
        """The inverse of ``as_row``."""
        return cls(machine, int(text) if key_type == "int" else text, epoch)


class Relation(Enum):
    """What a key is beside the last one kept."""

    FIRST = "first"
    REPEAT = "repeat"
    NEXT = "next"
    NEW_EPOCH = "new epoch"


@dataclass(frozen=True)
class Step:
    """The new cursor and what lies between: ``missed`` results never read, None when that cannot be known."""

    relation: Relation
    cursor: Cursor
    missed: int | None = 0


def step(last: Cursor | None, machine: str, key: CycleKey, modulus: int | None = None) -> Step:
    """Compare a key with the last one kept. ``modulus`` is the counter's number of values (65536 for uint16)."""
    if last is None:
        return Step(Relation.FIRST, Cursor(machine, key))
    if key == last.key:
        return Step(Relation.REPEAT, last)
    if not isinstance(key, int) or not isinstance(last.key, int):
        return Step(Relation.NEXT, Cursor(machine, key, last.epoch), missed=0 if isinstance(key, str) else None)
    if key > last.key:
        return Step(Relation.NEXT, Cursor(machine, key, last.epoch), missed=key - last.key - 1)
    if modulus is not None:
        distance = (key - last.key) % modulus
        # A wrap lands shortly behind the end; anything further is a restart.
        if distance <= modulus // 2 and last.key > modulus // 2 > key:
            return Step(Relation.NEXT, Cursor(machine, key, last.epoch), missed=distance - 1)
    return Step(Relation.NEW_EPOCH, Cursor(machine, key, last.epoch + 1), missed=None)
