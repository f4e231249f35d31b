"""Quality criteria and ``judge()``: the one comparator of the project.

Numbers are compared as decimals, from the shortest text that reads back as the same float: 61.0 is inside 60 +/- 1.
Nothing is rounded on the way.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from contracts.base import Contract, DefectCode, Name, ProcessCode, RegularExpression
from contracts.measurement import Measurement, Quality, Row, Scalar, Value

JUDGE_VERSION = 1
"""Raised whenever judge() gives another verdict for the same input."""

CriteriaRevision = Annotated[str, Field(min_length=1, max_length=80)]
"""Names one unchanging set of criteria: ``yaml-<digest>`` for a station's own, a number for central's."""

Number = StrictInt | StrictFloat

_EXACT = Context(prec=10_000)
"""Arithmetic that rounds no sum of two floats (767 digits) or of two numbers as long as JSON lets them be (4300)."""


class Outcome(StrEnum):
    """What became of one cycle. ERROR: the station could not judge; it is not a FAIL and never a PASS."""

    PASS = "PASS"
    FAIL = "FAIL"
    REWORK = "REWORK"
    ERROR = "ERROR"
    ABORTED = "ABORTED"


class Verdict(StrEnum):
    """The judgement of one measurement."""

    PASS = "PASS"
    WARN = "WARN"
    FAIL = "FAIL"
    ERROR = "ERROR"
    NOT_JUDGED = "NOT_JUDGED"


class MachineVerdict(StrEnum):
    """What the machine itself said of the unit."""

    PASS = "PASS"
    FAIL = "FAIL"


class Table(Contract):
    """A rule for each row of a table: ``column`` against the row's own ``target`` within ``tolerance``.

    ``tolerance`` is a number, or the name of the column that holds it.
    """

    column: Name
    target: Name
    tolerance: Annotated[Number, Field(ge=0)] | Name
    at_least: Annotated[int, Field(ge=1)] = 1


class Criterion(Contract):
    """The limits of one measurement: exactly one rule, with its unit and the defect a FAIL means.

    Rules: ``nominal`` with ``tolerance`` (both ends pass), ``lower`` and/or ``upper`` (both ends pass), ``equals``,
    ``one_of``, ``pattern`` (the whole text), ``same_as`` (another measurement of the record), ``each`` (a table).
    """

    nominal: Number | None = None
    tolerance: Annotated[Number, Field(ge=0)] | None = None
    lower: Number | None = None
    upper: Number | None = None
    equals: StrictBool | StrictInt | StrictFloat | StrictStr | None = None
    one_of: Annotated[tuple[StrictBool | StrictInt | StrictFloat | StrictStr, ...], Field(min_length=1)] | None = None
    pattern: Annotated[RegularExpression, Field(min_length=1, max_length=500)] | None = None
    same_as: Name | None = None
    each: Table | None = None
    unit: Annotated[str, Field(min_length=1, max_length=20)] | None = None
    defect: DefectCode | None = None

    @model_validator(mode="after")
    def _one_possible_rule(self) -> Self:
        if (self.nominal is None) != (self.tolerance is None):
            raise ValueError("nominal and tolerance go together")
        if self.lower is not None and self.upper is not None and _decimal(self.lower) > _decimal(self.upper):
            raise ValueError(f"lower {self.lower} is above upper {self.upper}: nothing can pass")
        rules = [
            self.nominal is not None,
            self.lower is not None or self.upper is not None,
            self.equals is not None,
            self.one_of is not None,
            self.pattern is not None,
            self.same_as is not None,
            self.each is not None,
        ]
        if sum(rules) != 1:
            raise ValueError(
                "give exactly one rule: nominal with tolerance, lower/upper, equals, one_of, pattern, same_as or each"
            )
        return self

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.nominal is not None:
            return f"{self.nominal} +/- {self.tolerance}{unit}"
        if self.lower is not None or self.upper is not None:
            return f"{'' if self.lower is None else self.lower}..{'' if self.upper is None else self.upper}{unit}"
        if self.equals is not None:
            return f"= {self.equals}{unit}"
        if self.one_of is not None:
            return "one of " + ", ".join(map(str, self.one_of))
        if self.pattern is not None:
            return f"matches {self.pattern}"
        if self.same_as is not None:
            return f"same as {self.same_as}"
        assert self.each is not None
        each = self.each
        return f"each {each.column} = {each.target} +/- {each.tolerance}{unit}, at least {each.at_least}"


class CriteriaSet(Contract):
    """The criteria of one process under one revision: measurement name -> criterion."""

    process: ProcessCode
    revision: CriteriaRevision
    criteria: Mapping[Name, Criterion]

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        for name, criterion in self.criteria.items():
            if criterion.same_as == name:
                raise ValueError(f"{name}: every value is the same as itself")
        return self


class MeasurementVerdict(Contract):
    """One verdict, with the limit it was given by and the reason where it is not a PASS."""

    name: Name
    verdict: Verdict
    limit: Criterion | None = None
    reason: str | None = None


class Judgement(Contract):
    """What judge() found: a verdict per measurement, and the worst of them."""

    outcome: Outcome
    verdicts: tuple[MeasurementVerdict, ...]
    disagreement: bool
    """True when the machine's own verdict and ours differ; the worse one is the outcome."""


