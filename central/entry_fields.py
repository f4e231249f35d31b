"""What a person may enter for each process (domain.md): ``entry_fields.json`` lists the fields.

A process that is not listed there, one a site added, takes any field.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from contracts.base import RegularExpression
from contracts.measurement import Measurement
from contracts.patterns import compiled
from contracts.quantity import parse_quantity

MOST_FIELDS = 100
MOST_ROWS = 1000
Problems = list[tuple[str, str]]
"""Where, beneath ``measurements``, and what is wrong."""


class EntryField(BaseModel):
    """One field: a ``number`` (or a text with its unit), a ``text``, a ``check`` (a yes or no, or the word a site uses
    for it), or ``rows`` of such columns. ``lower`` and ``upper`` bound what is plausible, not what passes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["number", "text", "check", "rows"]
    unit: str | None = None
    lower: float | None = None
    upper: float | None = None
    one_of: tuple[str, ...] | None = None
    pattern: RegularExpression | None = None
    columns: Annotated[Mapping[str, "EntryField"], Field(min_length=1)] | None = None


@cache
def entry_fields() -> Mapping[str, Mapping[str, EntryField]]:
    """Process code -> its fields."""
    adapter = TypeAdapter(dict[str, dict[str, EntryField]])
    return adapter.validate_json(files("central").joinpath("entry_fields.json").read_bytes())


def understood(process: str, entered: Mapping[str, Any]) -> tuple[tuple[Measurement, ...], Problems]:
    """What was entered as measurements, and everything that is wrong with it."""
    fields = entry_fields().get(process)
    problems: Problems = []
    found: list[Measurement] = []
    if len(entered) > MOST_FIELDS:
        return (), [("", f"more than {MOST_FIELDS} fields")]
    for name, value in entered.items():
        field = None if fields is None else fields.get(name)
        if fields is not None and field is None:
            problems.append((name, f"{process} has no field {name[:64]}; it has {', '.join(fields)}"))
            continue
        wrong = list(_wrong(field, value)) if field is not None and value is not None else []
        problems += [(f"{name}{where}", what) for where, what in wrong]
        if not wrong:
            try:
                found.append(_measurement(name, value, field))
            except ValidationError as error:
                problems.append((name, error.errors()[0]["msg"]))
    return tuple(found), problems


def _measurement(name: str, value: Any, field: EntryField | None) -> Measurement:
    unit = None if field is None else field.unit
    if value is None:
        return Measurement(name=name, unit=unit, problem="not entered")
    if field is not None and field.kind == "number" and isinstance(value, str):
        number, its_unit = parse_quantity(value) or (None, None)
        return Measurement(name=name, value=number, unit=its_unit or unit, original=value)
    return Measurement(name=name, value=value, unit=unit)


def _wrong(field: EntryField, value: Any) -> Iterator[tuple[str, str]]:
    """Where beneath it, and what."""
    if field.kind == "rows":
        yield from _wrong_rows(field, value)
    elif field.kind == "number":
        number = parse_quantity(value) if isinstance(value, str) else (value, None)
        if number is None or isinstance(number[0], bool) or not isinstance(number[0], int | float):
            yield "", "a number is needed, or a text of a number with its unit"
        elif number[1] in (None, field.unit):
            if field.lower is not None and number[0] < field.lower:
                yield "", f"{number[0]:g} is below {field.lower:g}: not plausible"
            if field.upper is not None and number[0] > field.upper:
                yield "", f"{number[0]:g} is above {field.upper:g}: not plausible"
    elif field.kind == "check":
        if not isinstance(value, bool | str):
            yield "", "true, false or a word is needed"
    elif not isinstance(value, str):
        yield "", "a text is needed"
    elif field.one_of is not None and value not in field.one_of:
        yield "", f"one of {', '.join(field.one_of)} is needed"
    elif field.pattern is not None and not compiled(field.pattern).fullmatch(value):
        yield "", f"the form {field.pattern} is needed"


def _wrong_rows(field: EntryField, rows: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        yield "", "a list of rows is needed, each an object"
        return
    if len(rows) > MOST_ROWS:
        yield "", f"more than {MOST_ROWS} rows"
        return
    columns = field.columns or {}
    for place, row in enumerate(rows):
        for name, value in row.items():
            column = columns.get(name)
            if column is None:
                yield f".{place}.{name}", f"there is no such column; there are {', '.join(columns)}"
            elif value is not None:
                yield from ((f".{place}.{name}{where}", what) for where, what in _wrong(column, value))
