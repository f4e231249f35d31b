"""A criterion: one rule for one measurement, refused where nothing sensible can come of it."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from contracts.base import Contract, DefectCode, Name, ProcessCode, RegularExpression
from contracts.criteria.formula import FormulaError, formula
from contracts.criteria.numbers import Number, Span, Tolerance, around, decimal, finite, rounded, width
from contracts.criteria.units import LONGEST_UNIT, UnitError, unit_of

CriteriaRevision = Annotated[str, Field(min_length=1, max_length=80)]
"""Names one unchanging set of criteria: ``yaml-<digest>`` for a station's own, a number for central's."""

Wanted = StrictBool | StrictInt | StrictFloat | StrictStr
Allowed = Annotated[tuple[Wanted, ...], Field(min_length=1)]


class Limits(Contract):
    """Two ends, each optional: ``lower`` and ``upper`` belong to what passes, ``above`` and ``below`` do not."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    lower: Number | None = None
    """The lowest value that passes."""
    upper: Number | None = None
    """The highest value that passes."""
    above: Number | None = None
    """What passes is more than this; the limit itself does not pass."""
    below: Number | None = None
    """What passes is less than this; the limit itself does not pass."""

    @model_validator(mode="after")
    def _ends_that_leave_something(self) -> Self:
        if not self.limited:
            return self
        if self.lower is not None and self.above is not None:
            raise ValueError("give lower (the limit itself passes) or above (it does not), not both")
        if self.upper is not None and self.below is not None:
            raise ValueError("give upper (the limit itself passes) or below (it does not), not both")
        if self.limits.empty:
            low, high = _first(self.lower, self.above), _first(self.upper, self.below)
            ends = "lower" if self.above is None else "above", "upper" if self.below is None else "below"
            relation = "is above" if decimal(low) > decimal(high) else "leaves nothing to"
            raise ValueError(f"{ends[0]} {low} {relation} {ends[1]} {high}: nothing can pass")
        return self

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return any(end is not None for end in (self.lower, self.upper, self.above, self.below))

    @property
    def limits(self) -> Span:
        """The limits as exact numbers."""
        low = self.above if self.lower is None else self.lower
        high = self.below if self.upper is None else self.upper
        return Span(
            None if low is None else decimal(low),
            None if high is None else decimal(high),
            self.above is not None,
            self.below is not None,
        )

    def told(self) -> str:
        """As a person writes it."""
        if self.above is None and self.below is None:
            return f"{'' if self.lower is None else self.lower}..{'' if self.upper is None else self.upper}"
        words = {"lower": "at least", "above": "above", "upper": "at most", "below": "below"}
        ends = [(word, getattr(self, end)) for end, word in words.items()]
        return ", ".join(f"{word} {end}" for word, end in ends if end is not None)


class Warn(Limits):
    """Limits inside those of the criterion: what lies between the two passes with a flag.

    ``tolerance`` (around the criterion's nominal), or limits of their own.
    """

    tolerance: Tolerance | None = None
    """How far from the criterion's ``nominal`` a value passes without a flag: a number, or a percentage of it."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.limited == (self.tolerance is not None):
            raise ValueError("warn at a tolerance, or at lower/upper/above/below")
        return self

    def told(self) -> str:
        return super().told() if self.tolerance is None else f"+/- {self.tolerance}"


class Table(Contract):
    """A rule for each row of a table, or with no ``column`` for each value of a list.

    ``column`` against the row's own ``target`` within ``tolerance``, or between ``lower`` and ``upper``, or one of
    the values ``equals``. Numbers, or names of the columns that hold them. ``at_least`` rows have to be there, and
    ``passing`` of them (all, if it is not given) have to pass.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    column: Name | None = None
    """The column that is judged; without it, every value of a list."""
    target: Number | Name | None = None
    """What it should be: a number, or the column that says so for each row. With ``tolerance``."""
    tolerance: Tolerance | Name | None = None
    """How far from ``target`` it may be: a number, a percentage, or the column that says so."""
    lower: Number | Name | None = None
    """The lowest value that passes, or the column that says so."""
    upper: Number | Name | None = None
    """The highest value that passes, or the column that says so."""
    equals: Wanted | None = None
    """The only value that passes."""
    at_least: Annotated[int, Field(ge=1)] = 1
    """How many rows have to be there."""
    passing: Annotated[int, Field(ge=1)] | None = None
    """How many rows have to pass. None: all."""

    @model_validator(mode="after")
    def _one_possible_rule(self) -> Self:
        if (self.target is None) != (self.tolerance is None):
            raise ValueError("target and tolerance go together")
        rules = [self.target is not None, self.lower is not None or self.upper is not None, self.equals is not None]
        if sum(rules) != 1:
            raise ValueError("give each row exactly one rule: target with tolerance, lower/upper, or equals")
        if self.column is None and self.columns:
            raise ValueError(f"the values of a list have no column {self.columns[0]}: name the column that is judged")
        lower, upper = self.lower, self.upper
        if isinstance(lower, int | float) and isinstance(upper, int | float) and decimal(lower) > decimal(upper):
            raise ValueError(f"lower {lower} is above upper {upper}: nothing can pass")
        if isinstance(self.target, int | float) and not self.target and is_percent(self.tolerance):
            raise ValueError(f"tolerance: {self.tolerance} of 0 is 0")
        if self.passing is not None and self.passing > self.at_least:
            raise ValueError(f"passing: {self.passing} have to pass, so at_least has to be {self.passing} too")
        return self

    @property
    def columns(self) -> list[str]:
        """The columns it refers to."""
        named = (self.column, self.target, self.tolerance, self.lower, self.upper)
        return [name for name in named if isinstance(name, str) and not is_percent(name)]

    def told(self) -> str:
        """As a person writes it, without its unit."""
        what = f"each {self.column}" if self.column is not None else "each value"
        if self.target is not None:
            return f"{what} = {self.target} +/- {self.tolerance}"
        if self.equals is not None:
            return f"{what} = {self.equals}"
        return f"{what} {'' if self.lower is None else self.lower}..{'' if self.upper is None else self.upper}"


