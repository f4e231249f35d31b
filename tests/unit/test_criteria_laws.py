"""Never PASS by accident (law 5), and a verdict can be repeated (law 6): judge() against an oracle of its own.

The oracle (tests/support/criteria_oracle.py) knows numbers as fractions, and units by a table of its own.
"""

import math
from collections.abc import Callable
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from contracts.criteria import (
    CriteriaSet,
    Criterion,
    Judgement,
    MachineVerdict,
    Outcome,
    Table,
    Verdict,
    Warn,
    judge,
)
from contracts.measurement import Measurement, Quality, Scalar, Value
from tests.support import criteria_oracle
from tests.support.criteria_oracle import exact

PROCESS = "P03_SENSOR_INSPECTION"
NAMES = ["a", "b", "c"]

# -- what may come ---------------------------------------------------------------------------------------------------

# Few enough that limits are met exactly and equal values happen, wild enough that arithmetic with rounding shows.
tame = st.sampled_from(
    [0, 1, 2, 59, 60, 61, -1, 0.1, 0.2, 0.3, 0.30000000000000004, 1.0, 59.0, 61.0, 61.000000000000007]
)
numbers = st.one_of(
    tame, st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**40), 10**40)
)
positive = st.one_of(tame.map(abs), st.floats(0, allow_infinity=False), st.integers(0, 10**40))
texts = st.sampled_from(["", "A", "B", "OK", "60", "1", "true", "v1.2.3", "a\n"])
scalars = st.one_of(numbers, st.booleans(), texts)
units = st.sampled_from([None, None, None, "degC", "degF", "K", "mm"])
defects = st.sampled_from([None, "SENSOR_TEMP_FAIL"])
rows = st.dictionaries(st.sampled_from(["m", "t", "tol"]), st.one_of(scalars, tame, st.none()), max_size=3)
tables = st.lists(rows, max_size=3)
full_tables = st.lists(st.fixed_dictionaries({"m": tame, "t": tame, "tol": tame}), max_size=3)
values: st.SearchStrategy[Value | None] = st.one_of(
    scalars, tables, full_tables, st.lists(scalars, min_size=1, max_size=2), st.none()
)
ranges = st.tuples(numbers, numbers).map(lambda pair: sorted(pair, key=lambda number: exact(number) or 0))
percentages = st.sampled_from(["0%", "1%", "5%", "12.5%", "100%", "200%"])
formulas = st.sampled_from(
    ["a - b", "a + b * 2", "(a + b) / 2", "a / b", "-a", "abs(a - b)", "max(a, b, c)", "a * b / c"]
)
comparisons = st.sampled_from(["a < b", "a <= b", "a + b > c", "a == b", "a - b != c", "a >= 60"])
rules = st.one_of(
    st.builds(lambda nominal, tolerance: {"nominal": nominal, "tolerance": tolerance}, numbers, positive),
    st.builds(
        lambda nominal, tolerance: {"nominal": nominal, "tolerance": tolerance}, numbers.filter(bool), percentages
    ),
    st.builds(
        lambda nominal, inner, outer: {
            "nominal": nominal,
            "tolerance": inner + outer,
            "warn": Warn(tolerance=inner),
        },
        st.integers(-100, 100),
        st.integers(0, 5),
        st.integers(1, 5),
    ),
    ranges.filter(lambda pair: exact(pair[0]) != exact(pair[1])).map(lambda pair: {"above": pair[0], "upper": pair[1]}),
    numbers.map(lambda number: {"above": number}),
    numbers.map(lambda number: {"below": number}),
    tame.map(lambda number: {"lower": number, "warn": Warn(above=number)}),
    st.builds(lambda whole, decimals: {"equals": whole, "decimals": decimals}, st.integers(-70, 70), st.integers(0, 3)),
    st.just({"present": True}),
    formulas.map(lambda text: {"formula": text, "lower": -1, "upper": 61}),
    formulas.map(lambda text: {"formula": text, "one_of": (0, 1, 60)}),
    comparisons.map(lambda text: {"holds": text}),
    ranges.map(lambda pair: {"lower": pair[0], "upper": pair[1]}),
    numbers.map(lambda number: {"lower": number}),
    numbers.map(lambda number: {"upper": number}),
    scalars.map(lambda value: {"equals": value}),
    st.lists(scalars, min_size=1, max_size=3).map(lambda allowed: {"one_of": tuple(allowed)}),
    st.sampled_from([r"[AB]", r"OK", r"v\d+\.\d+\.\d+", r".*"]).map(lambda pattern: {"pattern": pattern}),
    st.sampled_from(NAMES).map(lambda other: {"same_as": other}),
    st.builds(
        lambda tolerance, least, passing: {
            "each": Table(column="m", target="t", tolerance=tolerance, at_least=least, passing=passing and least)
        },
        st.one_of(st.just("tol"), positive, percentages),
        st.integers(1, 3),
        st.booleans().map(lambda some: some or None),
    ),
    st.sampled_from(
        [
            Table(column="m", lower="t", upper=61),
            Table(column="m", lower=0),
            Table(column="m", equals=1, at_least=2, passing=1),
            Table(equals="A"),
            Table(target=60, tolerance=1),
            Table(target=60, tolerance="1%", at_least=2, passing=1),
            Table(lower=0, upper=60.5),
        ]
    ).map(lambda rule: {"each": rule}),
)
criteria = st.builds(lambda rule, unit, defect: Criterion(**rule, unit=unit, defect=defect), rules, units, defects)
measurements = st.builds(
    Measurement,
    name=st.sampled_from(NAMES),
    value=values,
    unit=units,
    quality=st.sampled_from([Quality.GOOD] * 6 + [Quality.UNCERTAIN, Quality.BAD]),
    problem=st.sampled_from([None] * 6 + ["illegal address"]),
)
measured_sets = st.lists(measurements, max_size=4)
rule_sets = st.dictionaries(st.sampled_from(NAMES), criteria, max_size=3).map(
    lambda found: {name: rule for name, rule in found.items() if rule.same_as != name}
)
machine_verdicts = st.sampled_from([None, MachineVerdict.PASS, MachineVerdict.FAIL])


