"""The whole life of a unit, as it is answered."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel

from central.store.trace import Trace, TracedDecision, TracedPermit, TracedRecord
from contracts.criteria import Outcome
from contracts.facts import RecordCorrected
from contracts.record import ProcessRecord
from contracts.route_model import Hold, RouteException, UnitStatus


class FactRef(BaseModel):
    """Names one fact."""

    stream_id: str
    seq: int

    @classmethod
    def of(cls, key: tuple[str, int] | None) -> Self | None:
        """From stream and seq."""
        return None if key is None else cls(stream_id=key[0], seq=key[1])


class TraceMeasurement(BaseModel):
    """A measurement with the limit it was judged by."""

    name: str
    value: Any
    unit: str | None
    original: str | None
    quality: str
    problem: str | None
    verdict: str | None
    limit: dict[str, Any] | None
    reason: str | None


class TraceCorrection(BaseModel):
    """Who corrected a record, when, why, and what had come."""

    author: str
    decided_at: datetime
    reason: str
    came: "TraceResult"


class TraceResult(BaseModel):
    """What a record says."""

    outcome: Outcome
    measurements: list[TraceMeasurement]
    defects: list[dict[str, Any]]
    started_at: datetime | None
    completed_at: datetime
    cycle_time_seconds: float | None
    criteria_revision: str | None
    judge_version: int | None
    machine_verdict: str | None
    disagreement: bool
    problems: list[str]
    notes: str | None

    @classmethod
    def of(cls, record: ProcessRecord) -> Self:
        """From a record."""
        verdicts = {one.name: one for one in record.verdicts}
        measured = [
            {
                **one.model_dump(include={"name", "value", "unit", "original", "quality", "problem"}, mode="json"),
                **_judged(verdicts.get(one.name)),
            }
            for one in record.measurements
        ]
        names = {one.name for one in record.measurements}
        nothing = dict.fromkeys(("value", "unit", "original", "problem"))
        measured += [
            {**nothing, "name": one.name, "quality": "MISSING", **_judged(one)}
            for one in record.verdicts
            if one.name not in names
        ]
        return cls.model_validate(
            {
                **record.model_dump(include=cls.model_fields.keys() - {"measurements", "notes"}, mode="json"),
                "measurements": measured,
                "notes": None if record.entered is None else record.entered.notes,
            }
        )


def _judged(verdict: Any) -> dict[str, Any]:
    if verdict is None:
        return {"verdict": None, "limit": None, "reason": None}
    limit = verdict.limit
    return {
        "verdict": verdict.verdict.value,
        "limit": None if limit is None else limit.model_dump(mode="json", exclude_defaults=True),
        "reason": verdict.reason,
    }


class TraceRecord(TraceResult):
    """A record, as it counts. ``generation`` and ``attempt`` are its place in the route: reworks before it, and the
    how-manieth of its process there; null where it moved nothing. ``passes``: it is the pass that counts now."""

    fact: FactRef
    process_data_id: int
    process_number: int
    process: str
    station: str
    machine: str
    operator: str
    part: str
    lot_number: str | None
    permit: int | None
    reject_label: bool
    rework_to: str | None
    cycle_key: int | str | None
    cycle_epoch: int
    possible_repeat: bool
    clock_offset_seconds: float | None
    software: str | None
    entered_by: str | None
    received_at: datetime
    generation: int | None
    attempt: int | None
    passes: bool
    deleted: bool
    correction: TraceCorrection | None

    @classmethod
    def of_traced(cls, one: TracedRecord) -> Self:
        """From a record of a trace."""
        correction = None
        if isinstance(one.corrected_by, RecordCorrected):
            said = one.corrected_by
            correction = TraceCorrection(
                author=said.author, decided_at=said.decided_at, reason=said.reason, came=TraceResult.of(one.came)
            )
        same = (
            "process", "station", "machine", "part", "lot_number", "permit", "reject_label", "cycle_key", "cycle_epoch",
            "possible_repeat", "clock_offset_seconds", "software",
        )  # fmt: skip
        return cls.model_validate(
            {
                **TraceResult.of(one.counts).model_dump(),
                **{name: getattr(one.came, name) for name in same},
                "fact": FactRef.of(one.key),
                "process_data_id": one.entry_id,
                "process_number": one.process_number,
                "operator": one.username,
                "rework_to": None if one.counts.rework is None else one.counts.rework.return_to,
                "entered_by": None if one.came.entered is None else one.came.entered.by,
                "received_at": one.received_at,
                "generation": None if one.attempt is None else one.attempt.generation,
                "attempt": None if one.attempt is None else one.attempt.number,
                "passes": one.passes,
                "deleted": one.deleted,
                "correction": correction,
            }
        )


class TraceDecision(BaseModel):
    """What a person decided: rework, override, status, hold, release, correction, and what belongs to it."""

    fact: FactRef
    kind: str
    author: str
    decided_at: datetime
    reason: str
    received_at: datetime
    more: dict[str, Any]

    @classmethod
    def of(cls, one: TracedDecision) -> Self:
        """From a decision of a trace."""
        common = {"kind", "author", "decided_at", "reason"}
        more = one.decision.model_dump(mode="json", exclude=common | {"record", "serial_number"}, exclude_none=True)
        return cls.model_validate(
            {
                **one.decision.model_dump(include=common),
                "fact": FactRef.of(one.key),
                "received_at": one.received_at,
                "more": more,
            }
        )


class TracePermit(BaseModel):
    """A permit, or why it was refused. ``decided_by``: central, or a station without it."""

    fact: FactRef | None
    permit: int | None
    station: str
    machine: str
    process: str
    granted: bool
    refusal: str | None
    decided_by: str
    asked_at: datetime

    @classmethod
    def of(cls, one: TracedPermit) -> Self:
        """From a permit of a trace."""
        values = {name: getattr(one, name) for name in cls.model_fields.keys() - {"fact", "permit"}}
        return cls.model_validate({**values, "fact": FactRef.of(one.key), "permit": one.number})


class TraceHold(BaseModel):
    """What stops the unit."""

    hold_id: str
    reason: str
    code: str | None
    about: FactRef | None

    @classmethod
    def of(cls, one: Hold) -> Self:
        """From a hold of the unit."""
        return cls(hold_id=one.hold_id, reason=one.reason, code=one.code, about=FactRef.of(one.about))


class TraceException(BaseModel):
    """What is wrong beside other facts. ``open``: it stands between the unit and PASSED."""

    code: str
    detail: str
    process_number: int | None
    about: FactRef | None
    open: bool

    @classmethod
    def of(cls, one: RouteException) -> Self:
        """From an exception of the unit."""
        return cls(
            code=one.code,
            detail=one.detail,
            process_number=one.process_number,
            about=FactRef.of(one.about),
            open=one.open,
        )


class TraceOut(BaseModel):
    """The whole life of a unit, as it was known at ``as_of``."""

    serial_number: str
    as_of: datetime
    lot_number: str | None
    sequence_in_lot: int | None
    product_model: str | None
    status: UnitStatus
    final: bool
    rework_count: int
    failure_reason: str | None
    started_at: datetime | None
    completed_at: datetime | None
    passed_processes: list[int]
    overridden_processes: list[int]
    on_hold: bool
    holds: list[TraceHold]
    exceptions: list[TraceException]
    records: list[TraceRecord]
    decisions: list[TraceDecision]
    permits: list[TracePermit]

    @classmethod
    def of(cls, trace: Trace, as_of: datetime) -> Self:
        """From a trace."""
        unit = trace.unit
        same = (
            "serial_number", "lot_number", "sequence_in_lot", "product_model", "status", "final", "rework_count",
            "failure_reason", "started_at", "completed_at", "on_hold",
        )  # fmt: skip
        return cls.model_validate(
            {
                **{name: getattr(unit, name) for name in same},
                "as_of": as_of,
                "passed_processes": sorted(unit.passed),
                "overridden_processes": sorted(unit.overridden),
                "holds": [TraceHold.of(one) for one in unit.holds],
                "exceptions": [TraceException.of(one) for one in unit.exceptions],
                "records": [TraceRecord.of_traced(one) for one in trace.records],
                "decisions": [TraceDecision.of(one) for one in trace.decisions],
                "permits": [TracePermit.of(one) for one in trace.permits],
            }
        )
