"""Which failed golden samples put a unit on hold: the check that came next at the machine that worked on it.

A good check says that the machine measured right until then; a failed one, that nobody knows since the last good one.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from contracts.route_model import SampleCheck, UnitRecord
from contracts.route_order import once

REACH = timedelta(days=7)
"""A check says so much of the past at most where nothing else does: of a machine's work before its first check of a
sample, and of work in another stream of the station."""


def failed_after(records: Iterable[UnitRecord], checks: Iterable[SampleCheck]) -> list[SampleCheck]:
    """The failed checks that came next after one of these records, each once."""
    series: defaultdict[tuple[str, str, str], list[SampleCheck]] = defaultdict(list)
    for check in once(checks):
        series[check.station, check.machine, check.sample].append(check)
    if all(check.good for some in series.values() for check in some):
        return []
    found: dict[SampleCheck, None] = {}
    for record in records:
        for (station, machine, _), some in series.items():
            if (station, machine) != (record.station, record.machine):
                continue
            after = next_check(record, some)
            if after is not None and not after.good:
                found[after] = None
    return list(found)


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
