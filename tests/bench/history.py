"""A plausible history of the line: units that go through the eight processes, some of them by way of a retest.

Records are the contracts' own, judged by ``judge()``, so that whoever stores them stores what stations would have sent.
One station for each process; each has a stream of its own, and its records come in the order of its work.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any

from contracts.criteria import JUDGE_VERSION, Criteria, Criterion, Outcome, judge
from contracts.measurement import Measurement
from contracts.processes import PROCESSES
from contracts.record import Defect, ProcessRecord

UNITS_PER_LOT = 100
LOTS_PER_SHIFT = 4
UNITS_PER_DAY = 2 * LOTS_PER_SHIFT * UNITS_PER_LOT
FIRST_DAY = date(2024, 1, 1)
RECORDS_PER_UNIT = 8.25
"""On average: eight passes, and a retest for every fourth unit."""
RETESTED = {3: 0.12, 4: 0.05, 6: 0.08}
"""Of a hundred units at these processes so many fail once, and pass when they are measured again."""
EVERY = timedelta(days=1) / UNITS_PER_DAY
"""A unit begins so often."""

MEASURED: dict[int, dict[str, tuple[float, float, str]]] = {
    1: {"marking_depth": (0.05, 0.004, "mm"), "position_x": (10.2, 0.05, "mm"), "readability": (0.95, 0.01, "")},
    2: {"torque": (1.0, 0.05, "N*m")},
    3: {"temperature": (60.0, 0.2, "degC")},
    4: {"duration": (42.0, 3.0, "s")},
    5: {"assembly_time": (58.0, 4.0, "min")},
    6: {"measured_force": (18.4, 0.4, "kgf"), "displacement": (200.0, 0.5, "mm"), "temperature": (52.0, 0.4, "degC")},
    7: {"verifier_grade": (3.6, 0.1, "")},
    8: {"visual_defects": (0.0, 0.0, "")},
}
DEFECT = {3: "SENSOR_TEMP_FAIL", 4: "FIRMWARE_COMM_ERROR", 6: "PERFORMANCE_FAIL"}


@dataclass(frozen=True)
class Sent:
    """One record in its place."""

    stream_id: str
    station: str
    seq: int
    record: ProcessRecord


def station_of(number: int) -> str:
    """The station of a process."""
    return f"P{number:02d}-A"


def stream_of(name: str, number: int) -> str:
    """The stream of a process's station in the history of this name."""
    return sha256(f"{name} {number}".encode()).hexdigest()[:32]


def serial_number(unit: int, first_day: date = FIRST_DAY) -> tuple[str, str]:
    """Serial and LOT number of a unit, counted from 0."""
    lot, place = divmod(unit, UNITS_PER_LOT)
    day, of_day = divmod(lot, 2 * LOTS_PER_SHIFT)
    shift, of_shift = divmod(of_day, LOTS_PER_SHIFT)
    lot_number = f"WF-KR-{first_day + timedelta(days=day):%y%m%d}{'DN'[shift]}-{of_shift + 1:03d}"
    return f"{lot_number}-{place + 1:04d}", lot_number


def records(
    name: str, first_unit: int, units: int, seqs: dict[int, int], first_day: date = FIRST_DAY
) -> Iterator[Sent]:
    """Every record of these units, in the order of their time within a LOT. ``seqs``: the last number each process's
    station gave; it is moved on."""
    begin = datetime.combine(first_day, time(), UTC)
    draw = random.Random(f"{name} {first_unit}")
    for start in range(first_unit, first_unit + units, UNITS_PER_LOT):
        of_lot = range(start, min(start + UNITS_PER_LOT, first_unit + units))
        for process in PROCESSES:
            for unit in of_lot:
                at = begin + unit * EVERY + process.number * timedelta(minutes=70)
                again = draw.random() < RETESTED.get(process.number, 0)
                for passes in (False, True) if again else (True,):
                    seqs[process.number] = seqs.get(process.number, 0) + 1
                    record = _record(draw, process.number, unit, at, seqs[process.number], first_day, passes=passes)
                    yield Sent(stream_of(name, process.number), record.station, seqs[process.number], record)
                    at += timedelta(seconds=20)


_CRITERIA = {
    number: Criteria(
        process=PROCESSES[number - 1].code,
        criteria={
            name: Criterion(nominal=middle, tolerance=max(6 * wide, 0.5), unit=unit or None, defect=DEFECT.get(number))
            for name, (middle, wide, unit) in measured.items()
        },
    ).chosen("r1", None, station_of(number), "machine")
    for number, measured in MEASURED.items()
}


def _record(
    draw: random.Random, number: int, unit: int, at: datetime, seq: int, first_day: date, *, passes: bool
) -> ProcessRecord:
    process = PROCESSES[number - 1]
    measurements = tuple(
        Measurement(
            name=name,
            value=round(draw.gauss(middle, wide / 2) + (0 if passes else 10 * wide + 1), 4),
            **({"unit": unit_name} if unit_name else {}),
        )
        for name, (middle, wide, unit_name) in MEASURED[number].items()
    )
    judged = judge(measurements, _CRITERIA[number], None)
    serial, lot = serial_number(unit, first_day)
    made: dict[str, Any] = {
        "station": station_of(number),
        "process": process.code,
        "machine": "machine",
        "serial_number": serial,
        "lot_number": lot,
        "product_model": "WR-1",
        "operator": f"operator-{unit // 500 % 12:02d}",
        "measurements": measurements,
        "verdicts": judged.verdicts,
        "outcome": judged.outcome,
        "defects": tuple(Defect(code=code) for code in ([DEFECT[number]] if judged.outcome is Outcome.FAIL else [])),
        "criteria_revision": "r1",
        "judge_version": JUDGE_VERSION,
        "started_at": at - timedelta(seconds=18),
        "completed_at": at,
        "cycle_time_seconds": 18.0,
        "clock_offset_seconds": 0.0,
        "completed_within_seconds": 0.02,
        "cycle_key": seq,
    }
    return ProcessRecord(**made)


def beginning() -> datetime:
    """When a history begins that nobody gave another day."""
    return datetime.combine(FIRST_DAY, time(), UTC)
