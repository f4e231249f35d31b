"""Process data as people enter and correct it: checked as things stand, and kept as facts.

Raises RefusedError where a rule is broken, NotThereError where what is named is not there, RoleError where only a
manager may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from central.store import permitting, production_lots, production_units
from central.store.criteria import in_force_at
from central.store.decisions import Decisions
from central.store.production_data import by_id, counting, kept
from central.store.refusing import NotThereError, RefusedError, RoleError, refuse
from central.store.rows import CENTRAL, PERSON, STARTED
from central.store.tables import process_data, processes
from contracts.criteria import JUDGE_VERSION, Outcome, Verdict, judge
from contracts.facts import ProcessStarted, RecordCorrected, RecordDeleted
from contracts.measurement import Measurement
from contracts.record import DataLevel, Defect, Entry, Part, ProcessRecord, ReworkRequest
from contracts.refusals import RefusalCode
from contracts.route_model import LotState, LotStatus, UnitState, UnitStatus
from contracts.route_start import may_rework, may_start, may_start_in, rework_return


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a person says of a process. ``outcome`` None: it began and is not finished. ``operator``: who did it."""

    outcome: Outcome | None
    operator: str
    started_at: datetime
    completed_at: datetime | None = None
    cycle_time_seconds: float | None = None
    measurements: tuple[Measurement, ...] = ()
    defects: tuple[Defect, ...] = ()
    process_order: int | None = None
    notes: str | None = None
    return_process: str | int | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a result is about: a LOT, or one of its units, at a process."""

    lot_id: int
    process_id: int
    data_level: DataLevel
    serial_id: int | None = None


@dataclass(frozen=True)
class _Place:
    """The same by names, as things stand."""

    lot: LotState | None
    unit: UnitState | None
    lot_number: str
    process_code: str
    process_number: int


def enter(people: Decisions, author: str, subject: Subject, result: Result, *, manager: bool) -> int:
    """Keep what a person says of a process; answers its id."""
    place = _place(people, subject)
    _may(people, place, result, manager=manager)
    permit = people.permit() if place.unit is not None else None
    if result.outcome is None:
        seq = people.keep(_started(people, author, place, subject, result, permit, None))
    else:
        seq = people.keep_record(_record(people, author, place, result, permit, None))
    return _id_of(people, seq)


def finish(people: Decisions, author: str, row: sa.RowMapping, changes: Mapping[str, Any], *, manager: bool) -> int:
    """What became of a start, or what more is known of it; its id stays. ``changes`` are fields of Result."""
    subject = Subject(
        lot_id=row["lot_id"],
        process_id=row["process_id"],
        data_level=DataLevel(row["data_level"]),
        serial_id=row["serial_id"],
    )
    place = _place(people, subject)
    began = _began(people.connection, row)
    known: dict[str, Any] = {"outcome": None} | {name: getattr(began, name) for name in _OF_START}
    result = Result(**{**known, **changes})
    if result.outcome is None:
        seq = people.keep(_started(people, author, place, subject, result, began.permit, row["seq"]))
    else:
        _may(people, place, result, manager=manager)
        seq = people.keep_record(_record(people, author, place, result, began.permit, row["seq"]))
    return _id_of(people, seq)


def correct(
    people: Decisions, author: str, row: sa.RowMapping, changes: Mapping[str, Any], reason: str, *, manager: bool
) -> None:
    """Let other values count in place of a record's own, which stays as it came. ``changes`` are fields of Result."""
    if row["part"] != Part.PRODUCT.value:
        raise RefusedError("NOT_A_PRODUCT", f"a {row['part']} is kept as it came")
    counts = counting(people.connection, row)
    outcome = changes.get("outcome", counts.outcome)
    if outcome is Outcome.REWORK and counts.outcome is not Outcome.REWORK:
        raise RefusedError("REWORK_NOT_AUTHORISED", "a correction authorises no rework: POST the rework")
    if not manager and counts.outcome is Outcome.REWORK and outcome is not Outcome.REWORK:
        raise RoleError("ROLE_TOO_LOW", "a manager alone takes back a rework")
    number = row["serial_number"]
    if number is not None:
        people.unit(number)
    lot_number = row["lot_number"]
    if lot_number is not None and people.lot(lot_number).status is LotStatus.CLOSED:
        raise RefusedError(RefusalCode.LOT_CLOSED.value, f"{lot_number} is closed")
    before = counts.entered
    made: dict[str, Any] = {name: value for name, value in changes.items() if name in _OF_RECORD}
    made["entered"] = Entry(
        by=author,
        at=people.now,
        notes=changes.get("notes", None if before is None else before.notes),
        process_order=changes.get("process_order", None if before is None else before.process_order),
    )
    if outcome is not counts.outcome:
        made |= {"machine_verdict": None, "problems": (), "rework": None}
    if "completed_at" in changes:
        made |= {"clock_offset_seconds": 0.0, "completed_within_seconds": 0.0}
    if outcome is not counts.outcome or "measurements" in changes:
        measured = changes.get("measurements", counts.measurements)
        model = row["product_model"] or _model(people, row["serial_number"], lot_number)
        at = changes.get("completed_at", counts.completed_at)
        made |= _judged(people.connection, counts.process, measured, outcome, model, at)
    record = ProcessRecord.model_validate_json(counts.model_copy(update=made).model_dump_json())
    people.keep(
        RecordCorrected(
            author=author,
            decided_at=people.now,
            reason=reason,
            stream_id=row["stream_id"],
            seq=row["seq"],
            serial_number=number,
            lot_number=None if number is not None else lot_number,
            record=record,
        )
    )


