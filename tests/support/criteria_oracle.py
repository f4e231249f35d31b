"""What judge() has to say, by other means: fractions instead of decimals, a table of units instead of a library.

Written from the rules as people read them; it shares nothing with the code but the models.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from contracts.criteria import Criterion, Table, Verdict
from contracts.measurement import Measurement, Quality

UNITS: Mapping[str | None, tuple[str, Fraction, Fraction]] = {
    None: ("", Fraction(1), Fraction(0)),
    "mm": ("length", Fraction(1), Fraction(0)),
    "m": ("length", Fraction(1000), Fraction(0)),
    "in": ("length", Fraction("25.4"), Fraction(0)),
    "N": ("force", Fraction(1), Fraction(0)),
    "kgf": ("force", Fraction("9.80665"), Fraction(0)),
    "K": ("temperature", Fraction(1), Fraction(0)),
    "degC": ("temperature", Fraction(1), Fraction("273.15")),
    "degF": ("temperature", Fraction(5, 9), Fraction("459.67") * Fraction(5, 9)),
    "s": ("time", Fraction(1), Fraction(0)),
}
"""Unit -> what it measures, its size, and where its zero lies."""


def exact(value: object) -> Fraction | None:
    """The number a person reads: the shortest text of a float, as a fraction; None for what is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and repr(value) in ("nan", "inf", "-inf"):
        return None
    return Fraction(value) if isinstance(value, int) else Fraction(repr(value))


def converted(number: Fraction, unit: str | None, wanted: str | None) -> Fraction | None:
    """The number in another unit; None where that is impossible. No unit converts to itself alone."""
    if unit == wanted:
        return number
    if None in (unit, wanted) or unit not in UNITS or wanted not in UNITS or UNITS[unit][0] != UNITS[wanted][0]:
        return None
    _, size, zero = UNITS[unit]
    _, wanted_size, wanted_zero = UNITS[wanted]
    return (number * size + zero - wanted_zero) / wanted_size


def verdict(measured: Sequence[Measurement], name: str, criterion: Criterion) -> Verdict:
    """The verdict of one criterion over the measurements of a record."""
    if criterion.formula is not None or criterion.holds is not None:
        return _across(measured, criterion)
    found = usable(measured, name)
    if found is None:
        return Verdict.ERROR
    return _word(_passes(measured, found, criterion))


def _word(found: bool | str | None) -> Verdict:
    if found is None:
        return Verdict.ERROR
    if found == "warn":
        return Verdict.WARN
    return Verdict.PASS if found else Verdict.FAIL


def usable(measured: Sequence[Measurement], name: str) -> Measurement | None:
    """The one measurement of this name that may be judged."""
    same_name = [m for m in measured if m.name == name]
    if len(same_name) != 1 or same_name[0].value is None or same_name[0].problem is not None:
        return None
    return same_name[0] if same_name[0].quality is Quality.GOOD else None


def _passes(measured: Sequence[Measurement], found: Measurement, criterion: Criterion) -> bool | str | None:
    value, unit = found.value, criterion.unit
    if criterion.each is not None:
        return each_row(value, criterion.each)
    if criterion.present is not None:
        if unit is not None and converted(Fraction(0), found.unit, unit) is None:
            return None
        if isinstance(value, float) and exact(value) is None:
            return None
        return not (value == [] or (isinstance(value, str) and value.strip() == ""))
    if criterion.pattern is not None:
        if found.unit != unit:
            return None
        return bool(re.fullmatch(criterion.pattern, value)) if isinstance(value, str) else None
    if converted(Fraction(0), found.unit, unit) is None:
        return None
    if criterion.same_as is not None:
        other = usable(measured, criterion.same_as)
        if other is None or isinstance(other.value, list) or converted(Fraction(0), found.unit, other.unit) is None:
            return None
        return among(value, [other.value], found.unit, other.unit)
    if not isinstance(value, bool | str) and exact(value) is not None:
        number = converted(exact(value) or Fraction(0), found.unit, unit)
        assert number is not None
        return number_passes(number, criterion)
    if criterion.equals is None and criterion.one_of is None:
        return None
    allowed = [criterion.equals] if criterion.equals is not None else list(criterion.one_of or ())
    return among(value, allowed, found.unit, unit)