def judge(
    measurements: Sequence[Measurement], criteria: CriteriaSet | None, machine_verdict: MachineVerdict | None = None
) -> Judgement:
    """Judge measurements against criteria. Pure: the same input gives the same verdict anywhere, any year.

    A criterion whose measurement is missing gives ERROR; a measurement without a criterion is NOT_JUDGED. Without
    criteria, or with nothing judged, the outcome is ERROR: never PASS by accident. ERROR outweighs FAIL: where the
    station could not judge, it does not claim to know the unit. The machine's FAIL makes our PASS a FAIL.
    """
    by_name: dict[str, Measurement] = {}
    repeated: set[str] = set()
    for measurement in measurements:
        if measurement.name in by_name:
            repeated.add(measurement.name)
        by_name[measurement.name] = measurement

    once = {name: measurement for name, measurement in by_name.items() if name not in repeated}
    verdicts: list[MeasurementVerdict] = []
    rules = criteria.criteria if criteria is not None else {}
    for name, criterion in rules.items():
        found = _verdict(by_name.get(name), criterion, once)
        verdict, reason = (Verdict.ERROR, "measured twice in one record") if name in repeated else found
        verdicts.append(MeasurementVerdict(name=name, verdict=verdict, limit=criterion, reason=reason))
    verdicts.extend(MeasurementVerdict(name=name, verdict=Verdict.NOT_JUDGED) for name in by_name if name not in rules)

    judged = {v.verdict for v in verdicts} - {Verdict.NOT_JUDGED}
    if not judged or Verdict.ERROR in judged:
        ours = Outcome.ERROR
    else:
        ours = Outcome.FAIL if Verdict.FAIL in judged else Outcome.PASS
    outcome = Outcome.FAIL if ours is Outcome.PASS and machine_verdict is MachineVerdict.FAIL else ours
    disagreement = (
        machine_verdict is not None and ours in (Outcome.PASS, Outcome.FAIL) and ours.value != machine_verdict.value
    )
    return Judgement(outcome=outcome, verdicts=tuple(verdicts), disagreement=disagreement)


_Found = tuple[Verdict, str | None]


