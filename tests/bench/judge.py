"""How many records of five measurements ``judge()`` judges in a second, beside reading the same record with pydantic.

One process, one core, by its processor time. Each round measures both, one after the other; the median round counts.
"""

import statistics
import time
from collections.abc import Callable, Mapping

from contracts.criteria import JUDGE_VERSION, CriteriaSet, Criterion, Outcome, Table, Warn, judge
from contracts.measurement import Measurement, Value
from contracts.record import ProcessRecord, canonical
from tests.bench.figures import table, times
from tests.support.records import NOON

TARGET = 50_000
"""Records a second that judge() is to reach on one core."""

PLAIN = {
    "marking_quality": Criterion(one_of=("A", "B", "C"), defect="MARKING_FAIL"),
    "marking_depth": Criterion(lower=0.03, upper=0.08, unit="mm", defect="MARKING_FAIL"),
    "position_x": Criterion(nominal=10.2, tolerance=0.5, unit="mm", defect="MARKING_FAIL"),
    "position_y": Criterion(nominal=5.1, tolerance=0.5, unit="mm", defect="MARKING_FAIL"),
    "readability": Criterion(lower=0.8, defect="MARKING_UNREADABLE"),
}
"""What the laser marking's station file says."""

PASSING: dict[str, Value] = {
    "marking_quality": "A",
    "marking_depth": 0.05,
    "position_x": 10.31,
    "position_y": 5.07,
    "readability": 0.93,
}

ROWS: Value = [{"force": 18.4 + row / 10, "target": 18.5} for row in range(5)]

CASES: dict[str, tuple[Mapping[str, Criterion], Mapping[str, Value], str | None]] = {
    "five pass": (PLAIN, PASSING, None),
    "five fail": (PLAIN, {**dict.fromkeys(PASSING, 99.5), "marking_quality": "F", "readability": 0.1}, None),
    "three converted": (
        PLAIN,
        PASSING | {"marking_depth": 0.00005, "position_x": 0.01031, "position_y": 0.00507},
        "m",
    ),
    "warn, open, percent": (
        {
            "a": Criterion(nominal=60, tolerance="5%", warn=Warn(tolerance="1%")),
            "b": Criterion(above=0, below=10),
            "c": Criterion(equals=1.25, decimals=2),
            "d": Criterion(pattern=r"v\d+"),
            "e": Criterion(present=True),
        },
        {"a": 61.0, "b": 5, "c": 1.249, "d": "v12", "e": "x"},
        None,
    ),
    "formulas": (
        {
            "difference": Criterion(formula="a - b", upper=1, unit="mm"),
            "ratio": Criterion(formula="a / b", lower=0.5, upper=2),
            "order": Criterion(holds="a >= b"),
            "sum": Criterion(formula="a + b + c + d + e", upper=100, unit="mm"),
        },
        {"a": 10.5, "b": 10.25, "c": 3, "d": 4, "e": 5},
        "mm",
    ),
    "tables of five rows": (
        {name: Criterion(each=Table(column="force", target="target", tolerance=2)) for name in "abcde"},
        dict.fromkeys("abcde", ROWS),
        None,
    ),
}


def run(*, seconds: float, rounds: int) -> None:
    """Measure every case and print the table."""
    rows: list[list[str]] = []
    for case, (rules, values, unit) in CASES.items():
        criteria = CriteriaSet(process="P01_LASER_MARKING", revision="1", criteria=rules)
        measurements = tuple(
            Measurement(name=name, value=value, unit=_unit(rules.get(name), unit)) for name, value in values.items()
        )
        judgement = judge(measurements, criteria)
        record = ProcessRecord(
            station="P01-A",
            process="P01_LASER_MARKING",
            machine="marker",
            serial_number="WF-KR-261123D-001-0001",
            lot_number="WF-KR-261123D-001",
            outcome=judgement.outcome,
            measurements=measurements,
            verdicts=judgement.verdicts,
            criteria_revision=criteria.revision,
            judge_version=JUDGE_VERSION,
            completed_at=NOON,
        )
        written = canonical(record)
        found = [
            (
                _a_second(lambda m=measurements, c=criteria: judge(m, c), seconds),
                _a_second(lambda w=written: ProcessRecord.model_validate_json(w), seconds),
            )
            for _ in range(rounds)
        ]
        judged, validated = (statistics.median(column) for column in zip(*found, strict=True))
        told = judgement.outcome if judgement.outcome is not Outcome.PASS else ""
        rows.append([case, f"{judged:,.0f}", f"{validated:,.0f}", times(judged, validated), told])
    print(f"judge: {rounds} rounds of {seconds:g} s; records of five measurements, target {TARGET:,} a second")
    print()
    print(table(["", "judge() / s", "model_validate_json / s", "judge / validate", ""], rows))


def _unit(criterion: Criterion | None, unit: str | None) -> str | None:
    """The unit a measurement comes in: another than the limits', where the case says so."""
    return unit if criterion is None else criterion.unit and (unit or criterion.unit)


def _a_second(work: Callable[[], object], seconds: float) -> float:
    """How often ``work`` is done in a second of processor time."""
    done, begun = 0, time.process_time()
    while (spent := time.process_time() - begun) < seconds:
        for _ in range(100):
            work()
        done += 100
    return done / spent
