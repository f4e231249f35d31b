"""Texts with ``{names}`` in them, as settings write them: ``"ACK {cycle_key}"``. A brace itself is written twice."""

from collections.abc import Callable, Mapping
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator

from contracts.measurement import Scalar


def names_in(template: str) -> frozenset[str]:
    """The names a template asks for. Raises ValueError for anything but plain ``{name}``."""
    found: set[str] = set()
    for _, name, form, conversion in Formatter().parse(template):
        if name is None:
            continue
        if form or conversion or not name.isidentifier():
            raise ValueError(f"{{{name}}} is not a plain name; write {{name}}, and {{{{ or }}}} for a brace itself")
        found.add(name)
    return frozenset(found)


def render(template: str, values: Mapping[str, Scalar], written: Callable[[Scalar], str]) -> str:
    """Fill every name, each value as ``written`` writes it. Raises KeyError for a name without a value."""
    parts: list[str] = []
    for literal, name, _, _ in Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            parts.append(written(values[name]))
    return "".join(parts)


def as_text(value: Scalar) -> str:
    """A value as machines write it: ``true``, ``60.5``, ``SN-1``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(template: str) -> str:
    names_in(template)
    return template


Template = Annotated[str, AfterValidator(_plain)]
"""A text whose names are all plain; checked when the settings are read."""
