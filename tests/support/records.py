"""Records as stations make them, for tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.criteria import JUDGE_VERSION, CriteriaSet, Criterion, Outcome, judge
from contracts.measurement import Measurement
from contracts.record import ProcessRecord

CRITERIA = CriteriaSet(
    process="P03_SENSOR_INSPECTION",
    revision="yaml-test",
    criteria={"temperature": Criterion(nominal=60, tolerance=1, unit="degC", defect="SENSOR_TEMP_FAIL")},
)
NOON = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
GOOD = Measurement(name="temperature", value=60.5, unit="degC")


def proof(measurements: tuple[Measurement, ...] = (GOOD,)) -> dict[str, Any]:
    """What a PASS carries: what was measured, and how it was judged."""
    return {
        "measurements": measurements,
        "verdicts": judge(measurements, CRITERIA).verdicts,
        "criteria_revision": CRITERIA.revision,
        "judge_version": JUDGE_VERSION,
    }


def record(number: int = 1, *, temperature: float = 60.0, station: str = "P03-A", note: str = "") -> ProcessRecord:
    """A judged record of the sensor tester; ``number`` tells units and times apart."""
    measurements = (Measurement(name="temperature", value=temperature, unit="degC"),)
    return ProcessRecord(
        station=station,
        process="P03_SENSOR_INSPECTION",
        machine="tester",
        serial_number=f"WF-KR-261123D-001-{number:04d}",
        lot_number="WF-KR-261123D-001",
        outcome=judge(measurements, CRITERIA).outcome if not note else Outcome.ERROR,
        completed_at=NOON + timedelta(seconds=number),
        cycle_key=number,
        problems=(note,) if note else (),
        **proof(measurements),
    )