def _verdict(measurement: Measurement | None, criterion: Criterion, others: Mapping[str, Measurement]) -> _Found:
    if measurement is None:
        return Verdict.ERROR, "not measured"
    if measurement.problem is not None:
        return Verdict.ERROR, measurement.problem
    if measurement.value is None:
        return Verdict.ERROR, "no value"
    if measurement.quality is not Quality.GOOD:
        return Verdict.ERROR, f"quality {measurement.quality}"
    if criterion.each is None and measurement.unit != criterion.unit:
        return Verdict.ERROR, f"unit {measurement.unit or 'none'}, limits are in {criterion.unit or 'none'}"
    value = measurement.value
    if criterion.nominal is not None and criterion.tolerance is not None:
        nominal, tolerance = _decimal(criterion.nominal), _decimal(criterion.tolerance)
        return _within(value, _EXACT.subtract(nominal, tolerance), _EXACT.add(nominal, tolerance), criterion)
    if criterion.lower is not None or criterion.upper is not None:
        lower = None if criterion.lower is None else _decimal(criterion.lower)
        upper = None if criterion.upper is None else _decimal(criterion.upper)
        return _within(value, lower, upper, criterion)
    if criterion.equals is not None:
        return _equal(value, (criterion.equals,), criterion)
    if criterion.one_of is not None:
        return _equal(value, criterion.one_of, criterion)
    if criterion.pattern is not None:
        if not isinstance(value, str):
            return Verdict.ERROR, f"{_kind(value)}, a text is needed"
        matches = re.fullmatch(criterion.pattern, value) is not None
        return (Verdict.PASS, None) if matches else (Verdict.FAIL, f"{value!r} is not: {criterion}")
    if criterion.same_as is not None:
        other = others.get(criterion.same_as)
        if other is None or other.value is None or other.problem is not None or other.quality is not Quality.GOOD:
            return Verdict.ERROR, f"nothing to compare with: {criterion.same_as} has no usable value"
        if isinstance(other.value, list):
            return Verdict.ERROR, f"{criterion.same_as} is a list"
        if other.unit != measurement.unit:
            return Verdict.ERROR, f"{criterion.same_as} has unit {other.unit or 'none'}"
        return _equal(value, (other.value,), criterion)
    assert criterion.each is not None
    return _each(value, criterion.each)


def _within(value: Value, lower: Decimal | None, upper: Decimal | None, criterion: Criterion) -> _Found:
    number = _number(value)
    if number is None:
        return Verdict.ERROR, f"{_kind(value)}, a number is needed"
    if (lower is not None and number < lower) or (upper is not None and number > upper):
        return Verdict.FAIL, f"{number} is not in {criterion}"
    return Verdict.PASS, None


def _equal(value: Value, allowed: Sequence[Scalar], criterion: Criterion) -> _Found:
    if isinstance(value, list):
        return Verdict.ERROR, "a list, a single value is needed"
    comparable = [other for other in allowed if _kind(other) == _kind(value)]
    if not comparable:
        return Verdict.ERROR, f"{_kind(value)}, {_kind(allowed[0])} is needed"
    number = _number(value)
    if _kind(value) == "a number" and number is None:
        return Verdict.ERROR, "not a finite number"
    same = any(_number(o) == number if number is not None else o == value for o in comparable)
    return (Verdict.PASS, None) if same else (Verdict.FAIL, f"{value} is not {criterion}")


def _each(value: Value, rule: Table) -> _Found:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        return Verdict.ERROR, f"{_kind(value)}, a table is needed"
    if len(value) < rule.at_least:
        return Verdict.ERROR, f"{len(value)} test points, at least {rule.at_least} are needed"
    failed: list[str] = []
    for place, row in enumerate(value, start=1):
        assert isinstance(row, dict)
        measured, target = _cell(row, rule.column), _cell(row, rule.target)
        tolerance = _cell(row, rule.tolerance) if isinstance(rule.tolerance, str) else _decimal(rule.tolerance)
        if measured is None or target is None or tolerance is None:
            return Verdict.ERROR, f"test point {place}: {rule.column}, target or tolerance is not a number"
        if tolerance < 0:
            return Verdict.ERROR, f"test point {place}: tolerance {tolerance} is below zero"
        if _EXACT.subtract(measured, target).copy_abs() > tolerance:
            failed.append(f"test point {place}: {measured} is not {target} +/- {tolerance}")
    return (Verdict.FAIL, "; ".join(failed)) if failed else (Verdict.PASS, None)


def _cell(row: Row, column: str) -> Decimal | None:
    return _number(row.get(column))


def _number(value: Value | None) -> Decimal | None:
    """A finite decimal, or None. A bool is not a number."""
    if isinstance(value, float):
        return _decimal(value) if math.isfinite(value) else None
    return _decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _decimal(number: Number) -> Decimal:
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


def _kind(value: Value) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "a text" if isinstance(value, str) else "a list"
