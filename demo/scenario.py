"""What happens to each unit of the demo: its way through the stations, with the truth about each cycle.

The expected outcome of each kind of cycle, and where each kind of unit stands in the end, are written down here by
hand; they are never computed by the code under demonstration.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from random import Random
from typing import Any

Values = dict[str, Any]
NUMBER = "{serial_number}"
"""Stands in a marking's values for the number that the permit gives the unit."""


@dataclass(frozen=True)
class Cycle:
    """One result of one machine. ``also``: what a second machine says once the printer has printed."""

    process: int
    values: Values
    expected: str
    also: Values = field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """The machine asks for a permit before; a rework that a person scans is no work on the unit."""
        return self.expected != "REWORK"

    def numbered(self, old: str, new: str) -> "Cycle":
        """The same for the unit of another number."""
        values, also = (
            {name: new if value == old else value for name, value in given.items()}
            for given in (self.values, self.also)
        )
        return replace(self, values=values, also=also)


@dataclass(frozen=True)
class Fate:
    """Where a unit stands when it is through. No unit of the demo ends on hold, or with an exception."""

    status: str
    rework_count: int = 0


@dataclass(frozen=True)
class Unit:
    """A unit, every cycle it will go through in order, and what becomes of it."""

    serial_number: str
    cycles: tuple[Cycle, ...]
    fate: Fate

    def numbered(self, new: str) -> "Unit":
        """The same unit, once it has its number: the one it was meant to have, or another of its LOT."""
        cycles = tuple(cycle.numbered(self.serial_number, new) for cycle in self.cycles)
        return replace(self, serial_number=new, cycles=cycles)


LARGEST_LOT = 100
LAST_LOT = 999
"""Of a day and shift."""

_FATES = {
    0: Fate("PASSED"),
    1: Fate("PASSED"),  # a bad label, printed anew: a retest
    2: Fate("PASSED"),  # the second upload passed: a retest
    3: Fate("PASSED"),
    4: Fate("PASSED", rework_count=1),
    5: Fate("PASSED"),
    6: Fate("PASSED"),
    7: Fate("PASSED"),
    8: Fate("IN_PROGRESS"),  # its mark could not be read, and may be read again: the failure is open
    9: Fate("PASSED", rework_count=1),
}


def units_of_today(count: int, day: date, seed: int, first_lot: int = 1) -> list[Unit]:
    """``count`` units in LOTs of at most 100, each with its story."""
    random = Random(seed)  # noqa: S311  # plausible values, no secrets
    units = []
    for index in range(count):
        lot = f"WF-KR-{day:%y%m%d}D-{index // LARGEST_LOT + first_lot:03d}"
        serial = f"{lot}-{index % LARGEST_LOT + 1:04d}"
        kind = index % len(_FATES)
        units.append(Unit(serial, tuple(_story(kind, serial, lot, random)), _FATES[kind]))
    return units


def _story(kind: int, serial: str, lot: str, random: Random) -> Iterator[Cycle]:
    if kind == 8:
        yield marking(serial, lot, random, read_back=serial[:-1] + "?", expected="FAIL")
        return
    yield marking(serial, lot, random)
    yield assembly(serial, random)
    if kind == 3:
        # Out of limits although the tester says pass.
        yield sensor(serial, 61.4, machine_says=1, expected="FAIL")
    if kind == 5:
        # Within limits although the tester says fail.
        yield sensor(serial, 60.2, machine_says=2, expected="FAIL")
    yield sensor(serial, round(random.uniform(59.0, 61.0), 2))
    if kind == 2:
        yield _firmware(serial, random, result="NG", attempts=3, expected="FAIL")
    yield _firmware(serial, random)
    if kind == 4:
        yield _robot(serial, cable="NG", expected="FAIL")
        yield _rework(5, serial, "P04_FIRMWARE_UPLOAD", "cable replaced")
        yield _firmware(serial, random)
    yield _robot(serial)
    if kind == 7:
        yield _performance(serial, random, force_error=2.6, machine_says=1, expected="FAIL")
    yield _performance(serial, random)
    if kind == 1:
        yield _label(serial, grade="F", expected="FAIL")
    yield _label(serial, reason="smudged" if kind == 1 else None)
    if kind == 9:
        yield _packing(serial, defects="scratch:major:shell", expected="FAIL")
        yield _rework(8, serial, "P08_PACKAGING_INSPECTION", "shell polished")
    yield _packing(serial)


