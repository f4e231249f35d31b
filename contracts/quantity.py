"""Numbers that arrive as text, with or without their unit: ``"0.05mm"``, ``"10.2"`` (domain.md, Identity)."""

import math
import re

_FORM = re.compile(r"^\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*([^\d\s].*?)?\s*$")


def parse_quantity(text: str) -> tuple[int | float, str | None] | None:
    """The number and the unit of a text, or None where it is not a finite number with at most a unit behind it."""
    match = _FORM.match(text)
    if match is None:
        return None
    number = int(match[1]) if re.fullmatch(r"[-+]?\d+", match[1]) else float(match[1])
    return (number, match[2]) if math.isfinite(number) else None
