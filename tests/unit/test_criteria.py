"""Limits are refused where nothing sensible can come of them, and print as a person writes them."""

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.criteria import CriteriaSet, Criterion, MachineVerdict, Outcome, Table, Verdict, judge
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
