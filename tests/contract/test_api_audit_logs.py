"""The audit trail over the API: every change once, with its user or the record behind it."""

from datetime import UTC, datetime, timedelta

import pytest

from central.store.users import Role
from tests.support.api import CALENDAR, Api
from tests.support.stores import STREAM, delivery, record


def test_a_things_history_is_told_from_its_beginning_with_what_changed(api: Api) -> None:
    made = api.post("/product-models", {"model_code": "M", "model_name": "One"}, Role.MANAGER)
    api.put(f"/product-models/{made['id']}", {"model_name": "Two"}, Role.MANAGER)
    api.ask(Role.ADMIN, "DELETE", f"/product-models/{made['id']}")
    first, second, third = api.get(f"/audit-logs/entity/product-model/{made['id']}/history")
    newest, *_ = api.get(f"/audit-logs/entity/product_models/{made['id']}")

    assert [one["action"] for one in (first, second, third)] == ["CREATE", "UPDATE", "DELETE"]
    assert second["changes"] == {"model_name": {"old": "One", "new": "Two"}}
    assert [one["user"]["username"] for one in (first, second, third)] == ["manager", "manager", "admin"]
    assert newest["id"] == third["id"]
    assert api.get(f"/audit-logs/{third['id']}") == {name: third[name] for name in newest}


def test_a_change_by_a_record_names_the_record(api: Api) -> None:
    api.store.ingest([delivery([(1, record())])])
    [entry] = [one for one in api.get("/audit-logs/action/CREATE?limit=1000") if one["entity_type"] == "process_data"]

    assert (entry["stream_id"], entry["seq"], entry["user"]) == (STREAM, 1, None)


def test_entries_are_found_by_user_and_by_day(api: Api) -> None:
    api.post("/product-models", {"model_code": "M", "model_name": "One"}, Role.MANAGER)
    today = CALENDAR.of(datetime.now(UTC)).date
    days = {
        day: api.ask(Role.ADMIN, "GET", f"/audit-logs/date-range?start_date={day}&end_date={day}")
        for day in (today - timedelta(days=7), today)
    }
    mine = api.get(f"/audit-logs/user/{api.people[Role.MANAGER].id}")

    assert [one["entity_type"] for one in mine] == ["product_models"]
    assert [int(answer.headers["X-Total-Count"]) > 0 for answer in days.values()] == [False, True]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "start_date=2026-11-01",
        "start_date=x&end_date=2026-11-01",
        "start_date=2026-11-02&end_date=2026-10-01",
        "start_date=0001-01-01&end_date=9999-12-31",
        "start_date=2026-02-30&end_date=2026-03-01",
    ],
)
def test_days_that_mean_nothing_are_refused(shared_api: Api, query: str) -> None:
    answer = shared_api.ask(Role.ADMIN, "GET", f"/audit-logs/date-range?{query}")

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"][0] == "query"


def test_what_is_not_audited_is_not_found(shared_api: Api) -> None:
    assert shared_api.ask(Role.ADMIN, "GET", "/audit-logs/entity/streams/1").status_code == 404
    assert shared_api.ask(Role.ADMIN, "GET", "/audit-logs/999999").status_code == 404
    assert shared_api.ask(Role.ADMIN, "DELETE", "/audit-logs/1").status_code == 405
