"""Who may do what: every operation of the OpenAPI document with each role, allowed and refused."""

import re
from typing import Any

import pytest

from central.api.app import create_app
from central.store import Store
from central.store.users import Role
from tests.support.api import CALENDAR, SETTINGS, Api

ANYBODY, OPERATOR, MANAGER, ADMIN = None, Role.OPERATOR, Role.MANAGER, Role.ADMIN

# The lowest role that may, by the document's method and path.
ROLES: dict[str, Role | None] = {
    "GET /": ANYBODY,
    "GET /health": ANYBODY,
    "GET /metrics": ANYBODY,
    "POST /auth/login": ANYBODY,
    "POST /auth/login/json": ANYBODY,
    "GET /auth/me": OPERATOR,
    "POST /auth/refresh": OPERATOR,
    "POST /auth/logout": OPERATOR,
    "GET /users": ADMIN,
    "POST /users": ADMIN,
    "GET /users/me": OPERATOR,
    "PUT /users/me": OPERATOR,
    "GET /users/username/{}": ADMIN,
    "GET /users/email/{}": ADMIN,
    "GET /users/role/{}": ADMIN,
    "GET /users/{}": ADMIN,
    "PUT /users/{}": ADMIN,
    "DELETE /users/{}": ADMIN,
    "PUT /users/{}/password": OPERATOR,
    "GET /product-models": OPERATOR,
    "POST /product-models": MANAGER,
    "GET /product-models/active": OPERATOR,
    "GET /product-models/category/{}": OPERATOR,
    "GET /product-models/code/{}": OPERATOR,
    "GET /product-models/{}": OPERATOR,
    "PUT /product-models/{}": MANAGER,
    "DELETE /product-models/{}": ADMIN,
    "GET /processes": OPERATOR,
    "POST /processes": MANAGER,
    "GET /processes/active": OPERATOR,
    "GET /processes/sequence": OPERATOR,
    "GET /processes/number/{}": OPERATOR,
    "GET /processes/code/{}": OPERATOR,
    "GET /processes/{}": OPERATOR,
    "PUT /processes/{}": MANAGER,
    "DELETE /processes/{}": ADMIN,
    "GET /lots": OPERATOR,
    "POST /lots": MANAGER,
    "GET /lots/active": OPERATOR,
    "GET /lots/date-range": OPERATOR,
    "GET /lots/export.csv": OPERATOR,
    "GET /lots/export.xlsx": OPERATOR,
    "GET /lots/number/{}": OPERATOR,
    "GET /lots/product/{}": OPERATOR,
    "GET /lots/status/{}": OPERATOR,
    "GET /lots/{}": OPERATOR,
    "PUT /lots/{}": MANAGER,
    "DELETE /lots/{}": ADMIN,
    "GET /lots/{}/quantities": OPERATOR,
    "PUT /lots/{}/quantities": MANAGER,
    "POST /lots/{}/close": MANAGER,
    "GET /serials": OPERATOR,
    "POST /serials": OPERATOR,
    "GET /serials/export.csv": OPERATOR,
    "GET /serials/export.xlsx": OPERATOR,
    "GET /serials/failed": OPERATOR,
    "GET /serials/number/{}": OPERATOR,
    "GET /serials/lot/{}": OPERATOR,
    "GET /serials/status/{}": OPERATOR,
    "GET /serials/{}": OPERATOR,
    "PUT /serials/{}": OPERATOR,
    "DELETE /serials/{}": ADMIN,
    "PUT /serials/{}/status": OPERATOR,
    "POST /serials/{}/rework": MANAGER,
    "POST /serials/{}/override": MANAGER,
    "POST /serials/{}/scrap": MANAGER,
    "GET /serials/{}/can-rework": OPERATOR,
    "GET /serials/{}/trace": OPERATOR,
    "GET /process-data": OPERATOR,
    "POST /process-data": OPERATOR,
    "GET /process-data/export.csv": OPERATOR,
    "GET /process-data/export.xlsx": OPERATOR,
    "GET /process-data/serial/{}": OPERATOR,
    "GET /process-data/lot/{}": OPERATOR,
    "GET /process-data/process/{}": OPERATOR,
    "GET /process-data/result/{}": OPERATOR,
    "GET /process-data/failures": OPERATOR,
    "GET /process-data/operator/{}": OPERATOR,
    "GET /process-data/date-range": OPERATOR,
    "GET /process-data/serial/{}/process/{}": OPERATOR,
    "GET /process-data/incomplete": OPERATOR,
    "GET /process-data/{}": OPERATOR,
    "PUT /process-data/{}": OPERATOR,
    "DELETE /process-data/{}": ADMIN,
    "GET /containment": MANAGER,
    "POST /containment/holds": MANAGER,
    "GET /audit-logs": ADMIN,
    "GET /audit-logs/date-range": ADMIN,
    "GET /audit-logs/entity/{}/{}": ADMIN,
    "GET /audit-logs/entity/{}/{}/history": ADMIN,
    "GET /audit-logs/user/{}": ADMIN,
    "GET /audit-logs/action/{}": ADMIN,
    "GET /audit-logs/{}": ADMIN,
    "GET /criteria": OPERATOR,
    "GET /criteria/{}": OPERATOR,
    "POST /criteria/{}": MANAGER,
    "POST /criteria/{}/try": MANAGER,
    "POST /interlock/permits": OPERATOR,
    "POST /interlock/permits/return": OPERATOR,
    "GET /stations": MANAGER,
    "GET /stations/{}": MANAGER,
    "GET /streams": MANAGER,
    "GET /exceptions": MANAGER,
    "GET /alarms": MANAGER,
    "POST /alarms/{}/acknowledge": MANAGER,
    "GET /quarantine": MANAGER,
    "GET /quarantine/{}": MANAGER,
    "POST /exceptions/{}/close": MANAGER,
    "POST /quarantine/{}/retry": MANAGER,
    "POST /quarantine/{}/discard": MANAGER,
    "GET /holds": OPERATOR,
    "POST /holds": MANAGER,
    "POST /holds/{}/release": MANAGER,
    "GET /reconciliation": MANAGER,
    "GET /analytics/dashboard": OPERATOR,
    "GET /analytics/realtime-status": OPERATOR,
    "GET /events": MANAGER,
    "GET /statistics/measurements": MANAGER,
    "GET /statistics/control-chart": MANAGER,
    "GET /statistics/yield": MANAGER,
    "GET /statistics/defects": MANAGER,
    "GET /analytics/production-stats": MANAGER,
    "GET /analytics/process-performance": MANAGER,
    "GET /analytics/quality-metrics": MANAGER,
    "GET /analytics/operator-performance": MANAGER,
}

