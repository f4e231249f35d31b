"""Logins and tokens: what is let in, and everything that must not be."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import jwt
import pytest
import sqlalchemy as sa
import structlog
from fastapi.testclient import TestClient

from central.api import tokens
from central.api.app import create_app
from central.store import Author, users
from central.store.tables import logins as login_rows
from central.store.users import Role
from tests.support.api import CALENDAR, PASSWORD, SETTINGS, Api
from tests.support.stores import rows


def login(api: Api, username: str = "operator", password: str = PASSWORD) -> Any:
    return api.ask(None, "POST", "/auth/login/json", json={"username": username, "password": password})


def me(api: Api, token: str) -> Any:
    return api.ask(None, "GET", "/auth/me", headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def test_a_user_logs_in_by_form_and_by_json_without_case(api: Api) -> None:
    by_json = login(api, "OPERATOR")
    by_form = api.ask(None, "POST", "/auth/login", data={"username": "Operator", "password": PASSWORD})

    for answer in (by_json, by_form):
        assert answer.status_code == 200, answer.text
        assert answer.json()["token_type"] == "bearer"
        assert answer.json()["user"]["role"] == "OPERATOR"
        assert me(api, answer.json()["access_token"]).json()["username"] == "operator"
    assert "hash" not in by_json.text
    assert api.get("/users/me", Role.OPERATOR)["last_login_at"] is not None


def test_a_token_is_refreshed_and_logout_ends_the_whole_session_alone(api: Api) -> None:
    first = login(api).json()["access_token"]
    other = login(api).json()["access_token"]
    second = api.ask(None, "POST", "/auth/refresh", headers={"Authorization": f"Bearer {first}"}).json()["access_token"]
    ended = api.ask(None, "POST", "/auth/logout", headers={"Authorization": f"Bearer {second}"})

    assert ended.status_code == 200
    assert [me(api, token).status_code for token in (first, second, other)] == [401, 401, 200]
    assert me(api, first).json()["code"] == "TOKEN_REVOKED"


def forged() -> dict[str, str]:
    now = datetime.now(UTC)
    claims: dict[str, Any] = {"sub": "1", "sid": "s", "iat": now, "exp": now + timedelta(minutes=5)}
    key = SETTINGS.secret_key
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=").decode()
    body = jwt.encode(claims, key, "HS256").split(".")[1]
    signed = jwt.encode(claims, key, "HS256")
    return {
        "another key": jwt.encode(claims, "another" + key, "HS256"),
        "another algorithm": jwt.encode(claims, key * 2, "HS512"),
        "no signature": f"{header}.{body}.",
        "alg none of the library": jwt.encode(claims, None, "none"),
        "expired": jwt.encode({**claims, "exp": now - timedelta(seconds=1)}, key, "HS256"),
        "without an end": jwt.encode({k: v for k, v in claims.items() if k != "exp"}, key, "HS256"),
        "changed": f"{signed[:-4]}AAAA",
        "nobody's": jwt.encode({**claims, "sub": "999"}, key, "HS256"),
        "no number": jwt.encode({**claims, "sub": "1 OR 1=1"}, key, "HS256"),
        "a number no column holds": jwt.encode({**claims, "sub": "9" * 30}, key, "HS256"),
        "nothing": "",
        "not ASCII": "é.è.à",
    }


@pytest.mark.parametrize("kind", list(forged()))
def test_a_token_that_is_not_ours_is_refused(shared_api: Api, kind: str) -> None:
    headers = {"Authorization": f"Bearer {forged()[kind]}".encode()}
    answer = shared_api.ask(None, "GET", "/auth/me", headers=headers)

    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), answer.text


def test_a_user_made_inactive_or_deleted_is_out_at_once(api: Api) -> None:
    token = api.token(Role.OPERATOR)
    someone = api.people[Role.OPERATOR].id
    api.put(f"/users/{someone}", {"is_active": False})

    inactive = me(api, token)
    at_login = login(api)
    assert (inactive.status_code, inactive.json()["code"]) == (400, "INACTIVE_USER")
    assert (at_login.status_code, at_login.json()["code"]) == (400, "INACTIVE_USER")
    assert api.ask(Role.ADMIN, "DELETE", f"/users/{someone}").status_code == 204
    assert me(api, token).status_code == 401


def test_five_failures_in_a_row_lock_the_account_for_ten_minutes(api: Api) -> None:
    for _ in range(4):
        assert login(api, password="wrong").status_code == 401
    assert login(api).status_code == 200  # in a row: a good one begins anew
    for _ in range(5):
        assert login(api, password="wrong").status_code == 401
    locked = login(api)

    assert (locked.status_code, locked.json()["code"]) == (423, "ACCOUNT_LOCKED")
    assert 590 <= int(locked.headers["Retry-After"]) <= 600
    assert login(api, "manager").status_code == 200
    with api.store.database.writing() as connection:
        connection.execute(sa.update(login_rows).values(locked_until=datetime.now(UTC) - timedelta(seconds=1)))
    assert login(api).status_code == 200


def test_guesses_at_the_same_time_are_counted_too(api: Api) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: login(api, password="wrong").status_code, range(12)))

    assert set(answers) <= {401, 423}
    assert login(api).status_code == 423


def test_logins_from_one_address_are_counted(shared_api: Api) -> None:
    app = create_app(shared_api.store, replace(SETTINGS, logins_per_minute=3), CALENDAR)
    client = TestClient(app)
    body = {"username": "nobody", "password": "wrong"}
    answers = [client.post("/api/v1/auth/login/json", json=body) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert int(answers[-1].headers["Retry-After"]) <= 60


def test_an_unknown_name_and_a_wrong_password_are_told_alike(shared_api: Api) -> None:
    unknown, wrong = login(shared_api, "nobody"), login(shared_api, "manager", "wrong")

    assert (unknown.status_code, unknown.json()) == (wrong.status_code, wrong.json())


def test_no_secret_stands_in_the_log_or_the_audit_trail(api: Api, logged: list[dict[str, Any]]) -> None:
    someone = api.people[Role.OPERATOR].id
    secrets = ["Secret-Query-1", "Secret-Query-2", "Secret-Body-3", "Secret-Login-4"]
    query = f"/users/{someone}/password?old_password={PASSWORD}&new_password={secrets[0]}"
    assert api.ask(Role.OPERATOR, "PUT", query).status_code == 204
    assert login(api, password=secrets[0]).status_code == 200
    api.ask(Role.OPERATOR, "PUT", f"/users/{someone}/password?old_password={secrets[1]}&new_password=short")
    api.ask(
        Role.OPERATOR,
        "PUT",
        f"/users/{someone}/password",
        json={"old_password": secrets[0], "new_password": secrets[2]},
    )
    token = login(api, password=secrets[2]).json()["access_token"]
    login(api, password=secrets[3])
    everything = str(logged) + str(rows(api.store, "audit_logs"))

    assert any(line["event"] == "request" and line["path"].endswith("/password") for line in logged)
    assert [secret for secret in [*secrets, PASSWORD, token, SETTINGS.secret_key, "$2b$"] if secret in everything] == []


@pytest.mark.parametrize(
    ("password", "wanting"),
    [("Ab1", "8 characters"), ("alllower1", "upper"), ("ALLUPPER1", "lower"), ("NoDigitHere", "digit"), ("", "8")],
)
def test_a_weak_password_is_refused_with_what_it_wants(shared_api: Api, password: str, wanting: str) -> None:
    someone = shared_api.people[Role.OPERATOR].id
    body = {"old_password": PASSWORD, "new_password": password}
    answer = shared_api.ask(Role.OPERATOR, "PUT", f"/users/{someone}/password", json=body)

    assert answer.status_code == 422
    assert wanting in answer.json()["detail"][0]["msg"]


def test_a_password_changes_with_the_old_one_or_by_an_admin_and_by_nobody_else(api: Api) -> None:
    operator, manager = api.people[Role.OPERATOR].id, api.people[Role.MANAGER].id
    body = {"old_password": "wrong", "new_password": "Another-2nd"}

    wrong = api.ask(Role.OPERATOR, "PUT", f"/users/{operator}/password", json=body)
    others = api.ask(Role.OPERATOR, "PUT", f"/users/{manager}/password", json={**body, "old_password": PASSWORD})
    by_admin = api.ask(Role.ADMIN, "PUT", f"/users/{operator}/password", json={"new_password": "Another-2nd"})
    nothing = api.ask(Role.OPERATOR, "PUT", f"/users/{operator}/password")

    assert [answer.status_code for answer in (wrong, others, by_admin, nothing)] == [400, 403, 204, 422]
    assert login(api, password="Another-2nd").status_code == 200


@pytest.mark.parametrize("field", [{"role": "ADMIN"}, {"is_active": True}, {"id": 1}, {"password_hash": "x"}])
def test_nobody_changes_the_own_role_with_the_profile(shared_api: Api, field: dict[str, Any]) -> None:
    answer = shared_api.ask(Role.OPERATOR, "PUT", "/users/me", json={"full_name": "Me", **field})

    assert answer.status_code == 422
    assert shared_api.get("/users/me", Role.OPERATOR)["role"] == "OPERATOR"
    assert shared_api.get("/users/me", Role.OPERATOR)["full_name"] == "Operator"


def test_an_operator_walks_no_ids(shared_api: Api) -> None:
    answers = [
        shared_api.ask(Role.OPERATOR, method, f"/users/{number}", json={})
        for number in range(1, 6)
        for method in ("GET", "PUT", "DELETE")
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "ROLE_TOO_LOW")}


@pytest.mark.parametrize("name", ["' OR 1=1 --", "admin'--", '"; DROP TABLE users; --', "%", "a\r\nSet-Cookie: x=1"])
def test_what_looks_like_sql_or_a_header_is_a_name_that_nobody_has(shared_api: Api, name: str) -> None:
    by_login = login(shared_api, name)
    by_path = shared_api.client.get(
        f"/api/v1/users/username/{quote(name)}",
        headers={"Authorization": f"Bearer {shared_api.token(Role.ADMIN)}"},
    )

    assert by_login.status_code == 401
    assert (by_path.status_code, by_path.json()["code"]) == (404, "NOT_FOUND")
    assert "set-cookie" not in by_path.headers
    assert len(shared_api.get("/users")) >= 3


def test_a_request_id_cannot_forge_a_header_or_a_line(shared_api: Api, logged: list[dict[str, Any]]) -> None:
    answer = shared_api.ask(None, "GET", "/auth/me", headers={"X-Request-ID": 'x" event="logged in'})

    assert answer.headers["X-Request-ID"].isalnum()
    assert "logged in" not in str(logged)


def test_the_last_admin_stays_one(api: Api) -> None:
    admin = api.people[Role.ADMIN].id
    tries = [
        api.ask(Role.ADMIN, "PUT", f"/users/{admin}", json={"role": "OPERATOR"}),
        api.ask(Role.ADMIN, "PUT", f"/users/{admin}", json={"is_active": False}),
        api.ask(Role.ADMIN, "DELETE", f"/users/{admin}"),
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in tries} == {(409, "LAST_ADMIN")}
    assert api.put(f"/users/{admin}", {"full_name": "Still Admin"})["role"] == "ADMIN"


def test_a_name_or_an_address_that_is_taken_is_refused_whatever_its_case(api: Api) -> None:
    body = {"username": "OPERATOR", "email": "new@factory.example", "full_name": "New", "role": "OPERATOR"}
    name = api.ask(Role.ADMIN, "POST", "/users", json={**body, "password": PASSWORD})
    mail = api.ask(
        Role.ADMIN,
        "POST",
        "/users",
        json={**body, "username": "new", "email": "Manager@Factory.example", "password": PASSWORD},
    )

    assert (name.status_code, name.json()["code"], name.json()["field"]) == (400, "ALREADY_EXISTS", "username")
    assert (mail.status_code, mail.json()["field"]) == (400, "email")


def test_a_token_of_a_session_is_read_as_it_was_issued() -> None:
    said = tokens.read(SETTINGS, tokens.issue(SETTINGS, 7, "s"))

    assert said == tokens.Token(7, "s")


def test_the_audit_trail_names_who_changed_a_user(api: Api) -> None:
    with api.store.writing(Author(name="test")) as connection:
        values = {"username": "new", "email": "n@x", "full_name": "N", "role": Role.OPERATOR, "is_active": True}
        made = users.create(connection, values, None, datetime.now(UTC))
    api.put(f"/users/{made.id}", {"department": "Line 1"})
    [last, *_] = api.get(f"/audit-logs/entity/user/{made.id}")

    assert (last["action"], last["user"]["username"]) == ("UPDATE", "admin")
    assert last["old_values"]["department"] is None
    assert last["new_values"]["department"] == "Line 1"
