"""Whether a number can be what a machine measures, and which change of the settings would make it one. Pure."""

import math

from contracts.criteria import Criterion
from drivers.base import PointValue
from drivers.looking import Sight

_LEAST, _MOST = 1e-4, 1e7
"""Magnitudes of what machines on a production line measure and count, in the units people choose for it."""
_AWAY = 10
"""So many times the limits' own size a bad unit may be away from them."""


def better_setting(sight: Sight, criterion: Criterion | None) -> tuple[str, PointValue] | None:
    """The change of the settings that makes a value plausible which is not; None where there is none."""
    if is_plausible(sight.value, criterion) and not _is_shifted(sight):
        return None
    for change, value in sight.otherwise.items():
        if is_plausible(value, criterion) and value.value != sight.value.value:
            return change, value
    return None


def is_plausible(point: PointValue, criterion: Criterion | None) -> bool:
    """Of what has a value and is no number nothing is known: it is."""
    value = point.value
    if point.problem is not None or value is None:
        return False
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    near = None if criterion is None else _near(criterion)
    if near is not None:
        return near[0] <= value <= near[1] and (value == 0 or abs(value) >= _LEAST * (near[1] - near[0]) / 1000)
    return value == 0 or _LEAST <= abs(value) <= _MOST


def _is_shifted(sight: Sight) -> bool:
    """A small whole number whose words came in the other order is a multiple of 65536."""
    value = sight.value.value
    return isinstance(value, int) and not isinstance(value, bool) and value != 0 and value % 65536 == 0


def _near(criterion: Criterion) -> tuple[float, float] | None:
    """The limits, and as much again on both sides as a very bad unit may miss them."""
    span = criterion.span
    if span is None:
        return None
    ends = [float(end) for end in (span.lower, span.upper) if end is not None]
    size = max([*map(abs, ends), ends[-1] - ends[0]], default=0.0)
    if not math.isfinite(size) or size == 0:
        return None
    return min(ends) - _AWAY * size, max(ends) + _AWAY * size
