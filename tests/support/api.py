"""The MES REST API in the test's own process, with one user of each role."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from central.api import passwords, tokens
from central.api.app import create_app
from central.api.settings import ApiSettings
from central.shifts import parse_calendar
from central.store import Author, Store, users
from central.store.users import Role, User

SETTINGS = ApiSettings(secret_key="0123456789abcdefghijklmnopqrstuvwxyz-test", figures_age_s=0)
CALENDAR = parse_calendar("Asia/Seoul", "D=08:00,N=20:00")
PASSWORD = "Right-1st-time"


@dataclass
class Api:
    """Asks the API as one of its users. Paths are those beneath ``/api/v1``."""

    store: Store
    client: TestClient
    people: dict[Role, User] = field(default_factory=dict)

    def token(self, role: Role) -> str:
        """A good token of the user of this role."""
        return tokens.issue(SETTINGS, self.people[role].id)

    def ask(self, role: Role | None, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer to a request of this user; None: of nobody."""
        headers = dict(more.pop("headers", {}))
        if role is not None:
            headers["Authorization"] = f"Bearer {self.token(role)}"
        response: httpx.Response = self.client.request(method, f"/api/v1{path}", headers=headers, **more)
        return response

    def get(self, path: str, role: Role = Role.ADMIN, **more: Any) -> Any:
        """The JSON of a GET that succeeds."""
        answer = self.ask(role, "GET", path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, role: Role = Role.ADMIN, status: int = 201) -> Any:
        """The JSON of a POST that succeeds."""
        answer = self.ask(role, "POST", path, json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def put(self, path: str, body: Any, role: Role = Role.ADMIN) -> Any:
        """The JSON of a PUT that succeeds."""
        answer = self.ask(role, "PUT", path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def api(store: Store) -> Iterator[Api]:
    """On both databases, each test on one of its own."""
    app = create_app(store, SETTINGS, CALENDAR)
    with cheap_hashes(), TestClient(app, raise_server_exceptions=False) as client:
        yield _with_people(store, client)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The same for all tests of a module, which then cost no database each: for what changes nothing others look at."""
    with ExitStack() as stack:
        stack.enter_context(cheap_hashes())
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('api')}/central.db"
        else:
            url = stack.enter_context(request.getfixturevalue("postgres_cluster").database())
        store = Store(url)
        stack.callback(store.close)
        store.migrate()
        # Not entered: its thread would outlive each test.
        yield _with_people(store, TestClient(create_app(store, SETTINGS, CALENDAR), raise_server_exceptions=False))


@contextmanager
def cheap_hashes() -> Iterator[None]:
    """Hashes of bcrypt's lowest cost: what the right one costs is a test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_COST", 4)
        patch.setattr(passwords, "_nobodys", cache(lambda: passwords.hashed("no password of anybody")))
        yield


def _with_people(store: Store, client: TestClient) -> Api:
    kept = passwords.hashed(PASSWORD)
    api = Api(store, client)
    with store.writing(Author(name="test")) as connection:
        for role in Role:
            name = role.value.lower()
            values = {
                "username": name,
                "email": f"{name}@factory.example",
                "full_name": name.title(),
                "role": role,
                "is_active": True,
            }
            api.people[role] = users.create(connection, values, kept, datetime.now(UTC))
    return api
