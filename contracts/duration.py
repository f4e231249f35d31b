"""Durations as a person writes them: a number with its unit (``100ms``, ``5s``, ``5m``, ``2h``, ``30d``)."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema

_FORM = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)$")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: object) -> float:
    """Seconds of ``"100ms"``. Raises ValueError for anything else, a bare number too."""
    match = _FORM.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a duration with its unit is needed, for example 100ms, 5s, 5m, 2h or 30d")
    return float(match[1]) * _SECONDS[match[2]]


def write_duration(seconds: float) -> str:
    """As a person writes it, in the largest unit that needs no fraction: ``10ms``."""
    for unit in ("d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:g}{unit}"
    return f"{seconds * 1000:g}ms"


Duration = Annotated[
    float,
    Field(ge=0),
    BeforeValidator(parse_duration),
    PlainSerializer(lambda seconds: f"{seconds}s"),
    WithJsonSchema({"type": "string", "pattern": _FORM.pattern}),
]
"""Seconds, written with a unit."""