def criteria_set(rules: dict[str, Criterion]) -> CriteriaSet:
    return CriteriaSet(process=PROCESS, revision="r1", criteria=rules)


def a(value: Value, unit: str | None = None) -> Measurement:
    return Measurement(name="a", value=value, unit=unit)


def b(value: Value) -> Measurement:
    return Measurement(name="b", value=value)


# -- the laws --------------------------------------------------------------------------------------------------------


@given(measured=measured_sets, rules=rule_sets, said=machine_verdicts)
@example([a(5 * 10**28 + 3)], {"a": Criterion(nominal=5 * 10**28, tolerance=3)}, None)  # beyond decimal's 28 digits
@example([a(5 * 10**28 + 4)], {"a": Criterion(nominal=5 * 10**28, tolerance=3)}, None)
@example([a(10**400)], {"a": Criterion(lower=0)}, None)  # larger than any float
@example([a(0.30000000000000004)], {"a": Criterion(nominal=0.1, tolerance=0.2)}, None)
@example(
    [a([{"m": 10**30 + 1, "t": 10**30, "tol": 0}])],
    {"a": Criterion(each=Table(column="m", target="t", tolerance="tol"))},
    None,
)
@example(
    [a([{"m": 10**30 + 1, "t": 0, "tol": 10**30}])],
    {"a": Criterion(each=Table(column="m", target="t", tolerance="tol"))},
    None,
)
@example([a(10**401), b(1)], {"c": Criterion(formula="a / b", lower=0)}, None)
@example([a(1), b(0.0)], {"c": Criterion(formula="a / b", lower=0)}, None)
@example([a(0.061, "m")], {"a": Criterion(nominal=60, tolerance=1, unit="mm")}, None)
@example([a(1), Measurement(name="b", value=1), Measurement(name="b", value=2)], {"a": Criterion(same_as="b")}, None)
def test_every_verdict_is_the_oracles(
    measured: list[Measurement], rules: dict[str, Criterion], said: MachineVerdict | None
) -> None:
    judgement = judge(measured, criteria_set(rules), said)
    expected = {name: criteria_oracle.verdict(measured, name, rule) for name, rule in rules.items()}
    expected |= {m.name: Verdict.NOT_JUDGED for m in measured if m.name not in rules}
    assert {v.name: v.verdict for v in judgement.verdicts} == expected
    assert len(judgement.verdicts) == len(expected)
    for verdict in judgement.verdicts:
        assert verdict.limit == rules.get(verdict.name)
        assert (verdict.reason is None) == (verdict.verdict in (Verdict.PASS, Verdict.NOT_JUDGED))
    judged = [expected[name] for name in rules]
    if not judged or Verdict.ERROR in judged:
        assert judgement.outcome is Outcome.ERROR
    elif Verdict.FAIL in judged or said is MachineVerdict.FAIL:
        assert judgement.outcome is Outcome.FAIL
    else:
        assert judgement.outcome is Outcome.PASS
    ours = None if not judged or Verdict.ERROR in judged else Verdict.FAIL not in judged
    assert judgement.disagreement == (
        said is not None and ours is not None and ours is not (said is MachineVerdict.PASS)
    )


