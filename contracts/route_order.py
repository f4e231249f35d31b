"""The one order of a unit's facts, whatever order they arrived in (domain.md, Route)."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from contracts.route_model import FactKey, SampleCheck, UnitDecision, UnitPermit, UnitRecord

AnyFact = UnitRecord | UnitDecision | UnitPermit | SampleCheck
NOTICED_S = 1.0
"""A result is noticed at most so long after it came to be: machines are looked at again and again."""

Fact = TypeVar("Fact", UnitRecord, UnitDecision, UnitPermit, SampleCheck)


def once(facts: Iterable[Fact]) -> list[Fact]:
    """Each (stream_id, seq) once.

    The store keeps one content under a number and quarantines any other; were two given here all the same, the same
    one is taken whatever their order.
    """
    kept: dict[FactKey, Fact] = {}
    for fact in facts:
        known = kept.get(fact.key)
        if known is None or (fact != known and repr(fact) < repr(known)):
            kept[fact.key] = fact
    return list(kept.values())


def foremost(records: Iterable[UnitRecord], most: int) -> list[UnitRecord]:
    """The earliest of these, by time, stream and seq, each once: at most so many."""
    return sorted(once(records), key=lambda record: (record.completed_at, record.key))[:most]


def decisions_in_order(decisions: Iterable[UnitDecision]) -> list[UnitDecision]:
    """Decisions by the time they were made, then stream and seq."""
    return sorted(once(decisions), key=lambda d: (d.decision.decided_at, d.key))


def permits_in_order(permits: Iterable[UnitPermit]) -> list[UnitPermit]:
    """Permits by the time they were given, then stream and seq."""
    return sorted(once(permits), key=lambda permit: (permit.at, permit.key))


def in_order(
    records: Iterable[UnitRecord],
    decisions: Iterable[UnitDecision],
    permits: Iterable[UnitPermit] = (),
    checks: Iterable[SampleCheck] = (),
) -> list[AnyFact]:
    """Every fact once, in the order things happened.

    Permits of one unit exclude each other, so their numbers are the true order of the records that carry one. Facts
    without a permit (among them by time, stream, seq; of one moment records before decisions, these before permits
    that a station gave without central, and these before checks of its machines) are placed between them where the
    fewest clocks have to be wrong: one wild clock displaces nothing but itself.
    """
    unique = once(records)
    permitted = sorted(
        (record for record in unique if record.permit is not None),
        key=lambda r: (r.permit or 0, r.completed_at, r.key),
    )
    by_time = sorted(
        (record for record in unique if record.permit is None), key=lambda record: (record.completed_at, record.key)
    )
    timed: list[tuple[datetime, int, FactKey, AnyFact]] = [
        *((record.completed_at, 0, record.key, record) for record in by_time),
        *((decided.decision.decided_at, 1, decided.key, decided) for decided in decisions_in_order(decisions)),
        *((permit.at, 2, permit.key, permit) for permit in permits_in_order(permits)),
        *((check.at, 3, check.key, check) for check in once(checks)),
    ]
    timed.sort(key=lambda entry: entry[:3])
    if not permitted:
        return [entry[3] for entry in timed]

    clocks = [record.completed_at for record in permitted]
    ordered: list[AnyFact] = []
    taken = 0
    for at, _, _, fact in timed:
        place = _place(clocks, at)
        ordered.extend(permitted[taken:place])
        taken = max(taken, place)
        ordered.append(fact)
    ordered.extend(permitted[taken:])
    return ordered


def _place(clocks: Sequence[datetime], at: datetime) -> int:
    """How many of the clocks come before ``at``, with the fewest of them contradicted; rises with ``at``."""
    wrong = fewest = sum(clock <= at for clock in clocks)
    best = 0
    for place, clock in enumerate(clocks, start=1):
        wrong += 1 if clock > at else -1
        if wrong <= fewest:
            best, fewest = place, wrong
    return best


def cannot_be_ordered(one: UnitRecord, other: UnitRecord) -> bool:
    """True when nothing tells which of two stations' records came first: no two permits, and times that may be equal.

    A unit is carried from one station to the other and measured again, which takes longer than ``NOTICED_S`` twice:
    with measured clocks two stations' results are always told apart.
    """
    if one.station == other.station:
        return False
    if one.permit is not None and other.permit is not None and one.permit != other.permit:
        return False
    if one.completed_within_s is None or other.completed_within_s is None:
        return True
    apart_s = abs((one.completed_at - other.completed_at).total_seconds())
    return apart_s <= one.completed_within_s + other.completed_within_s + 2 * NOTICED_S
