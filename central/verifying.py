"""Stored verdicts, repeated: each record is judged again by the limits it carries, and compared byte for byte."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from contracts.criteria import JUDGE_VERSION, Criteria, CriteriaSet, MeasurementVerdict, Outcome, judge, subjects
from contracts.record import ProcessRecord

MOST_TOLD = 20
_verdicts: TypeAdapter[tuple[MeasurementVerdict, ...]] = TypeAdapter(tuple[MeasurementVerdict, ...])


@dataclass
class Verified:
    """What came of it. ``older``: judged by an earlier version of judge(), which may have judged otherwise by right."""

    records: int = 0
    not_judged: int = 0
    equal: int = 0
    different: int = 0
    older_equal: int = 0
    older_different: int = 0
    newer: int = 0
    told: list[str] = field(default_factory=list)


def verify(records: Iterable[ProcessRecord], revisions: Mapping[tuple[str, str], Criteria]) -> Verified:
    """Repeat the verdicts of these records. ``revisions``: process and revision -> what central wrote under it."""
    found = Verified()
    for record in records:
        found.records += 1
        if record.judge_version is None:
            found.not_judged += 1
        elif record.judge_version > JUDGE_VERSION:
            found.newer += 1
        else:
            reason = _difference(record, revisions.get((record.process, record.criteria_revision or "")))
            older = "older_" if record.judge_version < JUDGE_VERSION else ""
            name = f"{older}{'equal' if reason is None else 'different'}"
            setattr(found, name, getattr(found, name) + 1)
            if reason is not None and len(found.told) < MOST_TOLD:
                unit = record.serial_number or "no unit"
                found.told.append(f"{unit} at {record.station}, {record.completed_at.isoformat()}: {reason}")
    return found


def _difference(record: ProcessRecord, written: Criteria | None) -> str | None:
    limits = {one.name: one.limit for one in record.verdicts if one.limit is not None}
    if written is not None:
        chosen = written.chosen("kept", record.product_model, record.station, record.machine).criteria
        other = [name for name, limit in limits.items() if chosen.get(name) != limit]
        if other:
            return f"the limit of {other[0]} is not that of revision {record.criteria_revision}"
        # What is not in the record another machine of the station may have measured: it was judged there.
        holds = {one.name for one in record.measurements}
        left = [
            name for name, limit in chosen.items() if name not in limits and holds.issuperset(subjects(name, limit))
        ]
        if left:
            return f"{left[0]} was not judged, revision {record.criteria_revision} has a limit for it"
    criteria = CriteriaSet(process=record.process, revision=record.criteria_revision or "none", criteria=limits)
    again = judge(record.measurements, criteria, record.machine_verdict)
    if _bytes(again.verdicts) != _bytes(record.verdicts):
        return f"verdicts {_told(again.verdicts)}, stored are {_told(record.verdicts)}"
    decided = not record.problems and record.outcome in (Outcome.PASS, Outcome.FAIL, Outcome.ERROR)
    if decided and (again.outcome, again.disagreement) != (record.outcome, record.disagreement):
        return f"outcome {again.outcome}, stored is {record.outcome}"
    return None


def _bytes(verdicts: Sequence[MeasurementVerdict]) -> bytes:
    return _verdicts.dump_json(tuple(verdicts), exclude_defaults=True)


def _told(verdicts: Sequence[MeasurementVerdict]) -> str:
    return ", ".join(f"{one.name} {one.verdict}" + (f" ({one.reason})" if one.reason else "") for one in verdicts)
