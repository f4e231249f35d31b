"""The table of limits: for every kind of rule the values just below, at and just above each limit, in every unit.

Some thousand cases in the suite; ``HYPOTHESIS_PROFILE=proof`` judges far more than 100,000 (``-s`` prints how many).
"""

import itertools
import math
import os
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.criteria import CriteriaSet, Criterion, Table, Verdict, Warn, judge
from contracts.measurement import Measurement, Quality
from tests.support import criteria_oracle
from tests.support.criteria_oracle import converted, exact

Number = int | float
BAD_VALUES: list[Any] = [math.nan, math.inf, -math.inf, True, False, "60", "", "nan", [], [60], [{"m": 60}], None]
UNITS_OF = {
    None: [None, "mm"],
    "mm": ["mm", "m", "in", "s", None],
    "degC": ["degC", "degF", "K", "mm", None],
    "kgf": ["kgf", "N", "mm"],
}
judged: Counter[str] = Counter()
"""Cases by kind of rule and verdict, of the property that runs."""
some = settings(max_examples=400 if os.environ.get("HYPOTHESIS_PROFILE") == "proof" else 30)
"""Each example is judged at every limit in every unit."""


def nearest(limit: Fraction) -> list[Number]:
    """The numbers a machine can send that lie closest to a limit: below it, on it where there is one, above it."""
    near: set[Number] = {math.floor(limit), math.ceil(limit), math.floor(limit) - 1, math.ceil(limit) + 1}
    try:
        nearby = float(limit)
    except OverflowError:
        return sorted(near)
    near |= {nearby, math.nextafter(nearby, math.inf), math.nextafter(nearby, -math.inf)}
    near |= {round(nearby, 3), round(nearby + 0.001, 3), round(nearby - 0.001, 3)}
    return [number for number in near if exact(number) is not None]


def check(kind: str, criterion: Criterion, measured: list[Measurement]) -> None:
    """Judge, and compare with the oracle."""
    rules = CriteriaSet(process="P01", revision="1", criteria={"a": criterion})
    [found] = [verdict for verdict in judge(measured, rules).verdicts if verdict.name == "a"]
    expected = criteria_oracle.verdict(measured, "a", criterion)
    assert found.verdict is expected, f"{criterion}: {measured}: {found.reason}"
    judged[f"{kind} {found.verdict}"] += 1


def made(value: Any, unit: str | None = None, name: str = "a", **more: Any) -> Measurement:
    """A measurement that may hold what validation would refuse."""
    fields = {"quality": Quality.GOOD, "problem": None} | more
    return Measurement.model_construct(name=name, value=value, unit=unit, **fields)


decimals = st.decimals(-200, 200, places=3).map(float)
limits = st.one_of(
    st.integers(-100, 100),
    decimals,
    st.sampled_from([0.1, 0.3, 60, 61.0, 1e-9, 1e15 + 0.5, 2**53, 1e300, -0.0, 10**30]),
)
widths = st.one_of(st.integers(0, 50), decimals.map(abs), st.sampled_from([0, 0.1, 0.2, 1e-9, 1e300]))
percentages = st.sampled_from(["0%", "0.1%", "1%", "5%", "33.3%", "100%"])
units = st.sampled_from(list(UNITS_OF))


@st.composite
def ranged(draw: st.DrawFn) -> tuple[str, dict[str, Any], list[Fraction]]:
    """Rules with limits: what kind, the rule, and where its limits lie."""
    kind = draw(st.sampled_from(["nominal", "percent", "closed", "open", "one-sided", "warn"]))
    if kind in ("nominal", "percent", "warn"):
        nominal = draw(limits if kind == "nominal" else limits.filter(bool))
        tolerance = draw(percentages if kind == "percent" else widths)
        middle = exact(nominal) or Fraction(0)
        width = criteria_oracle.tolerance_of(tolerance, middle)
        ends = [middle - width, middle + width]
        rule: dict[str, Any] = {"nominal": nominal, "tolerance": tolerance}
        if kind == "warn":
            share = draw(st.sampled_from(["1%", "5%", "50%"]))
            rule["tolerance"] = "60%"
            rule["warn"] = Warn(tolerance=share)
            shares = [criteria_oracle.tolerance_of(part, middle) for part in ("60%", share)]
            ends = [middle + side * part for part in shares for side in (-1, 1)]
        return kind, rule, ends
    low, high = sorted([draw(limits), draw(limits)], key=lambda number: exact(number) or 0)
    names = {"closed": ("lower", "upper"), "open": ("above", "below")}.get(kind) or draw(
        st.sampled_from([("lower", None), ("above", None), (None, "upper"), (None, "below")])
    )
    rule = {name: number for name, number in zip(names, (low, high), strict=True) if name is not None}
    if kind == "open" and exact(low) == exact(high):
        rule = {"lower": low, "upper": high}
    return kind, rule, [exact(number) or Fraction(0) for number in rule.values()]


