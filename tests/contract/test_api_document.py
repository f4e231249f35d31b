"""The OpenAPI document against the service: whatever it allows to be asked, no answer is an error of the service or
one that the document does not know.

``API_CASES=50`` asks so many times of each operation; the suite asks few.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from central.api.app import create_app
from central.store import Store
from central.store.users import Role
from tests.support.api import CALENDAR, SETTINGS, Api

CASES = int(os.environ.get("API_CASES", "2"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
DOCUMENT = create_app(Store("sqlite:///nowhere.db"), SETTINGS, CALENDAR).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
# Metrics count for every worker; a logout would only end the session; events have no end.
LEFT_OUT = {"GET /metrics", f"POST {SETTINGS.prefix}/auth/logout", f"GET {SETTINGS.prefix}/events"}


def test_every_operation_of_the_document_is_asked() -> None:
    assert len(OPERATIONS) == sum(len(of_path) for of_path in DOCUMENT["paths"].values())


@pytest.mark.parametrize("label", sorted(OPERATIONS.keys() - LEFT_OUT))
@pytest.mark.parametrize("shared_api", ["sqlite"], indirect=True)
def test_no_answer_is_an_error_of_the_service_or_undocumented(shared_api: Api, label: str) -> None:
    @given(data=st.data())
    @settings(
        max_examples=CASES,
        deadline=None,
        database=None,
        derandomize=CASES < 5,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def asked(data: st.DataObject) -> None:
        case = data.draw(OPERATIONS[label].as_strategy())
        what = case.as_transport_kwargs(base_url="http://testserver")
        headers = {**what.pop("headers"), "Authorization": f"Bearer {shared_api.token(Role.ADMIN)}"}
        what.pop("cookies", None)
        if isinstance(what.get("data"), str | bytes):
            what["content"] = what.pop("data")
        answer = shared_api.client.request(headers=headers, **what)
        case.validate_response(schemathesis.Response.from_any(answer), checks=CHECKS)

    asked()
