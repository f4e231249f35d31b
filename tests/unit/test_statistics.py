"""Statistics against the formulas of their sources, written another way; and what they refuse to say."""

import math
import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from central.statistics.chart import chart, nelson
from central.statistics.counted import pareto, rolled
from central.statistics.forms import LARGEST, Limits, Refusal
from central.statistics.spread import spread, within_freedom

measured = st.lists(st.floats(-1e6, 1e6).map(lambda value: round(value, 3)), min_size=2, max_size=60)
scores = st.lists(st.sampled_from([-3.5, -2.5, -1.5, -0.5, 0.0, 0.5, 1.5, 2.5, 3.5]), max_size=40)


def normal(count: int) -> list[float]:
    """As normal as a sample can be, in an order without a trend."""
    quantiles = [statistics.NormalDist(60, 0.2).inv_cdf((number + 0.5) / count) for number in range(count)]
    return [quantiles[(number * 37) % count] for number in range(count)]


@given(measured)
def test_figures_are_those_of_their_formulas(values: list[float]) -> None:
    found = spread(values, Limits())
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert found.sigma_overall == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-9)
    moving = statistics.fmean(abs(after - before) for before, after in pairwise(values))
    assert found.sigma_within == pytest.approx(moving / 1.1284, rel=1e-4)
    assert sum(one.count for one in found.histogram) == len(values)
    assert (found.histogram[0].low, found.histogram[-1].high) == pytest.approx((min(values), max(values)))
    assert found.capability is None


@given(st.lists(st.floats(-LARGEST, LARGEST), max_size=80))
def test_no_number_breaks_them(values: list[float]) -> None:
    found = spread(values, Limits(-1, 1))
    assert (found.capability is None) == (found.refused is not None)
    made = chart(values)
    assert (made is None) == (len(values) < 2)


def test_capability_is_that_of_a_known_normal_sample() -> None:
    values = normal(100)
    found = spread(values, Limits(59, 61)).capability
    assert found is not None
    assert found.pp is not None
    sigma = statistics.stdev(values)
    assert found.pp.value == pytest.approx(2 / (6 * sigma))
    assert found.ppk.value == pytest.approx(1 / (3 * sigma), rel=1e-3)
    for bound, chance in ((found.pp.low, 0.025), (found.pp.high, 0.975)):
        assert bound == pytest.approx(found.pp.value * math.sqrt(stats.chi2.ppf(chance, 99) / 99))
    half = 1.959964 * math.sqrt(1 / 900 + found.ppk.value**2 / 198)
    assert (found.ppk.low, found.ppk.high) == pytest.approx((found.ppk.value - half, found.ppk.value + half))
    assert found.cp is not None
    assert found.cp.low < found.cp.value < found.cp.high
    assert found.cp.high - found.cp.low != found.pp.high - found.pp.low


def test_with_one_limit_there_is_no_cp() -> None:
    found = spread(normal(100), Limits(lower=59)).capability
    assert found is not None
    assert (found.cp, found.pp) == (None, None)
    assert found.cpk.value > 1


@pytest.mark.parametrize(
    ("values", "limits", "why"),
    [
        ([], Limits(0, 1), Refusal.TOO_FEW),
        (normal(29), Limits(59, 61), Refusal.TOO_FEW),
        ([0.1] * 40, Limits(0, 1), Refusal.NO_SPREAD),
        (normal(100), Limits(), Refusal.NO_LIMITS),
        (normal(100), Refusal.LIMITS_DIFFER, Refusal.LIMITS_DIFFER),
        ([math.exp(4 * (value - 60)) for value in normal(100)], Limits(0, 1), Refusal.NOT_NORMAL),
    ],
)
def test_what_says_nothing_is_refused_with_its_reason(
    values: list[float], limits: Limits | Refusal, why: Refusal
) -> None:
    found = spread(values, limits)
    assert (found.capability, found.refused) == (None, why)


def test_the_freedom_of_the_moving_range_is_that_of_many_samples() -> None:
    """Against 0.6 (n - 1), as tables of the average moving range have it."""
    assert within_freedom(100) == pytest.approx(0.61 * 99, rel=0.01)


@given(scores)
def test_nelsons_rules_are_those_of_his_windows(values: list[float]) -> None:
    found = nelson(values)
    for at, broken in enumerate(found):

        def window(length: int) -> list[float] | None:
            return values[at + 1 - length : at + 1] if at + 1 >= length else None  # noqa: B023  used at once

        last = values[at]
        side = 1 if last > 0 else -1
        expected = set()
        if abs(last) > 3:
            expected.add(1)
        if (nine := window(9)) and (min(nine) > 0 or max(nine) < 0):
            expected.add(2)
        if (six := window(6)) and (six == sorted(set(six)) or six == sorted(set(six), reverse=True)):
            expected.add(3)
        if fourteen := window(14):
            ups = [after > before for before, after in pairwise(fourteen) if after != before]
            if len(ups) == 13 and all(one != next_one for one, next_one in pairwise(ups)):
                expected.add(4)
        if (three := window(3)) and last * side > 2 and sum(one * side > 2 for one in three) >= 2:
            expected.add(5)
        if (five := window(5)) and last * side > 1 and sum(one * side > 1 for one in five) >= 4:
            expected.add(6)
        if (fifteen := window(15)) and max(map(abs, fifteen)) < 1:
            expected.add(7)
        if (eight := window(8)) and min(map(abs, eight)) > 1:
            expected.add(8)
        assert set(broken) == expected


def test_a_chart_has_the_limits_of_its_moving_range() -> None:
    made = chart([10, 12, 11, 13])
    assert made is not None
    mean_range = 5 / 3
    assert (made.center, made.range_center) == (11.5, pytest.approx(mean_range))
    assert made.upper == pytest.approx(11.5 + 2.66 * mean_range, rel=1e-3)
    assert made.range_upper == pytest.approx(3.267 * mean_range, rel=1e-3)
    assert [point.moving_range for point in made.points] == [None, 2, 1, 2]
    same = chart([5.0] * 20)
    assert same is not None
    assert not any(point.rules for point in same.points)


def test_yield_through_the_line_is_the_product_and_bars_add_up() -> None:
    assert rolled([(10, 9), (0, 0), (8, 4)]) == 45.0
    assert rolled([(0, 0)]) is None
    bars = pareto([("A", 1), ("C", 2), ("B", 2)])
    assert [(bar.code, bar.share, bar.cumulative) for bar in bars] == [("B", 40, 40), ("C", 40, 80), ("A", 20, 100)]
