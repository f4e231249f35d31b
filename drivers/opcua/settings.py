"""How an OPC-UA machine is described. No client library is imported here: it costs 45 MB."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from contracts.duration import Duration
from drivers.base import NeededFile, PointSettings, ProtocolSettings, Strict
from drivers.handshake import FourPhase
from drivers.interlock import Interlock, check_flag, check_names, points_of
from drivers.kinds import UNKNOWN, Kind, Kinds
from drivers.manuals import NODE_KEYS, NODE_TYPE, VALUE_TRIGGER, called
from drivers.opcua.addresses import (
    BrowsePath,
    FieldPath,
    NamespaceName,
    NodeAddress,
    NodeIdText,
    browse_names,
    namespaces_in,
)
from drivers.opcua.connect import Connect
from drivers.template import Template, names_in

NodeType = Literal[
    "boolean",
    "sbyte",
    "byte",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float",
    "double",
    "string",
    "datetime",
    "guid",
    "bytestring",
    "localizedtext",
]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
_TEXTS = ("string", "datetime", "guid", "bytestring", "localizedtext")
"""Types whose values a record holds as texts."""


class DataTrigger(Strict):
    """A node that tells by its value that a result is there."""

    point: str
    """Name of the point that is watched. The machine sets it last."""
    on: Annotated[Literal["change", "rising", "value"], called(VALUE_TRIGGER)] = "change"
    """``change``: any new value. ``rising``: from false (or 0) to true. ``value``: it becomes ``equals``."""
    equals: Annotated[tuple[Scalar, ...], Field(min_length=1, strict=False)] | Scalar | None = None
    """The value, or the list of values, that means a result is there; for ``value`` only. Of an enumeration its number,
    or its name where the point says ``enumeration: name``."""
    sampling: Annotated[Duration, Field(ge=0)] = 0.05
    """How often the server looks at the point, and tells; it may round this to what it can do."""
    queue: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Changes the server keeps for the station while it is slow."""
    deadband: Annotated[float | int, Field(gt=0)] | None = None
    """A smaller change of the value is none."""
    deadband_percent: Annotated[float | int, Field(gt=0, le=100)] | None = None
    """The same, in percent of the point's range (its EURange)."""
    poll: Annotated[Duration, Field(ge=0.01)] | None = None
    """Ask this often instead of subscribing, for a server that has no subscriptions."""
    counter: str | None = None
    """A point that the machine changes with every result, written last: what was read counts only if it did not change

    meanwhile, and a handshake acknowledges only the result it was read with. By default the trigger's point."""

    @property
    def witness(self) -> str:
        """The point that has to be the same before and after a snapshot."""
        return self.counter or self.point

    @property
    def is_flag(self) -> bool:
        """It tells by what it shows whether a result is there, not by being another value than before."""
        return self.on != "change"

    @property
    def wanted(self) -> tuple[Scalar | None, ...]:
        """The values of ``equals``."""
        return self.equals if isinstance(self.equals, tuple) else (self.equals,)

    def means_a_result(self, value: Scalar | None) -> bool:
        """Whether a result is there while the point shows this."""
        if self.on == "value":
            return value is not None and value in self.wanted
        return bool(value) if self.on == "rising" else value is not None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.on == "value" and self.equals is None:
            raise ValueError("on: which value? give equals, for example equals: 3")
        if self.on != "value" and self.equals is not None:
            raise ValueError("equals: belongs to on: value")
        if self.deadband is not None and self.deadband_percent is not None:
            raise ValueError("deadband: give it as a value or in percent")
        given = {"sampling", "queue", "deadband", "deadband_percent"} & self.model_fields_set
        if self.poll is not None and given:
            raise ValueError(f"poll: either poll or a subscription with {', '.join(sorted(given))}")
        return self


