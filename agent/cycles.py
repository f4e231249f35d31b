"""A machine's cycle key against the last one kept: new, repeated, or with a gap (domain.md, counters).

A counter is compared only with its last value. It may wrap (by its modulus); a step back is a new epoch: the
machine was restarted and how many results are missing is not known. A text key is only equal or not. An equal key is a
repeat where the result says the same, too; another result under it is a new epoch as well.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self

CycleKey = int | str


@dataclass(frozen=True)
class Cursor:
    """The last cycle of a machine that is on disk. ``epoch`` counts the machine's restarts. ``content`` tells what the
    result said (``agent.content``); None: not known. It is no part of which cycle this is."""

    machine: str
    key: CycleKey
    epoch: int = 0
    content: str | None = field(default=None, compare=False)

    def as_row(self) -> tuple[str, str, int, str | None]:
        """Type, text, epoch and content, as the outbox keeps them."""
        return ("int" if isinstance(self.key, int) else "str"), str(self.key), self.epoch, self.content

    @classmethod
    def from_row(cls, machine: str, key_type: str, text: str, epoch: int, content: str | None = None) -> Self:
        """The inverse of ``as_row``."""
        return cls(machine, int(text) if key_type == "int" else text, epoch, content)


class Relation(Enum):
    """What a key is beside the last one kept."""

    FIRST = "first"
    REPEAT = "repeat"
    NEXT = "next"
    NEW_EPOCH = "new epoch"
    REUSED = "reused"
    """Another result under the same key."""


@dataclass(frozen=True)
class Step:
    """The new cursor and what lies between: ``missed`` results never read, None when that cannot be known.

    ``differs``: a repeat by its key, with another content; nothing says that it is a result.
    """

    relation: Relation
    cursor: Cursor
    missed: int | None = 0
    differs: bool = False


def step(
    last: Cursor | None,
    machine: str,
    key: CycleKey,
    modulus: int | None = None,
    *,
    content: str | None = None,
    presented: bool = False,
) -> Step:
    """Compare a key with the last one kept. ``modulus`` is the counter's number of values (65536 for uint16).

    ``presented``: the machine has signalled this as a result, it does not merely stand there.
    """
    if last is None:
        return Step(Relation.FIRST, Cursor(machine, key, content=content))
    if key == last.key:
        return _same_key(last, content, presented=presented)
    following = Cursor(machine, key, last.epoch, content)
    if not isinstance(key, int) or not isinstance(last.key, int):
        return Step(Relation.NEXT, following, missed=_missed_by_text(key))
    if key > last.key:
        return Step(Relation.NEXT, following, missed=key - last.key - 1)
    if modulus is not None:
        distance = (key - last.key) % modulus
        # A wrap lands shortly behind the end; anything further is a restart.
        if distance <= modulus // 2 and last.key > modulus // 2 > key:
            return Step(Relation.NEXT, following, missed=distance - 1)
    return Step(Relation.NEW_EPOCH, replace(following, epoch=last.epoch + 1), missed=None)


def _same_key(last: Cursor, content: str | None, *, presented: bool) -> Step:
    differs = _differs(last.content, content)
    if differs and presented:
        cursor = replace(last, epoch=last.epoch + 1, content=content)
        return Step(Relation.REUSED, cursor, missed=_missed_by_text(last.key))
    return Step(Relation.REPEAT, last, differs=differs and last.key not in (0, ""))


def _differs(before: str | None, now: str | None) -> bool:
    """What was read by other settings says nothing of the machine."""
    if before is None or now is None:
        return False
    return before != now and before.partition(".")[0] == now.partition(".")[0]


def _missed_by_text(key: CycleKey) -> int | None:
    """A text never tells what lies between; a number that does not follow its last one leaves it open."""
    return 0 if isinstance(key, str) else None
