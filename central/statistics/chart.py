"""A control chart of single values and their moving range, with the rules that tell a process is not in control.

Pure. Limits by AIAG, Statistical Process Control, 2nd edition, chapter II, section D (individuals and moving range).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from central.statistics.forms import D2, Chart, Point

D3 = math.sqrt(2 - 4 / math.pi)
"""Standard deviation of that range, in sigmas."""


def chart(values: Sequence[float]) -> Chart | None:
    """Of values in the order of time; None of fewer than two."""
    if len(values) < 2:
        return None
    center = math.fsum(values) / len(values)
    ranges = [abs(after - before) for before, after in pairwise(values)]
    mean_range = math.fsum(ranges) / len(ranges)
    sigma = mean_range / D2
    # Where all are equal, nothing is out of control.
    broken = nelson([(value - center) / sigma for value in values]) if sigma else [()] * len(values)
    points = zip(values, (None, *ranges), broken, strict=True)
    return Chart(
        center=center,
        sigma=sigma,
        lower=center - 3 * sigma,
        upper=center + 3 * sigma,
        range_center=mean_range,
        range_upper=mean_range * (1 + 3 * D3 / D2),
        points=tuple(Point(value, between, rules) for value, between, rules in points),
    )


def nelson(scores: Sequence[float]) -> list[tuple[int, ...]]:
    """For each value, in sigmas from the centre, which of Nelson's eight rules the values up to it break (L. S. Nelson,
    The Shewhart Control Chart: Tests for Special Causes, Journal of Quality Technology 16, 1984)."""
    return [
        tuple(
            number
            for number, (length, broken) in RULES.items()
            if at + 1 >= length and broken(scores[at + 1 - length : at + 1])
        )
        for at in range(len(scores))
    ]


def _one_side(scores: Sequence[float]) -> bool:
    return all(score > 0 for score in scores) or all(score < 0 for score in scores)


def _steady(scores: Sequence[float]) -> bool:
    steps = [after - before for before, after in pairwise(scores)]
    return _one_side(steps)


def _alternating(scores: Sequence[float]) -> bool:
    steps = [after - before for before, after in pairwise(scores)]
    return all(before * after < 0 for before, after in pairwise(steps))


def _beyond(zone: float, fewest: int) -> Callable[[Sequence[float]], bool]:
    """So many of them beyond it on one side, the last one among them."""

    def broken(scores: Sequence[float]) -> bool:
        last = scores[-1]
        if abs(last) <= zone:
            return False
        return sum(abs(score) > zone and (score > 0) == (last > 0) for score in scores) >= fewest

    return broken


RULES: dict[int, tuple[int, Callable[[Sequence[float]], bool]]] = {
    1: (1, _beyond(3, 1)),
    2: (9, _one_side),
    3: (6, _steady),
    4: (14, _alternating),
    5: (3, _beyond(2, 2)),
    6: (5, _beyond(1, 4)),
    7: (15, lambda scores: all(abs(score) < 1 for score in scores)),
    8: (8, lambda scores: all(abs(score) > 1 for score in scores)),
}
"""How many values in a row a rule looks at, and whether they break it.

1: beyond three sigmas. 2: nine on one side of the centre. 3: six rising, or falling. 4: fourteen up and down in turn.
5: two of three beyond two sigmas on one side. 6: four of five beyond one. 7: fifteen within one. 8: eight beyond one.
"""