# What stands for a parameter of a path; 999 is nobody's and nothing's id.
VALUES = {"role": "ADMIN", "action": "CREATE", "entity_type": "users", "status": "CREATED", "result": "PASS"}


def operations(document: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Each operation by method and path without the names of parameters, with what to ask."""
    found = {}
    for path, of_path in document["paths"].items():
        short = path.removeprefix(SETTINGS.prefix)
        asked = re.sub(r"\{(\w+)\}", lambda match: VALUES.get(match[1].removesuffix("_filter"), "999"), path)
        for method in of_path:
            found[f"{method.upper()} {re.sub(r'{[^}]*}', '{}', short)}"] = (method.upper(), asked)
    return found


def documented() -> dict[str, tuple[str, str]]:
    """The operations there are."""
    return operations(create_app(Store("sqlite:///nowhere.db"), SETTINGS, CALENDAR).openapi())


OPERATIONS = documented()


def test_every_operation_has_a_lowest_role() -> None:
    assert OPERATIONS.keys() - ROLES.keys() == set()


# Answers without an end; its own tests ask it.
ENDLESS = "GET /events"


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if ROLES.get(name) is not None and name != ENDLESS])
def test_a_role_may_what_is_its_own_and_what_is_of_lower_ones_and_nothing_else(shared_api: Api, operation: str) -> None:
    lowest = ROLES[operation]
    assert lowest is not None
    method, path = OPERATIONS[operation]

    nobody = shared_api.client.request(method, path)
    forged = shared_api.client.request(method, path, headers={"Authorization": "Bearer x.y.z"})
    for refused in (nobody, forged):
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    for role in Role:
        answer = shared_api.client.request(method, path, headers={"Authorization": f"Bearer {shared_api.token(role)}"})
        allowed = answer.status_code not in (401, 403)
        assert allowed == role.includes(lowest), (role, answer.status_code, answer.text)
        assert answer.status_code < 500, answer.text
        assert allowed or answer.json()["code"] == "ROLE_TOO_LOW"
