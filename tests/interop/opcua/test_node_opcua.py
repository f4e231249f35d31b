"""Interoperation with node-opcua, a server we did not write: what it holds, how it signals, what it is told."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from contracts.measurement import Quality
from drivers.opcua.driver import OpcUaDriver
from tests.support.node_opcua import CALL, ECHO, POINTS, NodeTester, result, running
from tests.support.opcua import opened, take, values

EVENT_POINTS: dict[str, Any] = {
    "n": {"event_field": "maker:Counter"},
    "serial_number": {"event_field": "maker:SerialNumber"},
    "force": {"event_field": "maker:Force"},
    "message": {"event_field": "Message"},
}
ABSENT: dict[str, Any] = {
    "no_node": {"node_id": "ns=site;s=Tester.nothing"},
    "no_way": {"browse_path": "site:Tester/site:nothing"},
    "no_namespace": {"node_id": "nsu=urn:of:another;s=Tester.force"},
    "no_variable": {"node_id": "ns=site;s=Tester"},
}


async def serve(driver: OpcUaDriver, numbers: Sequence[int]) -> None:
    """Take and acknowledge these results, one after the other, whole."""
    for number in numbers:
        event, reading = await take(driver)
        assert event.key == number
        assert values(reading) == result(number)
        assert {point.problem for point in reading.values.values()} == {None}
        assert {point.status_code for point in reading.values.values()} == {None}
        assert all(point.source_timestamp is not None for point in reading.values.values())
        await driver.acknowledge(reading, number)


async def test_every_kind_of_value_is_found_wherever_the_namespaces_are(tmp_path: Path) -> None:
    """Told by writing the number, then by calling a method; in one Read, then in as many as the server asks for."""
    async with running(tmp_path) as machine:
        async with opened(machine.keys(acknowledge=ECHO)) as driver:
            await serve(driver, range(1, 9))
        first = machine.namespaces.index("urn:site:line")
        last = await machine.kill()
        assert last == 9, "every result was acknowledged once"
        await machine.start(first=last, padding=3, limit=4)
        assert machine.namespaces.index("urn:site:line") == first + 3
        async with opened(machine.keys(acknowledge=CALL)) as driver:
            assert driver._link.read_limit == 4
            await serve(driver, range(last, last + 8))


async def test_an_event_is_a_result_and_a_node_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        await events_are_results(machine)
        await only_its_values_are_results(machine)
        await only_what_fails_is_missing(machine)


async def events_are_results(machine: NodeTester) -> None:
    """An event's fields are points, beside nodes; the machine sends it after it has set them."""
    trigger = {"on": "event", "event_type": "ns=maker;i=1001", "publishing": "10ms"}
    points = {**EVENT_POINTS, "depth": POINTS["depth"], "operator": POINTS["operator"]}
    async with opened(machine.keys(trigger=trigger, points=points)) as driver:
        await machine.do("next")
        for number in range(2, 8):
            _, reading = await take(driver)
            shown = result(number) | {"message": "result ready"}
            assert values(reading) == {name: shown[name] for name in points}
            await driver.acknowledge(reading, number)
        await machine.until_made(8)


async def only_its_values_are_results(machine: NodeTester) -> None:
    """A state is one of several; the machine goes through others before and between."""
    trigger = {"point": "n", "on": "value", "equals": [10, 12], "sampling": "10ms"}
    async with opened(machine.keys(trigger=trigger)) as driver:
        for number in range(9, 13):
            await machine.do("next")
            if number in (10, 12):
                event, reading = await take(driver)
                assert (event.key, event.first, event.gap) == (number, False, False)
                assert values(reading) == result(number)


async def only_what_fails_is_missing(machine: NodeTester) -> None:
    """A node is not there, a way leads nowhere, a namespace is unknown, a node is no variable, and a value is bad."""
    await machine.do("bad")
    with capture_logs() as logs:
        async with opened(machine.keys(points={**POINTS, **ABSENT})) as driver:
            _, reading = await take(driver)
    assert {entry["point"] for entry in logs if entry["event"] == "point not on the server"} == set(ABSENT)
    problems = {name: point.problem for name, point in reading.values.items() if point.problem is not None}
    assert set(problems) == {*ABSENT, "force"}
    assert "node ns=site;s=Tester.nothing: BadNodeIdUnknown" in str(problems["no_node"])
    assert "the browse path site:Tester/site:nothing leads to no node" in str(problems["no_way"])
    assert "the server has no namespace urn:of:another" in str(problems["no_namespace"])
    assert "BadAttributeIdInvalid" in str(problems["no_variable"])
    force = reading.values["force"]
    assert (force.value, force.quality, force.status_code) == (None, Quality.BAD, "BadSensorFailure")
    whole = {name: value for name, value in values(reading).items() if name not in problems}
    assert whole == {name: value for name, value in result(12).items() if name != "force"}
