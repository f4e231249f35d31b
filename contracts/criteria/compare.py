"""One measurement against one criterion. What can be prepared is prepared once for a revision, not for each record."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from contracts.criteria.formula import FormulaError, formula
from contracts.criteria.numbers import EXACT, Exact, Span, around, decimal, finite, rounded, width
from contracts.criteria.rules import Criterion, Table, is_percent
from contracts.criteria.units import UnitError, conversion, fits
from contracts.criteria.verdicts import Verdict
from contracts.measurement import Measurement, Quality, Row, Scalar, Value
from contracts.patterns import compiled

Found = tuple[Verdict, str | None]
Measured = Mapping[str, Measurement]
"""The measurements of a record that were made once, by name."""
Check = Callable[[Measurement, Measured], Found]
"""Judges a measurement that has a value of good quality."""
Comparison = Callable[[Exact], Found]
"""Judges a number that is in the criterion's unit."""

PASSED: Found = (Verdict.PASS, None)


def unusable(measurement: Measurement | None) -> str | None:
    """Why a measurement cannot be judged; None where it can."""
    if measurement is None:
        return "not measured"
    if measurement.problem is not None:
        return measurement.problem
    if measurement.value is None:
        return "no value"
    return None if measurement.quality is Quality.GOOD else f"quality {measurement.quality}"


def check_of(criterion: Criterion) -> Check:
    """The comparison a criterion asks for. A criterion with a formula or a comparison across: ``across_of``."""
    if criterion.each is not None:
        return _rows(criterion.each)
    if criterion.pattern is not None:
        return _in_one_unit(criterion, _text(criterion.pattern, criterion))
    if criterion.present is not None:
        return _present(criterion.unit)
    if criterion.same_as is not None:
        return _same(criterion.same_as, criterion.unit)
    compared = _comparison(criterion)
    if criterion.span is not None:
        return _number(criterion, compared)
    wanted = criterion.one_of if criterion.one_of is not None else (criterion.equals,)
    return _among(criterion, [one for one in wanted if one is not None], compared)


def across_of(criterion: Criterion) -> Callable[[Measured], Found]:
    """The judgement of a criterion with ``formula`` or ``holds`` over the measurements of a record."""
    read = formula(criterion.formula or criterion.holds or "")
    compared = None if criterion.holds is not None else _comparison(criterion)

    def check(measured: Measured) -> Found:
        for name in read.names:
            why = unusable(measured.get(name))
            if why is not None:
                return Verdict.ERROR, f"{name}: {why}"
        try:
            if compared is None:
                return PASSED if read.holds(measured) else (Verdict.FAIL, f"not true: {read.text}")
            return compared(read.value(measured, criterion.unit))
        except (FormulaError, UnitError) as error:
            return Verdict.ERROR, str(error)

    return check


def _comparison(criterion: Criterion) -> Comparison:
    """For numbers: limits, or the numbers that are allowed. Decimals meet decimals, fractions meet fractions."""
    span = criterion.span
    if span is None:
        wanted = criterion.one_of if criterion.one_of is not None else (criterion.equals,)
        return _equal_number([number for one in wanted if (number := finite(one)) is not None], criterion)
    warned = criterion.warned
    exact, exact_warned = span.exact(), None if warned is None else warned.exact()

    def check(number: Exact) -> Found:
        is_decimal = isinstance(number, Decimal)
        if not (span if is_decimal else exact).holds(number):
            return Verdict.FAIL, f"{_plain(number)} is not in {criterion}"
        within = warned if is_decimal else exact_warned
        if within is not None and criterion.warn is not None and not within.holds(number):
            return Verdict.WARN, f"{_plain(number)} is outside {criterion.warn.told()}"
        return PASSED

    return check


def _equal_number(wanted: Sequence[Decimal], criterion: Criterion) -> Comparison:
    decimals = criterion.decimals
    exact = [Fraction(number) for number in wanted]

    def check(number: Exact) -> Found:
        if decimals is not None:
            same = rounded(number, decimals) in exact
        else:
            same = number in (wanted if isinstance(number, Decimal) else exact)
        return PASSED if same else (Verdict.FAIL, f"{_plain(number)} is not {criterion}")

    return check