class Criterion(Limits):
    """The limits of one measurement: exactly one rule, with its unit and the defect a FAIL means.

    Rules: ``nominal`` with ``tolerance`` (a number or a percentage; both ends pass), limits, ``equals`` (rounded to
    ``decimals`` first, if they are given), ``one_of``, ``pattern`` (the whole text), ``present`` (anything but an
    empty text or list), ``same_as`` (another measurement of the record), ``each`` (a table or list), ``holds`` (a
    comparison across measurements). ``formula`` judges a number computed of several measurements by one of the first
    four. ``warn`` are limits inside the limits.
    """

    nominal: Number | None = None
    """What the value should be; with ``tolerance``."""
    tolerance: Tolerance | None = None
    """How far from ``nominal`` it may be, both ends included: a number, or a percentage such as ``5%``."""
    equals: Wanted | None = None
    """The only value that passes: true or false, a number, a text."""
    decimals: Annotated[StrictInt, Field(ge=0, le=15)] | None = None
    """The value is rounded to so many decimals before it is compared with ``equals``."""
    one_of: Allowed | None = None
    """The values that pass."""
    pattern: Annotated[RegularExpression, Field(min_length=1, max_length=500)] | None = None
    """The regular expression (RE2) that the whole text has to match."""
    present: Literal[True] | None = None
    """Anything passes but nothing, an empty text and an empty list."""
    same_as: Name | None = None
    """The measurement of the same record that it has to equal."""
    each: Table | None = None
    """A rule for each row of a table, or each value of a list."""
    holds: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """A comparison across measurements that has to be true: ``inner < outer``."""
    formula: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What is computed of several measurements and judged in their place: ``peak - rest``."""
    warn: Warn | None = None
    """Limits inside the limits: what lies between the two passes with a flag."""
    unit: Annotated[str, Field(min_length=1, max_length=LONGEST_UNIT)] | None = None
    """Unit of the limits, such as ``mm``; a value in a unit that fits is converted."""
    defect: DefectCode | None = None
    """Defect that a FAIL means, such as ``SENSOR_TEMP_FAIL``."""

    @model_validator(mode="after")
    def _one_possible_rule(self) -> Self:
        if (self.nominal is None) != (self.tolerance is None):
            raise ValueError("nominal and tolerance go together")
        rules = [
            self.nominal is not None,
            self.limited,
            self.equals is not None,
            self.one_of is not None,
            self.pattern is not None,
            self.present is not None,
            self.same_as is not None,
            self.each is not None,
            self.holds is not None,
        ]
        if sum(rules) != 1:
            raise ValueError(
                "give exactly one rule: nominal with tolerance, lower/upper/above/below, equals, one_of, pattern, "
                "present, same_as, each or holds"
            )
        if self.nominal is not None and is_percent(self.tolerance) and not self.nominal:
            raise ValueError(f"tolerance: {self.tolerance} of 0 is 0")
        if self.decimals is not None:
            self._check_decimals(self.decimals)
        if self.warn is not None:
            self._check_warn(self.warn)
        if self.formula is not None or self.holds is not None:
            self._check_formula()
        return self

    def _check_decimals(self, decimals: int) -> None:
        wanted = finite(self.equals)
        if wanted is None:
            raise ValueError("decimals: they belong to a number that is wanted (equals)")
        if rounded(wanted, decimals) != wanted:
            raise ValueError(f"decimals: no value rounded to {decimals} decimals is {self.equals}")

    def _check_warn(self, warn: Warn) -> None:
        if self.span is None:
            raise ValueError("warn: it belongs to nominal with tolerance, or to limits")
        if warn.tolerance is not None and self.nominal is None:
            raise ValueError("warn: a tolerance needs a nominal; give lower/upper")
        warned = self.warned
        if warned is None or warned.empty or not warned.inside(self.span) or self.span.inside(warned):
            raise ValueError(f"warn: {warn.told()} is not inside {self.told()}: it would never warn, or always")

    def _check_formula(self) -> None:
        text = self.formula if self.formula is not None else self.holds
        key = "formula" if self.formula is not None else "holds"
        if self.formula is not None and self.holds is not None:
            raise ValueError("formula: a comparison (holds) stands alone")
        try:
            read = formula(str(text))
        except FormulaError as error:
            raise ValueError(f"{key}: {error}") from error
        if (read.compare is not None) != (self.holds is not None):
            what = "compares: write holds" if read.compare is not None else "compares nothing: write formula"
            raise ValueError(f"{key}: {text} {what}")
        numbers = self.one_of if self.one_of is not None else (self.equals,)
        numeric = all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
        if self.formula is not None and self.span is None and not numeric:
            raise ValueError("formula: it is a number, judged by nominal, limits, equals or one_of")

    @property
    def span(self) -> Span | None:
        """What passes, where it lies between limits."""
        if self.nominal is not None and self.tolerance is not None:
            nominal = decimal(self.nominal)
            return around(nominal, width(self.tolerance, nominal))
        return self.limits if self.limited else None

    @property
    def warned(self) -> Span | None:
        """What passes without a warning. A side on which nothing warns ends where the limits do."""
        span = self.span
        if self.warn is None or span is None:
            return None
        if self.warn.tolerance is not None and self.nominal is not None:
            nominal = decimal(self.nominal)
            return around(nominal, width(self.warn.tolerance, nominal))
        own = self.warn.limits
        lower = (span.lower, span.lower_open) if own.lower is None else (own.lower, own.lower_open)
        upper = (span.upper, span.upper_open) if own.upper is None else (own.upper, own.upper_open)
        return Span(lower[0], upper[0], lower[1], upper[1])

    def told(self) -> str:
        """As a person writes it, without its unit."""
        if self.nominal is not None:
            return f"{self.nominal} +/- {self.tolerance}"
        if self.limited:
            return super().told()
        if self.equals is not None:
            return f"= {self.equals}" + (f" to {self.decimals} decimals" if self.decimals is not None else "")
        if self.one_of is not None:
            return "one of " + ", ".join(map(str, self.one_of))
        if self.pattern is not None:
            return f"matches {self.pattern}"
        if self.same_as is not None:
            return f"same as {self.same_as}"
        if self.holds is not None:
            return self.holds
        return "present" if self.each is None else self.each.told()

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit and (self.nominal is not None or self.limited or self.each) else ""
        unit = f" {self.unit}" if self.unit and self.equals is not None else unit
        behind = "" if self.each is None else f", at least {self.each.at_least}"
        if self.each is not None and self.each.passing is not None:
            behind += f", {self.each.passing} passing"
        before = f"{self.formula} " if self.formula is not None else ""
        return f"{before}{self.told()}{unit}{behind}"


class CriteriaSet(Contract):
    """The criteria of one process under one revision: measurement name -> criterion.

    A criterion with a formula or a comparison has a name of its own.
    """

    process: ProcessCode
    revision: CriteriaRevision
    criteria: Mapping[Name, Criterion]

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        for name, criterion in self.criteria.items():
            if criterion.same_as == name:
                raise ValueError(f"{name}: every value is the same as itself")
        return self


def subjects(name: str, criterion: Criterion) -> tuple[str, ...]:
    """The measurements a criterion of this name judges."""
    text = criterion.formula if criterion.formula is not None else criterion.holds
    return (name,) if text is None else formula(text).names


def unknown_unit(criterion: Criterion) -> str | None:
    """Why a criterion cannot be written with its unit; None where it can.

    Not asked when a record is read: what was judged once is kept, whatever its unit.
    """
    if criterion.unit is None:
        return None
    try:
        unit_of(criterion.unit)
    except UnitError as error:
        return str(error)
    return None


def cannot_compute(criterion: Criterion, units: Mapping[str, str | None]) -> str | None:
    """Why a formula has no value for measurements in these units; None where it has one, or there is no formula."""
    text = criterion.formula if criterion.formula is not None else criterion.holds
    if text is None:
        return None
    try:
        formula(text).check_units(units, None if criterion.holds is not None else criterion.unit)
    except (FormulaError, UnitError) as error:
        return str(error)
    return None


def is_percent(value: object) -> bool:
    """Whether this is a percentage, and no name of a column."""
    return isinstance(value, str) and value.endswith("%")


def _first(*numbers: Number | None) -> Number:
    return next(number for number in numbers if number is not None)
