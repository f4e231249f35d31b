"""Sets of seqs as rising ranges that do not touch: ``((1, 7), (9, 9))``. Pure."""

from collections.abc import Iterable

from contracts.envelope import Range

Spans = tuple[Range, ...]


def union(*parts: Iterable[Range]) -> Spans:
    """What is in any of them; the parts may overlap and come in any order."""
    joined: list[Range] = []
    for first, last in sorted(span for part in parts for span in part):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def minus(these: Iterable[Range], those: Iterable[Range]) -> Spans:
    """What is in ``these`` and not in ``those``."""
    taken = union(those)
    rest: list[Range] = []
    position = 0
    for first, last in union(these):
        while position < len(taken) and taken[position][1] < first:
            position += 1
        begin, ahead = first, position
        while ahead < len(taken) and taken[ahead][0] <= last:
            if begin < taken[ahead][0]:
                rest.append((begin, taken[ahead][0] - 1))
            begin = taken[ahead][1] + 1
            ahead += 1
        if begin <= last:
            rest.append((begin, last))
    return tuple(rest)


def both(these: Iterable[Range], those: Iterable[Range]) -> Spans:
    """What is in each of them."""
    mine = union(these)
    return minus(mine, minus(mine, those))


def count(spans: Iterable[Range]) -> int:
    """How many seqs they hold."""
    return sum(last - first + 1 for first, last in spans)


def told(spans: Iterable[Range], most: int = 20) -> str:
    """For a person to read: ``1-7, 9``; beyond ``most`` ranges, how many more there are."""
    parts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
    more = f", and {len(parts) - most} more" if len(parts) > most else ""
    return ", ".join(parts[:most]) + more
