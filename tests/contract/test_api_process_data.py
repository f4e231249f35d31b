"""Process data over the API: entered, finished, corrected and taken away by people, beside what stations sent."""

import csv
import json
from io import StringIO
from typing import Any

import pytest

from central.entry_fields import entry_fields
from central.store.users import Role
from contracts.criteria import Criteria, Criterion
from contracts.processes import PROCESSES
from tests.support.api import Api
from tests.support.stores import delivery, minutes, permit, record, rows

STARTED = "2026-11-02T08:00:00Z"


@pytest.fixture
def line(api: Api) -> dict[str, Any]:
    """A LOT with a unit; processes have the ids 1 to 8 in their order."""
    model = api.post("/product-models", {"model_code": "WR-1", "model_name": "Wearable robot"})
    lot = api.post(
        "/lots", {"product_model_id": model["id"], "target_quantity": 3, "production_date": "2026-11-02", "shift": "D"}
    )
    unit = api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 1})
    ids = {one["process_number"]: one["id"] for one in api.get("/processes")}
    return {"lot": lot, "unit": unit, "process": ids}


def body(api: Api, line: dict[str, Any], process: int, result: str | None, **more: Any) -> dict[str, Any]:
    given = {
        "lot_id": line["lot"]["id"],
        "serial_id": line["unit"]["id"],
        "process_id": line["process"][process],
        "operator_id": api.people[Role.OPERATOR].id,
        "data_level": "SERIAL",
        "result": result,
        "started_at": STARTED,
        **more,
    }
    return {name: value for name, value in given.items() if value is not None}


