"""What a supervisor watches over the API: stations, streams, exceptions, alarms, quarantine, criteria, counters."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from central.store.users import Role
from contracts.envelope import Birth
from tests.support.api import Api
from tests.support.stores import LOT, MORNING, STREAM, delivery, record, reject

SENSOR = {"temperature": {"nominal": 60, "tolerance": 1, "unit": "degC"}}


def born(**changes: Any) -> Birth:
    values: dict[str, Any] = {
        "stream_id": STREAM,
        "site": "gimcheon",
        "line": "KR01",
        "station": "P03-A",
        "host": "edge-3",
        "software": "0.1.0",
        "last_seq": 5,
        "oldest_available": 1,
        "online": True,
        "at": datetime.now(UTC),
    }
    return Birth.model_validate({**values, **changes})


def test_a_station_is_told_with_its_backlog_and_its_machines(api: Api) -> None:
    api.store.register_birth(born())
    now = datetime.now(UTC)
    api.store.ingest([delivery([(1, record(completed_at=now)), (3, record(serial_number="SN-261102-002"))])])
    [station] = api.get("/stations", Role.MANAGER)
    [stream] = api.get("/streams?station=P03-A", Role.MANAGER)

    assert (station["station"], station["backlog"], station["missing"]) == ("P03-A", 3, 1)
    assert [machine["machine"] for machine in station["machines"]] == ["tester"]
    assert datetime.fromisoformat(station["last_record_at"]) == now
    assert api.get("/stations/P03-A") == station
    assert [(gap["first"], gap["last"]) for gap in stream["missing"]] == [(2, 2)]
    assert api.ask(Role.MANAGER, "GET", "/stations/P99").status_code == 404


def test_exceptions_are_listed_by_kind_and_by_lot(api: Api) -> None:
    api.store.ingest([delivery([(1, record()), (2, record(completed_at=MORNING + timedelta(minutes=1)))])])
    every = api.get("/exceptions", Role.MANAGER)
    codes = sorted({one["code"] for one in every})
    of_unit = [one for one in every if one["serial_number"] == "SN-261102-001"]
    [first] = api.get(f"/exceptions?code={of_unit[0]['code']}&limit=1")

    assert of_unit
    assert first["code"] == of_unit[0]["code"]
    assert {one["code"] for code in codes for one in api.get(f"/exceptions?code={code}")} == set(codes)
    assert api.get(f"/exceptions?lot_number={LOT}") == [one for one in every if one["lot_number"] == LOT]
    assert api.get("/exceptions?lot_number=WF-KR-261102D-099") == []
    path = f"/exceptions/{of_unit[0]['id']}/close"
    api.post(path, {"reason": "both units checked"}, Role.MANAGER, status=200)
    again = api.ask(Role.MANAGER, "POST", path, json={"reason": "again"})
    [closed] = [one for one in api.get("/exceptions") if one["id"] == of_unit[0]["id"]]
    assert (closed["closed_by"], closed["closed_because"]) == ("manager", "both units checked")
    assert (again.status_code, again.json()["code"]) == (409, "ALREADY_CLOSED")
    assert api.ask(Role.MANAGER, "POST", f"/exceptions/{'0' * 16}/close", json={"reason": "x"}).status_code == 404
    assert api.ask(Role.MANAGER, "GET", "/exceptions?code=NONE").status_code == 422


def test_alarms_are_shown_until_someone_has_looked_into_them(api: Api) -> None:
    api.store.ingest([delivery([(1, record())])])
    api.store.ingest([delivery([(1, record(cycle_time_seconds=1))])])
    [alarm] = api.get("/alarms", Role.MANAGER)

    assert api.ask(Role.MANAGER, "POST", f"/alarms/{alarm['id']}/acknowledge").status_code == 204
    assert api.ask(Role.MANAGER, "POST", f"/alarms/{alarm['id']}/acknowledge").status_code == 404
    assert api.get("/alarms") == []
    assert len(api.get("/alarms?acknowledged=true")) == 1


def test_quarantine_is_paged_and_shown_with_its_bytes(api: Api) -> None:
    api.store.ingest([delivery([], rejected=[reject(b"\xff one", first=1), reject(b"two", first=2)])])
    newest, oldest = (api.get(f"/quarantine?limit=1&skip={skip}", Role.MANAGER)[0] for skip in (0, 1))
    texts = {api.get(f"/quarantine/{one['id']}")["payload_text"] for one in (newest, oldest)}
    payloads = {api.get(f"/quarantine/{one['id']}")["payload_base64"] for one in (newest, oldest)}

    assert {newest["first_seq"], oldest["first_seq"]} == {1, 2}
    assert texts == {None, "two"}
    assert {base64.b64decode(payload) for payload in payloads} == {b"\xff one", b"two"}
    assert api.ask(Role.MANAGER, "GET", "/quarantine?limit=1").headers["X-Total-Count"] == "2"
    assert api.ask(Role.MANAGER, "GET", "/quarantine/999").status_code == 404


def test_what_is_in_quarantine_is_retried_by_the_rules_of_today_or_discarded_with_a_reason(api: Api) -> None:
    good = json.dumps({"seq": 1, "record": json.loads(record().model_dump_json())}).encode()
    api.store.ingest([delivery([], rejected=[reject(good, first=1), reject(b"noise", first=2)])])
    kept, noise = sorted(api.get("/quarantine"), key=lambda one: one["first_seq"])

    refused = api.ask(Role.MANAGER, "POST", f"/quarantine/{noise['id']}/retry", json={"reason": "perhaps"})
    taken = api.post(f"/quarantine/{kept['id']}/retry", {"reason": "form put right"}, Role.MANAGER, status=200)
    gone = api.ask(Role.MANAGER, "POST", f"/quarantine/{noise['id']}/discard", json={"reason": "a test"})
    again = api.ask(Role.MANAGER, "POST", f"/quarantine/{noise['id']}/discard", json={"reason": "again"})

    assert (refused.status_code, refused.json()["code"]) == (409, "REFUSED_AGAIN")
    assert taken == {"taken": 1, "repeated": 0}
    assert (gone.status_code, again.status_code, again.json()["code"]) == (204, 409, "ALREADY_SETTLED")
    assert api.get("/quarantine") == []
    assert {one["settled_by"] for one in api.get("/quarantine?settled=true")} == {"manager"}
    assert api.store.record(STREAM, 1) is not None


def test_a_revision_is_written_tried_and_comes_into_force_at_its_time(api: Api) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    first = api.post("/criteria/P03", {"quality_criteria": SENSOR, "reason": "first"}, Role.MANAGER)
    second = api.post(
        "/criteria/P03_SENSOR_INSPECTION",
        {"quality_criteria": SENSOR, "reason": "later", "effective_at": later},
        Role.MANAGER,
    )
    past = {"quality_criteria": SENSOR, "reason": "late", "effective_at": "2020-01-01T00:00:00Z"}

    assert (first["number"], first["in_force"], first["author"]) == (1, True, "manager")
    assert (second["number"], second["in_force"]) == (2, False)
    assert api.get("/criteria/P03", Role.OPERATOR)["number"] == 1
    assert [one["number"] for one in api.get("/criteria?process=P03")] == [1, 2]
    assert api.ask(Role.MANAGER, "POST", "/criteria/P03", json=past).status_code == 400
    assert api.ask(Role.MANAGER, "GET", "/criteria/P77").status_code == 404
    assert api.ask(Role.MANAGER, "GET", "/criteria/P04").status_code == 404


def test_criteria_are_tried_on_what_is_stored(api: Api) -> None:
    api.store.ingest([delivery([(1, record(completed_at=datetime.now(UTC)))])])
    body = {"quality_criteria": {"nothing_measures_this": {"lower": 1}}, "days": 1}
    tried = api.post("/criteria/P03/try", body, Role.MANAGER, status=200)

    assert (tried["records"], tried["changed"]) == (1, 1)
    assert (tried["before"]["passed"], tried["after"]["passed"]) == (1, 0)
    assert api.get("/criteria") == []


def test_counters_are_reconciled_by_shift(api: Api) -> None:
    api.store.register_birth(born(last_seq=1))
    api.store.ingest([delivery([(1, record(completed_at=MORNING))])])
    found = api.get("/reconciliation?start_date=2026-11-02&end_date=2026-11-02", Role.MANAGER)

    assert found["agrees"] is True
    assert found["reconciliation"]["stations"][0]["stream"]["station"] == "P03-A"
    assert api.ask(Role.MANAGER, "GET", "/reconciliation?start_date=2020-01-01&end_date=2026-11-02").status_code == 422


def test_prometheus_is_told_of_requests_by_route_and_of_stations(api: Api) -> None:
    api.store.register_birth(born())
    for number in (1, 2):
        api.ask(Role.ADMIN, "GET", f"/product-models/{number}?secret=hush")
    text = api.client.get("/metrics").text

    route = 'route="/product-models/{id}"'
    assert f'neurohub_http_requests_total{{method="GET",{route},status="404"}} 2.0' in text
    assert 'neurohub_station_backlog{station="P03-A"} 5.0' in text
    assert 'neurohub_station_online{station="P03-A"} 1.0' in text
    assert "hush" not in text
