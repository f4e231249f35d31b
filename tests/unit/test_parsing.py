"""What a reading means by a machine's settings, and what becomes of what cannot be understood (law 5)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.cycles import Cursor, Relation, Step
from agent.judging import Cycle, judged
from agent.parsing import Parsed, cycle_key_of, parse
from agent.settings import StationSettings, load
from contracts.criteria import Outcome
from contracts.measurement import Quality
from contracts.record import Part, ProcessRecord, canonical
from drivers.base import PointValue, RawValue, Reading

CONFIG = Path("config/stations")
SERIAL = "WF-KR-261123D-001-0001"
GOOD: dict[str, RawValue] = {
    "result_counter": 7,
    "serial_number": SERIAL,
    "temperature": 60.1,
    "tof_i2c": True,
    "judgement": 1,
}


def reading(values: Mapping[str, RawValue | PointValue | None]) -> Reading:
    points = {name: value if isinstance(value, PointValue) else PointValue(value) for name, value in values.items()}
    return Reading(datetime(2026, 11, 23, tzinfo=UTC), points, raw=b"wire")


def understood(
    name: str, machine: str, values: Mapping[str, RawValue | PointValue | None]
) -> tuple[Parsed, ProcessRecord]:
    settings: StationSettings = load(CONFIG / f"{name}.yaml")
    criteria = settings.criteria_set()
    parsed = parse(settings.machines[machine], reading(values), criteria)
    step = Step(Relation.NEXT, Cursor(machine, 7))
    cycle = Cycle(machine, datetime(2026, 11, 23, tzinfo=UTC), None, step, False, b"wire")
    return parsed, judged(parsed, cycle, settings, criteria, "test")


def test_a_good_reading_passes_with_the_limits_it_was_judged_by() -> None:
    _, record = understood("P03-A", "tester", GOOD)
    assert record.outcome is Outcome.PASS
    assert record.lot_number == "WF-KR-261123D-001"
    assert record.cycle_key == 7
    assert {v.name for v in record.verdicts if v.limit is not None} == {"temperature", "tof_i2c"}
    assert record.raw is None


@pytest.mark.parametrize(
    ("change", "outcome", "disagreement"),
    [
        ({"temperature": 61.0}, Outcome.PASS, False),
        ({"temperature": 61.01}, Outcome.FAIL, True),
        ({"judgement": 2}, Outcome.FAIL, True),
        ({"temperature": 58.9, "judgement": 2}, Outcome.FAIL, False),
        ({"tof_i2c": False, "judgement": 2}, Outcome.FAIL, False),
        ({"judgement": 3}, Outcome.ERROR, False),
        ({"judgement": PointValue(None, problem="holding_register 40: illegal address")}, Outcome.ERROR, False),
        ({"temperature": PointValue(None, original="nan", problem="nan is not a number")}, Outcome.ERROR, False),
        ({"temperature": PointValue(60.0, quality=Quality.BAD)}, Outcome.ERROR, False),
        ({"temperature": PointValue(60.0, quality=Quality.UNCERTAIN)}, Outcome.ERROR, False),
        ({"temperature": True}, Outcome.ERROR, False),
        ({"temperature": "60.0"}, Outcome.PASS, False),
        ({"temperature": "60.0degC"}, Outcome.PASS, False),
        ({"temperature": "140 degF"}, Outcome.PASS, False),
        ({"temperature": "141.81degF", "judgement": 2}, Outcome.FAIL, False),
        ({"temperature": "60 mm"}, Outcome.ERROR, False),
        ({"temperature": "hot"}, Outcome.ERROR, False),
        ({"temperature": "inf"}, Outcome.ERROR, False),
        ({"tof_i2c": 1}, Outcome.ERROR, False),
        ({"serial_number": ""}, Outcome.ERROR, False),
        ({"serial_number": "??"}, Outcome.ERROR, False),
        ({"serial_number": PointValue(SERIAL, quality=Quality.BAD)}, Outcome.ERROR, False),
        ({"serial_number": "WF-KR-261399D-001-0001"}, Outcome.PASS, False),
    ],
    ids=str,
)
def test_never_pass_by_accident(change: dict[str, RawValue], outcome: Outcome, disagreement: bool) -> None:
    _, record = understood("P03-A", "tester", GOOD | change)
    assert (record.outcome, record.disagreement) == (outcome, disagreement)
    if outcome is Outcome.ERROR:
        assert record.raw == b"wire"
    if outcome is Outcome.FAIL:
        assert record.defects or change == {"judgement": 2}, "a defect is named, but for a verdict of the machine alone"


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ("SN-001\x0018-001", r"serial number (point serial_number) 'SN-001\x0018-001' has a control character inside"),
        ("SN-001\r18-001", "has a control character inside"),
        ("SN-001\x9f18-001", "has a control character inside"),
        ("SN-001 18-001", "has an impossible form"),
        (True, "serial number (point serial_number) is True, a boolean: a text or a whole number is needed"),
        (12345.0, "is 12345.0, a number with a fraction"),
        (["SN-001"], "a list"),
        (PointValue(None, original="534e ff", problem="bytes 53 4e ff are no text"), "cannot be read: bytes 53 4e ff"),
        (PointValue("SN-001", quality=Quality.UNCERTAIN), "has quality UNCERTAIN"),
    ],
)
def test_a_number_that_would_have_to_be_mended_is_nobodys(read: RawValue | PointValue, told: str) -> None:
    """What is left when something is taken out of a number may be the number of another unit."""
    _, record = understood("P03-A", "tester", GOOD | {"serial_number": read})
    assert (record.outcome, record.serial_number) == (Outcome.ERROR, None)
    assert told in record.problems[0]


def test_a_word_for_nothing_read_is_nobodys_number(tmp_path: Path) -> None:
    _, record = understood("P03-A", "tester", GOOD | {"serial_number": "NOREAD"})
    assert (record.outcome, record.serial_number) == (Outcome.ERROR, None)
    assert record.problems[0].endswith("'NOREAD' is what a code reader says when it reads nothing")


def test_a_number_that_is_not_of_the_sites_form_is_nobodys(tmp_path: Path) -> None:
    file = tmp_path / "P03-A.yaml"
    text = (CONFIG / "P03-A.yaml").read_text(encoding="utf-8")
    file.write_text(text + "serial_numbers: {pattern: 'SN-[0-9]{6}-[0-9]{3}'}\n", encoding="utf-8")
    tester = load(file).machines["tester"]
    for number, known in ((SERIAL, False), ("SN-241118-001", True), ("GOLDEN-1", True)):
        parsed = parse(tester, reading(GOOD | {"serial_number": number}))
        assert (parsed.serial_number == number, not parsed.problems) == (known, known)


@pytest.mark.parametrize(
    ("read", "number"),
    [
        (f"{SERIAL}\x00\x00\x00", SERIAL),
        (f"  {SERIAL}   ", SERIAL),
        (f"{SERIAL}\r\n", SERIAL),
        (12345, "12345"),
    ],
)
def test_the_padding_of_a_fixed_length_is_no_part_of_a_number(read: RawValue, number: str) -> None:
    _, record = understood("P03-A", "tester", GOOD | {"serial_number": read})
    assert (record.outcome, record.serial_number) == (Outcome.PASS, number)


@pytest.mark.parametrize("missing", ["temperature", "tof_i2c", "serial_number", "judgement"])
def test_what_is_missing_is_an_error(missing: str) -> None:
    _, record = understood("P03-A", "tester", {name: value for name, value in GOOD.items() if name != missing})
    assert record.outcome is Outcome.ERROR


def test_an_empty_reading_is_still_a_record() -> None:
    _, record = understood("P03-A", "tester", {})
    assert record.outcome is Outcome.ERROR
    assert record.serial_number is None


def test_the_original_text_is_kept_beside_the_number() -> None:
    parsed, _ = understood("P03-A", "tester", GOOD | {"temperature": "60.05degC"})
    temperature = next(m for m in parsed.measurements if m.name == "temperature")
    assert (temperature.value, temperature.unit, temperature.original) == (60.05, "degC", "60.05degC")


def test_a_golden_sample_is_kept_and_is_no_product() -> None:
    _, record = understood("P03-A", "tester", GOOD | {"serial_number": "GOLDEN-1"})
    assert record.part is Part.GOLDEN_SAMPLE


FORCE: dict[str, RawValue] = {
    "result_counter": 7,
    "serial_number": SERIAL,
    "temperatures": [48.0, 52.0, 56.0],
    "displacements": [100.0, 200.0, 240.0],
    "measured_forces": [12.0, 18.0, 24.0],
    "target_forces": [12.0, 18.5, 24.0],
    "tolerances": [2.0, 2.0, 2.0],
    "judgement": 1,
}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, Outcome.PASS),
        ({"measured_forces": [12.0, 20.5, 24.0]}, Outcome.PASS),
        ({"measured_forces": [12.0, 20.51, 24.0]}, Outcome.FAIL),
        ({"measured_forces": [12.0, 18.0]}, Outcome.ERROR),
        ({name: [] for name in FORCE if name.endswith("s")} | {"tolerances": []}, Outcome.ERROR),
        ({"measured_forces": 12.0}, Outcome.ERROR),
        ({"judgement": 3}, Outcome.ABORTED),
        ({"tolerances": [2.0, -1.0, 2.0]}, Outcome.ERROR),
    ],
    ids=str,
)
def test_a_table_of_test_points(change: dict[str, RawValue], outcome: Outcome) -> None:
    _, record = understood("P06-A", "tester", FORCE | change)
    assert record.outcome is outcome


TEXTS: dict[str, RawValue] = {
    **FORCE,
    "displacements": ["100 mm", "0.2m", "240"],
    "measured_forces": ["12.0kgf", "18.0", "24 kgf"],
    "target_forces": ["12", "18.5 kgf", "24.0"],
    "tolerances": ["2kgf", "2000 gf", 2.0],
}


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, Outcome.PASS),
        ({"measured_forces": ["12.0", "20.5kgf", "24"]}, Outcome.PASS),
        ({"measured_forces": ["12.0", "20500 gf", "24"]}, Outcome.PASS),
        ({"measured_forces": ["12.0", "20510 gf", "24"]}, Outcome.FAIL),
        ({"measured_forces": ["12.0", "18 mm", "24"]}, Outcome.ERROR),  # no force
        ({"measured_forces": ["12.0", "18,0", "24"]}, Outcome.ERROR),
        ({"measured_forces": ["12.0", "", "24"]}, Outcome.ERROR),
        ({"measured_forces": ["12.0", "nan", "24"]}, Outcome.ERROR),
        ({"target_forces": ["12", "1e400 kgf", "24.0"]}, Outcome.ERROR),
    ],
    ids=str,
)
def test_cells_of_a_table_may_be_text_with_a_unit(change: dict[str, RawValue], outcome: Outcome) -> None:
    _, record = understood("P06-A", "tester", TEXTS | change)
    assert record.outcome is outcome
    if not change:
        (table,) = record.measurements
        assert isinstance(table.value, list)
        row = {"temperature": 52.0, "displacement": 200, "measured_force": 18.0, "target_force": 18.5, "tolerance": 2}
        assert table.value[1] == row
        assert table.original is not None
        assert "displacement: 100 mm, 0.2m, 240; measured_force: 12.0kgf, 18.0, 24 kgf" in table.original


def test_a_table_of_numbers_keeps_no_second_copy() -> None:
    _, record = understood("P06-A", "tester", FORCE)
    assert record.measurements[0].original is None


HAND: dict[str, RawValue] = {
    "number": 3,
    "serial_number": SERIAL,
    "assembly_time": "58 min",
    "cable_connection": "OK",
    "final_visual_check": "OK",
}


def test_a_station_asks_for_rework_with_a_record_of_its_own() -> None:
    asked = {"result": "REWORK", "return_to": "P04_FIRMWARE_UPLOAD", "reason": "cable replaced"}
    _, record = understood("P05-A", "scanner", HAND | asked)
    assert record.outcome is Outcome.REWORK
    assert record.rework is not None
    assert record.rework.return_to == "P04_FIRMWARE_UPLOAD"


def test_a_rework_to_nowhere_is_an_error_and_no_rework() -> None:
    _, record = understood("P05-A", "scanner", HAND | {"result": "REWORK", "return_to": "P99", "reason": "x"})
    assert record.outcome is Outcome.ERROR
    assert record.rework is None


def test_the_cycle_key_is_a_whole_number_or_a_text() -> None:
    machine = load(CONFIG / "P03-A.yaml").machines["tester"]
    for value, key in [(7, 7), (7.0, 7), ("A-1", "A-1"), (7.5, None), (True, None), (None, None)]:
        assert cycle_key_of(machine, reading({"result_counter": value})) == key


def test_a_companion_that_says_nothing_makes_an_error() -> None:
    settings = load(CONFIG / "P07-A.yaml")
    criteria = settings.criteria_set()
    scanner, printer, verifier = (settings.machines[name] for name in ("scanner", "printer", "verifier"))
    scanned = reading({"n": 1, "code": SERIAL})
    good = {
        "printer": (printer, reading({"printed": True})),
        "verifier": (verifier, reading({"code": SERIAL, "grade": "A"})),
    }
    cycle = Cycle("scanner", datetime(2026, 11, 23, tzinfo=UTC), None, None, False, b"wire")

    def outcome(companions: Mapping[str, object]) -> Outcome:
        parsed = parse(scanner, scanned, criteria, companions)  # type: ignore[arg-type]
        return judged(parsed, cycle, settings, criteria, "test").outcome

    assert outcome(good) is Outcome.PASS
    assert outcome(good | {"verifier": (verifier, "verifier said nothing within 10 s")}) is Outcome.ERROR
    other = reading({"code": SERIAL[:-1] + "2", "grade": "A"})
    assert outcome(good | {"verifier": (verifier, other)}) is Outcome.FAIL
    assert outcome(good | {"printer": (printer, reading({"printed": False}))}) is Outcome.FAIL


def test_a_measurement_keeps_the_machines_own_times_and_its_word_for_the_quality() -> None:
    source, server = datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 22, 1, tzinfo=UTC)
    point = PointValue(
        60.1, Quality.UNCERTAIN, source, server_timestamp=server, status_code="UncertainSensorNotAccurate"
    )
    _, record = understood("P03-A", "tester", GOOD | {"temperature": point})
    (found,) = [one for one in record.measurements if one.name == "temperature"]
    assert (found.source_timestamp, found.server_timestamp) == (source, server)
    assert (found.status_code, found.clock_off, record.outcome) == ("UncertainSensorNotAccurate", False, Outcome.ERROR)


@pytest.mark.parametrize(
    ("moment", "off"),
    [
        (datetime(1601, 1, 1, tzinfo=UTC), True),
        (datetime(2000, 1, 1, tzinfo=UTC), True),
        (datetime(2026, 11, 1, tzinfo=UTC), False),  # a value may be as old as it likes
        (datetime(2026, 11, 23, 0, 0, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 23, 0, 1, 1, tzinfo=UTC), True),
        (datetime(2099, 1, 1, tzinfo=UTC), True),
    ],
    ids=str,
)
def test_a_clock_that_is_off_is_kept_flagged_and_judged_all_the_same(moment: datetime, off: bool) -> None:
    for point in (PointValue(60.1, source_timestamp=moment), PointValue(60.1, server_timestamp=moment)):
        _, record = understood("P03-A", "tester", GOOD | {"temperature": point})
        (found,) = [one for one in record.measurements if one.name == "temperature"]
        assert moment in (found.source_timestamp, found.server_timestamp)
        assert (found.clock_off, record.outcome) == (off, Outcome.PASS)


def test_a_table_bears_the_latest_time_of_its_columns_and_the_first_doubt() -> None:
    early, late = datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 22, 1, tzinfo=UTC)
    columns = ("temperatures", "displacements", "measured_forces", "target_forces", "tolerances")
    points: dict[str, RawValue | PointValue | None] = {
        name: PointValue([20.0] * 3, source_timestamp=early) for name in columns
    }
    points["displacements"] = PointValue([20.0] * 3, source_timestamp=late, status_code="GoodClamped")
    values = {"result_counter": 7, "serial_number": SERIAL, "judgement": 1, **points}
    _, record = understood("P06-A", "tester", values)
    (table,) = record.measurements
    assert (table.source_timestamp, table.status_code) == (late, "GoodClamped")


def test_what_a_protocol_does_not_say_leaves_no_trace_in_a_record() -> None:
    """So the bytes of a record are those of every release before."""
    _, record = understood("P03-A", "tester", GOOD)
    assert not any(word in canonical(record) for word in (b"timestamp", b"status_code", b"clock"))
