"""What every operation of the API has in common, on both databases: errors, lists, headers, repeats."""

import json
import re
from typing import Any

import pytest

from central.store.users import Role
from tests.support.api import Api
from tests.support.stores import rows

MODEL = {"model_code": "WF-SUIT-M", "model_name": "Wearable robot, size M"}


def test_the_service_tells_what_it_is_without_a_login(shared_api: Api) -> None:
    health = shared_api.client.get("/health")
    about = shared_api.client.get("/")

    assert health.json() == {"status": "healthy", "app": "NeuroHub MES", "version": about.json()["version"]}
    for page in (about.json()["docs"], "/api/v1/redoc"):
        found = shared_api.client.get(page)
        scripts = re.findall(r'(?:src|href)="([^"]+)"', found.text)
        assert found.status_code == 200
        assert scripts
        assert {shared_api.client.get(script).status_code for script in scripts} == {200}, scripts
        assert "//" not in "".join(scripts), "a factory's network reaches no other server"


@pytest.mark.parametrize("path", ["/api/v1/product-models", "/api/v1/product-models/", "/health/", "/api/v1/docs/"])
def test_a_path_is_answered_with_and_without_a_trailing_slash(shared_api: Api, path: str) -> None:
    answer = shared_api.client.get(
        path, headers={"Authorization": f"Bearer {shared_api.token(Role.OPERATOR)}"}, follow_redirects=False
    )

    assert answer.status_code == 200


def test_a_path_that_is_not_there_and_a_method_that_is_not_allowed(shared_api: Api) -> None:
    nothing = shared_api.ask(Role.ADMIN, "GET", "/nothing")
    wrong = shared_api.ask(Role.ADMIN, "PATCH", "/product-models")

    assert (nothing.status_code, nothing.json()["code"]) == (404, "NOT_FOUND")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


def test_every_bad_field_is_told_and_nothing_of_what_was_sent(shared_api: Api) -> None:
    body = {"username": "x", "email": "nowhere", "full_name": "", "role": "KING", "password": "hunter2", "id": 7}
    answer = shared_api.ask(Role.ADMIN, "POST", "/users", json=body)

    assert answer.status_code == 422
    assert {one["loc"][-1] for one in answer.json()["detail"]} == set(body)
    assert "hunter2" not in answer.text


def test_a_list_is_paged_in_a_stable_order_with_its_total(api: Api) -> None:
    for number in range(7):
        api.post("/product-models", {**MODEL, "model_code": f"M-{number}"})
    pages = [api.ask(Role.OPERATOR, "GET", f"/product-models?skip={skip}&limit=3") for skip in (0, 3, 6, 9)]

    assert [one["model_code"] for page in pages for one in page.json()] == [f"M-{number}" for number in range(7)]
    assert {page.headers["X-Total-Count"] for page in pages} == {"7"}


@pytest.mark.parametrize("query", ["limit=1001", "limit=0", "skip=-1", "skip=99999999999999999999", "limit=x"])
def test_an_impossible_page_is_refused(shared_api: Api, query: str) -> None:
    assert shared_api.ask(Role.OPERATOR, "GET", f"/product-models?{query}").status_code == 422


def test_a_create_repeated_under_its_key_is_done_once(api: Api) -> None:
    first, second = (
        api.ask(Role.MANAGER, "POST", "/product-models", json=MODEL, headers={"Idempotency-Key": "k1"})
        for _ in range(2)
    )
    other = api.ask(
        Role.MANAGER, "POST", "/product-models", json={**MODEL, "category": "B"}, headers={"Idempotency-Key": "k1"}
    )
    of_another = api.ask(Role.ADMIN, "POST", "/product-models", json=MODEL, headers={"Idempotency-Key": "k1"})

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (of_another.status_code, of_another.json()["code"]) == (409, "ALREADY_EXISTS")
    assert len(api.get("/product-models")) == 1


def test_a_create_that_was_refused_leaves_its_key_free(api: Api) -> None:
    key = {"Idempotency-Key": "again"}
    api.post("/product-models", MODEL)
    refused = api.ask(Role.MANAGER, "POST", "/product-models", json=MODEL, headers=key)
    made = api.ask(Role.MANAGER, "POST", "/product-models", json={**MODEL, "model_code": "M-2"}, headers=key)

    assert (refused.status_code, made.status_code) == (409, 201)


def test_an_audit_row_names_the_user_the_address_and_the_agent(api: Api) -> None:
    api.ask(Role.MANAGER, "POST", "/product-models", json=MODEL, headers={"User-Agent": "tablet/2"})
    [row] = [row for row in rows(api.store, "audit_logs") if row["entity_type"] == "product_models"]

    assert (row["action"], row["user_id"], row["author"]) == ("CREATE", api.people[Role.MANAGER].id, "manager")
    assert (row["ip_address"], row["user_agent"]) == ("testclient", "tablet/2")


def test_answers_carry_the_request_id_and_the_headers_of_caution(shared_api: Api) -> None:
    given = shared_api.client.get("/health", headers={"X-Request-ID": "abc-1"})
    forged = shared_api.client.get("/health", headers={"X-Request-ID": "a b\tc"})

    assert given.headers["X-Request-ID"] == "abc-1"
    assert forged.headers["X-Request-ID"].isalnum()
    assert given.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in given.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"[" * 1_000_000, 422, id="a million levels"),
        pytest.param(b'{"a":' * 40 + b"1" + b"}" * 40, 422, id="40 levels"),
        pytest.param(b"[" * 2_000_000, 413, id="too large"),
        pytest.param(b'{"model_code": NaN}', 422, id="NaN"),
        pytest.param(b'{"model_code": "m", "model_name": "n", "specifications": {"a": 1e999}}', 422, id="infinite"),
        pytest.param(b'{"model_code": "\\u0000", "model_name": "n"}', 422, id="NUL"),
        pytest.param(b'{"model_code": "\\ud800", "model_name": "n"}', 422, id="half a surrogate pair"),
        pytest.param(b'{"model_code": ', 422, id="no JSON"),
        pytest.param(b"\xff\xfe{}", 422, id="no UTF-8"),
    ],
)
def test_a_body_that_cannot_be_kept_is_refused(shared_api: Api, body: bytes, status: int) -> None:
    answer = shared_api.ask(
        Role.MANAGER, "POST", "/product-models", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == status, answer.text[:500]
    assert answer.json()["code"] in ("VALIDATION_ERROR", "BODY_TOO_LARGE")


def test_a_body_of_many_brackets_within_texts_is_taken(api: Api) -> None:
    specifications: dict[str, Any] = {"drawing": "[{" * 100, 'quoted "[': '\\"[' * 100}
    made = api.post("/product-models", {**MODEL, "specifications": specifications})

    assert json.loads(json.dumps(made["specifications"])) == specifications


def test_a_product_model_that_lots_use_is_marked_and_one_that_none_uses_is_gone(api: Api) -> None:
    made = api.post("/product-models", MODEL)

    assert api.ask(Role.ADMIN, "DELETE", f"/product-models/{made['id']}").status_code == 204
    assert api.ask(Role.ADMIN, "GET", f"/product-models/{made['id']}").status_code == 404
    assert rows(api.store, "product_models") == []
