"""Limits are refused where nothing sensible can come of them, and print as a person writes them."""

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.criteria import CriteriaSet, Criterion, MachineVerdict, Outcome, Table, Verdict, Warn, judge
from contracts.measurement import Measurement, Value

IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "no rule": {},
    "a unit and no rule": {"unit": "mm"},
    "two rules": {"equals": 1, "lower": 0},
    "a nominal without tolerance": {"nominal": 60},
    "a tolerance without nominal": {"tolerance": 1},
    "a negative tolerance": {"nominal": 60, "tolerance": -0.1},
    "nothing between lower and upper": {"lower": 1.0000001, "upper": 1},
    "no number": {"nominal": math.nan, "tolerance": 1},
    "an infinite limit": {"lower": math.inf},
    "a boolean as a number": {"lower": True},
    "a number as text": {"lower": "1"},
    "a broken pattern": {"pattern": "(["},
    "nothing allowed": {"one_of": ()},
    "a table of no rows": {"each": {"column": "m", "target": "t", "tolerance": 1, "at_least": 0}},
    "a table's negative tolerance": {"each": {"column": "m", "target": "t", "tolerance": -1}},
    "an open end on the other limit": {"above": 1, "upper": 1},
    "nothing between above and below": {"above": 1, "below": 1},
    "two lower ends": {"lower": 0, "above": 0},
    "two upper ends": {"upper": 0, "below": 0},
    "a negative percentage": {"nominal": 60, "tolerance": "-5%"},
    "a percentage without its sign": {"nominal": 60, "tolerance": "5"},
    "a percentage of nothing": {"nominal": 0, "tolerance": "5%"},
    "decimals no value can have": {"equals": 1.25, "decimals": 1},
    "decimals of a text": {"equals": "1.25", "decimals": 1},
    "decimals of limits": {"lower": 1, "decimals": 1},
    "presence denied": {"present": False},
    "a warning beyond the limits": {"nominal": 60, "tolerance": 1, "warn": {"tolerance": 1.1}},
    "a warning at the limits": {"nominal": 60, "tolerance": 1, "warn": {"lower": 59, "upper": 61}},
    "a warning on an open limit": {"above": 0, "warn": {"lower": 0}},
    "a warning that always warns": {"lower": 0, "upper": 10, "warn": {"lower": 11}},
    "a warning of nothing": {"nominal": 60, "tolerance": 1, "warn": {}},
    "a tolerance that warns without nominal": {"lower": 0, "warn": {"tolerance": 1}},
    "a warning of a text": {"equals": "A", "warn": {"lower": 1}},
    "a formula without a rule": {"formula": "a / b"},
    "a formula that is a text": {"formula": "a / b", "pattern": "x"},
    "a formula of equal texts": {"formula": "a / b", "equals": "x"},
    "a formula of nothing measured": {"formula": "1 + 2", "lower": 1},
    "a formula that calls": {"formula": "open(a)", "lower": 1},
    "a formula with a power": {"formula": "a ** b", "lower": 1},
    "a formula left open": {"formula": "(a - b", "lower": 1},
    "a formula that compares": {"formula": "a > b", "lower": 1},
    "a comparison of nothing": {"holds": "a - b"},
    "a comparison and a limit": {"holds": "a > b", "lower": 1},
    "a chain of comparisons": {"holds": "a > b > c"},
    "a formula without end": {"formula": "+".join(["a"] * 21), "lower": 1},
    "an unknown unit in a formula": {"formula": "a + 1 furlong", "lower": 1},
    "a temperature with a zero of its own in a formula": {"formula": "a + 1 degC", "lower": 1},
    "a table of two rules": {"each": {"column": "m", "target": 1, "tolerance": 1, "lower": 0}},
    "a table without a rule": {"each": {"column": "m"}},
    "a column for a list": {"each": {"target": "t", "tolerance": 1}},
    "a table's lower above upper": {"each": {"column": "m", "lower": 2, "upper": 1}},
    "more passing than there have to be": {"each": {"column": "m", "lower": 2, "passing": 3, "at_least": 2}},
    "an unknown key": {"equals": 1, "maximum": 3},
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_limit_that_cannot_be_meant_is_refused_when_it_is_made(name: str) -> None:
    with pytest.raises(ValidationError):
        Criterion(**IMPOSSIBLE[name])


