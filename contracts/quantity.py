"""Numbers that arrive as text, with or without their unit: ``"0.05mm"``, ``"10.2"`` (domain.md, Identity)."""

import math
import re

_FORM = re.compile(r"\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*((?:[^\W\d_]|[%°℃℉]).*?)?\s*")
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}")


def parse_quantity(text: str) -> tuple[int | float, str | None] | None:
    """The number and the unit of a text, or None where it is not a finite number with at most a unit behind it.

    A unit begins with a letter, a percent or a degree sign: ``1,5`` and ``1_000`` are no numbers.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    number = int(match[1]) if _INTEGER.fullmatch(match[1]) else float(match[1])
    return (number, match[2]) if math.isfinite(number) else None
