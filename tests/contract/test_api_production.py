"""LOTs and units over the API: what is taken, what is answered, and which rule refuses what."""

import csv
import tracemalloc
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from central.api import exporting
from central.cli import app
from central.store import tables
from central.store.users import Role
from tests.support.api import Api

DAY = {"production_date": "2026-11-02", "shift": "DAY"}


@pytest.fixture
def model(api: Api) -> dict[str, Any]:
    made: dict[str, Any] = api.post("/product-models", {"model_code": "WR-1", "model_name": "Wearable robot"})
    return made


def opened(api: Api, model: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"product_model_id": model["id"], "target_quantity": 2, **DAY, **more}
    made: dict[str, Any] = api.post("/lots", body, role=Role.MANAGER)
    return made


def refused(api: Api, method: str, path: str, body: Any = None, role: Role = Role.ADMIN) -> tuple[int, str]:
    answer = api.ask(role, method, path, json=body)
    assert answer.json()["detail"]
    return answer.status_code, answer.json()["code"]


def test_a_lot_is_opened_found_changed_and_closed(api: Api, model: dict[str, Any]) -> None:
    first = opened(api, model)
    second = opened(api, model, lot_number="WF-KR-261102N-005", production_date=None, shift=None, manager_id=1)
    third = opened(api, model, shift="NIGHT")
    numbers = [one["lot_number"] for one in (first, second, third)]
    assert numbers == ["WF-KR-261102D-001", "WF-KR-261102N-005", "WF-KR-261102N-006"]
    assert first["product_model"]["model_code"] == "WR-1"
    assert (first["status"], first["pass_rate"], first["defect_rate"]) == ("CREATED", None, None)
    assert (second["production_date"], second["shift"]) == ("2026-11-02", "N")

    assert [one["lot_number"] for one in api.get("/lots", Role.OPERATOR)] == numbers
    assert [one["id"] for one in api.get("/lots?search=n-00")] == [second["id"], third["id"]]
    assert api.get("/lots/number/WF-KR-261102N-005")["id"] == second["id"]
    assert len(api.get("/lots/active")) == len(api.get("/lots/status/CREATED")) == 3
    assert len(api.get(f"/lots/product/{model['id']}")) == 3
    for days, found in (
        ("start_date=2026-11-02&end_date=2026-11-02", 3),
        ("start_date=2026-11-03&end_date=2027-01-01", 0),
    ):
        assert len(api.get(f"/lots/date-range?{days}")) == found

    units = [api.post("/serials", {"lot_id": first["id"], "sequence_in_lot": n}, role=Role.OPERATOR) for n in (1, 2)]
    assert [unit["serial_number"] for unit in units] == ["WF-KR-261102D-001-0001", "WF-KR-261102D-001-0002"]
    api.put(f"/serials/{units[0]['id']}/status", {"status": "PASSED"}, Role.MANAGER)
    scrapped = {"status": "FAILED", "failure_reason": "dented"}
    assert api.put(f"/serials/{units[1]['id']}/status", scrapped, Role.OPERATOR)["failure_reason"] == "dented"
    changed = api.put(f"/lots/{first['id']}", {"status": "COMPLETED"})
    assert (changed["status"], changed["actual_quantity"], changed["pass_rate"]) == ("COMPLETED", 2, 100)
    assert api.post(f"/lots/{first['id']}/close", role=Role.MANAGER, status=200)["closed_at"] is not None
    assert api.get(f"/lots/{first['id']}/quantities")["passed_quantity"] == 1
    assert len(api.get("/lots/active")) == 2


BAD_LOTS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"product_model_id", "target_quantity"}),
    ({"product_model_id": 1, "target_quantity": 101, "shift": "X"}, {"target_quantity", "shift"}),
    ({"product_model_id": 1, "target_quantity": 10, "shift": {}}, {"shift"}),
    ({"product_model_id": 1, "target_quantity": 10, "shift": "D"}, {"body"}),
    ({"product_model_id": 1, "target_quantity": 10, "lot_number": "WF-KR-261131D-001"}, {"body"}),
    ({"product_model_id": 1, "target_quantity": 10, "lot_number": "WF-KR-261102D-001", "shift": "N"}, {"body"}),
    ({"product_model_id": 1, "target_quantity": 10, **DAY, "passed_quantity": 7}, {"passed_quantity"}),
]


def test_a_lot_that_cannot_be_meant_names_every_bad_field(api: Api) -> None:
    for body, fields in BAD_LOTS:
        answer = api.ask(Role.MANAGER, "POST", "/lots", json=body)
        assert answer.status_code == 422
        assert {one["loc"][-1] for one in answer.json()["detail"]} == fields