def marking(serial: str, lot: str, random: Random, read_back: str | None = None, expected: str = "PASS") -> Cycle:
    """The marker engraves and reads back."""
    values = {
        "ordered_number": serial,
        "engraved_number": serial if read_back is None else read_back,
        "lot_number": lot,
        "product_model": "WR-100",
        "marking_quality": random.choice("AB"),
        "marking_depth": round(random.uniform(0.04, 0.07), 3),
        "position_x": 10.2,
        "position_y": 5.1,
        "readability": round(random.uniform(0.9, 1.0), 2),
    }
    return Cycle(1, values, expected)


def assembly(serial: str, random: Random) -> Cycle:
    """A person assembles, and scans it."""
    values = {
        "serial_number": serial,
        "sma_spring_lot": "SPRING-2026112001",
        "busbar_lot": "BUSBAR-2026111902",
        "torque": round(random.uniform(0.8, 1.2), 2),
        "visual_inspection": "OK",
    }
    return Cycle(2, values, "PASS")


def sensor(serial: str, temperature: float, machine_says: int = 1, expected: str = "PASS") -> Cycle:
    """The sensor tester measures."""
    values = {"serial_number": serial, "temperature": temperature, "tof_i2c": True, "judgement": machine_says}
    return Cycle(3, values, expected)


def _firmware(serial: str, random: Random, result: str = "OK", attempts: int = 1, expected: str = "PASS") -> Cycle:
    values = {
        "serial_number": serial,
        "firmware_version": "v1.2.3",
        "checksum": "9f86d081",
        "upload_result": result,
        "attempts": attempts,
        "duration": round(random.uniform(30, 60), 1),
    }
    return Cycle(4, values, expected)


def _robot(serial: str, cable: str = "OK", expected: str = "PASS") -> Cycle:
    values = {
        "serial_number": serial,
        "assembly_time": 58.0,
        "cable_connection": cable,
        "final_visual_check": "OK",
        "result": "",
    }
    return Cycle(5, values, expected)


def _performance(
    serial: str, random: Random, force_error: float = 0.0, machine_says: int = 1, expected: str = "PASS"
) -> Cycle:
    targets = [12.0, 18.5, 24.0]
    measured = [round(target + random.uniform(-1.9, 1.9), 2) for target in targets]
    if force_error:
        measured[1] = targets[1] + force_error
    values = {
        "serial_number": serial,
        "temperatures": [48.0, 52.0, 56.0],
        "displacements": [100.0, 200.0, 240.0],
        "measured_forces": measured,
        "target_forces": targets,
        "tolerances": [2.0, 2.0, 2.0],
        "judgement": machine_says,
    }
    return Cycle(6, values, expected)


def _label(serial: str, grade: str = "A", expected: str = "PASS", reason: str | None = None) -> Cycle:
    """``reason``: why it is printed again."""
    return Cycle(7, {"code": serial, "reason": reason}, expected, also={"code": serial, "grade": grade})


def _packing(serial: str, defects: str = "none", expected: str = "PASS") -> Cycle:
    return Cycle(
        8, {"serial_number": serial, "visual_defects": defects, "packaging_complete": True, "result": ""}, expected
    )


def _rework(process: int, serial: str, return_to: str, reason: str) -> Cycle:
    values = {"serial_number": serial, "result": "REWORK", "return_to": return_to, "reason": reason}
    return Cycle(process, values, "REWORK")