@given(measured=measured_sets, rules=rule_sets, said=machine_verdicts)
def test_a_verdict_can_be_repeated_from_what_was_kept(
    measured: list[Measurement], rules: dict[str, Criterion], said: MachineVerdict | None
) -> None:
    """What went through JSON, as every record does, is judged as it was."""
    before = judge(measured, criteria_set(rules), said)
    kept = [Measurement.model_validate_json(m.model_dump_json()) for m in measured]
    by = CriteriaSet.model_validate_json(criteria_set(rules).model_dump_json())
    assert judge(kept, by, said) == before
    assert Judgement.model_validate_json(before.model_dump_json()) == before


@given(numbers, positive, st.sampled_from([-1, 1]))
def test_the_limit_itself_passes_and_what_lies_beyond_fails(
    nominal: int | float, tolerance: int | float, side: int
) -> None:
    """The nearest numbers there are on both sides of a limit."""
    criterion = Criterion(nominal=nominal, tolerance=tolerance)
    middle, width = exact(nominal), exact(tolerance)
    assert middle is not None
    assert width is not None
    limit = middle + side * width
    nearest = [math.floor(limit), math.ceil(limit)]
    if abs(limit) < Fraction(2) ** 1000:
        nearby = float(limit)
        nearest += [nearby, math.nextafter(nearby, math.inf), math.nextafter(nearby, -math.inf)]
    for value in nearest:
        number = exact(value)
        assert number is not None
        inside = middle - width <= number <= middle + width
        assert judge([a(value)], criteria_set({"a": criterion})).outcome is (Outcome.PASS if inside else Outcome.FAIL)


@given(measured=measured_sets)
def test_without_criteria_nothing_passes(measured: list[Measurement]) -> None:
    for nothing in (None, criteria_set({})):
        for said in (None, MachineVerdict.PASS, MachineVerdict.FAIL):
            assert judge(measured, nothing, said).outcome is Outcome.ERROR


@given(scalars, st.sampled_from(["not measured", "no value", "problem", "quality", "unit", "twice", "list"]))
def test_what_passes_does_not_when_it_is_spoiled(value: Scalar, spoiled: str) -> None:
    rules = criteria_set({"a": Criterion(equals=value)})
    good = a(value)
    assert judge([good], rules).outcome is Outcome.PASS
    spoil: dict[str, Callable[[], list[Measurement]]] = {
        "not measured": list,
        "no value": lambda: [good.model_copy(update={"value": None})],
        "problem": lambda: [good.model_copy(update={"problem": "half a number"})],
        "quality": lambda: [good.model_copy(update={"quality": Quality.UNCERTAIN})],
        "unit": lambda: [good.model_copy(update={"unit": "mm"})],
        "twice": lambda: [good, good],
        "list": lambda: [good.model_copy(update={"value": [value]})],
    }
    assert judge(spoil[spoiled](), rules, MachineVerdict.PASS).outcome is Outcome.ERROR


@given(criteria, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_no_number_never_passes_even_past_validation(criterion: Criterion, value: float) -> None:
    """A measurement refuses these; were one made by other means, it is judged an ERROR all the same."""
    made = Measurement.model_construct(name="a", value=value, unit=criterion.unit, quality=Quality.GOOD, problem=None)
    same = Measurement.model_construct(name="b", value=value, unit=criterion.unit, quality=Quality.GOOD, problem=None)
    if criterion.same_as != "a":
        assert judge([made, same], criteria_set({"a": criterion})).outcome is Outcome.ERROR
