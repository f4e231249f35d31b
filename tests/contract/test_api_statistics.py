"""Statistics over the API, on both databases: which records they are made of, and what they refuse."""

import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

from central.store import statistics as found
from central.store.users import Role
from contracts.criteria import Criterion
from contracts.criteria.revisions import Criteria
from contracts.measurement import Measurement
from contracts.processes import PROCESSES
from contracts.record import Defect, Part, ProcessRecord
from tests.support.api import Api
from tests.support.stores import delivery, record

NOW = datetime.now(UTC)
PROCESS = PROCESSES[2].code
ASKED = f"/statistics/measurements?process={PROCESS}&measurement=reading"
CHART = ASKED.replace("measurements", "control-chart", 1)


def normal(count: int) -> list[float]:
    quantiles = [statistics.NormalDist(60, 0.2).inv_cdf((number + 0.5) / count) for number in range(count)]
    return [quantiles[(number * 37) % count] for number in range(count)]


def measured(number: int, value: Any, unit: str | None = "degC", **more: Any) -> ProcessRecord:
    """A failed one needs no proof, and is measured all the same."""
    given: dict[str, Any] = {
        "serial_number": f"SN-{number:04d}",
        "outcome": "FAIL",
        "measurements": [Measurement(name="reading", value=value, unit=unit)],
        "verdicts": (),
        "completed_at": NOW - timedelta(hours=1) + timedelta(seconds=number),
        "cycle_time_seconds": None,
    }
    return record(**{**given, **more})


def deliver(api: Api, *records: ProcessRecord) -> None:
    api.store.ingest([delivery(list(enumerate(records, 1)), station=records[0].station)])


def test_a_measurement_is_told_by_the_limits_in_force(api: Api) -> None:
    values = normal(60)
    others = [
        measured(100, 99.0, part=Part.GOLDEN_SAMPLE, serial_number="GOLDEN-1"),
        measured(101, "not measured"),
        measured(102, True),
        measured(103, 10**400),
        measured(104, [{"reading": 1.0}, {"reading": 7.5}]),
    ]
    deliver(api, *(measured(number, value) for number, value in enumerate(values)), *others)

    answer = api.get(ASKED, Role.MANAGER)
    assert (answer["n"], answer["left_out"], answer["cut"], answer["unit"]) == (60, 4, False, "degC")
    assert answer["refused"]["code"] == "NO_LIMITS"
    limits = {"reading": Criterion(nominal=60, tolerance=1, unit="degC")}
    api.store.criteria.add(Criteria(process=PROCESS, criteria=limits), "kim", "first ones")
    answer = api.get(ASKED, Role.MANAGER)
    assert answer["refused"] is None
    assert answer["limits"] == {"lower": 59, "upper": 61}
    assert abs(answer["mean"] - 60) < 1e-6
    assert abs(answer["capability"]["pp"]["value"] - 2 / (6 * statistics.stdev(values))) < 1e-9
    given = api.get(f"{ASKED}&lower=59.5", Role.MANAGER)
    assert given["limits"] == {"lower": 59.5, "upper": None}
    assert given["capability"]["cp"] is None
    assert api.get(f"{ASKED}&row=1&column=reading", Role.MANAGER)["mean"] == 7.5
    assert api.get(f"{ASKED}&product_model=NONE", Role.MANAGER)["refused"]["code"] == "TOO_FEW"
    assert api.ask(Role.MANAGER, "GET", f"{ASKED}&lower=2&upper=2").status_code == 422
    assert api.ask(Role.MANAGER, "GET", ASKED.replace(PROCESS, "P99")).status_code == 404


def test_limits_that_do_not_hold_for_the_values_are_not_taken(api: Api) -> None:
    deliver(api, *(measured(number, value) for number, value in enumerate(normal(40))))
    limits = {"reading": Criterion(nominal=333, tolerance=1, unit="K")}
    api.store.criteria.add(Criteria(process=PROCESS, criteria=limits), "kim", "in kelvin")
    assert api.get(ASKED, Role.MANAGER)["refused"]["code"] == "LIMITS_IN_ANOTHER_UNIT"


