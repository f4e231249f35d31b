"""The whole life of a unit over the API: what was seen, decided and permitted, now and as it was known then."""

from typing import Any

from central.store.users import Role
from contracts.processes import PROCESSES
from tests.support.api import Api
from tests.support.stores import LOT, STREAM, delivery, minutes, permit, record

UNIT = "SN-261102-001"


def trace(api: Api, as_of: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = api.get(
        f"/serials/{UNIT}/trace", Role.OPERATOR, params={} if as_of is None else {"as_of": as_of}
    )
    return found


def test_a_trace_tells_all_of_a_unit_and_what_was_known_before(api: Api) -> None:
    steps = [(1, "PASS"), (2, "PASS"), (3, "FAIL"), (3, "FAIL"), (3, "FAIL")]
    sent = [
        (seq, record(process=PROCESSES[process - 1].code, outcome=outcome, completed_at=minutes(seq), operator="Lee"))
        for seq, (process, outcome) in enumerate(steps, start=1)
    ]
    api.store.ingest([delivery([*sent, (9, permit(asked_at=minutes(2.5)))])])
    before = trace(api)["records"][-1]["received_at"]
    unit = api.get(f"/serials/number/{UNIT}")
    api.post(f"/serials/{unit['id']}/rework", {"reason": "sensor changed"}, Role.MANAGER, status=200)
    failed = [row["id"] for row in api.get("/process-data/failures")]
    api.put(f"/process-data/{failed[0]}", {"notes": "cable was loose", "reason": "seen later"}, Role.MANAGER)
    api.ask(Role.ADMIN, "DELETE", f"/process-data/{failed[1]}")

    now = trace(api)
    assert (now["status"], now["rework_count"], now["lot_number"]) == ("IN_PROGRESS", 1, LOT)
    assert now["passed_processes"] == [1, 2]
    assert [(one["process_number"], one["generation"], one["attempt"], one["passes"]) for one in now["records"]] == [
        (1, 0, 1, True), (2, 0, 1, True), (3, 0, 1, False), (3, 0, 2, False), (3, None, None, False),
    ]  # fmt: skip
    assert [one["deleted"] for one in now["records"]] == [False] * 4 + [True]
    first = now["records"][0]
    assert (first["fact"], first["operator"], first["station"], first["machine"]) == (
        {"stream_id": STREAM, "seq": 1}, "lee", "P03-A", "tester",
    )  # fmt: skip
    [measured] = first["measurements"]
    assert (measured["value"], measured["unit"], measured["verdict"]) == (60.5, "degC", "PASS")
    assert (measured["limit"]["nominal"], measured["limit"]["tolerance"]) == (60, 1)
    assert first["criteria_revision"] == "yaml-test"
    corrected = next(one for one in now["records"] if one["correction"] is not None)
    assert (corrected["notes"], corrected["correction"]["author"]) == ("cable was loose", "manager")
    assert (corrected["correction"]["reason"], corrected["correction"]["came"]["notes"]) == ("seen later", None)
    assert [one["kind"] for one in now["decisions"]] == ["rework_authorised", "record_corrected", "record_deleted"]
    assert now["decisions"][0]["more"]["return_to"] == "P03_SENSOR_INSPECTION"
    [given] = now["permits"]
    assert (given["granted"], given["decided_by"], given["fact"]["seq"]) == (True, "DIGEST", 9)

    then = trace(api, before)
    assert (then["status"], then["rework_count"], then["decisions"]) == ("FAILED", 0, [])
    assert [one["deleted"] or one["correction"] for one in then["records"]] == [None] * 5
    assert [one["attempt"] for one in then["records"]] == [1, 1, 1, 2, 3]


def test_a_unit_that_nobody_knows_or_knew_has_no_trace(api: Api) -> None:
    assert api.ask(Role.OPERATOR, "GET", f"/serials/{UNIT}/trace").status_code == 404
    api.store.ingest([delivery([(1, record())])])
    assert trace(api)["records"]
    early = api.ask(Role.OPERATOR, "GET", f"/serials/{UNIT}/trace?as_of=2026-01-01T00:00:00Z")
    assert (early.status_code, early.json()["code"]) == (404, "SERIAL_NOT_FOUND")
    assert api.ask(Role.OPERATOR, "GET", f"/serials/{UNIT}/trace?as_of=yesterday").status_code == 422
