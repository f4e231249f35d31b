"""A ProcessRecord as rows, and a row of facts as what the fold takes. Pure; nothing a record holds can break it.

What a database cannot hold (NUL in a text, a number beyond 64 bits, a time beyond the calendar) is bounded here in
the searchable columns; ``process_data.record`` keeps the canonical bytes as they came.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from contracts.criteria import Outcome
from contracts.facts import AnyDecision, HoldPlaced, HoldReleased, ProcessStarted, decision_adapter
from contracts.identity import lot_of_serial, lot_parts
from contracts.permit import PermitRecord, StationRecord
from contracts.record import DataLevel, Part, ProcessRecord, canonical, corrected_time, shifted
from contracts.route_model import SampleCheck, UnitDecision, UnitPermit, UnitRecord

CENTRAL = "central"
"""The station name central's own stream stands under."""
PERSON = "person"
"""What stands for the machine where a person gave the result."""

RECORD = "record"
"""The ``kind`` of a station's record among the facts; the others are kinds of decisions."""

PERMIT = "permit"
"""The ``kind`` of a station's permit or refusal. Its ``outcome`` is one of these three."""
GRANTED, GRANTED_OFFLINE, REFUSED = "GRANTED", "GRANTED_OFFLINE", "REFUSED"

STARTED = "STARTED"
"""The outcome of a row of ``process_data`` that a person began and that has no result yet."""

UNKNOWN_PROCESS = 0
"""Process number of a record whose process code central does not know: an exception on the unit."""

_LONGEST_NAME = 100
LARGEST = 2**62
"""What a column holds."""
_LARGEST_EPOCH = 2**31 - 1

Row = dict[str, Any]
"""A row to write, by column."""

Fields = Mapping[str, Any] | sa.RowMapping
"""A row as it was read, or as it will be written."""


def name_of(text: str) -> str:
    """A name from a machine or a badge as an indexed column can hold it: no NUL, bounded, still telling two apart."""
    clean = text.replace("\x00", "\ufffd").strip()
    if len(clean) <= _LONGEST_NAME:
        return clean
    return f"{clean[: _LONGEST_NAME - 17]}~{sha256(clean.encode()).hexdigest()[:16]}"


def username_of(record: ProcessRecord) -> str:
    """Who ran the machine: the operator without case, else the station's own user."""
    operator = name_of(record.operator or "")
    return (operator or f"station-{record.station}").casefold()


def product_model_of(record: ProcessRecord) -> str | None:
    """The product model's code, None when the record names none."""
    return name_of(record.product_model or "") or None


def hold_of(decision: AnyDecision) -> str | None:
    """The hold a decision places or releases."""
    return name_of(decision.hold_id) if isinstance(decision, HoldPlaced | HoldReleased) else None


def impossible(record: StationRecord) -> str | None:
    """Why a record is wrong in itself although its schema is right; None when it is not."""
    if record.lot_number is not None and lot_parts(record.lot_number) is None:
        return f"impossible LOT number {record.lot_number}"
    if isinstance(record, ProcessRecord) and record.entered is not None:
        return "it says that a person entered it, which a station cannot"
    return None


def started_at(record: ProcessRecord) -> datetime:
    """When the cycle began by the station's clock; reckoned from its end and length where the record does not say."""
    return record.started_at or shifted(record.completed_at, record.cycle_time_seconds)


def fact_row(stream_id: str, seq: int, record: StationRecord, digest: str, numbers: Mapping[str, int]) -> Row:
    """The row of ``facts``: what the fold needs. ``numbers`` are the process numbers by code."""
    if isinstance(record, PermitRecord):
        return _permit_row(stream_id, seq, record, digest, numbers)
    small_permit = record.permit is not None and record.permit <= LARGEST
    return {
        "stream_id": stream_id,
        "seq": seq,
        "kind": RECORD,
        "digest": digest,
        "serial_number": record.serial_number,
        "lot_number": record.lot_number,
        "station": record.station,
        "process_number": numbers.get(record.process, UNKNOWN_PROCESS),
        "data_level": record.data_level.value,
        "part": record.part.value,
        "outcome": record.outcome.value,
        "completed_at": corrected_time(record),
        "permit": record.permit if small_permit else None,
        "return_to": numbers.get(record.rework.return_to) if record.rework else None,
        "reject_label": record.reject_label,
        "product_model": product_model_of(record),
        "defects": [defect.code for defect in record.defects],
        "machine": record.machine,
        "cycle_epoch": min(record.cycle_epoch, _LARGEST_EPOCH),
        "cycle_number": _cycle_number(record),
        "missed_before": None if record.missed_before is None else min(record.missed_before, LARGEST),
        "completed_within_seconds": None if record.clock_offset_seconds is None else record.completed_within_seconds,
        "sample": None if record.golden is None else record.golden.sample,
        "good": None if record.golden is None else record.golden.good,
        "body": None,
    }


def _permit_row(stream_id: str, seq: int, record: PermitRecord, digest: str, numbers: Mapping[str, int]) -> Row:
    outcome = GRANTED_OFFLINE if record.offline else GRANTED
    inside = None if record.serial_number is None else lot_of_serial(record.serial_number)
    return {
        **dict.fromkeys(fact_columns()),
        "stream_id": stream_id,
        "seq": seq,
        "kind": PERMIT,
        "digest": digest,
        "serial_number": record.serial_number,
        "lot_number": record.lot_number if inside is None else inside[0],
        "station": record.station,
        "process_number": numbers.get(record.process, UNKNOWN_PROCESS),
        "part": record.part.value,
        "outcome": outcome if record.granted else REFUSED,
        "completed_at": shifted(record.asked_at, record.clock_offset_seconds),
        "permit": record.permit,
        "machine": record.machine,
        "body": canonical(record).decode(),
    }