def delete(people: Decisions, author: str, entry_id: int, reason: str) -> None:
    """Take a record or a start out of what counts."""
    row = by_id(people.connection, entry_id)
    if row["part"] != Part.PRODUCT.value:
        raise RefusedError("NOT_A_PRODUCT", f"a {row['part']} is kept as it came")
    if row["serial_number"] is not None:
        people.unit(row["serial_number"])
    people.keep(
        RecordDeleted(
            author=author,
            decided_at=people.now,
            reason=reason,
            stream_id=row["stream_id"],
            seq=row["seq"],
            serial_number=row["serial_number"],
            lot_number=None if row["serial_number"] is not None else row["lot_number"],
        )
    )


_OF_RECORD = (
    "outcome", "operator", "started_at", "completed_at", "cycle_time_seconds", "measurements", "defects",
)  # fmt: skip


_OF_START = ("operator", "started_at", "measurements", "defects", "process_order", "notes")


def _place(people: Decisions, subject: Subject) -> _Place:
    connection = people.connection
    lot_number = production_lots.by_id(connection, subject.lot_id)["lot_number"]
    columns = processes.c.process_code, processes.c.process_number, processes.c.is_active
    process = connection.execute(sa.select(*columns).where(processes.c.id == subject.process_id)).one_or_none()
    if process is None:
        raise NotThereError("PROCESS_NOT_FOUND", f"no process {subject.process_id}")
    if not process.is_active:
        raise RefusedError(RefusalCode.INVALID_PROCESS_SEQUENCE.value, f"{process.process_code} is switched off")
    unit = None
    if subject.serial_id is not None:
        row = production_units.by_id(connection, subject.serial_id)
        if row["lot_id"] not in (None, subject.lot_id):
            detail = f"{row['serial_number']} belongs to {row['lot_number']}, not to {lot_number}"
            raise RefusedError("SERIAL_LOT_MISMATCH", detail)
        unit = people.unit(row["serial_number"])
    lot = people.lot(lot_number)
    return _Place(lot if lot.created else None, unit, lot_number, process.process_code, process.process_number)


def _may(people: Decisions, place: _Place, result: Result, *, manager: bool) -> None:
    if place.unit is None:
        if place.lot is None:
            raise RefusedError(RefusalCode.LOT_NOT_FOUND.value, f"nobody has opened {place.lot_number}")
        refuse(may_start_in(place.lot))
    elif result.outcome is not Outcome.REWORK:
        refuse(may_start(place.unit, place.lot, place.process_number, people.limits))
    if result.outcome is Outcome.REWORK:
        if not manager:
            raise RoleError("ROLE_TOO_LOW", "a manager alone authorises a rework")
        if place.unit is None:
            raise RefusedError(RefusalCode.REWORK_NOT_ALLOWED.value, "a LOT is not reworked, its units are")
        if place.lot is not None and place.lot.status is LotStatus.CLOSED:
            raise RefusedError(RefusalCode.LOT_CLOSED.value, f"{place.lot_number} is closed")
        refuse(may_rework(place.unit, _return_to(people, place.unit, result), people.limits))


def _return_to(people: Decisions, unit: UnitState, result: Result) -> int:
    named = result.return_process
    if named is None:
        return rework_return(unit, people.limits)
    if isinstance(named, int):
        return named
    if named not in people.limits.by_code:
        raise NotThereError("PROCESS_NOT_FOUND", f"no process {named}")
    return people.limits.by_code[named].number