def test_a_measurement_compared_with_itself_is_refused() -> None:
    """Every value is the same as itself: it would always pass."""
    with pytest.raises(ValidationError, match="itself"):
        CriteriaSet(process="P01", revision="1", criteria={"code": Criterion(same_as="code")})


@pytest.mark.parametrize(
    ("criterion", "text"),
    [
        (Criterion(nominal=60, tolerance=1, unit="degC"), "60 +/- 1 degC"),
        (Criterion(lower=0.8, upper=1.2, unit="Nm"), "0.8..1.2 Nm"),
        (Criterion(lower=0.8), "0.8.."),
        (Criterion(upper=0), "..0"),
        (Criterion(above=0.8, below=1.2, unit="Nm"), "above 0.8, below 1.2 Nm"),
        (Criterion(above=0, upper=10), "above 0, at most 10"),
        (Criterion(nominal=60, tolerance="5%", unit="degC"), "60 +/- 5% degC"),
        (Criterion(equals=1.25, decimals=2, unit="mm"), "= 1.25 to 2 decimals mm"),
        (Criterion(present=True), "present"),
        (Criterion(formula="a / b", upper=2), "a / b ..2"),
        (Criterion(holds="outer > inner"), "outer > inner"),
        (Criterion(each=Table(lower=1, upper=2, at_least=3, passing=2)), "each value 1..2, at least 3, 2 passing"),
        (Criterion(equals=True), "= True"),
        (Criterion(one_of=("A", "B")), "one of A, B"),
        (Criterion(pattern=r"v\d"), r"matches v\d"),
        (Criterion(same_as="printer.code"), "same as printer.code"),
        (
            Criterion(each=Table(column="force", target="target", tolerance="tol", at_least=3), unit="kgf"),
            "each force = target +/- tol kgf, at least 3",
        ),
    ],
)
def test_a_limit_prints_as_a_person_writes_it(criterion: Criterion, text: str) -> None:
    assert str(criterion) == text


def verdict_of(value: Value, criterion: Criterion) -> tuple[Verdict, str | None]:
    measured = Measurement(name="m", value=value, unit=criterion.unit if criterion.each is None else None)
    [verdict] = judge([measured], CriteriaSet(process="P01", revision="1", criteria={"m": criterion})).verdicts
    return verdict.verdict, verdict.reason


TEMPERATURE = Criterion(nominal=60, tolerance=1, unit="degC")
WARNED = Criterion(nominal=60, tolerance=1, warn=Warn(tolerance=0.5), unit="degC")
FIT = "units do not fit: [length] and a plain number cannot be added or compared"
FORCE = Criterion(each=Table(column="force", target="target", tolerance=2, at_least=2))


