"""The OPC-UA driver against a machine made of software: what it reads, how it is signalled, what it tells."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.callback import Callback, CallbackService, CallbackType, ServerItemCallback
from asyncua.common.utils import ServiceError
from structlog.testing import capture_logs

from contracts.errors import LinkError, SetupError
from drivers.base import Fault, RawValue
from drivers.handshake import HandshakeError
from drivers.opcua.changes import SubscribedSource
from drivers.opcua.driver import OpcUaDriver
from drivers.opcua.events import ResultEvent
from drivers.opcua.simulator import OpcUaSimulator
from drivers.opcua.trigger import Signal
from tests.support.opcua import changed, opened, simulated, take, values

HERE = {"url": "opc.tcp://127.0.0.1/", "timeout": "2s"}
GUID = "72962b91-fa75-4ae6-8d28-b404dc7daf63"
PLAIN: dict[str, Any] = {
    "connect": HERE,
    "trigger": {"point": "n", "sampling": "10ms"},
    "points": {"n": {"node_id": "ns=2;s=n", "type": "uint32"}, "force": {"node_id": "ns=2;s=force", "type": "double"}},
}
RICH: dict[str, Any] = {
    "connect": HERE,
    "namespaces": {"m": "urn:maker:marker"},
    "trigger": {"point": "n", "sampling": "10ms"},
    "points": {
        "n": {"node_id": "ns=m;s=n", "type": "uint32"},
        "peak": {"node_id": "ns=m;i=7", "field": "Force.Peak", "type": "float"},
        "curve": {"node_id": "ns=m;i=7", "field": "Force.Curve", "type": "double", "array": True},
        "temperatures": {"node_id": f"ns=m;g={GUID}", "field": "Temperature", "type": "double", "array": True},
        "distances": {"node_id": f"ns=m;g={GUID}", "field": "Distance", "type": "double", "array": True},
        "state": {"node_id": "ns=m;b=AQI=", "enumeration": "name"},
        "code": {"browse_path": "m:Marker/m:Result/m:Code"},
        "at": {"browse_path": "m:Result/m:At", "start": "ns=m;s=Line", "type": "datetime"},
        "id": {"node_id": "nsu=urn:other;s=id", "type": "guid"},
        "name": {"node_id": "nsu=urn:other;s=name", "text": "cp949"},
        "raw": {"node_id": "nsu=urn:other;s=raw", "type": "bytestring"},
        "told": {"node_id": "nsu=urn:other;s=told", "type": "localizedtext"},
    },
    "acknowledge": {
        "call": {
            "object": {"node_id": "ns=m;s=Marker"},
            "method": {"node_id": "ns=m;s=Marker.Acknowledge"},
            "arguments": ["{n}", True, "{code}"],
            "accepted": 0,
        }
    },
}
RICH_VALUES: dict[str, RawValue] = {
    "peak": 1.2,
    "curve": [1.5, 2.5],
    "temperatures": [48.0, 52.0],
    "distances": [100.0, 200.0],
    "state": "Done",
    "code": "A-1",
    "at": "2026-01-02T03:04:05+00:00",
    "id": GUID,
    "name": "한국",
    "raw": "00ff",
    "told": "good",
}
FOUR_PHASE: dict[str, Any] = {
    "connect": HERE,
    "trigger": {"point": "ready", "on": "rising", "sampling": "10ms"},
    "points": {"ready": {"node_id": "ns=2;s=ready", "type": "boolean"}, "n": {"node_id": "ns=2;s=n", "type": "uint32"}},
    "acknowledge": {
        "four_phase": {
            "ready": {"node_id": "ns=2;s=ready"},
            "ack": {"node_id": "ns=2;s=ack"},
            "busy": {"node_id": "ns=2;s=busy"},
            "error": {"node_id": "ns=2;s=error"},
            "echo": {"node_id": "ns=2;s=echo", "value": "{n}"},
            "limits": {"ready_off": "100ms"},
        }
    },
}
EVENTS: dict[str, Any] = {
    "connect": HERE,
    "namespaces": {"m": "urn:maker:marker"},
    "trigger": {"on": "event", "event_type": "ns=m;i=1001", "publishing": "10ms"},
    "points": {
        "n": {"event_field": "m:Counter", "type": "uint32"},
        "code": {"event_field": "m:Result/m:Code"},
        "force": {"event_field": "m:Force", "type": "float"},
        "message": {"event_field": "Message"},
        "operator": {"node_id": "ns=m;s=operator"},
    },
    "acknowledge": {"write": {"node_id": "ns=m;s=ack"}},
}


async def acknowledged(simulator: OpcUaSimulator, made: Mapping[str, RawValue | None], number: int) -> None:
    async with asyncio.timeout(10):
        await simulator.cycle(made, number)


async def until_lost(driver: OpcUaDriver) -> None:
    while True:
        await take(driver)


# -- reading ----------------------------------------------------------------------------------------------------------


async def test_everything_a_node_can_hold_is_read_and_a_method_acknowledges() -> None:
    """Structures, lists of them, enumerations, bytes, times; nodes by id of every kind, by URI, by the way to them."""
    async with simulated(RICH) as (simulator, keys), opened(keys) as driver:
        assert (await driver.next_event()).first
        for number, state in enumerate(["Done", "Failed"], start=1):
            made = {**RICH_VALUES, "state": state, "n": number}
            held = asyncio.create_task(simulator.cycle(made, number))
            event, reading = await take(driver)
            assert (event.key, event.first, event.gap, event.maybe_again) == (number, False, False, True)
            assert values(reading) == made
            assert {point.problem for point in reading.values.values()} == {None}
            assert all(point.source_timestamp is not None for point in reading.values.values())
            assert not held.done()
            await driver.acknowledge(reading, number)
            await asyncio.wait_for(held, 10)


async def test_a_way_by_names_leads_to_one_object_that_holds_points_and_method() -> None:
    settings = {
        **PLAIN,
        "namespaces": {"m": "urn:maker:tester"},
        "points": {
            "n": {"browse_path": "m:Tester/m:Counter", "type": "uint32"},
            "code": {"browse_path": "m:Tester/m:SerialNumber"},
        },
        "acknowledge": {
            "call": {
                "object": {"browse_path": "m:Tester"},
                "method": {"browse_path": "m:Tester/m:Acknowledge"},
                "arguments": ["{n}"],
            }
        },
    }
    async with simulated(settings) as (simulator, reached), opened(reached) as driver:
        assert (await driver.next_event()).first
        made = asyncio.create_task(acknowledged(simulator, {"n": 1, "code": "A-1"}, 1))
        _, reading = await take(driver)
        assert values(reading) == {"n": 1, "code": "A-1"}
        await driver.acknowledge(reading, 1)
        await made


async def test_a_namespace_may_have_another_index_after_a_restart() -> None:
    """By its URI the node stays the same; the simulator gives its own indexes to what is named by a number."""
    async with simulated(RICH) as (first, keys), opened(keys) as driver:
        await first.present({**RICH_VALUES, "n": 1})
        await driver.next_event()
        before = (await driver.read(await driver.next_event())).values["code"].value
    moved = changed(RICH, {"points.padding": {"node_id": "ns=7;s=padding"}})
    async with simulated(moved) as (second, keys), opened(changed(RICH, {"connect": keys["connect"]})) as driver:
        await second.present({**RICH_VALUES, "n": 1})
        await driver.next_event()
        assert (await driver.read(await driver.next_event())).values["code"].value == before == "A-1"


async def test_a_node_that_is_not_there_is_named_and_the_others_are_read() -> None:
    """By id, by a namespace the server does not know, by a way that leads nowhere; and a member that is none."""
    absent = {
        "points.gone": {"node_id": "ns=2;s=gone"},
        "points.strange": {"node_id": "nsu=urn:strange;s=x"},
        "points.lost": {"browse_path": "2:no/2:where"},
        "points.member": {"node_id": "ns=2;s=force", "field": "Peak"},
    }
    async with simulated(PLAIN) as (simulator, keys):
        with capture_logs() as logs:
            async with opened(changed(keys, absent)) as driver:
                await simulator.present({"n": 1, "force": 2.5})
                _, reading = await take(driver)
        assert (reading.values["n"].value, reading.values["force"].value) == (1, 2.5)
        problems = {name: reading.values[name].problem or "" for name in ("gone", "strange", "lost", "member")}
        assert problems["gone"] == "point gone, node ns=2;s=gone: BadNodeIdUnknown"
        assert "the server has no namespace urn:strange; it has http://opcfoundation.org/UA/, " in problems["strange"]
        assert "the browse path 2:no/2:where leads to no node: BadNoMatch" in problems["lost"]
        assert problems["member"] == "point member, node ns=2;s=force, Peak: no structure, so it has no member Peak"
        told = {entry["point"] for entry in logs if entry["event"] == "point not on the server"}
        assert told == {"gone", "strange", "lost"}


async def test_numbers_of_one_type_have_other_names_in_each_variable() -> None:
    """A state of several values is a plain number with the names beside it (OPC 10000-8, 5.3.3.3)."""
    points = {f"points.{name}": {"node_id": f"ns=2;s={name}", "type": "uint32"} for name in ("door", "lamp")}
    told = {f"points.{name}.enumeration": "name" for name in ("door", "lamp")}
    async with simulated(changed(PLAIN, points)) as (simulator, keys):
        server = simulator._server
        assert server is not None
        for name, words in (("door", ["open", "shut"]), ("lamp", ["dark", "lit"])):
            node = server.get_node(f"ns=2;s={name}")
            await node.add_property(
                ua.NodeId(f"{name}-words", 2), "0:EnumStrings", [ua.LocalizedText(word) for word in words]
            )
        await simulator.present({"n": 1, "force": 2.5, "door": 1, "lamp": 0})
        async with opened(changed(keys, told)) as driver:
            _, reading = await take(driver)
    assert values(reading) == {"n": 1, "force": 2.5, "door": "shut", "lamp": "dark"}


async def test_what_the_machine_lacks_is_told_when_it_is_opened() -> None:
    lacking: list[tuple[dict[str, Any], str]] = [
        (
            {"points.n": {"node_id": "ns=2;s=gone"}},
            "trigger point n, node ns=2;s=gone: BadNodeIdUnknown; look the node",
        ),
        ({"points.n": {"browse_path": "2:no"}}, "trigger point n: the browse path 2:no leads to no node"),
        ({"acknowledge": {"write": {"node_id": "ns=2;s=no"}}}, "acknowledge.write (ns=2;s=no): BadNodeIdUnknown"),
        (
            {"acknowledge": {"write": {"node_id": "nsu=urn:x;s=no"}}},
            "acknowledge.write: the server has no namespace urn:x",
        ),
        (
            {
                "acknowledge": {
                    "call": {"object": {"node_id": "i=2253"}, "method": {"node_id": "i=11492"}, "arguments": [1, 2, 3]}
                }
            },
            "the method takes",
        ),
        ({"connect.silence": "0.5s", "trigger.sampling": "1s"}, "connect.silence is 0.5 s; set it to 2s or more"),
    ]
    async with simulated(PLAIN) as (_, keys):
        for change, says in lacking:
            with pytest.raises(SetupError, match=re.escape(says)):
                async with opened(changed(keys, change)):
                    pass


async def test_a_read_is_split_at_the_servers_limit_said_or_learnt() -> None:
    """And the trigger is looked at before the first part and after the last."""
    many = {f"points.p{number}": {"node_id": f"ns=2;s=p{number}", "type": "int32"} for number in range(10)}
    keys = changed(PLAIN, many)
    asked: list[int] = []
    refuse_more_than = 10_000

    async def reading(event: Callback, _service: CallbackService) -> None:
        if isinstance(event, ServerItemCallback) and event.is_external:
            asked.append(len(event.request_params.NodesToRead))
            if asked[-1] > refuse_more_than:
                raise ServiceError(ua.StatusCodes.BadTooManyOperations)

    limit = ua.NodeId(ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead)
    async with simulated(keys) as (simulator, here):
        server = simulator._server
        assert server is not None
        server.subscribe_server_callback(CallbackType.PreRead, reading)
        made: dict[str, RawValue | None] = {"n": 1, "force": 0.5, **{f"p{number}": number for number in range(10)}}
        await simulator.present(made)
        for said, refused_above, parts in ((5, 10_000, [1, 5, 5, 2, 1]), (0, 4, [12, 6, 3, 3, 3, 3])):
            refuse_more_than = refused_above
            await server.get_node(limit).write_value(said, ua.VariantType.UInt32)
            async with opened(here) as driver:
                event = await driver.next_event()
                if said:
                    asked.clear()
                    assert values(await driver.read(event)) == made
                    assert asked == parts
                else:  # learnt by the first snapshot, when the link was opened
                    start = len(asked) - asked[::-1].index(12) - 1
                    assert asked[start : start + len(parts)] == parts
                    asked.clear()
                    assert values(await driver.read(event)) == made
                    assert asked == [1, 3, 3, 3, 3, 1]


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4])
async def test_a_result_that_changes_between_the_parts_of_a_read_is_read_again(place: int) -> None:
    """Wherever the trigger stands among the points, and before or after which part the machine makes the next one."""
    names = ["a", "b", "c", "d"]
    names.insert(place, "n")
    points = {name: {"node_id": f"ns=2;s={name}", "type": "uint32"} for name in names}
    async with simulated(changed(PLAIN, {"points": points})) as (simulator, keys), opened(keys) as driver:
        server = simulator._server
        assert server is not None
        driver._link.read_limit = 2
        parts = 0

        async def reading(event: Callback, _service: CallbackService) -> None:
            nonlocal parts
            if isinstance(event, ServerItemCallback) and event.is_external:
                parts += 1
                if parts == changes_at:
                    await simulator.present(dict.fromkeys(sorted(names), number + 1))  # n, the trigger, last

        server.iserver.callback_service.addListener(CallbackType.PreRead, reading, 1)  # beside the simulator's own
        number = 1
        for changes_at in range(1, 6):  # one look, three parts, one look
            await simulator.present(dict.fromkeys(sorted(names), number))
            event = await driver.next_event()
            while event.key != number:
                event = await driver.next_event()
            parts = 0
            found = set(values(await driver.read(event)).values())
            assert found == {number + 1}, f"changed before part {changes_at}"
            number += 2
            await simulator.misbehave(Fault.TEAR)
            await simulator.present(dict.fromkeys(sorted(names), number))
            event = await driver.next_event()
            while event.key != number:
                event = await driver.next_event()
            assert set(values(await driver.read(event)).values()) == {number}
            number += 1


# -- signals ----------------------------------------------------------------------------------------------------------


async def test_a_deadband_and_a_status_that_is_bad_signal_nothing() -> None:
    keys = changed(PLAIN, {"trigger": {"point": "force", "sampling": "10ms", "deadband": 1.0}})
    async with simulated(keys) as (simulator, here), opened(here) as driver:
        assert (await driver.next_event()).key == 0.0
        for force in (0.9, 2.5):
            await simulator.present({"force": force})
        assert (await driver.next_event()).key == 2.5
        for force in (3.0, 5.0, None):
            await simulator.present({"force": force})
        assert (await driver.next_event()).key == 5.0
        waiting = asyncio.create_task(driver.next_event())
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        waiting.cancel()


async def come(driver: OpcUaDriver, signals: int) -> None:
    """Wait until the server has told so many changes that nobody took yet."""
    source = driver._source
    assert isinstance(source, SubscribedSource)
    while len(source._inbox.waiting) < signals:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("on", ["rising", "value", "change"])
async def test_results_that_a_newer_one_took_the_place_of_are_a_gap(on: str) -> None:
    """The nodes hold the newest alone: read once for each signal it would be recorded again and again."""
    more = {"equals": True} if on == "value" else {}
    trigger = {"point": "n" if on == "change" else "ready", "on": on, "sampling": "10ms", **more}
    keys = changed(FOUR_PHASE, {"trigger": trigger})
    del keys["acknowledge"]
    pulses = [{}] if on == "change" else [{"ready": True}, {"ready": False}]
    async with simulated(keys) as (simulator, here), opened(here) as driver:
        await come(driver, 1)
        if on == "change":
            assert (await driver.next_event()).first

        async def make(*numbers: int) -> None:
            source = driver._source
            assert isinstance(source, SubscribedSource)
            for number in numbers:
                for pulse in pulses:
                    before = len(source._inbox.waiting)
                    await simulator.present({"n": number, **pulse})
                    await come(driver, before + 1)

        await make(1, 2, 3)
        event, reading = await take(driver)
        assert (event.gap, reading.values["n"].value) == (True, 3)
        await make(4)
        event = await driver.next_event()
        await make(5)  # before 4 is read
        assert (event.gap, (await driver.read(event)).values["n"].value) == (False, 5)
        if on == "change":  # its signal is known to be that of what was read
            await make(6)
        event, reading = await take(driver)
        assert (event.gap, reading.values["n"].value) == (True, 6 if on == "change" else 5)
        await make(7)
        event, reading = await take(driver)
        assert (event.gap, reading.values["n"].value) == (False, 7)


@pytest.mark.parametrize("watched", [{"sampling": "10ms"}, {"poll": "10ms"}], ids=["subscribed", "polled"])
@pytest.mark.parametrize(
    ("state", "equals", "shown"),
    [
        ({"type": "uint16"}, [3, 4], [(3, True), (7, False), (4, True), (3, True), (3, False), (0, False)]),
        ({"type": "string"}, "DONE", [("DONE", True), ("BUSY", False), ("DONE", True), ("", False)]),
        ({"enumeration": "name"}, "Done", [("Done", True), ("Busy", False), ("Done", True)]),
        ({"type": "boolean"}, False, [(False, True), (True, False), (False, True)]),
    ],
    ids=["numbers", "text", "enumeration", "a flag that goes off"],
)
async def test_a_state_is_a_signal_when_it_becomes_one_of_its_values(
    state: dict[str, str], equals: object, shown: list[tuple[RawValue, bool]], watched: dict[str, str]
) -> None:
    points = {"state": {"node_id": "ns=2;s=state", **state}, "n": {"node_id": "ns=2;s=n", "type": "uint32"}}
    trigger = {"point": "state", "on": "value", "equals": equals, **watched}
    keys = {"connect": HERE, "trigger": trigger, "points": points}
    async with simulated(keys) as (simulator, here):
        await simulator.present({"state": shown[-1][0], "n": 0})
        async with opened(here) as driver:
            if shown[-1][1]:
                assert (await driver.next_event()).first
                await simulator.present({"state": shown[1][0]})
            with suppress(TimeoutError):
                await asyncio.wait_for(driver.next_event(), 0.1)  # that it was looked at once
            for number, (value, is_result) in enumerate(shown, start=1):
                await simulator.present({"state": value, "n": number})
                waiting = asyncio.create_task(driver.next_event())
                await asyncio.wait({waiting}, timeout=5 if is_result else 0.1)
                assert waiting.done() is is_result, value
                if is_result:
                    event = waiting.result()
                    assert not event.maybe_again
                    assert (event.key, (await driver.read(event)).values["n"].value) == (value, number)
                else:
                    waiting.cancel()


@pytest.mark.parametrize("watched", [{"sampling": "10ms"}, {"poll": "20ms"}], ids=["subscribed", "polled"])
async def test_a_simulated_state_comes_and_goes_with_each_result(watched: dict[str, str]) -> None:
    keys = changed(PLAIN, {"trigger": {"point": "state", "on": "value", "equals": ["DONE", "NG"], **watched}})
    keys["points"] = {**PLAIN["points"], "state": {"node_id": "ns=2;s=state"}}
    for more in ({}, {"acknowledge": {"write": {"node_id": "ns=2;s=ack"}}}):
        async with simulated({**keys, **more}) as (simulator, here), opened(here) as driver:
            found: list[object] = []

            async def listen(driver: OpcUaDriver = driver, found: list[object] = found) -> None:
                while len(found) < 3:
                    event, reading = await take(driver)
                    await driver.acknowledge(reading, reading.values["n"].value)
                    found.append((event.key, reading.values["n"].value))

            listening = asyncio.create_task(listen())
            for number in (1, 2, 3):
                await acknowledged(simulator, {"n": number}, number)
                while len(found) < number:
                    await asyncio.sleep(0.01)
            await listening
            assert found == [("DONE", 1), ("DONE", 2), ("DONE", 3)]


async def test_a_loss_told_with_a_value_of_no_use_is_a_gap_before_the_next_result() -> None:
    """A queue runs over, or a message is missing, and what comes with the news has a bad status or no value."""
    useless = [
        Signal(datetime.now(UTC), ua.DataValue(StatusCode=ua.StatusCode(ua.StatusCodes.BadSensorFailure)), lost=True),
        Signal(datetime.now(UTC), ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(0x808C0480)))),
        Signal(datetime.now(UTC), ua.DataValue(StatusCode=ua.StatusCode(ua.UInt32(0x00000480)))),
    ]
    async with simulated(PLAIN) as (simulator, here), opened(here) as driver:
        assert (await driver.next_event()).first
        source = driver._source
        assert isinstance(source, SubscribedSource)
        for number, signal in enumerate(useless, start=1):
            source._inbox.put(signal)
            await simulator.present({"n": 10 * number})
            event = await driver.next_event()
            assert (event.key, event.gap) == (10 * number, True)
            await simulator.present({"n": 10 * number + 1})
            assert not (await driver.next_event()).gap, "told once"


@pytest.mark.parametrize("on", [{"on": "rising"}, {"on": "value", "equals": True}], ids=["rising", "value"])
@pytest.mark.parametrize("trigger", [{"sampling": "10ms"}, {"poll": "10ms"}], ids=["subscribed", "polled"])
async def test_four_phases_are_gone_through_for_every_result(trigger: dict[str, str], on: dict[str, Any]) -> None:
    """Also where the next ready is on again before it is looked at."""
    keys = changed(FOUR_PHASE, {"trigger": {"point": "ready", **on, **trigger}})
    async with simulated(keys) as (simulator, here), opened(here) as driver:

        async def listen() -> list[object]:
            found: list[object] = []
            while len(found) < 5:
                _, reading = await take(driver)
                found.append(reading.values["n"].value)
                await driver.acknowledge(reading, None)
            return found

        listening = asyncio.create_task(listen())
        for number in range(1, 6):
            await acknowledged(simulator, {"n": number}, number)
        assert await listening == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("keys", [{"sampling": "10ms"}, {"poll": "10ms"}], ids=["subscribed", "polled"])
async def test_a_machine_that_went_on_is_not_acknowledged_but_read_anew(keys: dict[str, str]) -> None:
    """It gave up waiting and shows its next result: an ack now would be for that one, before it is kept."""
    trigger = {"point": "ready", "on": "rising", "counter": "n", **keys}
    async with simulated(changed(FOUR_PHASE, {"trigger": trigger})) as (simulator, here), opened(here) as driver:
        held = asyncio.create_task(simulator.cycle({"n": 1}, 1))
        _, reading = await take(driver)
        await simulator.present({"n": 2})
        with pytest.raises(LinkError, match="marker went on before it was acknowledged: point n tells of another"):
            await driver.acknowledge(reading, 1)
        assert simulator._value_of("acknowledge.four_phase.ack") is False
        assert not held.done()
        await driver.close()
        await driver.open()
        event, reading = await take(driver)
        assert (event.first, reading.values["n"].value) == (True, 2)
        await driver.acknowledge(reading, 2)
        await asyncio.wait_for(held, 10)


async def test_a_ready_that_came_again_is_not_acknowledged() -> None:
    """No counter tells the results apart, but the server has told that ready was off meanwhile."""
    async with simulated(FOUR_PHASE) as (simulator, here), opened(here) as driver:
        await simulator.present({"ready": True, "n": 1})
        _, reading = await take(driver)
        for ready in (False, True):
            await simulator.present({"ready": ready, "n": 2})
        await come(driver, 2)
        with pytest.raises(LinkError, match="went on before it was acknowledged: point ready tells of another"):
            await driver.acknowledge(reading, 1)
        assert simulator._value_of("acknowledge.four_phase.ack") is False


async def test_a_step_of_the_handshake_that_takes_too_long_names_its_signal_and_takes_ack_back() -> None:
    async with simulated(FOUR_PHASE) as (simulator, keys), opened(keys) as driver:
        place = "acknowledge.four_phase"
        await simulator.present({"ready": True, "n": 1})  # and nobody sees that it is acknowledged
        _, reading = await take(driver)
        with pytest.raises(HandshakeError, match=r"step ready_off: ready \(ns=2;s=ready\) was still on after 0.1 s"):
            await driver.acknowledge(reading, 1)
        assert simulator._value_of(f"{place}.ack") is False
        assert simulator._value_of(f"{place}.echo") == 1


async def test_an_events_fields_are_points_beside_nodes() -> None:
    async with simulated(EVENTS) as (simulator, keys), opened(keys) as driver:
        for number in (1, 2):
            made = {"n": number, "code": f"A-{number}", "force": 1.2, "operator": "kim"}
            held = asyncio.create_task(simulator.cycle(made, number))
            event, reading = await take(driver)
            assert isinstance(event, ResultEvent)
            assert values(reading) == {**made, "message": "result ready"}
            assert (event.first, event.gap, reading.raw) == (False, False, event.payload)
            assert b'"code": "A-%d"' % number in (reading.raw or b"")
            await driver.acknowledge(reading, number)
            await asyncio.wait_for(held, 10)


async def test_an_event_that_was_not_done_with_comes_again_after_the_link_was_lost() -> None:
    """The server does not send it twice. What came while nobody listened is a gap."""
    async with simulated(EVENTS) as (simulator, keys), opened(keys) as driver:
        for number in (1, 2):
            await simulator.present({"n": number, "code": "A"})
        _, reading = await take(driver)
        await driver.acknowledge(reading, 1)
        assert (await take(driver))[1].values["n"].value == 2
        await simulator.misbehave(Fault.DROP_LINK)
        with pytest.raises(LinkError):
            await driver.acknowledge(reading, 2)
        await driver.close()
        await simulator.present({"n": 3, "code": "A"})
        await driver.open()
        event, reading = await take(driver)
        assert (reading.values["n"].value, event.gap, event.maybe_again) == (2, False, True)
        await driver.acknowledge(reading, 2)
        await simulator.present({"n": 4, "code": "A"})
        event, reading = await take(driver)
        assert (reading.values["n"].value, event.gap, event.maybe_again) == (4, True, False)


async def test_an_event_that_is_only_a_signal_is_preceded_by_what_stands_there() -> None:
    points = {"n": {"node_id": "ns=m;s=n", "type": "uint32"}}
    trigger = {"on": "event", "event_type": "ns=m;i=1001", "publishing": "10ms", "point": "n"}
    keys = changed(EVENTS, {"points": points, "trigger": trigger})
    async with simulated(keys) as (simulator, here), opened(here) as driver:
        event, reading = await take(driver)
        assert (event.first, event.payload, reading.values["n"].value) == (True, None, 0)
        await simulator.present({"n": 1})
        event, reading = await take(driver)
        assert (event.first, event.payload, reading.values["n"].value) == (False, None, 1)


# -- a machine that misbehaves ----------------------------------------------------------------------------------------


async def test_each_fault_is_noticed_and_survived() -> None:
    """A subscription forgotten, an answer too late, a link dropped, a clock from 2000: no result is lost or mixed."""
    keys = changed(
        PLAIN,
        {"connect.timeout": "500ms", "connect.silence": "600ms", "acknowledge": {"write": {"node_id": "ns=2;s=a"}}},
    )
    async with simulated(keys) as (simulator, here), opened(here) as driver:
        await driver.next_event()
        says = {
            Fault.LOSE_SUBSCRIPTION: r"subscription has gone quiet: the server said nothing for 0\.6 s",
            Fault.DROP_LINK: "connection lost",
            Fault.ANSWER_LATE: "no answer in time|connection lost|gone quiet",
        }
        for number, fault in enumerate(says, start=1):
            await simulator.misbehave(fault)
            held = asyncio.create_task(simulator.cycle({"n": number, "force": float(number)}, number))
            with pytest.raises(LinkError, match=says[fault]):
                await until_lost(driver)
            await driver.close()
            await driver.open()
            _, reading = await take(driver)
            assert values(reading) == {"n": number, "force": float(number)}
            await driver.acknowledge(reading, number)
            await asyncio.wait_for(held, 10)

        await simulator.misbehave(Fault.JUMP_CLOCK)
        await simulator.present({"n": 10, "force": 10.0})
        _, reading = await take(driver)
        stamps = [reading.values["n"].source_timestamp, reading.values["n"].server_timestamp]
        assert [stamp.year for stamp in stamps if stamp is not None] == [2000, 2000]
        await simulator.misbehave(Fault.TEAR)
        await simulator.present({"n": 11, "force": 11.0})
        _, reading = await take(driver)
        assert values(reading) == {"n": 11, "force": 11.0}
        with pytest.raises(ValueError, match="noise is no fault"):
            await simulator.misbehave(Fault.NOISE)


@pytest.mark.parametrize("trigger", [{"sampling": "10ms"}, {"poll": "10ms"}], ids=["subscribed", "polled"])
async def test_a_trigger_whose_status_stays_bad_ends_the_link(trigger: dict[str, str]) -> None:
    """The server lives, and has lost its machine: no result would ever come."""
    keys = changed(PLAIN, {"connect.silence": "500ms", "trigger": {"point": "n", **trigger}})
    async with simulated(keys) as (simulator, here), opened(here) as driver:
        await driver.next_event()
        await simulator.present({"n": None})
        with pytest.raises(LinkError, match=r"bad status for 0\.5 s: BadSensorFailure"):
            await driver.next_event()
        await driver.close()
        with pytest.raises(LinkError, match="trigger point n, node ns=2;s=n: BadSensorFailure"):
            await driver.open()
        await driver.close()
        await simulator.present({"n": 5, "force": 1.0})
        await driver.open()
        assert (await driver.next_event()).key == 5


async def test_a_machine_without_handshake_may_have_made_results_while_nobody_listened() -> None:
    """It does not wait: the first new result after the link was away bears the gap. One that waits loses none."""
    async with simulated(PLAIN) as (simulator, keys), opened(keys) as driver:
        assert not (await driver.next_event()).gap
        await simulator.present({"n": 1})
        assert not (await driver.next_event()).gap
        await driver.close()
        await driver.open()
        assert [event.gap for event in (await driver.next_event(),)] == [False]
        gaps = []
        for number in (2, 3):
            await simulator.present({"n": number})
            gaps.append((await driver.next_event()).gap)
        assert gaps == [True, False]
