"""How nodes are named in a station's file, and what is refused there."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.opcua.addresses import NodeName, browse_names, field_steps
from drivers.opcua.settings import OpcUaSettings

MACHINE: dict[str, Any] = {
    "connect": {"url": "opc.tcp://marker-1.line:4840"},
    "trigger": {"point": "n"},
    "points": {"n": {"node_id": "ns=2;s=n"}},
}
SECURITY = {"policy": "Basic256Sha256", "certificate": "c.der", "key": "k.pem", "trusted": "trusted"}


def settings(**keys: Any) -> OpcUaSettings:
    import json

    return OpcUaSettings.model_validate_json(json.dumps({**MACHINE, **keys}))


@pytest.mark.parametrize(
    ("text", "namespace", "uri", "identifier"),
    [
        ("i=2258", None, None, 2258),
        ("ns=2;s=Laser.Depth", "2", None, "Laser.Depth"),
        ("ns=2;s=a;b=c", "2", None, "a;b=c"),
        ("ns=m;i=7", "m", None, 7),
        ("nsu=urn:maker:laser;i=7", None, "urn:maker:laser", 7),
        ("g=72962b91-fa75-4ae6-8d28-b404dc7daf63", None, None, UUID("72962b91-fa75-4ae6-8d28-b404dc7daf63")),
        ("ns=1;b=AQI=", "1", None, b"\x01\x02"),
    ],
)
def test_a_node_id_is_taken_apart(text: str, namespace: str | None, uri: str | None, identifier: object) -> None:
    found = NodeName.of(text)
    assert (found.namespace, found.uri, found.identifier) == (namespace, uri, identifier)


@pytest.mark.parametrize(
    "text", ["Depth", "ns=2;Depth", "ns=2;s=", "i=-1", "i=4294967296", "i=x", "g=12", "b=!", "ns=70000;i=1", "ns=;i=1"]
)
def test_what_is_no_node_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="node id"):
        NodeName.of(text)


@given(st.lists(st.tuples(st.none() | st.sampled_from(["m", "2"]), st.text(min_size=1, max_size=8)), min_size=1))
def test_any_browse_path_reads_back(steps: list[tuple[str | None, str]]) -> None:
    def written(name: str) -> str:
        return "".join("&" + char if char in "&/:" else char for char in name)

    text = "/".join(written(name) if space is None else f"{space}:{written(name)}" for space, name in steps)
    assert browse_names("/" + text) == steps


@pytest.mark.parametrize("text", ["", "/", "a//b", "m:", "m:a/2:"])
def test_what_is_no_browse_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="browse path"):
        browse_names(text)


@given(
    st.lists(
        st.text("abcXYZ_ 0", min_size=1, max_size=5) | st.lists(st.integers(0, 999), min_size=1, max_size=3).map(tuple),
        min_size=1,
        max_size=5,
    )
)
def test_any_field_reads_back(steps: list[str | tuple[int, ...]]) -> None:
    text = ""
    for step in steps:
        text += f"[{','.join(map(str, step))}]" if isinstance(step, tuple) else ("." if text else "") + step
    assert field_steps(text) == steps


@pytest.mark.parametrize("text", ["", ".a", "a.", "a..b", "a[", "[x]", "[1]a", "a.[1]", "[]"])
def test_what_is_no_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"form|nothing"):
        field_steps(text)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"points": {"n": {}}}, "give exactly one of node_id, browse_path, event_field"),
        ({"points": {"n": {"node_id": "i=1", "browse_path": "a"}}}, "give exactly one of"),
        ({"points": {"n": {"node_id": "i=1", "start": "i=85"}}}, "only a browse_path begins somewhere"),
        ({"points": {"n": {"node_id": "ns=m;i=1"}}}, "points.n.node_id: m is no index, and no name under namespaces"),
        ({"points": {"n": {"browse_path": "m:a/2:b"}}}, "points.n.browse_path: m is no index"),
        ({"points": {"n": {"event_field": "Message"}}}, "a field of the event is no node that can be watched"),
        ({"points": {"n": {"node_id": "i=1", "array": True}}}, "a list cannot be a trigger"),
        ({"trigger": {"point": "n", "poll": "1s", "queue": 5}}, "either poll or a subscription with queue"),
        ({"trigger": {"point": "n", "deadband": 1, "deadband_percent": 1}}, "as a value or in percent"),
        ({"trigger": {"on": "event"}}, "event_type"),
        ({"trigger": {"point": "n", "on": "value"}}, "on: which value? give equals"),
        ({"trigger": {"point": "n", "on": "rising", "equals": 1}}, "equals: belongs to on: value"),
        ({"acknowledge": {}}, "give exactly one of write, call, four_phase"),
        ({"acknowledge": {"write": {"value": 1}}}, "give node_id or browse_path"),
        ({"acknowledge": {"write": {"node_id": "ns=x;i=1"}}}, "acknowledge.write.node_id: x is no index"),
        ({"connect": {"url": "opc.tcp://u:p@h:1"}}, "the server's endpoint is needed"),
        (
            {"connect": {"url": "opc.tcp://h", "user": {"name": "a", "password_file": "f"}}},
            "insecure link; add security",
        ),
        (
            {"connect": {"url": "opc.tcp://h", "security": SECURITY, "user": {"name": "a"}}},
            "give name and password_file",
        ),
        ({"connect": {"url": "opc.tcp://h", "security": {**SECURITY, "policy": "None"}}}, "leave security away"),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**keys)
    assert says in str(refused.value)


def test_a_whole_machine_is_understood() -> None:
    found = settings(
        connect={"url": "opc.tcp://h:4840/x", "security": SECURITY, "user": {"certificate": "u.der", "key": "u.pem"}},
        namespaces={"m": "urn:maker:laser"},
        trigger={"on": "event", "event_type": "ns=m;i=1001"},
        points={
            "n": {"event_field": "m:Counter"},
            "depth": {"browse_path": "m:Laser/m:Depth", "start": "ns=m;s=Line", "field": "Points[2].Depth"},
        },
        acknowledge={"call": {"object": {"node_id": "ns=m;i=1"}, "method": {"browse_path": "m:Laser/m:Acknowledge"}}},
    )
    assert (list(found.event_points), list(found.node_points)) == (["n"], ["depth"])
    assert str(found.points["depth"]) == "node m:Laser/m:Depth from ns=m;s=Line, Points[2].Depth"