def test_a_rule_that_is_broken_is_named(api: Api, model: dict[str, Any]) -> None:
    lot = opened(api, model)
    here = f"/lots/{lot['id']}"
    unit = api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 1})
    there = f"/serials/{unit['id']}"
    assert refused(api, "POST", "/lots", {"product_model_id": 999, "target_quantity": 1, **DAY}) == (
        404,
        "PRODUCT_MODEL_NOT_FOUND",
    )
    again = {"product_model_id": model["id"], "target_quantity": 1, "lot_number": lot["lot_number"]}
    assert refused(api, "POST", "/lots", again) == (409, "ALREADY_EXISTS")
    assert refused(api, "PUT", here, {"shift": "N"}) == (409, "LOT_NUMBER_FIXED")
    assert refused(api, "POST", f"{here}/close") == (409, "LOT_NOT_COMPLETED")
    assert refused(api, "DELETE", here) == (409, "LOT_IN_USE")
    assert refused(api, "PUT", f"{here}/quantities", {"passed_quantity": 7}) == (409, "QUANTITY_COUNTED")
    assert refused(api, "POST", "/serials", {"lot_id": 999, "sequence_in_lot": 1}) == (404, "LOT_NOT_FOUND")
    assert refused(api, "POST", "/serials", {"lot_id": lot["id"], "sequence_in_lot": 1}) == (409, "ALREADY_EXISTS")
    api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 2})
    assert refused(api, "POST", "/serials", {"lot_id": lot["id"], "sequence_in_lot": 3}) == (409, "LOT_FULL")
    assert refused(api, "PUT", f"{there}/status", {"status": "FAILED"}) == (422, "VALIDATION_ERROR")
    assert refused(api, "PUT", f"{there}/status", {"status": "PASSED"}, Role.OPERATOR) == (403, "ROLE_TOO_LOW")
    assert refused(api, "PUT", there, {"rework_count": 2}) == (409, "REWORK_NOT_AUTHORISED")
    assert refused(api, "PUT", there, {"serial_number": "SN-OTHER"}) == (409, "SERIAL_NUMBER_FIXED")
    assert refused(api, "POST", f"{there}/rework", {"reason": "x"}) == (409, "REWORK_NOT_ALLOWED")
    api.put(f"{there}/status", {"status": "FAILED", "failure_reason": "bent"})
    assert refused(api, "PUT", f"{there}/status", {"status": "IN_PROGRESS"}) == (409, "INVALID_STATUS_MOVE")
    assert refused(api, "DELETE", there) == (409, "SERIAL_IN_USE")


def test_a_manager_lets_a_unit_run_out_of_order_and_scraps_it(api: Api, model: dict[str, Any]) -> None:
    """By request and by command: checked, kept in the trail, and told to the stations."""
    lot = opened(api, model)
    unit = api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 1})
    there, number = f"/serials/{unit['id']}", unit["serial_number"]

    def told() -> Any:
        [(changed, digest)] = api.store.route_digests()
        api.store.digest_published(changed)
        return digest.units[number]

    def typed(*words: str) -> Result:
        url = api.store.database.url.render_as_string(hide_password=False)
        return CliRunner().invoke(app, ["unit", *words], env={"DATABASE_URL": url, "SECRET_KEY": "", "USER": "lee"})

    assert told().overridden == ()
    for process, refusal in ((1, "NOTHING_TO_OVERRIDE"), (9, "INVALID_PROCESS_SEQUENCE"), ("P99", "PROCESS_NOT_FOUND")):
        body = {"process": process, "reason": "x"}
        assert refused(api, "POST", f"{there}/override", body)[1] == refusal
    assert refused(api, "POST", f"{there}/override", {"process": 3}) == (422, "VALIDATION_ERROR")
    assert refused(api, "POST", f"{there}/scrap", {"reason": ""}) == (422, "VALIDATION_ERROR")
    api.post(f"{there}/override", {"process": "P03_SENSOR_INSPECTION", "reason": "bench"}, Role.MANAGER, status=200)
    assert told().overridden == (3,)
    again = {"process": 3, "reason": "x"}
    assert refused(api, "POST", f"{there}/override", again) == (409, "NOTHING_TO_OVERRIDE")

    assert typed("override", number, "5", "--reason", "bench").exit_code == 0
    assert told().overridden == (3, 5)
    assert api.get(there)["overridden_processes"] == [3, 5]
    assert typed("scrap", number, "--reason", "dropped", "--author", "kim").exit_code == 0
    assert (told().scrapped, api.get(there)["status"], api.get(there)["final"]) == (True, "FAILED", True)
    assert "was scrapped before" in typed("scrap", number, "--reason", "again").output
    assert "no unit SN-NOBODY" in typed("scrap", "SN-NOBODY", "--reason", "again").output
    assert refused(api, "POST", f"{there}/scrap", {"reason": "x"}) == (409, "ALREADY_SCRAPPED")
    assert refused(api, "POST", f"{there}/override", {"process": 4, "reason": "x"}) == (409, "REWORK_NOT_ALLOWED")
    assert refused(api, "POST", f"{there}/rework", {"reason": "x"}) == (409, "REWORK_NOT_ALLOWED")
    kept = [(one["kind"], one["author"], one["reason"]) for one in api.get(f"/serials/{number}/trace")["decisions"]]
    assert kept[1:] == [
        ("order_overridden", "manager", "bench"),
        ("order_overridden", "lee", "bench"),
        ("unit_scrapped", "kim", "dropped"),
    ]
    with api.store.reading() as connection:
        trail = sa.text("SELECT author FROM audit_logs WHERE entity_type = 'serials' ORDER BY id DESC LIMIT 3")
        assert list(connection.execute(trail).scalars()) == ["kim", "lee", "manager"]

    second = api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 2})
    api.put(f"/serials/{second['id']}/status", {"status": "IN_PROGRESS"})
    api.post(f"/serials/{second['id']}/scrap", {"reason": "dented"}, Role.MANAGER, status=200)
    assert api.put(f"/lots/{lot['id']}", {"status": "COMPLETED"})["failed_quantity"] == 2
    api.post(f"/lots/{lot['id']}/close", role=Role.MANAGER, status=200)
    assert refused(api, "POST", f"{there}/scrap", {"reason": "x"}) == (409, "LOT_CLOSED")


