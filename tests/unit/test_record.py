"""A record belongs to something, says its result, and has one byte form for ever."""

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.criteria import CriteriaSet, Criterion, Outcome, Verdict, judge
from contracts.measurement import Measurement
from contracts.record import Defect, ProcessRecord, canonical, digest
from tests.support.records import NOON, proof

BASE: dict[str, Any] = {
    "station": "P03-A",
    "process": "P03_SENSOR_INSPECTION",
    "machine": "tester",
    "serial_number": "SN-241118-001",
    "outcome": "PASS",
    "completed_at": NOON,
    **proof(),
}
REWORK = {"return_to": "P02_LMA_ASSEMBLY", "reason": "loose screw"}
LOT = {"data_level": "LOT", "serial_number": None, "lot_number": "WF-KR-241118D-001"}

GOLDEN = "5d3541cdb0f7cbfe9d37dcb05087d795e335efb653c719bd6a320686373d2180"


def made(**changes: Any) -> ProcessRecord:
    return ProcessRecord.model_validate({**BASE, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"outcome": "FAIL"},
        {"outcome": "REWORK", "rework": REWORK},
        {"outcome": "ERROR", "serial_number": None},  # who it was could not be read
        {"outcome": "ABORTED", "serial_number": None},
        {"serial_number": None, "part": "GOLDEN_SAMPLE"},
        LOT,
        {**LOT, "outcome": "ERROR", "lot_number": None},
    ],
    ids=str,
)
def test_a_record_belongs_to_its_unit_or_its_lot(changes: dict[str, Any]) -> None:
    record = made(**changes)
    assert ProcessRecord.model_validate_json(canonical(record)) == record


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"serial_number": None}, "needs a serial_number"),
        ({"serial_number": None, "outcome": "FAIL"}, "needs a serial_number"),
        ({**LOT, "serial_number": "SN-241118-001"}, "names no serial_number"),
        ({**LOT, "lot_number": None}, "needs a lot_number"),
        ({"outcome": "REWORK"}, "rework is given exactly when"),
        ({"rework": REWORK}, "rework is given exactly when"),
        ({"completed_at": "2026-11-23T03:00:00"}, "timezone"),
        ({"cycle_time_seconds": -1}, "greater than"),
        ({"cycle_time_seconds": float("nan")}, "finite"),
        ({"surprise": 1}, "not permitted"),
    ],
)
def test_a_record_of_nothing_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        made(**changes)


PASSED = proof()["verdicts"][0]


RATIO = Criterion(formula="temperature / humidity", lower=0, unit="degC")


def _verdicts(*verdicts: Verdict) -> dict[str, Any]:
    return {"verdicts": tuple(PASSED.model_copy(update={"verdict": one}) for one in verdicts)}


@pytest.mark.parametrize("kind", [{}, LOT, {"part": "GOLDEN_SAMPLE"}, {"reject_label": True}], ids=str)
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"machine_verdict": "FAIL"}, "the machine's own verdict is FAIL"),
        ({"criteria_revision": None}, "what it was judged by"),
        ({"judge_version": None}, "what it was judged by"),
        ({"problems": ("no serial number",)}, "there is a problem: no serial number"),
        (_verdicts(), "nothing was judged"),
        (_verdicts(Verdict.NOT_JUDGED), "nothing was judged"),
        (_verdicts(Verdict.PASS, Verdict.FAIL), "the verdict of temperature is FAIL"),
        (_verdicts(Verdict.WARN, Verdict.ERROR), "the verdict of temperature is ERROR"),
        ({"measurements": ()}, "has no measurement"),
        ({"verdicts": (PASSED.model_copy(update={"limit": None}),)}, "has no limit"),
        ({"verdicts": (PASSED.model_copy(update={"limit": RATIO}),)}, "has no measurement"),
    ],
)
def test_a_pass_that_contradicts_itself_is_no_record(kind: dict[str, Any], changes: dict[str, Any], told: str) -> None:
    """Whoever made it, the station or somebody who sends records: never PASS by accident."""
    assert made(**kind).outcome is Outcome.PASS
    assert made(**{**kind, **changes, "outcome": "FAIL"}).outcome is Outcome.FAIL
    with pytest.raises(ValidationError, match=told):
        made(**kind, **changes)


def test_only_a_judged_outcome_is_a_result() -> None:
    results = {
        "PASS": made().result,
        "FAIL": made(outcome="FAIL").result,
        "REWORK": made(outcome="REWORK", rework=REWORK).result,
        "ERROR": made(outcome="ERROR").result,
        "ABORTED": made(outcome="ABORTED").result,
    }
    assert results == {"PASS": "PASS", "FAIL": "FAIL", "REWORK": "REWORK", "ERROR": None, "ABORTED": None}
    assert set(results) == set(Outcome)


def test_a_warning_is_a_pass_with_a_flag() -> None:
    warned = made(verdicts=[proof()["verdicts"][0].model_copy(update={"verdict": Verdict.WARN})])
    assert (warned.result, warned.warned, made().warned) == ("PASS", True, False)


def full_record() -> ProcessRecord:
    """Every kind of content a record of today has."""
    criteria = CriteriaSet(
        process="P03_SENSOR_INSPECTION",
        revision="yaml-1",
        criteria={"temperature": Criterion(nominal=60, tolerance=1, unit="degC", defect="SENSOR_TEMP_FAIL")},
    )
    measured = (
        Measurement(name="temperature", value=61.5, unit="degC", original="61.5degC", source_timestamp=NOON),
        Measurement(name="points", value=[{"force": 1.5, "target": None}]),
    )
    judgement = judge(measured, criteria)
    return made(
        outcome=judgement.outcome,
        measurements=measured,
        verdicts=judgement.verdicts,
        defects=(Defect(code="SENSOR_TEMP_FAIL", measurement="temperature"),),
        machine_verdict="PASS",
        disagreement=True,
        criteria_revision="yaml-1",
        judge_version=1,
        operator="김",
        cycle_key=7,
        missed_before=None,
        cycle_time_seconds=12.5,
    )


def test_the_byte_form_of_a_record_is_the_same_for_ever() -> None:
    """A record kept by an older version must be known again by a newer one: else it would be other content."""
    assert digest(full_record()) == GOLDEN, canonical(full_record())


def test_what_a_later_version_adds_does_not_change_older_records() -> None:
    """Defaults are left out."""
    nothing = {"measurements": (), "verdicts": (), "criteria_revision": None, "judge_version": None}
    assert canonical(made(outcome="FAIL", **nothing)) == (
        b'{"station":"P03-A","process":"P03_SENSOR_INSPECTION","machine":"tester",'
        b'"serial_number":"SN-241118-001","outcome":"FAIL","completed_at":"2026-11-23T03:00:00Z"}'
    )
