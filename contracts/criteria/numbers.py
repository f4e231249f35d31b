"""Numbers as a person reads them: exact decimals, from the shortest text that reads back as the same float."""

import math
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import Field, StrictFloat, StrictInt, StringConstraints

from contracts.measurement import Value

Number = StrictInt | StrictFloat
Exact = Decimal | Fraction
"""A number without rounding: a Decimal as it was written, a Fraction where it was converted or computed."""

Percent = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?%$")]
"""A part of the nominal value: ``5%``, ``0.5%``."""

Tolerance = Annotated[Number, Field(ge=0)] | Percent

EXACT = Context(prec=10_000)
"""Arithmetic that rounds no sum of two floats (767 digits) or of two numbers as long as JSON lets them be (4300)."""


def decimal(number: Number) -> Decimal:
    """The number a person reads: 0.1 for the float 0.1."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


def finite(value: Value | None) -> Decimal | None:
    """A finite decimal, or None for what is no such number. A bool is not a number."""
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else None


def width(tolerance: Number | Percent, nominal: Decimal) -> Decimal:
    """A tolerance in the unit of its nominal value."""
    if isinstance(tolerance, str):
        return EXACT.multiply(nominal.copy_abs(), EXACT.scaleb(Decimal(tolerance[:-1]), -2))
    return decimal(tolerance)


def rounded(number: Exact, decimals: int) -> Fraction:
    """Rounded to so many decimals, a half away from zero, as a person rounds."""
    exact = Fraction(number)
    whole = math.floor(abs(exact) * 10**decimals + Fraction(1, 2))
    return Fraction(whole if exact >= 0 else -whole, 10**decimals)


@dataclass(frozen=True)
class Span:
    """What lies between two limits; an end that is open does not belong to it. None: no limit on that side."""

    lower: Exact | None = None
    upper: Exact | None = None
    lower_open: bool = False
    upper_open: bool = False

    def holds(self, number: Exact) -> bool:
        """Whether the number lies inside."""
        lower, upper = self.lower, self.upper
        if lower is not None and (number <= lower if self.lower_open else number < lower):
            return False
        return upper is None or not (number >= upper if self.upper_open else number > upper)

    @property
    def empty(self) -> bool:
        """Whether no number lies inside."""
        if self.lower is None or self.upper is None:
            return False
        return self.lower > self.upper or (self.lower == self.upper and (self.lower_open or self.upper_open))

    def inside(self, other: "Span") -> bool:
        """Whether everything in this span lies in the other one too."""
        below = other.lower is None or (
            self.lower is not None
            and (self.lower > other.lower or (self.lower == other.lower and self.lower_open >= other.lower_open))
        )
        above = other.upper is None or (
            self.upper is not None
            and (self.upper < other.upper or (self.upper == other.upper and self.upper_open >= other.upper_open))
        )
        return below and above

    def exact(self) -> "Span":
        """The same with fractions, to be compared with fractions."""
        lower = None if self.lower is None else Fraction(self.lower)
        upper = None if self.upper is None else Fraction(self.upper)
        return Span(lower, upper, self.lower_open, self.upper_open)


def around(nominal: Decimal, tolerance: Decimal) -> Span:
    """``nominal +/- tolerance``, both ends inside."""
    return Span(EXACT.subtract(nominal, tolerance), EXACT.add(nominal, tolerance))
