"""Of what kind a value is. Kinds never compare equal: a 1 is not true, and not the text "1"."""

from enum import StrEnum

from contracts.measurement import Scalar


class Kind(StrEnum):
    """Kinds of values, as a technician calls them."""

    TRUTH = "true or false"
    NUMBER = "a number"
    TEXT = "a text"
    LIST = "a list"


Kinds = frozenset[Kind]
"""What a point's values may be; empty where the settings do not tell."""

UNKNOWN: Kinds = frozenset()


def kinds_of(*values: Scalar) -> Kinds:
    """The kinds that occur among these values."""
    return frozenset(map(_kind, values))


def _kind(value: Scalar) -> Kind:
    if isinstance(value, bool):
        return Kind.TRUTH
    return Kind.TEXT if isinstance(value, str) else Kind.NUMBER
