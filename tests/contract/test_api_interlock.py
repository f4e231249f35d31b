"""Permits over HTTP: the same answers as over MQTT, each station for itself."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from central.store.tables import leases
from central.store.users import Role
from contracts.interlock import PermitRequest
from tests.contract.test_store_interlock import Line, lot_of
from tests.support.api import Api

UNIT = "SN-261102-001"


def question(**changes: Any) -> dict[str, Any]:
    """The test's OPERATOR has the station's name."""
    values = {
        "site": "gimcheon",
        "line": "KR01",
        "station": "Operator",
        "request_id": uuid.uuid4().hex,
        "asked_at": datetime.now(UTC).isoformat(),
        "process": "P03_SENSOR_INSPECTION",
        "machine": "tester",
        "serial_number": UNIT,
    }
    return {**values, **changes}


@pytest.fixture
def line(api: Api) -> Line:
    lot_of(api.store)
    made = Line(api.store)
    made.went("1P 2P", UNIT)
    return made


def leased(api: Api) -> int:
    with api.store.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(leases)).scalar_one()


@pytest.mark.usefixtures("line")
def test_a_question_is_answered_once_by_whichever_way_it_comes(api: Api) -> None:
    asked = question()
    first = api.post("/interlock/permits", asked, Role.OPERATOR, 200)
    again = api.post("/interlock/permits", asked, Role.OPERATOR, 200)
    over_mqtt = api.store.answer_permit(PermitRequest.model_validate(asked))
    assert first["granted"]
    assert first == again == over_mqtt.model_dump(mode="json")
    busy = api.post("/interlock/permits", question(station="P03-B"), Role.MANAGER, 200)
    assert (busy["granted"], busy["refusal"]) == (False, "BUSY_ELSEWHERE")


@pytest.mark.usefixtures("line")
def test_a_permit_that_came_to_nothing_is_given_back_once(api: Api) -> None:
    given = api.post("/interlock/permits", question(), Role.OPERATOR, 200)
    assert leased(api) == 1
    back = {**question(kind="returned", permit=given["permit"])}
    del back["process"], back["machine"]
    assert api.post("/interlock/permits/return", back, Role.OPERATOR, 200) == {"returned": True}
    assert api.post("/interlock/permits/return", back, Role.OPERATOR, 200) == {"returned": False}
    assert leased(api) == 0


@pytest.mark.usefixtures("line")
def test_a_station_asks_in_no_other_stations_name(api: Api) -> None:
    refused = api.ask(Role.OPERATOR, "POST", "/interlock/permits", json=question(station="P03-B"))
    assert (refused.status_code, refused.json()["code"]) == (403, "ANOTHER_STATION")
    assert leased(api) == 0
    assert api.post("/interlock/permits", question(station="P03-B"), Role.MANAGER, 200)["granted"]