@pytest.mark.parametrize(
    ("value", "criterion", "verdict", "reason"),
    [
        (59.0, TEMPERATURE, Verdict.PASS, None),
        (61, TEMPERATURE, Verdict.PASS, None),
        (58.99999999999999, TEMPERATURE, Verdict.FAIL, "58.99999999999999 is not in 60 +/- 1 degC"),
        (61.00000000000001, TEMPERATURE, Verdict.FAIL, "61.00000000000001 is not in 60 +/- 1 degC"),
        ("60", TEMPERATURE, Verdict.ERROR, "a text, a number is needed"),
        (True, Criterion(nominal=1, tolerance=0), Verdict.ERROR, "a boolean, a number is needed"),
        (1, Criterion(equals=True), Verdict.ERROR, "a number, a boolean is needed"),
        (False, Criterion(equals=True), Verdict.FAIL, "False is not = True"),
        (1.0, Criterion(equals=1), Verdict.PASS, None),
        ("C", Criterion(one_of=("A", "B")), Verdict.FAIL, "C is not one of A, B"),
        ("v1.2.3\n", Criterion(pattern=r"v\d+\.\d+\.\d+"), Verdict.FAIL, r"'v1.2.3\n' is not: matches v\d+\.\d+\.\d+"),
        (7, Criterion(pattern="7"), Verdict.ERROR, "a number, a text is needed"),
        ([60.0], TEMPERATURE, Verdict.ERROR, "a list, a number is needed"),
        (60.5, WARNED, Verdict.PASS, None),
        (60.51, WARNED, Verdict.WARN, "60.51 is outside +/- 0.5"),
        (61.01, WARNED, Verdict.FAIL, "61.01 is not in 60 +/- 1 degC"),
        (0, Criterion(above=0), Verdict.FAIL, "0 is not in above 0"),
        (1.245, Criterion(equals=1.25, decimals=2), Verdict.PASS, None),
        (1.2449, Criterion(equals=1.25, decimals=2), Verdict.FAIL, "1.2449 is not = 1.25 to 2 decimals"),
        (" ", Criterion(present=True), Verdict.FAIL, "empty"),
        ([1, 5, 2], Criterion(each=Table(lower=1, upper=2, at_least=3, passing=2)), Verdict.PASS, None),
        (
            [1, 5, 6],
            Criterion(each=Table(lower=1, upper=2, at_least=3, passing=2)),
            Verdict.FAIL,
            "test point 2: 5 is not 1..2; test point 3: 6 is not 1..2",
        ),
        ([{"force": 12.0, "target": 10}] * 2, FORCE, Verdict.PASS, None),
        (
            [{"force": 10, "target": 10}, {"force": 12.1, "target": 10}],
            FORCE,
            Verdict.FAIL,
            "test point 2: 12.1 is not 10 +/- 2",
        ),
        ([{"force": 10, "target": 10}], FORCE, Verdict.ERROR, "1 test points, at least 2 are needed"),
        (
            [{"force": 99, "target": 10}, {"force": None, "target": 10}],
            FORCE,
            Verdict.ERROR,
            "test point 2: force, target or tolerance is not a number",
        ),
    ],
)
def test_a_verdict_says_why(value: Value, criterion: Criterion, verdict: Verdict, reason: str | None) -> None:
    assert verdict_of(value, criterion) == (verdict, reason)


@pytest.mark.parametrize(
    ("value", "unit", "verdict", "reason"),
    [
        (0.061, "m", Verdict.PASS, None),
        (0.0610001, "m", Verdict.FAIL, "0.0610001 m: 61.0001 is not in 60 +/- 1 mm"),
        (1, "in", Verdict.FAIL, "1 in: 25.4 is not in 60 +/- 1 mm"),
        (60, "s", Verdict.ERROR, "unit s, limits are in mm"),
        (60, None, Verdict.ERROR, "unit none, limits are in mm"),
        (60, "furlong", Verdict.ERROR, "unit furlong, limits are in mm"),
    ],
)
def test_a_value_in_another_unit_is_converted_or_refused(
    value: float, unit: str | None, verdict: Verdict, reason: str | None
) -> None:
    length = Criterion(nominal=60, tolerance=1, unit="mm")
    measured = [Measurement(name="m", value=value, unit=unit)]
    [found] = judge(measured, CriteriaSet(process="P01", revision="1", criteria={"m": length})).verdicts
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("criterion", "verdict", "reason"),
    [
        (Criterion(formula="outer - inner", upper=500, unit="um"), Verdict.PASS, None),
        (
            Criterion(formula="outer - inner", below=500, unit="um"),
            Verdict.FAIL,
            "500 is not in outer - inner below 500 um",
        ),
        (Criterion(formula="outer / nothing", lower=0, unit="mm"), Verdict.ERROR, "division by zero"),
        (Criterion(formula="outer + nothing", lower=0, unit="mm"), Verdict.ERROR, FIT),
        (Criterion(holds="outer >= inner + 0.5 mm"), Verdict.PASS, None),
        (Criterion(holds="outer > inner + 0.5 mm"), Verdict.FAIL, "not true: outer > inner + 0.5 mm"),
        (Criterion(holds="outer > missing"), Verdict.ERROR, "missing: not measured"),
        (Criterion(holds="outer > twice"), Verdict.ERROR, "twice: measured twice in one record"),
        (Criterion(holds="nothing > text"), Verdict.ERROR, "text is not a finite number"),
        (Criterion(formula="hot - cold", lower=10, upper=10, unit="degC"), Verdict.PASS, None),
        (Criterion(formula="hot - cold", lower=18, upper=18, unit="degF"), Verdict.PASS, None),
        (Criterion(holds="hot - cold == 10 K"), Verdict.PASS, None),
        (
            Criterion(formula="hot / cold", lower=0),
            Verdict.ERROR,
            "hot in degC has a zero of its own: give the criterion a unit of temperature",
        ),
    ],
    ids=str,
)
def test_a_rule_across_measurements(criterion: Criterion, verdict: Verdict, reason: str | None) -> None:
    measured = [
        Measurement(name="outer", value=1.25, unit="cm"),
        Measurement(name="inner", value=12, unit="mm"),
        Measurement(name="nothing", value=0.0),
        Measurement(name="text", value="12"),
        Measurement(name="hot", value=60.0, unit="degC"),
        Measurement(name="cold", value=122.0, unit="degF"),
        Measurement(name="twice", value=1),
        Measurement(name="twice", value=1),
    ]
    judgement = judge(measured, CriteriaSet(process="P01", revision="1", criteria={"rule": criterion}))
    [found] = [found for found in judgement.verdicts if found.name == "rule"]
    assert (found.verdict, found.reason) == (verdict, reason)