class EventTrigger(Strict):
    """An event (OPC 10000-5, 6.4) that is a result: its fields are points."""

    on: Literal["event"]
    """The server sends an event for each result."""
    event_type: NodeIdText
    """Only events of this type (and those made of it) are results."""
    source: NodeIdText = "i=2253"
    """The node that sends them; the Server object (``i=2253``) passes on those of all."""
    publishing: Annotated[Duration, Field(ge=0)] = 0.1
    """How often the server passes on what has happened."""
    queue: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Events the server keeps for the station while it is slow."""
    point: str | None = None
    """A point that the machine sets last in a result, where some points are nodes: they belong together when it stayed
    the same while they were read."""

    @property
    def witness(self) -> str | None:
        """See DataTrigger.witness."""
        return self.point


class OpcUaPoint(PointSettings):
    """A value: a node, or a field of the event. The node's own type is what is read."""

    other_names = NODE_KEYS

    node_id: NodeIdText | None = None
    """Where the value is: ``ns=2;s=Laser.Depth``, ``nsu=urn:maker:laser;i=7``, ``g=`` or ``b=`` (OPC 10000-6,
    5.3.1.10). ``ns`` is an index or one of the names under ``namespaces``."""
    browse_path: BrowsePath | None = None
    """The way to the node by browse names, ``m:Laser/m:Result/m:Depth``, where ids or indexes may change."""
    start: NodeIdText | None = None
    """Where the browse path begins; the Objects folder (``i=85``) by default."""
    event_field: BrowsePath | None = None
    """Of an event trigger: the field of the event, by its browse name (``m:SerialNumber``, ``Message``)."""
    field: FieldPath | None = None
    """What of the value is meant: a member of a structure (``Force.Peak``), a place of an array (``[2]``) or a matrix
    (``[0,1]``), or both (``Points[2].Force``). Of an array of structures a member is the list of all of them."""
    enumeration: Literal["number", "name"] = "number"
    """Of an enumeration: its number, or the server's name for it."""
    text: Literal["utf-8", "latin-1", "cp949"] | None = None
    """Bytes (a ByteString or an array of Byte) are a text of this encoding, up to its first NUL; else hexadecimal."""
    type: Annotated[NodeType, called(NODE_TYPE)] = "string"
    """Type a simulator makes the node with; a real server's node has its own."""
    array: bool = False
    """The value is a list; said for the simulator."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [key for key in ("node_id", "browse_path", "event_field") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of node_id, browse_path, event_field")
        if self.start is not None and self.browse_path is None:
            raise ValueError("start: only a browse_path begins somewhere")
        return self

    @property
    def kinds(self) -> Kinds:
        """See PointSettings.kinds: what ``type`` says where it was written, and no part of the value is meant."""
        if self.field is not None or self.enumeration == "name" or "type" not in self.model_fields_set:
            return UNKNOWN
        if self.array and self.text is None:
            return frozenset({Kind.LIST})
        if self.text is not None or self.type in _TEXTS:
            return frozenset({Kind.TEXT, Kind.LIST})
        return frozenset({Kind.TRUTH if self.type == "boolean" else Kind.NUMBER, Kind.LIST})

    @property
    def address(self) -> NodeAddress | None:
        """The node, None for a field of the event."""
        if self.event_field is not None:
            return None
        return NodeAddress(node_id=self.node_id, browse_path=self.browse_path, start=self.start)

    def __str__(self) -> str:
        what = f"event field {self.event_field}" if self.event_field is not None else f"node {self.address}"
        return what if self.field is None else f"{what}, {self.field}"


class Write(NodeAddress):
    """What is written: a text with ``{cycle_key}`` or ``{point}``, in the type the node has."""

    value: Template | bool | int = "{cycle_key}"
    """What is written; ``{cycle_key}`` and ``{point}`` are filled in."""
    type: Annotated[NodeType, called(NODE_TYPE)] = "uint32"
    """Type a simulator makes the node with; written is the type the real node has."""


class Method(Strict):
    """A method that is called once the result is kept."""

    object: NodeAddress
    """The object the method is called on."""
    method: NodeAddress
    """The method. Its arguments have the types it asks for."""
    arguments: tuple[Template | bool | int | float, ...] = ("{cycle_key}",)
    """What it is called with; ``{cycle_key}`` and ``{point}`` are filled in."""
    accepted: bool | int | str | None = None
    """The first output argument's value when the machine accepted it; anything else is tried again. None: the method
    only has to succeed."""


class FourPhaseNodes(FourPhase[NodeAddress]):
    """The handshake ready, ack, ready off, ack off. Its signals are nodes, boolean or number."""

    echo: Write | None = None
    """Written before ack, so that the machine can compare: the cycle's number."""