def _in_one_unit(criterion: Criterion, check: Check) -> Check:
    """For values that are no numbers: their unit is the criterion's (mostly none)."""
    unit = criterion.unit

    def checked(measurement: Measurement, others: Measured) -> Found:
        if measurement.unit != unit:
            return Verdict.ERROR, _unit_problem(measurement.unit, unit)
        return check(measurement, others)

    return checked


def _number(criterion: Criterion, compared: Comparison) -> Check:
    unit = criterion.unit

    def check(measurement: Measurement, _others: Measured) -> Found:
        value = measurement.value
        number = finite(value)
        if measurement.unit != unit:
            return _converted(measurement, unit, number, value, compared)
        if number is None:
            return Verdict.ERROR, _needed(value, "a number")
        return compared(number)

    return check


def _converted(
    measurement: Measurement, unit: str | None, number: Decimal | None, value: Value | None, compared: Comparison
) -> Found:
    if measurement.unit is None or unit is None:
        return Verdict.ERROR, _unit_problem(measurement.unit, unit)
    try:
        factor, summand = conversion(measurement.unit, unit)
    except UnitError:
        return Verdict.ERROR, _unit_problem(measurement.unit, unit)
    if number is None:
        return Verdict.ERROR, _needed(value, "a number")
    verdict, reason = compared(Fraction(number) * factor + summand)
    return verdict, None if reason is None else f"{number} {measurement.unit}: {reason}"


def _among(criterion: Criterion, wanted: Sequence[Scalar], compared: Comparison) -> Check:
    """One of some values: numbers among numbers, texts among texts, booleans among booleans."""
    unit = criterion.unit
    kinds = {_kind(one) for one in wanted}
    first = _kind(wanted[0])
    by_number = _number(criterion, compared)

    def check(measurement: Measurement, others: Measured) -> Found:
        value = measurement.value
        kind = _kind(value)
        if kind == "a number" and kind in kinds:
            if measurement.unit == unit and finite(value) is None:
                return Verdict.ERROR, "not a finite number"
            return by_number(measurement, others)
        if measurement.unit != unit:
            return Verdict.ERROR, _unit_problem(measurement.unit, unit)
        if kind == "a list":
            return Verdict.ERROR, "a list, a single value is needed"
        if kind not in kinds:
            return Verdict.ERROR, _needed(value, first)
        same = any(_kind(one) == kind and one == value for one in wanted)
        return PASSED if same else (Verdict.FAIL, f"{value} is not {criterion}")

    return check


def _text(written: str, criterion: Criterion) -> Check:
    pattern = compiled(written)

    def check(measurement: Measurement, _others: Measured) -> Found:
        value = measurement.value
        if not isinstance(value, str):
            return Verdict.ERROR, _needed(value, "a text")
        return PASSED if pattern.fullmatch(value) else (Verdict.FAIL, f"{value!r} is not: {criterion}")

    return check


def _present(unit: str | None) -> Check:
    def check(measurement: Measurement, _others: Measured) -> Found:
        if unit is not None and not fits(measurement.unit, unit):
            return Verdict.ERROR, _unit_problem(measurement.unit, unit)
        value = measurement.value
        if isinstance(value, float) and finite(value) is None:
            return Verdict.ERROR, "not a finite number"
        empty = not value.strip() if isinstance(value, str) else value == []
        return (Verdict.FAIL, "empty") if empty else PASSED

    return check


def _same(name: str, unit: str | None) -> Check:
    def check(measurement: Measurement, others: Measured) -> Found:
        if not fits(measurement.unit, unit):
            return Verdict.ERROR, _unit_problem(measurement.unit, unit)
        other = others.get(name)
        if other is None or unusable(other) is not None or other.value is None:
            return Verdict.ERROR, f"nothing to compare with: {name} has no usable value"
        if isinstance(other.value, list):
            return Verdict.ERROR, f"{name} is a list"
        wanted = Criterion.model_construct(equals=other.value, unit=other.unit)
        if not fits(measurement.unit, other.unit):
            return Verdict.ERROR, f"{name} has unit {other.unit or 'none'}"
        return _among(wanted, [other.value], _equal_to(other.value, name))(measurement, others)

    return check