def number_passes(number: Fraction, criterion: Criterion) -> bool | str | None:
    """A number in the criterion's unit against it; "warn" where it passes with a flag."""
    if criterion.nominal is not None:
        nominal = exact(criterion.nominal) or Fraction(0)
        if abs(number - nominal) > tolerance_of(criterion.tolerance, nominal):
            return False
        if criterion.warn is not None and criterion.warn.tolerance is not None:
            return "warn" if abs(number - nominal) > tolerance_of(criterion.warn.tolerance, nominal) else True
        return "warn" if criterion.warn is not None and not between(number, criterion.warn) else True
    if criterion.equals is not None or criterion.one_of is not None:
        wanted = [criterion.equals] if criterion.equals is not None else list(criterion.one_of or ())
        numbers = [exact(one) for one in wanted if exact(one) is not None]
        if not numbers:
            return None
        if criterion.decimals is not None:
            step = Fraction(1, 10**criterion.decimals)
            low, high = [(numbers[0] or Fraction(0)) + side * step / 2 for side in (-1, 1)]
            # A half is rounded away from zero.
            return (low <= number if low > 0 else low < number) and (number <= high if high < 0 else number < high)
        return number in numbers
    if not between(number, criterion):
        return False
    return "warn" if criterion.warn is not None and not between(number, criterion.warn) else True


def tolerance_of(given: object, nominal: Fraction) -> Fraction:
    """A tolerance in the unit of its nominal."""
    if isinstance(given, str):
        return abs(nominal) * Fraction(given.rstrip("%")) / 100
    return exact(given) or Fraction(0)


def between(number: Fraction, limits: object) -> bool:
    """Whether a number keeps all four of the limits that are given."""
    ends = {end: exact(getattr(limits, end)) for end in ("lower", "upper", "above", "below")}
    return not (
        (ends["lower"] is not None and number < ends["lower"])
        or (ends["upper"] is not None and number > ends["upper"])
        or (ends["above"] is not None and number <= ends["above"])
        or (ends["below"] is not None and number >= ends["below"])
    )


def among(value: object, allowed: Sequence[object], unit: str | None, wanted: str | None) -> bool | None:
    """Whether the value is one of these: numbers among numbers, texts among texts, booleans among booleans."""
    if isinstance(value, bool | str):
        if unit != wanted:
            return None
        alike = [other for other in allowed if type(other) is type(value)]
        return value in alike if alike else None
    number = exact(value)
    numbers = [exact(other) for other in allowed if exact(other) is not None]
    return None if number is None or not numbers else converted(number, unit, wanted) in numbers


def each_row(value: object, rule: Table) -> bool | None:
    """Whether enough rows pass; None where one row cannot be judged, or there are too few."""
    if not isinstance(value, list) or len(value) < rule.at_least:
        return None
    verdicts: list[bool] = []
    for row in value:
        if isinstance(row, dict) == (rule.column is None):
            return None
        cell = row.get(rule.column) if isinstance(row, dict) else row
        passed = _row_passes(cell, row if isinstance(row, dict) else {}, rule)
        if passed is None:
            return None
        verdicts.append(passed)
    return sum(verdicts) >= (rule.passing or len(verdicts))


def _row_passes(cell: object, row: Mapping[str, object], rule: Table) -> bool | None:
    if rule.equals is not None:
        return among(cell, [rule.equals], None, None)

    def given(number: object) -> Fraction | None:
        return exact(row.get(number)) if isinstance(number, str) else exact(number)

    number = exact(cell)
    if rule.target is not None:
        target = given(rule.target)
        if number is None or target is None:
            return None
        percent = isinstance(rule.tolerance, str) and rule.tolerance.endswith("%")
        tolerance = tolerance_of(rule.tolerance, target) if percent else given(rule.tolerance)
        return None if tolerance is None or tolerance < 0 else abs(number - target) <= tolerance
    lower, upper = given(rule.lower), given(rule.upper)
    if number is None or (rule.lower is not None and lower is None) or (rule.upper is not None and upper is None):
        return None
    if lower is not None and upper is not None and lower > upper:
        return None
    return not ((lower is not None and number < lower) or (upper is not None and number > upper))


