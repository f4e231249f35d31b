"""The records that count, in place of those that came: what people corrected or took away (domain.md, Facts)."""

from collections.abc import Iterable
from dataclasses import replace

from contracts.facts import RecordCorrected, RecordDeleted
from contracts.record import corrected_time
from contracts.route_model import FactKey, RouteLimits, UnitDecision, UnitRecord
from contracts.route_order import decisions_in_order


def as_they_count(
    records: Iterable[UnitRecord], decisions: Iterable[UnitDecision], limits: RouteLimits
) -> list[UnitRecord]:
    """The records with the last correction of each in its place, and without those that were taken away.

    A correction of a record that is not here corrects nothing. Pure: any order and repetition gives the same.
    """
    corrections, deleted = last_words(decisions)
    return [
        _corrected(record, corrections[record.key], limits) if record.key in corrections else record
        for record in records
        if record.key not in deleted
    ]


def last_words(decisions: Iterable[UnitDecision]) -> tuple[dict[FactKey, RecordCorrected], set[FactKey]]:
    """The correction that counts of each record, and which records were taken away: nothing brings those back."""
    corrections: dict[FactKey, RecordCorrected] = {}
    deleted: set[FactKey] = set()
    about = [fact for fact in decisions if isinstance(fact.decision, RecordCorrected | RecordDeleted)]
    for fact in decisions_in_order(about):
        decision = fact.decision
        if isinstance(decision, RecordCorrected):
            corrections[decision.stream_id, decision.seq] = decision
        elif isinstance(decision, RecordDeleted):
            deleted.add((decision.stream_id, decision.seq))
    return corrections, deleted


def _corrected(record: UnitRecord, correction: RecordCorrected, limits: RouteLimits) -> UnitRecord:
    """Its place in the route and whose it is stay the record's own."""
    counts = correction.record
    back = None if counts.rework is None else limits.by_code.get(counts.rework.return_to)
    return replace(
        record,
        outcome=counts.outcome,
        completed_at=corrected_time(counts),
        completed_within_s=None if counts.clock_offset_seconds is None else counts.completed_within_seconds,
        return_to=None if back is None else back.number,
        reject_label=counts.reject_label,
        defects=tuple(defect.code for defect in counts.defects),
    )
