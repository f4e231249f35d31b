"""Histories of a unit as a line of text, for tests of the route.

A history is read from left to right, a minute a step: ``3P`` passed at process 3, ``3F`` failed, ``3E`` could not be
judged, ``3A`` was aborted, ``3R2`` the station asks for a rework back to 2, ``7L`` a reject label, ``3Q`` the station
permits the unit to start at 3 without central; of people ``R2`` a
rework back to 2, ``O5`` process 5 is opened out of order, ``S`` scrapped, ``H`` held, ``h`` released, ``DP`` decided
PASSED, ``DF`` decided FAILED, ``DI`` decided IN_PROGRESS, ``N`` entered, ``X`` taken away.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.criteria import Outcome
from contracts.facts import (
    AnyDecision,
    HoldPlaced,
    HoldReleased,
    OrderOverridden,
    RecordCorrected,
    RecordDeleted,
    ReworkAuthorised,
    SerialCreated,
    SerialDeleted,
    StatusDecided,
    UnitScrapped,
)
from contracts.processes import BY_NUMBER
from contracts.record import Entry, ProcessRecord
from contracts.route import fold_unit
from contracts.route_model import RouteLimits, UnitDecision, UnitPermit, UnitRecord, UnitState

SERIAL = "SN-241118-001"
MORNING = datetime(2026, 11, 18, tzinfo=UTC)
CENTRAL = "c" * 32
_OUTCOMES = {"P": "PASS", "F": "FAIL", "E": "ERROR", "A": "ABORTED", "R": "REWORK", "L": "PASS"}


def minute(number: float) -> datetime:
    return MORNING + timedelta(minutes=number)


def record(step: str, number: int, **changes: Any) -> UnitRecord:
    """The record of a step such as ``3P``, at this minute."""
    process, letter = int(step[0]), step[1]
    content = UnitRecord(
        stream_id=f"{process:032x}",
        seq=number + 1,
        station=f"P0{process}-A",
        process_number=process,
        outcome=Outcome(_OUTCOMES[letter]),
        completed_at=minute(number),
        return_to=int(step[2]) if letter == "R" else None,
        reject_label=letter == "L",
        defects=("SOME_FAIL",) if letter == "F" else (),
        completed_within_s=0.1,
    )
    return replace(content, **changes)


def permit(step: str, number: int, **changes: Any) -> UnitPermit:
    """A permit given without central, at this minute."""
    process = int(step[0])
    given = UnitPermit(
        stream_id=f"{process:032x}",
        seq=number + 1,
        station=f"P0{process}-A",
        process_number=process,
        at=minute(number),
        serial_number=SERIAL,
    )
    return replace(given, **changes)


def decision(step: str, number: int) -> UnitDecision:
    """A person's decision, at this minute."""
    who: dict[str, Any] = {"author": "kim", "decided_at": minute(number), "reason": "because"}
    code = BY_NUMBER[int(step[1])].code if step[1:].isdigit() else ""
    made: dict[str, AnyDecision] = {
        "S": UnitScrapped(serial_number=SERIAL, **who),
        "H": HoldPlaced(hold_id="h1", serial_number=SERIAL, **who),
        "h": HoldReleased(hold_id="h1", serial_number=SERIAL, **who),
        "N": SerialCreated(serial_number=SERIAL, lot_number="WF-KR-241118N-001", sequence_in_lot=7, **who),
        "X": SerialDeleted(serial_number=SERIAL, **who),
    }
    if step[0] == "D":
        status = {"P": "PASSED", "F": "FAILED", "I": "IN_PROGRESS"}[step[1]]
        why = "dented" if status == "FAILED" else None
        made["D"] = StatusDecided.model_validate(
            {"serial_number": SERIAL, "status": status, "failure_reason": why, **who}
        )
    if step[0] == "R":
        made["R"] = ReworkAuthorised(serial_number=SERIAL, return_to=code, **who)
    if step[0] == "O":
        made["O"] = OrderOverridden(serial_number=SERIAL, process=code, **who)
    return UnitDecision(stream_id=CENTRAL, seq=number + 1, decision=made[step[0]])


def correction(about: UnitRecord, outcome: str | None, number: float, seq: int) -> UnitDecision:
    """A person corrects a record to this outcome, or takes it away (None), at this minute."""
    who: dict[str, Any] = {"author": "kim", "decided_at": minute(number), "reason": "typed wrongly"}
    which: dict[str, Any] = {"stream_id": about.stream_id, "seq": about.seq, "serial_number": SERIAL}
    if outcome is None:
        return UnitDecision(stream_id=CENTRAL, seq=seq, decision=RecordDeleted(**which, **who))
    counts = ProcessRecord(
        station=about.station,
        process=BY_NUMBER[min(about.process_number, 8)].code,
        machine="tester",
        serial_number=SERIAL,
        outcome=Outcome(outcome),
        completed_at=about.completed_at,
        clock_offset_seconds=0,
        completed_within_seconds=0.1,
        entered=Entry(by="kim", at=minute(number)),
    )
    return UnitDecision(stream_id=CENTRAL, seq=seq, decision=RecordCorrected(record=counts, **which, **who))


def history(text: str) -> tuple[list[UnitRecord], list[UnitDecision]]:
    """The records and decisions of a history."""
    records: list[UnitRecord] = []
    decisions: list[UnitDecision] = []
    for number, step in enumerate(text.split()):
        if step[0].isdigit() and step[1] != "Q":
            records.append(record(step, number))
        elif not step[0].isdigit():
            decisions.append(decision(step, number))
    return records, decisions


def permits_in(text: str) -> list[UnitPermit]:
    """The permits of a history."""
    return [permit(step, number) for number, step in enumerate(text.split()) if step[1:] == "Q"]


def unit_after(text: str, limits: RouteLimits | None = None) -> UnitState:
    """What became of the unit."""
    return fold_unit(SERIAL, *history(text), limits, permits_in(text))