def _across(measured: Sequence[Measurement], criterion: Criterion) -> Verdict:
    """A formula, by Python's own grammar: names without a dot, no numbers with a unit."""
    text = criterion.formula or criterion.holds or ""
    tree = ast.parse(text, mode="eval").body
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - {"abs", "min", "max"}
    values: dict[str, tuple[Fraction, Mapping[str, int]]] = {}
    for name in names:
        found = usable(measured, name)
        number = None if found is None else exact(found.value)
        if found is None or number is None or found.unit not in UNITS or abs(number) >= 10**400:
            return Verdict.ERROR
        kind, size, zero = UNITS[found.unit]
        wanted_kind, _, wanted_zero = UNITS[criterion.unit]
        if criterion.formula is None:
            values[name] = (number * size + zero, {kind: 1} if kind else {})
        elif kind == wanted_kind:
            values[name] = (number * size + zero - wanted_zero, {kind: 1} if kind else {})
        elif zero:
            return Verdict.ERROR
        else:
            values[name] = (number * size, {kind: 1} if kind else {})
    try:
        if isinstance(tree, ast.Compare):
            left, right = _value(tree.left, values), _value(tree.comparators[0], values)
            if left[1] != right[1]:
                return Verdict.ERROR
            compare = {
                ast.Lt: left[0] < right[0],
                ast.LtE: left[0] <= right[0],
                ast.Gt: left[0] > right[0],
                ast.GtE: left[0] >= right[0],
                ast.Eq: left[0] == right[0],
                ast.NotEq: left[0] != right[0],
            }
            return Verdict.PASS if compare[type(tree.ops[0])] else Verdict.FAIL
        number, dimension = _value(tree, values)
    except (ZeroDivisionError, ValueError):
        return Verdict.ERROR
    kind, size, _ = UNITS[criterion.unit]
    if dimension != ({kind: 1} if kind else {}):
        return Verdict.ERROR
    return _word(number_passes(number / size, criterion))


_Value = tuple[Fraction, Mapping[str, int]]


def _value(node: ast.expr, values: Mapping[str, _Value]) -> _Value:
    """Raises ZeroDivisionError, and ValueError where dimensions do not fit."""
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, int | float)
        return exact(node.value) or Fraction(0), {}
    if isinstance(node, ast.UnaryOp):
        number, dimension = _value(node.operand, values)
        return -number, dimension
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        parts = [_value(part, values) for part in node.args]
        if any(dimension != parts[0][1] for _, dimension in parts):
            raise ValueError("dimensions")
        numbers = [number for number, _ in parts]
        return {"abs": lambda: abs(numbers[0]), "min": lambda: min(numbers), "max": lambda: max(numbers)}[
            node.func.id
        ](), parts[0][1]
    assert isinstance(node, ast.BinOp)
    (left, left_dimension), (right, right_dimension) = _value(node.left, values), _value(node.right, values)
    if isinstance(node.op, ast.Add | ast.Sub):
        if left_dimension != right_dimension:
            raise ValueError("dimensions")
        return (left + right if isinstance(node.op, ast.Add) else left - right), left_dimension
    sign = 1 if isinstance(node.op, ast.Mult) else -1
    dimension = {
        k: left_dimension.get(k, 0) + sign * right_dimension.get(k, 0) for k in left_dimension | right_dimension
    }
    if sign < 0 and right == 0:
        raise ZeroDivisionError
    return (left * right if sign > 0 else left / right), {k: power for k, power in dimension.items() if power}
