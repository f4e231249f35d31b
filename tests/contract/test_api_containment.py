"""Which units a condition touches, and putting them on hold."""

from typing import Any

from central.store.users import Role
from contracts.measurement import Measurement
from contracts.processes import PROCESSES
from tests.support.api import Api
from tests.support.records import GOOD, proof
from tests.support.stores import delivery, minutes, record


def worked_on(api: Api) -> None:
    """Three units through process 2 with springs of two lots, one of them through process 4 as well."""
    springs = {1: "SPRING-2026110201", 2: "SPRING-2026110202", 3: "SPRING-2026110201"}
    made = []
    for number, spring in springs.items():
        parts = (GOOD, Measurement(name="sma_spring_lot", value=spring))
        serial = f"SN-261102-{number:03d}"
        made.append(
            (
                number,
                record(process=PROCESSES[1].code, serial_number=serial, completed_at=minutes(number), **proof(parts)),
            )
        )
    firmware = (GOOD, Measurement(name="firmware_version", value="v1.2.3"))
    made.append(
        (
            9,
            record(
                process=PROCESSES[3].code, serial_number="SN-261102-003", completed_at=minutes(30), **proof(firmware)
            ),
        )
    )
    api.store.ingest([delivery(made)])


def found(api: Api, **conditions: str) -> list[str]:
    return [one["serial_number"] for one in api.get("/containment", Role.MANAGER, params=conditions)]


def test_a_unit_is_in_the_list_for_a_record_that_meets_every_condition(api: Api) -> None:
    worked_on(api)
    first, second, third = (f"SN-261102-00{number}" for number in (1, 2, 3))
    assert found(api, part_lot="SPRING-2026110201") == [first, third]
    assert found(api, part_lot="SPRING-2026110201", version="v1.2.3") == []  # no one record has both
    assert found(api, version="v1.2.3") == [third]
    assert found(api, process=PROCESSES[1].code, station="P03-A", machine="tester") == [first, second, third]
    assert found(api, criteria_revision="yaml-test", start_date="2026-11-02T08:01:30Z") == [second, third]
    assert found(api, start_date="2026-11-02", end_date="2026-11-02T08:01:30Z") == [first]
    assert found(api, station="P03-B") == []

    [one] = [one for one in api.get("/containment?version=v1.2.3") if one["serial_number"] == third]
    assert (one["last_process"], one["on_hold"], one["status"]) == (4, False, "IN_PROGRESS")
    [why] = one["because"]
    assert (why["seq"], why["process"], why["parts_and_versions"]) == (
        9, PROCESSES[3].code, {"firmware_version": "v1.2.3"},
    )  # fmt: skip
    assert api.ask(Role.MANAGER, "GET", "/containment").status_code == 422
    assert api.ask(Role.OPERATOR, "GET", "/containment?station=P03-A").status_code == 403


def test_what_is_touched_is_held_under_one_id_and_released_by_it(api: Api) -> None:
    worked_on(api)
    held: dict[str, Any] = api.post(
        "/containment/holds?part_lot=SPRING-2026110201", {"reason": "brittle springs"}, Role.MANAGER
    )
    assert (held["count"], held["serial_numbers"]) == (2, ["SN-261102-001", "SN-261102-003"])
    units = {one["serial_number"]: one for one in api.get("/serials")}
    assert [number for number, one in units.items() if one["on_hold"]] == held["serial_numbers"]
    [hold] = units["SN-261102-001"]["holds"]
    assert hold["reason"] == "brittle springs (part_lot SPRING-2026110201)"
    released = api.ask(Role.MANAGER, "POST", f"/holds/{held['hold_id']}/release", json={"reason": "replaced"})
    assert released.status_code in (200, 201)
    assert not any(one["on_hold"] for one in api.get("/serials"))
    nothing = api.post("/containment/holds?station=P09-Z", {"reason": "x"}, Role.MANAGER)
    assert nothing["count"] == 0