def test_a_unit_is_reworked_three_times_and_no_more(api: Api, model: dict[str, Any]) -> None:
    lot = opened(api, model)
    unit = api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 1, "serial_number": "SN-261102-001"})
    there = f"/serials/{unit['id']}"
    assert api.get(f"{there}/can-rework", Role.OPERATOR)["can_rework"] is False
    for count in (1, 2, 3):
        api.put(f"{there}/status", {"status": "FAILED", "failure_reason": "loose"})
        said = api.get(f"{there}/can-rework")
        assert (said["can_rework"], said["reason"], said["return_process"]) == (True, None, 2)
        body = {"reason": "tightened", "return_process": "P02_LMA_ASSEMBLY"}
        assert api.post(f"{there}/rework", body, Role.MANAGER, status=200)["rework_count"] == count
    api.put(f"{there}/status", {"status": "FAILED", "failure_reason": "loose"})
    said = api.get(f"{there}/can-rework")
    assert (said["can_rework"], said["code"]) == (False, "REWORK_LIMIT_REACHED")
    assert refused(api, "POST", f"{there}/rework", {"reason": "x"}) == (409, "REWORK_LIMIT_REACHED")
    assert [one["id"] for one in api.get("/serials/failed")] == [unit["id"]]
    assert api.get("/serials?status=FAILED&search=261102-0")[0]["lot"]["lot_number"] == lot["lot_number"]
    assert api.get(f"/serials/lot/{lot['id']}") == api.get("/serials/status/FAILED")
    assert api.get("/serials/number/SN-261102-001")["final"] is True


def test_what_was_entered_by_mistake_is_taken_away_and_named_no_more(api: Api, model: dict[str, Any]) -> None:
    lot = opened(api, model)
    unit = api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 1})
    assert api.ask(Role.ADMIN, "DELETE", f"/serials/{unit['id']}").status_code == 204
    assert api.ask(Role.ADMIN, "DELETE", f"/lots/{lot['id']}").status_code == 204
    assert api.get("/lots") == api.get("/serials") == []
    for path in (f"/lots/{lot['id']}", f"/serials/{unit['id']}"):
        assert refused(api, "GET", path)[0] == 404


def test_a_list_as_csv_is_the_list(api: Api, model: dict[str, Any]) -> None:
    lot = opened(api, model)
    api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 1})
    answer = api.ask(Role.OPERATOR, "GET", "/lots/export.csv?search=261102")
    assert answer.headers["content-type"].startswith("text/csv")
    [row] = csv.DictReader(StringIO(answer.text))
    assert (row["lot_number"], row["model_code"], row["on_hold"]) == (lot["lot_number"], "WR-1", "false")
    [unit] = csv.DictReader(StringIO(api.ask(Role.OPERATOR, "GET", "/serials/export.csv").text))
    assert unit["serial_number"] == f"{lot['lot_number']}-0001"
    assert len(api.ask(Role.OPERATOR, "GET", "/lots/export.csv?search=nowhere").text.splitlines()) == 1


@pytest.mark.parametrize(("value", "cell"), [("=1+1", "'=1+1"), ("-x", "'-x"), (-5, -5), (None, None), ("a=b", "a=b")])
def test_no_cell_of_a_csv_is_a_formula(value: Any, cell: Any) -> None:
    assert exporting._cell(value) == cell


def test_ten_times_as_many_rows_take_no_more_memory(api: Api) -> None:
    now = datetime.now(UTC)
    wanted = sa.select(tables.users.c.id, tables.users.c.username).order_by(tables.users.c.id)
    peaks = []
    for more in (1_000, 10_000):
        rows = [
            {
                "username": f"n{more}-{number}", "username_key": f"n{more}-{number}", "email": f"{more}-{number}@x",
                "full_name": "x" * 50, "role": "OPERATOR", "is_active": False, "created_at": now, "updated_at": now,
            }
            for number in range(more)
        ]  # fmt: skip
        with api.store.database.writing() as connection:
            connection.execute(sa.insert(tables.users), rows)
        del rows
        tracemalloc.start()
        lines = sum(part.count("\n") for part in exporting._lines(api.store, ("id", "username"), wanted))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert lines > more
    assert peaks[1] < 2 * peaks[0]
