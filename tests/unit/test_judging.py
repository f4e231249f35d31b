"""From what was understood to the record: which criteria count, and that nothing passes by accident (law 5)."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.judging import Cycle, criteria_for, judged, told_of
from agent.parsing import parse
from agent.settings import StationSettings, load
from contracts.criteria import CriteriaSet, Criterion, MachineVerdict, Outcome, Verdict
from contracts.measurement import Quality
from contracts.record import ProcessRecord, canonical
from drivers.base import PointValue, RawValue
from tests.support.drivers import reading

CONFIG = Path("config/stations")
AT = datetime(2026, 11, 23, tzinfo=UTC)
SERIAL = "WF-KR-261123D-001-0001"
GOOD: dict[str, RawValue | PointValue | None] = {
    "result_counter": 7,
    "serial_number": SERIAL,
    "temperature": 60.0,
    "tof_i2c": True,
    "judgement": 1,
}
TWO_MACHINES = """
station: {id: P03-X, site: gimcheon, line: KR01, process: P03_SENSOR_INSPECTION}
broker: {url: "mqtt://127.0.0.1:1883"}
machines:
  oven:
    protocol: serial
    connect: {port: /dev/ttyS1}
    points:
      n: {key: n, type: int}
      serial_number: {key: code}
      temperature: {key: t, type: float, unit: degC}
    cycle_key: n
  bus:
    protocol: serial
    connect: {port: /dev/ttyS2}
    points:
      n: {key: n, type: int}
      serial_number: {key: code}
      tof_i2c: {key: tof, type: boolean}
    cycle_key: n
criteria:
  temperature: {nominal: 60, tolerance: 1, unit: degC, defect: SENSOR_TEMP_FAIL}
  tof_i2c: {equals: true, defect: SENSOR_TOF_FAIL}
