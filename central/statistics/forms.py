"""What statistics say, and what they need. Pure; nothing here loads what computes."""

import math
from dataclasses import dataclass
from enum import StrEnum

D2 = 2 / math.sqrt(math.pi)
"""Mean range of two values, in sigmas."""
LARGEST = 1e100
"""Numbers beyond it, either way, are no measured values: their powers are beyond any number."""


class Refusal(StrEnum):
    """Why nothing is said of capability."""

    TOO_FEW = "TOO_FEW"
    NO_LIMITS = "NO_LIMITS"
    LIMITS_DIFFER = "LIMITS_DIFFER"
    LIMITS_IN_ANOTHER_UNIT = "LIMITS_IN_ANOTHER_UNIT"
    NO_SPREAD = "NO_SPREAD"
    NOT_NORMAL = "NOT_NORMAL"


@dataclass(frozen=True)
class Limits:
    """What passes. A side that has no limit is None."""

    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Index:
    """A capability index with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Capability:
    """Cp and Cpk by sigma within, Pp and Ppk by sigma overall. With one limit there is no Cp and no Pp."""

    cp: Index | None
    cpk: Index
    pp: Index | None
    ppk: Index


@dataclass(frozen=True)
class Bin:
    """How many values lie from ``low`` up to ``high``; the last bin holds ``high`` as well."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Normality:
    """D'Agostino and Pearson's K2 (Biometrika 60, 1973), and how likely so much of it is of normal values."""

    statistic: float
    p: float


@dataclass(frozen=True)
class Spread:
    """Of a sample in the order of time. What needs more values than there are is None."""

    n: int
    mean: float | None
    minimum: float | None
    maximum: float | None
    sigma_within: float | None
    sigma_overall: float | None
    histogram: tuple[Bin, ...]
    normality: Normality | None
    capability: Capability | None
    refused: Refusal | None


@dataclass(frozen=True)
class Point:
    """One value. ``rules``: the Nelson rules that a run ending here breaks."""

    value: float
    moving_range: float | None
    rules: tuple[int, ...]


@dataclass(frozen=True)
class Chart:
    """``sigma`` is that within; ``range_upper`` is the upper limit of the moving range, whose lower one is 0."""

    center: float
    sigma: float
    lower: float
    upper: float
    range_center: float
    range_upper: float
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Bar:
    """One kind of defect: how many records have it, its share of all, and that of all bars up to it, in percent."""

    code: str
    count: int
    share: float
    cumulative: float
