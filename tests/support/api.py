"""The MES REST API in the test's own process, with one user of each role."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import bcrypt
import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from central.api import tokens
from central.api.app import create_app
from central.api.settings import ApiSettings
from central.shifts import ShiftCalendar, parse_calendar
from central.store import Author, Store, users
from central.store.users import Role, User

SETTINGS = ApiSettings(secret_key="0123456789abcdefghijklmnopqrstuvwxyz-test")
CALENDAR: ShiftCalendar = parse_calendar("Asia/Seoul", "D=08:00,N=20:00")
PASSWORD = "Right-1st-time"
assert CALENDAR.zone == ZoneInfo("Asia/Seoul")


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
    """On both databases."""
    # A hash of the lowest cost: what it costs is a test's own.
    cheap = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    with TestClient(create_app(store, SETTINGS, CALENDAR), raise_server_exceptions=False) as client:
        asked = Api(store, client)
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
                asked.people[role] = users.create(connection, values, cheap, datetime.now(UTC))
        yield asked