class Acknowledge(Strict):
    """How the machine is told that its result is kept."""

    write: Write | None = None
    """A node is written: the cycle's number, or a flag that the machine takes back by itself."""
    call: Method | None = None
    """A method is called."""
    four_phase: FourPhaseNodes | None = None
    """A handshake with signals."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(way is not None for way in (self.write, self.call, self.four_phase)) != 1:
            raise ValueError("give exactly one of write, call, four_phase")
        return self


class AnswerNode(NodeAddress):
    """One value of an answer to a request, in the type the node has."""

    value: Template | bool | int
    """What is written: a name such as ``{serial_number}``, a text with names, or always the same."""
    type: Annotated[NodeType, called(NODE_TYPE)] = "string"
    """Type a simulator makes the node with; written is the type the real node has."""

    @property
    def names(self) -> frozenset[str]:
        """The answer's values it names."""
        return names_in(self.value) if isinstance(self.value, str) else frozenset()


class OpcUaInterlock(Interlock[Annotated[tuple[AnswerNode, ...], Field(min_length=1, strict=False)]]):
    """What happens before a unit starts."""

    @model_validator(mode="after")
    def _answers(self) -> Self:
        for place, node in enumerate(self.answer):
            check_names(f"interlock.answer.{place}.value", node.names)
        check_flag(self.answer[-1].names, self.answer[-1].value)
        return self