def enter(api: Api, line: dict[str, Any], process: int, result: str | None, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = api.post("/process-data", body(api, line, process, result, **more), role=Role.OPERATOR)
    return made


def refused(api: Api, method: str, path: str, given: Any = None, role: Role = Role.ADMIN) -> tuple[int, str]:
    answer = api.ask(role, method, path, json=given)
    return answer.status_code, answer.json()["code"]


def unit(api: Api, line: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/serials/{line['unit']['id']}")
    return found


def test_eight_passes_by_hand_pass_the_unit_in_their_order_whatever_their_times(api: Api, line: dict[str, Any]) -> None:
    """Tablets' clocks are not the line's: what was entered later came later."""
    for process in range(1, 9):
        made = enter(api, line, process, "PASS", started_at=f"2026-11-02T0{9 - process}:00:00Z", cycle_time_seconds=60)
        assert (made["origin"], made["entered_by"], made["result"], made["outcome"]) == (
            "PERSON", "operator", "PASS", "PASS",
        )  # fmt: skip
        assert (made["duration_seconds"], made["operator"]["username"]) == (60, "operator")
        assert made["process"]["process_number"] == process
    passed = unit(api, line)
    assert (passed["status"], passed["exceptions"], passed["passed_processes"]) == ("PASSED", [], list(range(1, 9)))
    lot = api.get(f"/lots/{line['lot']['id']}")
    assert (lot["status"], lot["actual_quantity"], lot["passed_quantity"]) == ("IN_PROGRESS", 1, 1)
    assert len(api.get("/process-data", Role.OPERATOR)) == 8
    assert api.get("/process-data/result/PASS?limit=3") == api.get("/process-data")[:3]


def test_what_breaks_the_route_is_refused_by_its_rule(api: Api, line: dict[str, Any]) -> None:
    def code(process: int, result: str | None, **more: Any) -> str:
        status, found = refused(api, "POST", "/process-data", body(api, line, process, result, **more), Role.OPERATOR)
        assert status in (403, 404, 409)
        return found

    assert code(2, "PASS") == "PREVIOUS_PROCESS_NOT_COMPLETED"
    assert code(8, "PASS") == "PREVIOUS_PROCESS_NOT_COMPLETED"
    enter(api, line, 1, "PASS")
    assert code(1, "PASS") == "PROCESS_ALREADY_PASSED"
    for _ in range(3):
        enter(api, line, 2, "FAIL", defects=["PART_DEFECT"])
    assert unit(api, line)["failure_reason"] == "PART_DEFECT"
    assert code(2, "PASS") == "RETEST_LIMIT_REACHED"
    assert code(2, "REWORK") == "ROLE_TOO_LOW"
    assert code(1, "PASS", lot_id=999) == "LOT_NOT_FOUND"
    assert code(1, "PASS", serial_id=999) == "SERIAL_NOT_FOUND"
    assert code(1, "PASS", process_id=999) == "PROCESS_NOT_FOUND"
    assert code(1, "PASS", operator_id=api.people[Role.MANAGER].id) == "OPERATOR_IS_NOT_YOU"
    assert refused(api, "POST", "/process-data", body(api, line, 1, "PASS", operator_id=999)) == (404, "USER_NOT_FOUND")
    again = body(api, line, 2, "REWORK", notes="spring loose")
    assert api.post("/process-data", again, role=Role.MANAGER)["outcome"] == "REWORK"
    assert unit(api, line)["rework_count"] == 1
    assert [one["result"] for one in api.get("/process-data/failures")] == ["FAIL"] * 3


BAD: list[tuple[dict[str, Any], set[str]]] = [
    ({"serial_id": None}, {"body"}),
    ({"data_level": "LOT"}, {"body"}),
    ({"started_at": None}, {"body"}),
    ({"result": "GOOD"}, {"result"}),
    ({"outcome": "ERROR"}, {"body"}),
    ({"completed_at": "2026-11-02T07:00:00Z"}, {"body"}),
    ({"started_at": "2026-11-02T08:00:00"}, {"started_at"}),
    ({"started_at": "0001-01-01T00:00:00+14:00"}, {"started_at"}),
    ({"started_at": "9999-12-31T00:00:00Z", "cycle_time_seconds": 1e8}, {"started_at"}),
    ({"notes": "x" * 1001, "cycle_time_seconds": -1}, {"notes", "cycle_time_seconds"}),
    ({"defects": ["small scratch"]}, {"code"}),
    ({"measurements": {"humidity": 5, "torque": 1}}, {"humidity", "torque"}),
    ({"measurements": {"temperature": "warm"}}, {"temperature"}),
]


def test_every_bad_field_is_named(api: Api, line: dict[str, Any]) -> None:
    for changes, fields in BAD:
        given = {name: value for name, value in (body(api, line, 3, "PASS") | changes).items() if value is not None}
        answer = api.ask(Role.OPERATOR, "POST", "/process-data", json=given)
        assert answer.status_code == 422, (changes, answer.text)
        assert {one["loc"][-1] for one in answer.json()["detail"]} == fields, changes
    assert api.get("/process-data") == []


def test_each_process_has_its_own_fields(api: Api, line: dict[str, Any]) -> None:
    assert entry_fields().keys() == {one.code for one in PROCESSES}
    measured: dict[int, dict[str, Any]] = {
        1: {"marking_quality": "A", "marking_depth": "0.05mm", "readability": 0.9},
        2: {"sma_spring_lot": "SPRING-2026110201", "torque": 1.1},
        3: {"temperature": 60.2, "tof_i2c": True},
        4: {"firmware_version": "v1.2.3", "attempts": 1},
        5: {"assembly_time": 55, "cable_connection": "OK"},
        6: {"test_points": [{"temperature": 52, "displacement": 200, "measured_force": 15.5, "target_force": 15}]},
        7: {"verifier_grade": "A"},
        8: {
            "visual_defects": [{"type": "scratch", "severity": "minor", "location": "back"}],
            "packaging_complete": True,
        },
    }
    wrong: dict[int, tuple[dict[str, Any], str]] = {
        1: ({"marking_quality": "G"}, "marking_quality"),
        2: ({"sma_spring_lot": "SPRING-1"}, "sma_spring_lot"),
        3: ({"tof_i2c": 1}, "tof_i2c"),
        4: ({"firmware_version": "1.2.3"}, "firmware_version"),
        5: ({"assembly_time": -1}, "assembly_time"),
        6: ({"test_points": [{"temperature": 52}, {"temperature": 71}]}, "temperature"),
        7: ({"grade": "A"}, "grade"),
        8: ({"visual_defects": [{"type": "hole"}]}, "type"),
    }
    for process, given in measured.items():
        bad = body(api, line, process, "PASS", measurements=wrong[process][0])
        answer = api.ask(Role.OPERATOR, "POST", "/process-data", json=bad)
        assert (answer.status_code, answer.json()["detail"][0]["loc"][-1]) == (422, wrong[process][1])
        made = enter(api, line, process, "PASS", measurements=given)
        assert made["measurements"] == {**given, **({"marking_depth": 0.05} if process == 1 else {})}
    kept = json.loads(rows(api.store, "process_data")[0]["record"])
    [depth] = [one for one in kept["measurements"] if one["name"] == "marking_depth"]
    assert depth == {"name": "marking_depth", "value": 0.05, "unit": "mm", "original": "0.05mm"}


def test_a_start_is_incomplete_until_its_result(api: Api, line: dict[str, Any]) -> None:
    begun = enter(api, line, 1, None, measurements={"marking_quality": "B"}, notes="begun")
    there = f"/process-data/{begun['id']}"
    assert (begun["result"], begun["outcome"], begun["completed_at"]) == (None, None, None)
    api.store.ingest([delivery([(1, permit(station="P03-B", serial_number="SN-777-1", lot_number=None))])])
    waiting = api.get("/process-data/incomplete")
    assert {(one["id"], one["serial_number"]) for one in waiting} == {
        (None, "SN-777-1"), (begun["id"], line["unit"]["serial_number"]),
    }  # fmt: skip
    assert [one["id"] for one in api.get("/process-data/incomplete", Role.OPERATOR)] == [begun["id"]]
    more = api.put(there, {"notes": "nearly done"}, Role.OPERATOR)
    assert (more["id"], more["notes"], more["result"]) == (begun["id"], "nearly done", None)
    done = api.put(there, {"result": "PASS", "completed_at": "2026-11-02T08:01:00Z"}, Role.OPERATOR)
    assert (done["id"], done["result"], done["duration_seconds"], done["corrected"]) == (begun["id"], "PASS", 60, False)
    assert (done["notes"], done["measurements"]) == ("nearly done", {"marking_quality": "B"})
    assert unit(api, line)["passed_processes"] == [1]
    assert [one["id"] for one in api.get("/process-data/incomplete")] == [None]
    assert len(api.get("/process-data")) == 1


def station_record(api: Api, line: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A station's FAIL at process 1 of the unit."""
    sent = record(
        station="P01-A", process=PROCESSES[0].code, serial_number=line["unit"]["serial_number"], lot_number=None,
        outcome="FAIL", completed_at=minutes(5), **changes,
    )  # fmt: skip
    api.store.ingest([delivery([(1, sent)], station="P01-A")])
    [row] = api.get("/process-data")
    assert (row["origin"], row["result"], row["corrected"]) == ("STATION", "FAIL", False)
    found: dict[str, Any] = row
    return found


def test_a_correction_counts_and_the_record_stays_as_it_came(api: Api, line: dict[str, Any]) -> None:
    row = station_record(api, line)
    kept = rows(api.store, "process_data")[0]["record"]
    there = f"/process-data/{row['id']}"
    corrected = api.put(there, {"result": "PASS", "notes": "lens was dirty", "reason": "seen again"})
    assert (corrected["result"], corrected["corrected"], corrected["notes"]) == ("PASS", True, "lens was dirty")
    assert (corrected["origin"], corrected["station"]) == ("STATION", "P01-A")
    assert unit(api, line)["passed_processes"] == [1]
    assert rows(api.store, "process_data")[0]["record"] == kept
    again = api.put(there, {"defects": ["MARKING_FAIL"], "result": "FAIL"})
    assert (again["result"], again["notes"], again["defects"]) == ("FAIL", "lens was dirty", [{"code": "MARKING_FAIL"}])
    assert unit(api, line)["passed_processes"] == []
    assert refused(api, "PUT", there, {"process_id": line["process"][2]}) == (409, "RECORD_BELONGS")
    assert refused(api, "PUT", there, {"completed_at": "2020-01-01T00:00:00Z"})[0] == 422
    assert refused(api, "PUT", there, {"result": "REWORK"}) == (409, "REWORK_NOT_AUTHORISED")
    audit = [one for one in rows(api.store, "audit_logs") if one["entity_type"] == "process_data"]
    assert [(one["action"], one["author"]) for one in audit] == [
        ("CREATE", None),
        ("UPDATE", "admin"),
        ("UPDATE", "admin"),
    ]


def test_what_is_taken_away_counts_no_more_and_is_shown_no_more(api: Api, line: dict[str, Any]) -> None:
    enter(api, line, 1, "PASS")
    made = enter(api, line, 2, "FAIL")
    assert api.ask(Role.ADMIN, "DELETE", f"/process-data/{made['id']}").status_code == 204
    assert refused(api, "GET", f"/process-data/{made['id']}") == (404, "PROCESS_DATA_NOT_FOUND")
    assert len(api.get("/process-data")) == 1
    assert len(rows(api.store, "process_data")) == 2
    assert api.get(f"/serials/{line['unit']['id']}/can-rework")["can_rework"] is False


def test_an_operator_sees_and_changes_the_own_data_alone(api: Api, line: dict[str, Any]) -> None:
    row = station_record(api, line)
    own = enter(api, line, 1, "PASS")
    there = f"/process-data/{row['id']}"
    for path in (
        "",
        f"/serial/{line['unit']['id']}",
        f"/lot/{line['lot']['id']}",
        "/date-range?start_date=2026-11-02&end_date=2026-11-02",
    ):
        assert [one["id"] for one in api.get(f"/process-data{path}", Role.OPERATOR)] == [own["id"]]
        assert len(api.get(f"/process-data{path}", Role.MANAGER)) == 2
    assert refused(api, "GET", there, role=Role.OPERATOR) == (403, "NOT_YOUR_DATA")
    assert refused(api, "PUT", there, {"result": "PASS"}, Role.OPERATOR) == (403, "NOT_YOUR_DATA")
    last = f"/process-data/serial/{line['unit']['id']}/process/{line['process'][1]}"
    assert api.get(last, Role.OPERATOR)["id"] == own["id"]
    assert refused(api, "GET", f"/process-data/serial/{line['unit']['id']}/process/{line['process'][2]}")[0] == 404
    table = csv.DictReader(StringIO(api.ask(Role.OPERATOR, "GET", "/process-data/export.csv").text))
    assert [one["id"] for one in table] == [str(own["id"])]


def test_a_pass_that_the_criteria_do_not_give_is_refused(api: Api, line: dict[str, Any]) -> None:
    limits = {"marking_depth": Criterion(lower=0.04, upper=0.06, unit="mm")}
    api.store.criteria.add(Criteria(process=PROCESSES[0].code, criteria=limits), "kim", "first ones")
    now = {"started_at": None, "cycle_time_seconds": 10}
    for measured in ({}, {"marking_depth": 0.09}):
        given = body(api, line, 1, "PASS", measurements=measured, **now)
        assert refused(api, "POST", "/process-data", given, Role.OPERATOR) == (409, "CRITERIA_NOT_MET")
    made = enter(api, line, 1, "PASS", measurements={"marking_depth": "0.05mm"}, **now)
    assert made["criteria_revision"] == "1"
    wrong = refused(api, "PUT", f"/process-data/{made['id']}", {"measurements": {"marking_depth": 0.09}})
    assert wrong == (409, "CRITERIA_NOT_MET")
    corrected = api.put(f"/process-data/{made['id']}", {"measurements": {"marking_depth": 0.09}, "result": "FAIL"})
    assert corrected["measurements"] == {"marking_depth": 0.09}


def test_a_record_of_a_lot_moves_no_unit(api: Api, line: dict[str, Any]) -> None:
    made = enter(api, line, 1, "PASS", serial_id=None, data_level="LOT")
    assert (made["serial_id"], made["lot_number"]) == (None, line["lot"]["lot_number"])
    assert unit(api, line)["status"] == "CREATED"
    assert api.get(f"/lots/{line['lot']['id']}")["status"] == "IN_PROGRESS"
