"""Tables and lists of a machine. A cell may arrive as text, with or without a unit: ``"0.05mm"`` is a number there."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, cast

from agent.settings.machine import MachineSettings
from contracts.criteria import Criterion
from contracts.criteria.numbers import decimal
from contracts.criteria.units import UnitError, conversion
from contracts.measurement import Measurement, Quality, Row, Scalar
from contracts.quantity import parse_quantity
from drivers.base import PointValue

_LONGEST_NUMBER = 100


def table_of(
    name: str,
    columns: Mapping[str, str],
    machine: MachineSettings,
    values: Mapping[str, PointValue],
    criterion: Criterion | None,
    stamps: Mapping[str, Any],
) -> Measurement:
    """Array points side by side: one row per place. Arrays of different length are no table."""
    arrays: dict[str, list[Scalar]] = {}
    quality = Quality.GOOD
    for column, point in columns.items():
        found = values.get(point)
        if found is None or found.problem is not None or not isinstance(found.value, list):
            why = found.problem if found is not None and found.problem else "no list"
            return Measurement(name=name, problem=f"column {column}: {why}", **stamps)
        if found.quality is not Quality.GOOD:
            quality = found.quality
        arrays[column] = list(found.value)
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{column} {len(array)}" for column, array in arrays.items())
        return Measurement(name=name, problem=f"columns of different length: {told}", **stamps)
    read: dict[str, list[Scalar]] = {}
    for column, cells in arrays.items():
        are_numbers, unit = _unit_of_cells(machine.unit_of(columns[column]), criterion, column)
        read[column] = _as_numbers(cells, unit) if are_numbers else cells
    rows = [cast(Row, dict(zip(read, row, strict=True))) for row in zip(*read.values(), strict=True)]
    return Measurement(name=name, value=rows, original=_told_as(arrays, read), quality=quality, **stamps)


def list_of(values: Sequence[Scalar], unit: str | None, criterion: Criterion | None) -> list[Scalar]:
    """A plain list, its texts read as numbers where they have to be numbers."""
    are_numbers, wanted = _unit_of_cells(unit, criterion, None)
    return _as_numbers(values, wanted) if are_numbers else list(values)


def _unit_of_cells(own: str | None, criterion: Criterion | None, column: str | None) -> tuple[bool, str | None]:
    """Whether a column's cells (``column`` None: a list's values) have to be numbers, and in which unit.

    They have to where the point has a unit, and where the rule compares them as numbers.
    """
    rule = None if criterion is None else criterion.each
    if rule is None or criterion is None:
        return own is not None, own
    compared = column == rule.column and (rule.equals is None or _is_number(rule.equals))
    wanted = compared or (column is not None and column in (rule.target, rule.tolerance, rule.lower, rule.upper))
    return own is not None or wanted, own or (criterion.unit if wanted else None)


def _as_numbers(cells: Sequence[Scalar], unit: str | None) -> list[Scalar]:
    """The cells, each text a number that is one in this unit, exactly. Any other text stays as it is: judged, it is an
    ERROR."""
    return [_number(cell, unit) if isinstance(cell, str) else cell for cell in cells]


def _told_as(arrived: Mapping[str, Sequence[Scalar]], read: Mapping[str, Sequence[Scalar]]) -> str | None:
    """What arrived where it was something else, column by column; None: nothing was."""
    changed = [column for column in arrived if list(arrived[column]) != list(read[column])]
    return "; ".join(f"{column}: {', '.join(map(str, arrived[column]))}" for column in changed) or None


def _number(text: str, unit: str | None) -> Scalar:
    quantity = parse_quantity(text) if len(text) <= _LONGEST_NUMBER else None
    if quantity is None:
        return text
    number, own = quantity
    if own in (None, unit):
        return number
    if own is None or unit is None:
        return text
    try:
        factor, summand = conversion(own, unit)
        exact = Fraction(decimal(number)) * factor + summand
        found = int(exact) if exact.denominator == 1 else float(exact)
    except (UnitError, OverflowError):
        return text
    return found if Fraction(decimal(found)) == exact else text


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
