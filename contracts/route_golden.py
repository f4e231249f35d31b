"""Which failed golden samples put a unit on hold: the checks before and after it at the machine that worked on it.

A good check says that the machine measured right until then, and does from now on; a failed one, that nobody knows
since the last good one, nor until the next.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta

from contracts.route_model import FactKey, SampleCheck, UnitRecord
from contracts.route_order import once

REACH = timedelta(days=7)
"""A check says so much at most where nothing else does: of a machine's work before its first check of a sample, and of
work in another stream of the station."""


def failed_around(records: Iterable[UnitRecord], checks: Iterable[SampleCheck]) -> list[SampleCheck]:
    """The failed checks that came next before or after one of these records, each once.

    What came before is told ``at`` the record: until then the machine had nothing of this unit.
    """
    series: defaultdict[tuple[str, str, str], list[SampleCheck]] = defaultdict(list)
    for check in once(checks):
        series[check.station, check.machine, check.sample].append(check)
    if all(check.good for some in series.values() for check in some):
        return []
    found: dict[FactKey, SampleCheck] = {}
    for record in records:
        for (station, machine, _), some in series.items():
            if (station, machine) != (record.station, record.machine):
                continue
            before, after = last_check(record, some), next_check(record, some)
            if before is not None:
                before = replace(before, at=max(before.at, record.completed_at))
            for one in (before, after):
                if one is not None and not one.good:
                    known = found.get(one.key, one)
                    found[one.key] = one if one.at < known.at else known
    return list(found.values())


def last_check(record: UnitRecord, series: Sequence[SampleCheck]) -> SampleCheck | None:
    """The check of one sample that came last before the record on its machine; None: there was none. As
    ``next_check``."""
    same = [check for check in series if check.stream_id == record.stream_id and check.seq < record.seq]
    if same:
        return max(same, key=lambda check: check.seq)
    others = (
        check
        for check in series
        if check.stream_id != record.stream_id and record.completed_at - REACH <= check.at <= record.completed_at
    )
    return max(others, key=lambda check: (check.at, check.key), default=None)


def next_check(record: UnitRecord, series: Sequence[SampleCheck]) -> SampleCheck | None:
    """The check of one sample that came next on the record's machine; None: there was none yet.

    In one stream its numbers say what came after what, whatever the clock did; of two streams the time does.
    """
    same = [check for check in series if check.stream_id == record.stream_id]
    later = [check for check in same if check.seq > record.seq]
    if later:
        first = min(later, key=lambda check: check.seq)
        is_first_of_all = len(later) == len(same)
        return first if not is_first_of_all or first.at - REACH <= record.completed_at else None
    others = (
        check
        for check in series
        if check.stream_id != record.stream_id and record.completed_at < check.at <= record.completed_at + REACH
    )
    return min(others, key=lambda check: (check.at, check.key), default=None)
