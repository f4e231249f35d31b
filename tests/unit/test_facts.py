"""What people decide is a fact that reads back as it was made, and says who, when and why."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.facts import decision_adapter
from contracts.schema import FOLDER

WHO = {"author": "kim", "decided_at": "2026-11-23T12:00:00+09:00", "reason": "because"}
LOT = {"lot_number": "WF-KR-241118D-001"}
UNIT = {"serial_number": "SN-241118-001"}
RECORD = {"stream_id": "a" * 32, "seq": 3}
ENTERED = {
    "station": "P03-A",
    "process": "P03_SENSOR_INSPECTION",
    "machine": "tester",
    "outcome": "PASS",
    "completed_at": "2026-11-23T11:00:00+09:00",
    "entered": {"by": "kim", "at": "2026-11-23T12:00:00+09:00"},
    **UNIT,
}
DECISIONS: dict[str, dict[str, Any]] = {
    "lot_created": {**LOT, "target_quantity": 20, "product_model": "WR-1"},
    "lot_changed": {**LOT, "target_quantity": 30},
    "lot_started": LOT,
    "lot_deleted": LOT,
    "serial_created": {**UNIT, **LOT, "sequence_in_lot": 7},
    "serial_deleted": UNIT,
    "status_decided": {**UNIT, "status": "FAILED", "failure_reason": "dented"},
    "process_started": {
        **UNIT,
        "process": "P03_SENSOR_INSPECTION",
        "operator": "lee",
        "started_at": "2026-11-23T11:00:00+09:00",
    },
    "record_corrected": {**RECORD, **UNIT, "record": ENTERED},
    "record_deleted": {**RECORD, **UNIT},
    "lot_short_closed": LOT,
    "lot_closed": LOT,
    "rework_authorised": {**UNIT, "return_to": "P03_SENSOR_INSPECTION"},
    "order_overridden": {**UNIT, "process": "P03_SENSOR_INSPECTION"},
    "unit_scrapped": UNIT,
    "hold_placed": {**UNIT, "hold_id": "h1"},
    "hold_released": {"hold_id": "h1"},
    "exception_closed": {**UNIT, "exception_id": "0123456789abcdef"},
}


def test_every_kind_that_is_published_is_tried_here() -> None:
    published = json.loads((FOLDER / "decision.json").read_text("utf-8"))
    assert set(published["discriminator"]["mapping"]) == set(DECISIONS)


@pytest.mark.parametrize("kind", DECISIONS)
def test_a_decision_reads_back_as_it_was_made(kind: str) -> None:
    made = decision_adapter.validate_json(json.dumps({"kind": kind, **WHO, **DECISIONS[kind]}))
    assert (made.author, made.reason, made.decided_at.isoformat()) == ("kim", "because", "2026-11-23T03:00:00+00:00")
    assert decision_adapter.validate_json(decision_adapter.dump_json(made)) == made


@pytest.mark.parametrize("missing", [*WHO, "kind"])
@pytest.mark.parametrize("kind", DECISIONS)
def test_a_decision_without_author_time_or_reason_is_none(kind: str, missing: str) -> None:
    content = {"kind": kind, **WHO, **DECISIONS[kind]}
    del content[missing]
    with pytest.raises(ValidationError):
        decision_adapter.validate_python(content)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("lot_created", {"target_quantity": 0}),
        ("lot_created", {"target_quantity": 101}),
        ("lot_created", {"lot_number": "LOT-1"}),
        ("hold_placed", {"serial_number": None}),
        ("unit_scrapped", {"reason": ""}),
        ("unit_scrapped", {"author": ""}),
        ("unit_scrapped", {"decided_at": "2026-11-23T12:00:00"}),
        ("unit_scrapped", {"surprise": 1}),
        ("lot_changed", {"target_quantity": 0}),
        ("serial_created", {"sequence_in_lot": 101}),
        ("status_decided", {"failure_reason": None}),
        ("status_decided", {"status": "PASSED"}),
        ("status_decided", {"status": "CREATED", "failure_reason": None}),
        ("record_corrected", {"record": {**ENTERED, "machine_verdict": "FAIL"}}),
        ("record_corrected", {"record": {**ENTERED, "entered": None}}),
        ("record_deleted", {"seq": 0}),
        ("something_else", {}),
    ],
)
def test_a_decision_that_cannot_be_meant_is_refused(kind: str, change: dict[str, Any]) -> None:
    content = {"kind": kind, **WHO, **DECISIONS.get(kind, UNIT), **change}
    with pytest.raises(ValidationError):
        decision_adapter.validate_python(content)