def test_values_in_different_units_are_no_sample(api: Api) -> None:
    deliver(api, measured(1, 60.0), measured(2, 333.0, unit="K", machine="other"))
    for path in (ASKED, CHART):
        answer = api.ask(Role.MANAGER, "GET", path)
        assert (answer.status_code, answer.json()["code"]) == (409, "UNITS_DIFFER")
    assert api.get(f"{ASKED}&machine=other", Role.MANAGER)["unit"] == "K"


def test_the_latest_records_are_charted(api: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr(found, "MOST_RECORDS", 20)
    monkeypatch.setattr("central.api.routers.statistics.MOST_RECORDS", 20)
    deliver(api, *(measured(number, 60 + 0.1 * (number % 2)) for number in range(24)), measured(24, 75.0))
    answer = api.get(f"{CHART}&points=3", Role.MANAGER)
    assert (answer["n"], answer["cut"], len(answer["points"])) == (20, True, 3)
    last = answer["points"][-1]
    assert (last["value"], last["serial_number"], 1 in last["rules"]) == (75.0, "SN-0024", True)
    assert answer["broken"]["1"] == 1
    assert api.get(CHART.replace("reading", "nothing"), Role.MANAGER)["center"] is None


def passed(number: int, process: int, outcome: str, at: int, **more: Any) -> ProcessRecord:
    given = {"verdicts": (), "measurements": ()} if outcome == "FAIL" else {}
    return record(
        serial_number=f"SN-{number:04d}",
        process=PROCESSES[process - 1].code,
        outcome=outcome,
        completed_at=NOW - timedelta(hours=1) + timedelta(seconds=at),
        cycle_time_seconds=None,
        **{**given, **more},
    )


def test_a_first_pass_is_the_first_one_that_was_judged(api: Api) -> None:
    long_ago = {"completed_at": NOW - timedelta(days=40)}
    deliver(
        api,
        passed(1, 1, "PASS", 1),
        passed(2, 1, "FAIL", 2),
        passed(2, 1, "PASS", 3),  # a retest is no first pass
        passed(1, 3, "PASS", 4),
        passed(3, 1, "FAIL", 0, **{}).model_copy(update=long_ago),
        passed(3, 1, "PASS", 5),  # the first was before the period
        passed(4, 7, "PASS", 6, reject_label=True),
        passed(5, 3, "PASS", 7, part=Part.DRY_RUN),
    )
    answer = api.get("/statistics/yield", Role.MANAGER)
    by_number = {one["process_number"]: one for one in answer["processes"]}
    assert [(by_number[n]["units"], by_number[n]["passed"]) for n in (1, 2, 3, 7)] == [(2, 1), (0, 0), (1, 1), (1, 0)]
    assert (by_number[1]["first_pass_yield"], by_number[2]["first_pass_yield"]) == (50.0, None)
    assert answer["rolled_throughput_yield"] == 0.0
    longest = "/statistics/yield?start_date=2024-01-01&end_date=2026-01-01"
    assert api.ask(Role.MANAGER, "GET", longest).status_code == 422


def test_defects_count_records_the_most_frequent_first(api: Api) -> None:
    temperature, tof = Defect(code="SENSOR_TEMP_FAIL"), Defect(code="SENSOR_TOF_FAIL")
    deliver(
        api,
        passed(1, 3, "FAIL", 1, defects=(tof,)),
        passed(2, 3, "FAIL", 2, defects=(temperature, temperature)),
        passed(3, 3, "FAIL", 3, defects=(temperature, tof)),
        passed(4, 3, "FAIL", 4, defects=(temperature,)),
        passed(5, 1, "FAIL", 5, defects=(Defect(code="MARKING_FAIL"),)),
        passed(6, 3, "FAIL", 6, defects=(tof,), part=Part.DRY_RUN),
    )
    answer = api.get(f"/statistics/defects?process={PROCESS}", Role.MANAGER)
    assert [(one["code"], one["count"], one["cumulative"]) for one in answer["defects"]] == [
        ("SENSOR_TEMP_FAIL", 3, 60.0),
        ("SENSOR_TOF_FAIL", 2, 100.0),
    ]
    assert len(api.get("/statistics/defects", Role.MANAGER)["defects"]) == 3