def _started(
    people: Decisions,
    author: str,
    place: _Place,
    subject: Subject,
    result: Result,
    permit: int | None,
    replaces: int | None,
) -> ProcessStarted:
    return ProcessStarted(
        author=author,
        decided_at=people.now,
        reason="begun",
        process=place.process_code,
        data_level=subject.data_level,
        serial_number=None if place.unit is None else place.unit.serial_number,
        lot_number=place.lot_number,
        operator=result.operator,
        started_at=result.started_at,
        measurements=result.measurements,
        defects=result.defects,
        process_order=result.process_order,
        notes=result.notes,
        permit=permit,
        replaces=replaces,
    )


def _record(
    people: Decisions, author: str, place: _Place, result: Result, permit: int | None, started: int | None
) -> ProcessRecord:
    assert result.outcome is not None, "it is finished"
    unit = place.unit
    model = unit.product_model if unit is not None and unit.product_model else None
    model = model or (place.lot.product_model if place.lot is not None else None)
    completed_at = _ended(result, people.now)
    rework = None
    if result.outcome is Outcome.REWORK and unit is not None:
        back = people.limits.by_number[_return_to(people, unit, result)].code
        rework = ReworkRequest(return_to=back, reason=result.notes or f"authorised by {author}")
    return ProcessRecord(
        station=CENTRAL,
        process=place.process_code,
        machine=PERSON,
        data_level=DataLevel.LOT if unit is None else DataLevel.SERIAL,
        serial_number=None if unit is None else unit.serial_number,
        lot_number=place.lot_number,
        operator=result.operator,
        outcome=result.outcome,
        measurements=result.measurements,
        defects=result.defects,
        started_at=result.started_at,
        completed_at=completed_at,
        cycle_time_seconds=result.cycle_time_seconds,
        clock_offset_seconds=0.0,
        completed_within_seconds=0.0,
        permit=permit,
        rework=rework,
        reject_label=unit is not None and unit.status is UnitStatus.FAILED and rework is None,
        entered=Entry(
            by=author, at=people.now, notes=result.notes, process_order=result.process_order, started=started
        ),
        **_judged(people.connection, place.process_code, result.measurements, result.outcome, model, completed_at),
    )


def _ended(result: Result, now: datetime) -> datetime:
    """Where nobody says: after the cycle's time, else now; never before it began."""
    if result.completed_at is not None:
        return result.completed_at
    if result.cycle_time_seconds is not None:
        return result.started_at + timedelta(seconds=result.cycle_time_seconds)
    return max(now, result.started_at)


def _judged(
    connection: sa.Connection,
    process: str,
    measurements: Sequence[Measurement],
    outcome: Outcome,
    model: str | None,
    at: datetime,
) -> dict[str, Any]:
    """How the criteria in force judge what was entered. A PASS that they do not give is refused: never by accident.

    Without criteria it is the person's word.
    """
    revision = in_force_at(connection, process, at)
    criteria = None if revision is None else revision.criteria.chosen(revision.name, model, CENTRAL, PERSON)
    if criteria is None or not criteria.criteria:
        return {"verdicts": (), "criteria_revision": None, "judge_version": None, "disagreement": False}
    judgement = judge(measurements, criteria)
    if outcome is Outcome.PASS and judgement.outcome is not Outcome.PASS:
        wrong = [one for one in judgement.verdicts if one.verdict in (Verdict.FAIL, Verdict.ERROR)]
        why = "; ".join(f"{one.name}: {one.reason or one.verdict}" for one in wrong) or "nothing was measured"
        raise RefusedError("CRITERIA_NOT_MET", f"{process} cannot be a PASS by revision {criteria.revision}: {why}")
    return {
        "verdicts": judgement.verdicts,
        "criteria_revision": criteria.revision,
        "judge_version": JUDGE_VERSION,
        "disagreement": outcome is Outcome.FAIL and judgement.outcome is Outcome.PASS,
    }


def _model(people: Decisions, serial_number: str | None, lot_number: str | None) -> str | None:
    unit = None if serial_number is None else people.unit(serial_number)
    if unit is not None and unit.product_model is not None:
        return unit.product_model
    row = permitting.lot_row(people.connection, lot_number)
    return None if row is None else row["model_code"]


def _began(connection: sa.Connection, row: sa.RowMapping) -> ProcessStarted:
    assert row["outcome"] == STARTED, "it is not finished"
    return ProcessStarted.model_validate_json(kept(connection, row))


def _id_of(people: Decisions, seq: int) -> int:
    mine = (process_data.c.stream_id == people.stream_id) & (process_data.c.seq == seq)
    found: int = people.connection.execute(sa.select(process_data.c.id).where(mine)).scalar_one()
    return found
