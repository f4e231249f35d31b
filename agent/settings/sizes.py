"""Sizes as a person writes them: a number with its unit (``500kB``, ``16MB``, ``2GB``), decimal."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

_FORM = re.compile(r"^(\d+(?:\.\d+)?)\s*(kB|MB|GB)$")
_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: object) -> int:
    """Bytes of ``"16MB"``. Raises ValueError for anything else, a bare number too."""
    match = _FORM.match(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a size with its unit is needed, for example 500kB, 16MB or 2GB")
    return round(float(match[1]) * _BYTES[match[2]])


def write_size(count: int) -> str:
    """As a person writes it, in the largest unit that it reaches: ``16MB``."""
    unit, length = next((unit, length) for unit, length in reversed(_BYTES.items()) if count >= length)
    return f"{count / length:g}{unit}"


Size = Annotated[
    int,
    Field(ge=0),
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": _FORM.pattern, "format": "size"}),
]
"""Bytes, written with a unit."""