@settings(max_examples=max(some.max_examples, 100))
@given(ranged(), units)
def limits_with_numbers_just_below_at_and_just_above(
    case: tuple[str, dict[str, Any], list[Fraction]], unit: str | None
) -> None:
    kind, rule, ends = case
    criterion = Criterion(**rule, unit=unit)
    for measured_unit in UNITS_OF[unit]:
        for end in ends:
            there = converted(end, unit, measured_unit)
            for value in nearest(end if there is None else there):
                check(kind, criterion, [made(value, measured_unit)])


@some
@given(st.integers(-(10**6), 10**6), st.integers(0, 4), units)
def equal_with_decimals(scaled: int, places: int, unit: str | None) -> None:
    step = Fraction(1, 10**places)
    wanted: Number = scaled if places == 0 else float(scaled * step)
    criterion = Criterion(equals=wanted, decimals=places, unit=unit)
    for measured_unit in UNITS_OF[unit]:
        for end in (scaled * step + side * step / 2 for side in (-1, 0, 1)):
            there = converted(end, unit, measured_unit)
            for value in nearest(end if there is None else there):
                check("decimals", criterion, [made(value, measured_unit)])


@some
@given(st.lists(limits, min_size=1, max_size=3), units)
def equal_and_one_of(wanted: list[Number], unit: str | None) -> None:
    for criterion in (Criterion(equals=wanted[0], unit=unit), Criterion(one_of=(*wanted, "A", True), unit=unit)):
        for measured_unit in UNITS_OF[unit]:
            for number in wanted:
                end = exact(number) or Fraction(0)
                there = converted(end, unit, measured_unit)
                for value in [*nearest(end if there is None else there), "A", True, False]:
                    check("equal", criterion, [made(value, measured_unit)])


@some
@given(limits, widths, st.sampled_from([None, "1%", "50%"]), st.integers(1, 3), st.booleans())
def tables_and_lists(target: Number, width: Number, percent: str | None, least: int, some: bool) -> None:
    middle = exact(target) or Fraction(0)
    tolerance = criteria_oracle.tolerance_of(percent or width, middle)
    if percent is not None and not middle:
        return
    passing = least if some else None
    rules = {
        "table": Table(column="m", target="t", tolerance=percent or "w", at_least=least, passing=passing),
        "rows": Table(column="m", lower="t", upper="u", at_least=least, passing=passing),
        "list": Table(target=target, tolerance=percent or width, at_least=least, passing=passing),
    }
    for kind, rule in rules.items():
        for end in (middle - tolerance, middle + tolerance):
            for value in nearest(end):
                row = {"m": value, "t": target, "w": width, "u": target}
                good = {"m": target, "t": target, "w": width, "u": target}
                for rows in ([row], [good, row], [good, good, row], [row, row, row], [row, {**good, "m": None}]):
                    listed = rows if rule.column is not None else [one["m"] for one in rows]
                    check(kind, Criterion(each=rule), [made(listed)])


FORMULAS = {
    "a1 - a2": "mm",
    "a1 + a2 + a3": "mm",
    "(a1 + a2) / 2": "mm",
    "a1 / a2": None,
    "a1 * a3 / a2": "mm",
    "abs(a1 - a2)": "mm",
    "max(a1, a2, a3) - min(a1, a2, a3)": "mm",
    "a1 - 2 * a2": "degC",
    "a2 - a1": "degC",
}