@pytest.mark.parametrize(
    ("value", "unit", "criterion"),
    [
        (1e306, "m", Criterion(upper=1, unit="mm")),
        (-1e306, "m", Criterion(lower=1, unit="mm")),
        (10**400, "m", Criterion(nominal=1, tolerance=1, unit="in")),
        (1e308, None, Criterion(formula="x / 1e-99", upper=1)),
    ],
)
def test_a_number_beyond_every_float_is_outside_limits(value: Value, unit: str | None, criterion: Criterion) -> None:
    rules = CriteriaSet(process="P03_SENSOR_INSPECTION", revision="1", criteria={"x": criterion})
    assert judge([Measurement(name="x", value=value, unit=unit)], rules).outcome is Outcome.FAIL


@pytest.mark.parametrize("value", [60.0, 60.6, 61.5])
def test_a_warning_passes(value: float) -> None:
    rules = CriteriaSet(process="P01", revision="1", criteria={"m": WARNED})
    outcome = judge([Measurement(name="m", value=value, unit="degC")], rules).outcome
    assert outcome is (Outcome.PASS if value < 61 else Outcome.FAIL)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_measurement_holds_finite_numbers_alone(number: str) -> None:
    with pytest.raises(ValidationError):
        Measurement(name="m", value=float(number))
    with pytest.raises(ValidationError):
        Measurement.model_validate_json(f'{{"name": "m", "value": {number}}}')


def test_the_machines_fail_counts_and_its_pass_does_not() -> None:
    """The worse verdict is the outcome; the difference is flagged."""
    rules = CriteriaSet(process="P01", revision="1", criteria={"m": Criterion(equals=1)})
    good, bad = [Measurement(name="m", value=1)], [Measurement(name="m", value=2)]
    assert judge(good, rules, MachineVerdict.FAIL).outcome is Outcome.FAIL
    assert judge(good, rules, MachineVerdict.FAIL).disagreement
    assert judge(bad, rules, MachineVerdict.PASS).outcome is Outcome.FAIL
    assert judge([], rules, MachineVerdict.PASS).outcome is Outcome.ERROR
    assert not judge([], rules, MachineVerdict.PASS).disagreement


def test_a_revision_reads_back_with_every_type_it_had() -> None:
    """1, 1.0, true and "1" are four different limits."""
    rules = {f"m{i}": Criterion(equals=value) for i, value in enumerate((1, 1.0, True, "1"))}
    kept = CriteriaSet(process="P01", revision="1", criteria=rules).model_dump_json()
    back = CriteriaSet.model_validate_json(kept)
    assert [type(rule.equals) for rule in back.criteria.values()] == [int, float, bool, str]
    assert json.loads(kept) == json.loads(back.model_dump_json())
