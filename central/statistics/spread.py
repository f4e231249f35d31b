"""How values spread: histogram, mean, sigma, and how capable a process is of its limits.

Pure. Sigma *within* is short-term, from the moving range of two values in their order; sigma *overall* is the sample's
standard deviation (ISO 22514-2:2017; AIAG, Statistical Process Control, 2nd edition, chapter IV).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import chdtri, ndtri

from central.statistics.forms import D2, Bin, Capability, Index, Limits, Normality, Refusal, Spread

FEWEST = 30
"""Values below which nothing is said of capability."""
CONFIDENCE = 0.95
LEAST_P = 0.01
"""A sample that is so unlikely to come from a normal distribution is taken for not normal."""
_BINS = 50


def spread(values: Sequence[float], limits: Limits | Refusal) -> Spread:
    """What these values, in the order of time, say. ``limits``: or why there are none that hold for all of them."""
    sample = np.asarray(values, dtype=float)
    n = len(values)
    if not n:
        return Spread(0, None, None, None, None, None, (), None, None, Refusal.TOO_FEW)
    mean, low, high = math.fsum(values) / n, float(sample.min()), float(sample.max())
    if n == 1:
        return Spread(1, mean, low, high, None, None, _histogram(sample, low, high), None, None, Refusal.TOO_FEW)
    within, overall = float(np.abs(np.diff(sample)).mean()) / D2, float(sample.std(ddof=1))
    refused: Refusal | None = None
    normal: Normality | None = None
    if n < FEWEST:
        refused = Refusal.TOO_FEW
    elif not _wide(within, mean) or not _wide(overall, mean):
        refused = Refusal.NO_SPREAD
    else:
        tested = stats.normaltest((sample - mean) / overall)
        normal = Normality(float(tested.statistic), float(tested.pvalue))
        if isinstance(limits, Refusal):
            refused = limits
        elif limits.lower is None and limits.upper is None:
            refused = Refusal.NO_LIMITS
        elif not normal.p >= LEAST_P:
            refused = Refusal.NOT_NORMAL
    capable = None
    if refused is None and isinstance(limits, Limits):
        capable = _capability(n, mean, within, overall, limits)
    return Spread(n, mean, low, high, within, overall, _histogram(sample, low, high), normal, capable, refused)


def _wide(sigma: float, mean: float) -> bool:
    """More than the last digits of a float: of equal values the rounding alone would spread."""
    return sigma > 1e-12 * max(1e-300, abs(mean))


def _histogram(sample: NDArray[np.float64], low: float, high: float) -> tuple[Bin, ...]:
    """As many bins as the square root of the values, between 1 and 50."""
    width = high - low
    wanted = min(_BINS, max(1, round(math.sqrt(len(sample)))))
    if low + width / wanted <= low or high - width / wanted >= high:
        return (Bin(low, high, len(sample)),)
    counts, edges = np.histogram(sample, bins=wanted, range=(low, high))
    return tuple(Bin(float(edges[i]), float(edges[i + 1]), int(count)) for i, count in enumerate(counts))


def _capability(n: int, mean: float, within: float, overall: float, limits: Limits) -> Capability:
    freedom = within_freedom(n)
    return Capability(
        cp=_potential(within, limits, freedom),
        cpk=_actual(mean, within, limits, n, freedom),
        pp=_potential(overall, limits, n - 1),
        ppk=_actual(mean, overall, limits, n, n - 1),
    )


def within_freedom(n: int) -> float:
    """Degrees of freedom of sigma within: its variance is (0.8264 n - 1.082) / (n - 1)^2 of sigma's square (Cryer and
    Ryan, Journal of Quality Technology 22, 1990), that of a sample's standard deviation about 1 / (2 df)."""
    return (n - 1) ** 2 / (2 * (0.8264 * n - 1.082))


def _potential(sigma: float, limits: Limits, freedom: float) -> Index | None:
    """Cp or Pp, its interval by the chi-squared distribution of sigma's square (ISO 22514-2:2017, annex)."""
    if limits.lower is None or limits.upper is None:
        return None
    value = (limits.upper - limits.lower) / (6 * sigma)
    tail = (1 - CONFIDENCE) / 2
    low, high = chdtri(freedom, 1 - tail), chdtri(freedom, tail)  # of the upper tail
    return Index(value, value * math.sqrt(low / freedom), value * math.sqrt(high / freedom))


def _actual(mean: float, sigma: float, limits: Limits, n: int, freedom: float) -> Index:
    """Cpk or Ppk, its interval by Bissell (Applied Statistics 39, 1990)."""
    sides = []
    if limits.upper is not None:
        sides.append((limits.upper - mean) / (3 * sigma))
    if limits.lower is not None:
        sides.append((mean - limits.lower) / (3 * sigma))
    value = min(sides)
    half = float(ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt(1 / (9 * n) + value**2 / (2 * freedom))
    return Index(value, value - half, value + half)