@some
@given(st.sampled_from(sorted(FORMULAS)), limits, limits, st.data())
def formulas_with_units(text: str, one: Number, two: Number, data: st.DataObject) -> None:
    unit = FORMULAS[text]
    measured_units = st.sampled_from(UNITS_OF[unit or "mm"][:3])
    rest = [
        made(number, data.draw(measured_units), name=name) for name, number in (("a2", two), ("a3", data.draw(limits)))
    ]
    for first in [*nearest(exact(one) or Fraction(0)), *BAD_VALUES]:
        measured = [made(first, data.draw(measured_units), name="a1"), *rest]
        for criterion in (
            Criterion(formula=text, nominal=one, tolerance=1, unit=unit),
            Criterion(formula=text, above=0, warn=Warn(lower=one), unit=unit) if one > 0 else None,
            Criterion(formula=text, equals=one, unit=unit),
        ):
            if criterion is not None:
                check("formula", criterion, measured)


@some
@given(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), limits, st.sampled_from(["mm", "degC"]), st.data())
def comparisons_of_two_fields(compare: str, limit: Number, unit: str, data: st.DataObject) -> None:
    criterion = Criterion(holds=f"a1 {compare} a2")
    there = converted(exact(limit) or Fraction(0), unit, other := data.draw(st.sampled_from(UNITS_OF[unit][:3])))
    for value in [*nearest(there or Fraction(0)), *BAD_VALUES]:
        check("compare", criterion, [made(limit, unit, name="a2"), made(value, other, name="a1")])


RULES: list[dict[str, Any]] = [
    {"nominal": 60, "tolerance": 1},
    {"nominal": 60, "tolerance": "5%", "warn": Warn(tolerance="1%")},
    {"lower": 0},
    {"upper": 100},
    {"above": 0, "below": 100},
    {"equals": 60},
    {"equals": 60, "decimals": 2},
    {"equals": True},
    {"equals": "60"},
    {"one_of": (60, "60", True)},
    {"one_of": ("A", "B")},
    {"pattern": r"\d+"},
    {"present": True},
    {"same_as": "b"},
    {"each": Table(column="m", lower=0)},
    {"each": Table(column="m", equals=60)},
    {"each": Table(lower=0, upper=100)},
    {"each": Table(equals=True)},
]


def what_cannot_be_judged_is_an_error_whatever_the_rule() -> None:
    other = made(60, "mm", name="b")
    for rule, unit in itertools.product(RULES, [None, "mm", "m", "degC", "nonsense"]):
        criterion, kind = Criterion(**rule, unit="mm"), next(iter(rule))
        for value in [60, 60.0, "A", [{"m": 60.0}], *BAD_VALUES]:
            for spoiled in ({"quality": Quality.BAD}, {"quality": Quality.UNCERTAIN}, {"problem": "half a number"}, {}):
                check(kind, criterion, [made(value, unit, **spoiled), other])
            check(kind, criterion, [made(value, unit), made(value, unit), other])
        check(kind, criterion, [other])


PROPERTIES: dict[str, tuple[Callable[[], None], list[str]]] = {
    "limits": (
        limits_with_numbers_just_below_at_and_just_above,
        ["nominal", "percent", "closed", "open", "one-sided", "warn"],
    ),
    "decimals": (equal_with_decimals, ["decimals"]),
    "equal": (equal_and_one_of, ["equal"]),
    "tables": (tables_and_lists, ["table", "rows", "list"]),
    "formulas": (formulas_with_units, ["formula"]),
    "comparisons": (comparisons_of_two_fields, ["compare"]),
    "bad values": (what_cannot_be_judged_is_an_error_whatever_the_rule, [next(iter(rule)) for rule in RULES]),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_verdict_is_the_oracles(name: str) -> None:
    """And every kind of rule was seen to pass and to be impossible to judge, and most to fail."""
    judge_all, kinds = PROPERTIES[name]
    judged.clear()
    judge_all()
    print(f"\n{name}: {sum(judged.values())} cases, wrong verdicts 0: {dict(sorted(judged.items()))}")
    for kind in kinds:
        assert judged[f"{kind} {Verdict.PASS}"]
        assert judged[f"{kind} {Verdict.ERROR}"]
        assert judged[f"{kind} {Verdict.FAIL}"] or name == "bad values"
    assert judged[f"warn {Verdict.WARN}"] or name != "limits"
