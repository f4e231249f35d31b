"""Processes over the API: their criteria are revisions, and what records name stays."""

from typing import Any

import pytest

from central.store import Store
from central.store.users import Role
from tests.support.api import Api
from tests.support.stores import delivery, record, rows

SENSOR = "/processes/number/3"
TEMPERATURE = {"temperature": {"nominal": 60, "tolerance": 1, "unit": "degC", "defect": "SENSOR_TEMP_FAIL"}}


def sensor(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = api.get(SENSOR, Role.OPERATOR)
    return found


def revisions(store: Store) -> list[int]:
    return [one.revision.number for one in store.criteria.kept("P03_SENSOR_INSPECTION")]


def test_the_line_is_told_in_its_sequence(shared_api: Api) -> None:
    found = shared_api.get("/processes/sequence", Role.OPERATOR)

    assert [one["process_number"] for one in found] == list(range(1, 9))
    assert shared_api.get("/processes/code/P01_LASER_MARKING")["process_name_ko"] == "레이저 마킹"
    assert shared_api.ask(Role.OPERATOR, "GET", "/processes/code/P09").status_code == 404


def test_written_criteria_are_the_next_revision_by_the_user_and_in_force_at_once(api: Api) -> None:
    process = sensor(api)
    first = api.put(f"/processes/{process['id']}", {"quality_criteria": TEMPERATURE}, Role.MANAGER)
    wider = {"criteria": {"temperature": {**TEMPERATURE["temperature"], "tolerance": 2}}}
    api.put(f"/processes/{process['id']}", {"quality_criteria": wider, "description": "wider"}, Role.MANAGER)

    assert first["quality_criteria"]["criteria"] == TEMPERATURE
    assert sensor(api)["quality_criteria"]["revision"] == 2
    assert [one.revision.author for one in api.store.criteria.kept()] == ["manager", "manager"]
    [told] = api.store.criteria.publications()
    assert told.revisions[0].number == 2
    audited = [row for row in rows(api.store, "audit_logs") if row["entity_type"] == "criteria_revisions"]
    assert {row["user_id"] for row in audited} == {api.people[Role.MANAGER].id}


def test_a_process_sent_back_as_it_was_read_changes_no_criteria(api: Api) -> None:
    process = sensor(api)
    changed = api.put(f"/processes/{process['id']}", {"quality_criteria": TEMPERATURE})
    api.put(f"/processes/{process['id']}", {"quality_criteria": changed["quality_criteria"], "sort_order": 3})

    assert revisions(api.store) == [1]


@pytest.mark.parametrize(
    ("criteria", "where"),
    [
        ({"temperature": {"nominal": 60}}, "temperature"),
        ({"temperature": {"lower": 5, "upper": 4}}, "temperature"),
        ({"temperature": {"upper": 5, "unit": "furlong"}}, "unit"),
        ({"criteria": {}, "variants": []}, "quality_criteria"),
        ({"criteria": TEMPERATURE, "revison": 3}, "revison"),
    ],
)
def test_criteria_that_cannot_be_met_are_refused_with_their_place(
    shared_api: Api, criteria: dict[str, Any], where: str
) -> None:
    process = sensor(shared_api)
    answer = shared_api.ask(
        Role.MANAGER, "PUT", f"/processes/{process['id']}", json={"quality_criteria": criteria, "description": "no"}
    )

    assert answer.status_code == 422
    assert where in answer.json()["detail"][0]["loc"]
    assert sensor(shared_api)["description"] != "no"


def test_what_records_name_is_neither_renamed_nor_deleted(api: Api) -> None:
    api.store.ingest([delivery([(1, record())])])
    process = sensor(api)
    path = f"/processes/{process['id']}"

    for answer in (
        api.ask(Role.ADMIN, "DELETE", path),
        api.ask(Role.ADMIN, "PUT", path, json={"process_code": "P03_OTHER"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "IN_USE")
    assert api.put(path, {"is_active": False})["is_active"] is False
    assert 3 not in [one["process_number"] for one in api.get("/processes/active")]


def test_a_process_nobody_names_is_deleted_and_made_anew(api: Api) -> None:
    last = api.get("/processes/number/8")
    assert api.ask(Role.ADMIN, "DELETE", f"/processes/{last['id']}").status_code == 204
    body = {name: last[name] for name in ("process_number", "process_name_ko", "process_name_en", "sort_order")}
    made = api.post("/processes", {**body, "process_code": "P08_PACKING", "quality_criteria": TEMPERATURE})
    again = api.ask(Role.MANAGER, "POST", "/processes", json={**body, "process_code": "P08_OTHER"})

    assert made["quality_criteria"]["revision"] == 1
    assert (again.status_code, again.json()["field"]) == (409, "process_number")