def _cycle_number(record: ProcessRecord) -> int | None:
    """The machine's counter; None where its key is a text, or no column holds it."""
    key = record.cycle_key
    return key if isinstance(key, int) and abs(key) <= LARGEST else None


def tombstone(stream_id: str, seq: int) -> Row:
    """The row of ``facts`` once two contents claim its number: it takes no part in anything."""
    thin = fact_columns()
    return {**dict.fromkeys(thin), "stream_id": stream_id, "seq": seq, "kind": RECORD}


def fact_columns() -> tuple[str, ...]:
    """The columns ``fact_row`` gives."""
    return (
        "stream_id", "seq", "kind", "digest", "serial_number", "lot_number", "station", "process_number", "data_level",
        "part", "outcome", "completed_at", "permit", "return_to", "reject_label", "product_model", "defects",
        "machine", "cycle_epoch", "cycle_number", "missed_before", "body",
        "completed_within_seconds", "sample", "good",
    )  # fmt: skip


def started_row(stream_id: str, seq: int, started: ProcessStarted) -> Row:
    """The row of ``process_data`` of what a person began, without the ids of what it belongs to."""
    return {
        "stream_id": stream_id,
        "seq": seq,
        "data_level": started.data_level.value,
        "part": Part.PRODUCT.value,
        "outcome": STARTED,
        "measurements": {measurement.name: measurement.value for measurement in started.measurements},
        "defects": [defect.model_dump(mode="json", exclude_none=True) for defect in started.defects],
        "started_at": started.started_at,
        "process_order": started.process_order,
        "notes": started.notes,
        "station": CENTRAL,
        "machine": PERSON,
        "disagreement": False,
        "entered_by": name_of(started.author),
        "record": started.model_dump_json(exclude_defaults=True),
    }


def process_data_row(stream_id: str, seq: int, record: ProcessRecord) -> Row:
    """The row of ``process_data`` without the ids of what it belongs to."""
    return {
        "stream_id": stream_id,
        "seq": seq,
        "data_level": record.data_level.value,
        "part": record.part.value,
        "result": record.result,
        "outcome": record.outcome.value,
        "measurements": {measurement.name: measurement.value for measurement in record.measurements},
        "defects": [defect.model_dump(mode="json", exclude_none=True) for defect in record.defects],
        "started_at": started_at(record),
        "completed_at": record.completed_at,
        "cycle_time_seconds": record.cycle_time_seconds,
        "process_order": record.entered.process_order if record.entered else None,
        "notes": record.entered.notes if record.entered else None,
        "entered_by": name_of(record.entered.by) if record.entered else None,
        "product_model": product_model_of(record),
        "station": record.station,
        "machine": record.machine,
        "criteria_revision": None if record.criteria_revision is None else name_of(record.criteria_revision),
        "judge_version": record.judge_version,
        "machine_verdict": record.machine_verdict.value if record.machine_verdict else None,
        "disagreement": record.disagreement,
        "record": canonical(record).decode(),
    }


def is_product(row: Fields) -> bool:
    """True for a record that counts: golden samples, dry runs and calibration are kept and left out."""
    return bool(row["part"] == Part.PRODUCT.value)


def moves(row: Fields) -> bool:
    """True for a fact that the states of units and LOTs depend on; a refusal, and what is no product, is only kept."""
    if row["kind"] == RECORD:
        return is_product(row)
    return row["kind"] != PERMIT or (is_product(row) and row["outcome"] != REFUSED)


def unit_record(row: Fields) -> UnitRecord:
    """A row of ``facts`` as the fold takes it."""
    return UnitRecord(
        stream_id=row["stream_id"],
        seq=row["seq"],
        station=row["station"],
        process_number=row["process_number"],
        outcome=Outcome(row["outcome"]),
        completed_at=row["completed_at"],
        permit=row["permit"],
        return_to=row["return_to"],
        reject_label=row["reject_label"],
        lot_number=row["lot_number"],
        product_model=row["product_model"],
        defects=tuple(row["defects"] or ()),
        data_level=DataLevel(row["data_level"]),
        machine=row["machine"] or "",
        completed_within_s=row["completed_within_seconds"],
    )


def sample_check(row: Fields) -> SampleCheck:
    """The row of a golden sample's record, as the fold takes it."""
    return SampleCheck(
        stream_id=row["stream_id"],
        seq=row["seq"],
        station=row["station"],
        machine=row["machine"],
        sample=row["sample"],
        good=row["good"],
        at=row["completed_at"],
    )


def unit_permit(row: Fields) -> UnitPermit:
    """The row of a permit given without central, as the fold takes it."""
    return UnitPermit(
        stream_id=row["stream_id"],
        seq=row["seq"],
        station=row["station"],
        process_number=row["process_number"],
        at=row["completed_at"],
        serial_number=row["serial_number"],
    )


def unit_decision(row: Fields) -> UnitDecision:
    """A decision's row of ``facts`` as the fold takes it."""
    decision: AnyDecision = decision_adapter.validate_json(row["body"])
    return UnitDecision(stream_id=row["stream_id"], seq=row["seq"], decision=decision)