def _rows(rule: Table) -> Check:
    def check(measurement: Measurement, _others: Measured) -> Found:
        value = measurement.value
        rows = _table(value, rule)
        if rows is None:
            return Verdict.ERROR, _needed(value, "a table" if rule.column is not None else "a list of values")
        if len(rows) < rule.at_least:
            return Verdict.ERROR, f"{len(rows)} test points, at least {rule.at_least} are needed"
        failed: list[str] = []
        for place, row in enumerate(rows, start=1):
            error, failure = _row(row, rule)
            if error is not None:
                return Verdict.ERROR, f"test point {place}: {error}"
            if failure is not None:
                failed.append(f"test point {place}: {failure}")
        if len(rows) - len(failed) >= (len(rows) if rule.passing is None else rule.passing):
            return PASSED
        return Verdict.FAIL, "; ".join(failed)

    return check


def _table(value: Value | None, rule: Table) -> list[Row] | None:
    """The rows a rule is about. The values of a plain list become rows of one column."""
    if not isinstance(value, list):
        return None
    tabular = [isinstance(row, dict) for row in value]
    rows: list[Any] = list(value)
    if rule.column is not None:
        return rows if all(tabular) else None
    return None if any(tabular) else [{_VALUE: one} for one in rows]


_VALUE = ""
"""The column a plain list's values stand in. No column of a machine has this name."""


def _row(row: Row, rule: Table) -> tuple[str | None, str | None]:
    """What keeps a row from being judged, and what is wrong with it."""
    column = _VALUE if rule.column is None else rule.column
    told = rule.column or "the value"
    if rule.equals is not None:
        value = row.get(column)
        if _kind(value) != _kind(rule.equals):
            return f"{told} is {_kind(value)}, {_kind(rule.equals)} is needed", None
        number = finite(rule.equals)
        same = value == rule.equals if number is None else finite(value) == number
        return None, None if same else f"{value} is not {rule.equals}"
    measured = finite(row.get(column))
    if rule.target is not None and rule.tolerance is not None:
        target = _cell(row, rule.target)
        given = rule.tolerance
        percent = is_percent(given)
        tolerance = width(given, target or Decimal(0)) if percent else _cell(row, given)
        if measured is None or target is None or tolerance is None:
            return f"{told}, target or tolerance is not a number", None
        if tolerance < 0:
            return f"tolerance {tolerance} is below zero", None
        span, limits = around(target, tolerance), f"{target} +/- {given if percent else tolerance}"
    else:
        lower = None if rule.lower is None else _cell(row, rule.lower)
        upper = None if rule.upper is None else _cell(row, rule.upper)
        missing = (rule.lower is not None and lower is None) or (rule.upper is not None and upper is None)
        if measured is None or missing:
            return f"{told}, lower or upper is not a number", None
        span, limits = Span(lower, upper), f"{'' if lower is None else lower}..{'' if upper is None else upper}"
        if span.empty:
            return f"lower {lower} is above upper {upper}", None
    return None, None if span.holds(measured) else f"{measured} is not {limits}"


def _cell(row: Row, given: int | float | str) -> Decimal | None:
    """A number of the rule, or the one in the row's column of that name."""
    return finite(row.get(given)) if isinstance(given, str) else decimal(given)


def _equal_to(value: Scalar, name: str) -> Comparison:
    number = finite(value)
    exact = None if number is None else Fraction(number)

    def check(found: Exact) -> Found:
        same = found == (number if isinstance(found, Decimal) else exact)
        return PASSED if same else (Verdict.FAIL, f"{_plain(found)} is not same as {name}")

    return check


def _plain(number: Exact) -> str:
    """A number for people: a fraction as a decimal, cut where that has no end."""
    if isinstance(number, Decimal):
        return str(number)
    short = EXACT.divide(Decimal(number.numerator), Decimal(number.denominator))
    if len(short.as_tuple().digits) <= 20:
        return str(short)
    try:
        return f"{number.numerator / number.denominator:.12g}..."
    except OverflowError:  # more than any float is
        return f"{short:.12g}..."


def _unit_problem(measured: str | None, wanted: str | None) -> str:
    return f"unit {measured or 'none'}, limits are in {wanted or 'none'}"


def _needed(value: Value | None, kind: str) -> str:
    return f"{_kind(value)}, {kind} is needed"


def _kind(value: Value | None) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "nothing" if value is None else "a list"
