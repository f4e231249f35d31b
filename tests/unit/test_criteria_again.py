"""Stored records judged again: proposed criteria tried on them, and stored verdicts repeated byte for byte."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from central.trying import try_criteria
from central.verifying import verify
from contracts.criteria import JUDGE_VERSION, Criteria, CriteriaSet, Criterion, MachineVerdict, Variant, judge
from contracts.measurement import Measurement
from contracts.record import ProcessRecord, canonical
from tests.support.records import NOON

P03 = "P03_SENSOR_INSPECTION"
TOF = Criterion(equals=True)
OLD = Criteria(process=P03, criteria={"temperature": Criterion(nominal=60, tolerance=1, unit="degC"), "tof_i2c": TOF})
MEASURED = {("P03-A", "tester"): {"temperature", "tof_i2c"}, ("P03-A", "scale"): {"weight"}}


def made(unit: int, temperature: float | None, *, tof: bool = True, minutes: int = 0, **changes: Any) -> ProcessRecord:
    measurements = (
        Measurement(name="temperature", value=temperature, unit="degC"),
        Measurement(name="tof_i2c", value=tof),
    )
    judgement = judge(measurements, OLD.chosen("1", None, "P03-A", "tester"), changes.get("machine_verdict"))
    fields = {
        "station": "P03-A",
        "process": P03,
        "machine": "tester",
        "serial_number": f"SN-241118-{unit:03d}",
        "outcome": judgement.outcome,
        "measurements": measurements,
        "verdicts": judgement.verdicts,
        "disagreement": judgement.disagreement,
        "criteria_revision": "1",
        "judge_version": JUDGE_VERSION,
        "completed_at": NOON + timedelta(minutes=minutes),
    }
    return ProcessRecord(**fields | changes)


def test_a_wider_limit_shows_what_would_pass_and_the_yield_of_first_records() -> None:
    wider = Criteria(
        process=P03, criteria={**OLD.criteria, "temperature": Criterion(nominal=60, tolerance=2, unit="degC")}
    )
    records = [
        made(1, 60.0),
        made(2, 61.5, minutes=0),  # failed first
        made(2, 60.5, minutes=5),  # and passed then
        made(3, 63.0),
        made(4, 60.0, tof=False),
        made(5, None),
        made(6, 60.0, problems=("no LOT number",), outcome="ERROR"),
        made(7, 99.0, part="GOLDEN_SAMPLE"),
    ]
    found = try_criteria(records, wider, MEASURED)
    assert (found.records, found.left, found.changed) == (7, 1, 1)
    assert found.outcomes == {("PASS", "PASS"): 2, ("FAIL", "PASS"): 1, ("FAIL", "FAIL"): 2, ("ERROR", "ERROR"): 1}
    assert found.verdicts == {("temperature", "FAIL", "PASS"): 1}
    assert (found.before.judged, found.before.passed, found.after.passed) == (5, 1, 2)
    before, after = found.by_measurement["temperature"]
    assert (before.judged, before.passed, after.judged, after.passed) == (5, 2, 5, 3)
    assert found.told == ["SN-241118-002 at P03-A: FAIL -> PASS"]


def test_a_narrower_limit_a_new_rule_and_the_machines_own_verdict() -> None:
    narrow = Criteria(
        process=P03,
        criteria={**OLD.criteria, "cold": Criterion(holds="temperature < 333.4 K")},
        variants=(Variant(product_model="WR-2", criteria={"temperature": Criterion(upper=60, unit="degC")}),),
    )
    records = [
        made(1, 60.0),
        made(2, 60.5),
        made(3, 60.1, product_model="WR-2"),
        made(4, 60.0, machine_verdict=MachineVerdict.FAIL),
    ]
    found = try_criteria(records, narrow, MEASURED)
    assert found.outcomes == {("PASS", "PASS"): 1, ("PASS", "FAIL"): 2, ("FAIL", "FAIL"): 1}
    assert found.verdicts == {
        ("cold", "NOT_JUDGED", "PASS"): 3,
        ("cold", "NOT_JUDGED", "FAIL"): 1,
        ("temperature", "PASS", "FAIL"): 1,
    }


@pytest.mark.parametrize(("name", "outcome"), [("weight", "PASS"), ("humidity", "ERROR")])
def test_what_another_machine_of_the_station_measures_is_judged_there(name: str, outcome: str) -> None:
    """What nobody measures would make an ERROR of every unit: that is what trying is for."""
    more = Criteria(process=P03, criteria={**OLD.criteria, name: Criterion(lower=0)})
    assert try_criteria([made(1, 60.0)], more, MEASURED).outcomes == {("PASS", outcome): 1}


def records_of_every_kind() -> Iterator[ProcessRecord]:
    yield made(1, 60.0)
    yield made(2, 61.5)
    yield made(3, None)
    yield made(4, 60.0, machine_verdict=MachineVerdict.FAIL)
    yield made(5, 60.0, problems=("no LOT number",), outcome="ERROR")
    yield made(6, 60.0, outcome="ABORTED")


def test_every_stored_verdict_is_proved_equal() -> None:
    kept = [ProcessRecord.model_validate_json(canonical(record)) for record in records_of_every_kind()]
    found = verify(kept, {(P03, "1"): OLD})
    assert (found.records, found.equal, found.different, found.told) == (6, 6, 0, [])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"measurements": (Measurement(name="temperature", value=61.5, unit="degC"),)}, "temperature FAIL"),
        ({"outcome": "FAIL"}, "outcome PASS, stored is FAIL"),
        ({"disagreement": True}, "outcome PASS"),
    ],
    ids=["another value", "another outcome", "another flag"],
)
def test_a_verdict_that_is_not_what_the_record_says_is_found(changes: dict[str, Any], told: str) -> None:
    found = verify([made(1, 60.0).model_copy(update=changes)], {})
    assert (found.equal, found.different) == (0, 1)
    assert told in found.told[0]


def test_limits_that_are_not_those_of_the_revision_are_found() -> None:
    other = Criteria(process=P03, criteria={**OLD.criteria, "temperature": Criterion(upper=99, unit="degC")})
    found = verify([made(1, 60.0)], {(P03, "1"): other})
    assert found.told == [
        "SN-241118-001 at P03-A, 2026-11-23T03:00:00+00:00: the limit of temperature is not that of revision 1"
    ]


def test_a_measurement_that_the_station_did_not_judge_is_found() -> None:
    """A PASS that leaves a limit of its revision out is none."""
    by_half = judge(made(1, 61.5).measurements, CriteriaSet(process=P03, revision="1", criteria={"tof_i2c": TOF}))
    record = made(1, 61.5, outcome=by_half.outcome, verdicts=by_half.verdicts)
    found = verify([record], {(P03, "1"): OLD})
    assert (record.outcome, found.equal, found.different) == ("PASS", 0, 1)
    assert "temperature was not judged, revision 1 has a limit for it" in found.told[0]


def test_verdicts_of_other_versions_of_the_judge_are_counted_apart() -> None:
    older = made(1, 60.0, judge_version=JUDGE_VERSION - 1)
    by_older_rules = older.model_copy(update={"outcome": "FAIL"})
    newer = made(1, 60.0, judge_version=JUDGE_VERSION + 1)
    unjudged = made(1, 60.0, outcome="ERROR", verdicts=(), judge_version=None, criteria_revision=None)
    found = verify([older, by_older_rules, newer, unjudged], {})
    assert (found.older_equal, found.older_different, found.newer, found.not_judged) == (1, 1, 1, 1)
    assert (found.equal, found.different) == (0, 0)


def test_what_version_1_judged_is_judged_alike() -> None:
    """Rules of the first version give the same verdicts, with the same reasons."""
    rules = CriteriaSet(
        process=P03,
        revision="1",
        criteria={
            "a": Criterion(nominal=60, tolerance=1, unit="degC"),
            "b": Criterion(lower=0.8, upper=1.2, unit="Nm"),
            "c": Criterion(pattern=r"v\d"),
        },
    )
    measured = [
        Measurement(name="a", value=61.5, unit="degC"),
        Measurement(name="b", value=1, unit="mm"),
        Measurement(name="c", value=7),
    ]
    assert [one.reason for one in judge(measured, rules).verdicts] == [
        "61.5 is not in 60 +/- 1 degC",
        "unit mm, limits are in Nm",
        "a number, a text is needed",
    ]
