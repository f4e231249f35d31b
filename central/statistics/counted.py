"""What is made of counts: yields through the line, and the few defects that are most of them. Pure."""

from collections.abc import Iterable, Sequence

from central.statistics.forms import Bar


def rolled(first_passes: Iterable[tuple[int, int]]) -> float | None:
    """Rolled throughput yield in percent: the product of first-pass yields, each of units and those passed of them.
    Processes without units are left out; None without any."""
    product, any_units = 1.0, False
    for units, passed in first_passes:
        if units:
            product, any_units = product * passed / units, True
    return round(100 * product, 2) if any_units else None


def pareto(counts: Sequence[tuple[str, int]]) -> list[Bar]:
    """The bars of a Pareto chart, the highest first; of equal ones by code."""
    total = sum(count for _, count in counts)
    bars, upto = [], 0
    for code, count in sorted(counts, key=lambda one: (-one[1], one[0])):
        upto += count
        bars.append(Bar(code, count, round(100 * count / total, 2), round(100 * upto / total, 2)))
    return bars