class OpcUaSettings(ProtocolSettings):
    """A machine's OPC-UA keys."""

    connect: Connect
    namespaces: Annotated[Mapping[NamespaceName, str], Field(default={})]
    """Short names for namespace URIs, used as ``ns=m;...`` and ``m:Name``: a server may number them anew when it
    starts."""
    trigger: DataTrigger | EventTrigger
    """What says that a result is there."""
    points: Annotated[Mapping[str, OpcUaPoint], Field(min_length=1)]
    acknowledge: Acknowledge | None = None
    interlock: OpcUaInterlock | None = None
    """For machines that ask before they start a unit. The request's point is watched as the trigger's is."""

    def warnings(self) -> Mapping[str, str]:
        trigger = self.trigger
        is_polled_flag = isinstance(trigger, DataTrigger) and trigger.is_flag and trigger.poll is not None
        if not is_polled_flag or (self.acknowledge is not None and self.acknowledge.four_phase is not None):
            return {}
        told = (
            "a flag that is asked for may go off and on between two looks, and that result is never seen; leave poll "
            "away if the server has subscriptions, or let a counter be the trigger, if the machine has one"
        )
        return {"trigger.poll": told}

    def needed_files(self) -> Mapping[str, NeededFile]:
        return self.connect.needed_files()

    def referenced_points(self) -> Mapping[str, str]:
        counter = self.trigger.counter if isinstance(self.trigger, DataTrigger) else None
        named = {"trigger.point": self.trigger.point, "trigger.counter": counter}
        return {key: name for key, name in named.items() if name is not None} | points_of(self.interlock)

    @property
    def result_points(self) -> Mapping[str, OpcUaPoint]:
        asks = set(points_of(self.interlock).values())
        return {name: point for name, point in self.points.items() if name not in asks}

    @property
    def request_points(self) -> Mapping[str, OpcUaPoint]:
        """The points of a request; none where nobody answers it."""
        wanted = points_of(self.interlock).values() if self.asking() is not None else ()
        return {name: self.points[name] for name in wanted if name in self.points}

    @property
    def request_trigger(self) -> DataTrigger | None:
        """How the request's point is watched."""
        if self.interlock is None or not self.interlock.enabled:
            return None
        request, common = self.interlock.request, {}
        if isinstance(self.trigger, DataTrigger):
            common = {"poll": self.trigger.poll} if self.trigger.poll else {"sampling": self.trigger.sampling}
        watched = {name: f"{seconds}s" for name, seconds in common.items()}
        return DataTrigger.model_validate({"point": request.point, "on": request.on, **watched})

    @property
    def trigger_is_ready(self) -> bool:
        """The trigger's node is the ready signal of the handshake."""
        return self._is_ready(self.trigger.point)

    @property
    def holds_results(self) -> bool:
        trigger = self.trigger
        return isinstance(trigger, DataTrigger) and trigger.is_flag and self.trigger_is_ready

    @property
    def handshake_witness(self) -> str | None:
        """The point that has to be the same before a handshake's ack; None where no point tells results apart."""
        shaken = None if self.acknowledge is None else self.acknowledge.four_phase
        trigger = self.trigger
        is_flag = isinstance(trigger, DataTrigger) and trigger.is_flag and trigger.counter is None
        return None if shaken is None or is_flag or self._is_ready(trigger.witness) else trigger.witness

    def _is_ready(self, name: str | None) -> bool:
        point = self.points.get(name or "")
        shaken = None if self.acknowledge is None else self.acknowledge.four_phase
        return point is not None and shaken is not None and str(point.address) == str(shaken.ready)

    @property
    def node_points(self) -> Mapping[str, OpcUaPoint]:
        """The points that are read from nodes."""
        return {name: point for name, point in self.result_points.items() if point.event_field is None}

    @property
    def shown_points(self) -> Mapping[str, OpcUaPoint]:
        """The points that stand in nodes, those of a request among them."""
        return {name: point for name, point in self.points.items() if point.event_field is None}

    @property
    def event_points(self) -> Mapping[str, OpcUaPoint]:
        """The points that come with the event."""
        return {name: point for name, point in self.result_points.items() if point.event_field is not None}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        point = None if self.trigger.point is None else self.points.get(self.trigger.point)
        if point is not None and point.array:
            raise ValueError("trigger.point: a list cannot be a trigger")
        if point is not None and point.event_field is not None:
            raise ValueError("trigger.point: a field of the event is no node that can be watched")
        counter = None if self.trigger.witness is None else self.points.get(self.trigger.witness)
        if counter is not None and counter.array:
            raise ValueError("trigger.counter: a list cannot be a counter")
        if isinstance(self.trigger, DataTrigger) and self.event_points:
            name = next(iter(self.event_points))
            raise ValueError(f"points.{name}.event_field: only a trigger on: event has fields")
        self._check_request()
        for place, used in self._namespaces_used():
            unknown = used - self.namespaces.keys()
            if unknown:
                raise ValueError(f"{place}: {sorted(unknown)[0]} is no index, and no name under namespaces")
        return self

    def _check_request(self) -> None:
        if self.interlock is None:
            return
        asks = self.interlock.request.point
        if asks in (self.trigger.point, self.trigger.witness):
            raise ValueError("interlock.request.point: the trigger tells of results; a request has a point of its own")
        for key, name in points_of(self.interlock).items():
            point = self.points.get(name)
            if point is not None and (point.event_field is not None or point.array):
                raise ValueError(f"{key}: a request's points are nodes of single values")

    def _namespaces_used(self) -> Iterator[tuple[str, set[str]]]:
        """Key path, and the names of namespaces that stand there."""
        for name, point in self.points.items():
            for key, used in namespaces_in(point.node_id, point.browse_path, point.start).items():
                yield f"points.{name}.{key}", used
            if point.event_field is not None:
                spaces = {space for space, _ in browse_names(point.event_field) if space and not space.isdigit()}
                yield f"points.{name}.event_field", spaces
        if isinstance(self.trigger, EventTrigger):
            for key in ("event_type", "source"):
                for used in namespaces_in(getattr(self.trigger, key), None, None).values():
                    yield f"trigger.{key}", used
        for place, address in self.written_nodes().items():
            for key, used in address.namespaces_used().items():
                yield f"{place}.{key}", used

    def acknowledging_nodes(self) -> Mapping[str, NodeAddress]:
        """Key path -> node, of all that an acknowledgement touches."""
        acknowledge = self.acknowledge
        found: dict[str, NodeAddress | None] = {}
        if acknowledge is not None and acknowledge.write is not None:
            found["acknowledge.write"] = acknowledge.write
        elif acknowledge is not None and acknowledge.call is not None:
            found["acknowledge.call.object"] = acknowledge.call.object
            found["acknowledge.call.method"] = acknowledge.call.method
        elif acknowledge is not None and acknowledge.four_phase is not None:
            shaken = acknowledge.four_phase
            found |= {f"acknowledge.four_phase.{signal}": node for signal, node in shaken.signals().items()}
            found["acknowledge.four_phase.echo"] = shaken.echo
        return {place: node for place, node in found.items() if node is not None}

    def answering_nodes(self) -> Mapping[str, AnswerNode]:
        """Key path -> node, of an answer to a request, in the order they are written."""
        answer = () if self.interlock is None else self.interlock.answer
        return {f"interlock.answer.{place}": node for place, node in enumerate(answer)}

    def written_nodes(self) -> Mapping[str, NodeAddress]:
        """Key path -> node, of all that is written."""
        return {**self.acknowledging_nodes(), **self.answering_nodes()}