"""


def record_of(
    settings: StationSettings,
    machine: str,
    values: Mapping[str, RawValue | PointValue | None],
    criteria: CriteriaSet | None = None,
) -> ProcessRecord:
    own = criteria_for(settings.machines[machine], settings, criteria or settings.criteria_set())
    parsed = parse(settings.machines[machine], reading(values), own)
    return judged(parsed, Cycle(machine, AT, None, None, False, b"wire"), settings, own, "test")


@pytest.fixture(scope="module")
def tester() -> StationSettings:
    return load(CONFIG / "P03-A.yaml")


@pytest.fixture
def two(tmp_path: Path) -> StationSettings:
    file = tmp_path / "P03-X.yaml"
    file.write_text(TWO_MACHINES, encoding="utf-8")
    return load(file)


def test_two_machines_of_one_station_are_judged_each_by_its_own_criteria(two: StationSettings) -> None:
    oven = record_of(two, "oven", {"n": 1, "serial_number": SERIAL, "temperature": 60.0})
    bus = record_of(two, "bus", {"n": 1, "serial_number": SERIAL, "tof_i2c": False})
    assert (oven.outcome, [verdict.name for verdict in oven.verdicts]) == (Outcome.PASS, ["temperature"])
    assert (bus.outcome, [defect.code for defect in bus.defects]) == (Outcome.FAIL, ["SENSOR_TOF_FAIL"])
    assert oven.criteria_revision == bus.criteria_revision == two.criteria_set().revision


def test_its_own_measurement_that_is_missing_is_an_error(two: StationSettings) -> None:
    assert record_of(two, "oven", {"n": 1, "serial_number": SERIAL}).outcome is Outcome.ERROR


def test_a_criterion_nobody_measures_is_missing_in_every_record(two: StationSettings) -> None:
    ours = two.criteria_set()
    more = ours.model_copy(update={"criteria": {**ours.criteria, "pressure": Criterion(lower=1, unit="bar")}})
    for machine, value in (("oven", {"temperature": 60.0}), ("bus", {"tof_i2c": True})):
        record = record_of(two, machine, {"n": 1, "serial_number": SERIAL, **value}, more)
        assert record.outcome is Outcome.ERROR
        assert "pressure" in {verdict.name for verdict in record.verdicts if verdict.verdict is Verdict.ERROR}


def test_a_machine_without_any_criterion_passes_nothing(two: StationSettings) -> None:
    ours = two.criteria_set()
    fewer = ours.model_copy(update={"criteria": {"temperature": ours.criteria["temperature"]}})
    assert record_of(two, "bus", {"n": 1, "serial_number": SERIAL, "tof_i2c": True}, fewer).outcome is Outcome.ERROR


def test_what_companions_measure_is_judged_in_the_record_they_work_for() -> None:
    settings = load(CONFIG / "P07-A.yaml")
    own = criteria_for(settings.machines["scanner"], settings, settings.criteria_set())
    assert set(own.criteria) == {"printer.printed", "verifier.code", "verifier.grade"}


@pytest.mark.parametrize(
    ("criterion", "temperature", "outcome"),
    [
        (Criterion(formula="temperature - 20 K", upper=40, unit="degC"), 60.0, Outcome.PASS),
        (Criterion(formula="temperature - 20 K", upper=40, unit="degC"), 60.1, Outcome.FAIL),
        (Criterion(formula="temperature / (temperature - 20 K)", upper=40), 60.0, Outcome.ERROR),
        (Criterion(holds="temperature > 300 K"), 60.0, Outcome.PASS),
        (Criterion(holds="temperature > humidity"), 60.0, Outcome.ERROR),
    ],
    ids=str,
)
def test_a_rule_across_measurements_makes_a_record_like_any_other(
    tester: StationSettings, criterion: Criterion, temperature: float, outcome: Outcome
) -> None:
    rules = CriteriaSet(process="P03_SENSOR_INSPECTION", revision="r", criteria={"rule": criterion})
    record = record_of(tester, "tester", GOOD | {"temperature": temperature}, rules)
    assert record.outcome is outcome
    assert ProcessRecord.model_validate_json(canonical(record)) == record


def test_a_formula_of_two_recording_machines_is_an_error_in_both_and_left_out_by_none(two: StationSettings) -> None:
    rule = Criterion(holds="temperature > tof_i2c")
    rules = CriteriaSet(process="P03_SENSOR_INSPECTION", revision="r", criteria={"rule": rule})
    for machine in ("oven", "bus"):
        values: dict[str, RawValue | PointValue | None] = {"n": 1, "serial_number": SERIAL, "temperature": 60.0}
        assert record_of(two, machine, values | {"tof_i2c": True}, rules).outcome is Outcome.ERROR


@pytest.mark.parametrize("point", ["temperature", "tof_i2c"])
@pytest.mark.parametrize(
    "value",
    [
        None,
        math.nan,
        math.inf,
        -math.inf,
        "nan",
        "",
        "sixty",
        "60 mm",
        "60 degX",
        "9" * 5000,
        "\udc80",
        b"60",
        [60.0],
        [math.nan],
        [None],
        PointValue(None, problem="illegal address"),
        PointValue(60.0, problem="half a number"),
        PointValue(60.0, quality=Quality.BAD),
        PointValue(60.0, quality=Quality.UNCERTAIN),
        PointValue(None, original="\udcff", problem="no text: \udcff"),
    ],
    ids=repr,
)
def test_nothing_passes_by_accident_and_nothing_stops_the_record(
    tester: StationSettings, point: str, value: RawValue | PointValue | None
) -> None:
    record = record_of(tester, "tester", {**GOOD, point: value})
    assert record.outcome is Outcome.ERROR
    assert ProcessRecord.model_validate_json(canonical(record)) == record


@pytest.mark.parametrize("value", [True, "true", PointValue(True, quality=Quality.BAD)], ids=repr)
def test_a_number_of_another_type_is_no_number(tester: StationSettings, value: RawValue | PointValue) -> None:
    assert record_of(tester, "tester", {**GOOD, "temperature": value}).outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("temperature", "said", "outcome", "disagreement"),
    [
        (60.0, 1, Outcome.PASS, False),
        (60.0, 2, Outcome.FAIL, True),
        (63.0, 1, Outcome.FAIL, True),
        (63.0, 2, Outcome.FAIL, False),
        (None, 1, Outcome.ERROR, False),
        (None, 2, Outcome.ERROR, False),
        (60.0, 3, Outcome.ERROR, False),
        (60.0, None, Outcome.ERROR, False),
    ],
)
def test_of_two_verdicts_the_worse_one_counts_and_the_difference_is_flagged(
    tester: StationSettings, temperature: float | None, said: int | None, outcome: Outcome, disagreement: bool
) -> None:
    record = record_of(tester, "tester", {**GOOD, "temperature": temperature, "judgement": said})
    assert (record.outcome, record.disagreement) == (outcome, disagreement)
    if said in (1, 2):
        assert record.machine_verdict is (MachineVerdict.PASS if said == 1 else MachineVerdict.FAIL)


@pytest.mark.parametrize(
    "change",
    [
        {"judgement": PointValue(3, quality=Quality.BAD)},
        {"judgement": PointValue(None, problem="illegal address")},
    ],
    ids=str,
)
def test_whether_a_cycle_was_stopped_by_hand_is_known_or_it_is_an_error(change: dict[str, PointValue]) -> None:
    settings = load(CONFIG / "P06-A.yaml")
    points = {name: [1.0, 1.0, 1.0] for name in settings.machines["tester"].tables["test_points"].values()}
    good = {"result_counter": 7, "serial_number": SERIAL, "judgement": 3, **points}
    stopped = record_of(settings, "tester", good)
    assert (stopped.outcome, stopped.problems) == (Outcome.ABORTED, ())
    assert record_of(settings, "tester", {**good, **change}).outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("duration", "seconds", "outcome"),
    [
        ("42.5 s", 42.5, Outcome.PASS),
        (42, 42.0, Outcome.PASS),
        (-1.0, None, Outcome.ERROR),
        (1e300, None, Outcome.ERROR),
        (math.nan, None, Outcome.ERROR),
        ("soon", None, Outcome.ERROR),
        (None, None, Outcome.PASS),
    ],
)
def test_a_cycle_time_is_a_plausible_number_of_seconds(
    duration: RawValue | None, seconds: float | None, outcome: Outcome
) -> None:
    settings = load(CONFIG / "P04-A.yaml")
    values = {
        "n": 1,
        "serial_number": SERIAL,
        "firmware_version": "v1.2.3",
        "checksum": "9f86d081",
        "upload_result": "OK",
        "attempts": 1,
        "duration": duration,
    }
    record = record_of(settings, "flasher", values)
    assert (record.cycle_time_seconds, record.outcome) == (seconds, outcome)
    assert (record.started_at is None) == (seconds is None)


def test_a_fail_of_the_machine_alone_names_the_defect_it_means() -> None:
    settings = load(CONFIG / "P04-A.yaml")
    values = {
        "n": 1,
        "serial_number": SERIAL,
        "firmware_version": "v1.2.3",
        "checksum": "9f86d081",
        "upload_result": "NG",
        "attempts": 3,
    }
    record = record_of(settings, "flasher", values)
    assert (record.outcome, record.disagreement) == (Outcome.FAIL, True)
    assert [defect.code for defect in record.defects] == ["FIRMWARE_UPLOAD_FAIL"]


@pytest.mark.parametrize(
    ("label", "reject", "outcome"),
    [("REJECT", True, None), ("GOOD", False, None), (PointValue("REJECT", quality=Quality.BAD), False, Outcome.ERROR)],
    ids=str,
)
def test_a_reject_label_is_one_that_says_so(
    label: RawValue | PointValue, reject: bool, outcome: Outcome | None
) -> None:
    settings = load(CONFIG / "P07-A.yaml")
    record = record_of(settings, "scanner", {"n": 1, "code": SERIAL, "label": label})
    assert record.reject_label is reject
    assert outcome is None or record.outcome is outcome


def test_numbers_written_as_text_are_compared_as_numbers() -> None:
    settings = load(CONFIG / "P03-A.yaml")
    ours = settings.criteria_set()
    for rule in (Criterion(equals=2), Criterion(one_of=(1, 2))):
        criteria = ours.model_copy(update={"criteria": {"tof_i2c": rule}})
        assert record_of(settings, "tester", {**GOOD, "tof_i2c": "2"}, criteria).outcome is Outcome.PASS
        assert record_of(settings, "tester", {**GOOD, "tof_i2c": "3"}, criteria).outcome is Outcome.FAIL


def test_the_log_says_why_a_result_is_an_error_in_few_words(tester: StationSettings) -> None:
    unread = PointValue(None, Quality.BAD, problem="sensor " + "x" * 1000)
    told = told_of(record_of(tester, "tester", GOOD | {"tof_i2c": "yes", "temperature": unread, "judgement": 9}))

    assert told["outcome"] == "ERROR"
    assert told["reasons"][0] == "the machine's verdict (point judgement) is 9: neither pass nor fail"
    assert told["reasons"][1].startswith("temperature: sensor xxx")
    assert len(told["reasons"][1]) == 300
    assert told["reasons"][2] == "tof_i2c: a text, a boolean is needed"


def test_the_log_gives_no_reasons_where_a_result_was_judged(tester: StationSettings) -> None:
    assert "reasons" not in told_of(record_of(tester, "tester", GOOD | {"temperature": 99.0}))


def test_the_log_says_that_nothing_was_judged(tester: StationSettings) -> None:
    nothing = CriteriaSet(process=tester.station.process, revision="1", criteria={})

    assert told_of(record_of(tester, "tester", GOOD, nothing))["reasons"] == ["nothing of it has a criterion"]
