"""The address space of a simulated machine: the nodes, types, methods and events that its settings speak of."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from asyncua import Server, ua
from asyncua.common.event_objects import BaseEvent
from asyncua.common.node import Node
from asyncua.common.structures104 import new_enum, new_enum_field, new_struct

from contracts.measurement import Scalar
from drivers.base import RawValue
from drivers.opcua.addresses import OBJECTS_FOLDER, NodeAddress, NodeName, browse_names, field_steps
from drivers.opcua.nodes import Namespaces
from drivers.opcua.settings import EventTrigger, NodeType, OpcUaPoint, OpcUaSettings
from drivers.opcua.structures import Layout, Layouts, Member
from drivers.opcua.variants import variant_of

KINDS: Mapping[NodeType, ua.VariantType] = {
    "boolean": ua.VariantType.Boolean,
    "sbyte": ua.VariantType.SByte,
    "byte": ua.VariantType.Byte,
    "int16": ua.VariantType.Int16,
    "uint16": ua.VariantType.UInt16,
    "int32": ua.VariantType.Int32,
    "uint32": ua.VariantType.UInt32,
    "int64": ua.VariantType.Int64,
    "uint64": ua.VariantType.UInt64,
    "float": ua.VariantType.Float,
    "double": ua.VariantType.Double,
    "string": ua.VariantType.String,
    "datetime": ua.VariantType.DateTime,
    "guid": ua.VariantType.Guid,
    "bytestring": ua.VariantType.ByteString,
    "localizedtext": ua.VariantType.LocalizedText,
}
_OWN = 1
"""The server's own namespace, for what the settings do not name."""
_START: Mapping[NodeType, Scalar] = {
    "boolean": False,
    "float": 0.0,
    "double": 0.0,
    "string": "",
    "bytestring": "",
    "localizedtext": "",
    "datetime": "2024-01-01T00:00:00+00:00",
    "guid": "00000000-0000-0000-0000-000000000000",
}


@dataclass
class SimulatedNode:
    """A node, and the points that are in it: one, or members of a structure."""

    node: Node
    points: Mapping[str, OpcUaPoint]
    values: dict[str, RawValue | None]
    structure: "_Structure | None" = None
    enumeration: "_Enumeration | None" = None

    async def show(self, moment: datetime) -> None:
        """Put the values into the node, with this time. None makes it unreadable."""
        if any(value is None for value in self.values.values()):
            value = ua.DataValue(ua.Variant(None), ua.StatusCode(ua.UInt32(ua.StatusCodes.BadSensorFailure)))
        else:
            value = ua.DataValue(await self._variant())
        at: Any = moment  # asyncua's DateTime is a datetime of its own
        await self.node.write_value(dataclasses.replace(value, SourceTimestamp=at, ServerTimestamp=at))

    async def _variant(self) -> ua.Variant:
        known = {name: value for name, value in self.values.items() if value is not None}
        if self.structure is not None:
            return self.structure.variant(known)
        (name,) = known
        if self.enumeration is not None and isinstance(known[name], str):
            return ua.Variant(await self.enumeration.number(str(known[name])), ua.VariantType.Int32)
        return point_variant(self.points[name], known[name])


def point_variant(point: OpcUaPoint, value: RawValue) -> ua.Variant:
    """A point's value as its node holds it."""
    if point.text is not None and isinstance(value, str):
        data = value.encode(point.text)
        if point.array:
            return ua.Variant(list(data), ua.VariantType.Byte)
        return ua.Variant(data, ua.VariantType.ByteString)
    return variant_of(value, KINDS[point.type])


def start_value(point: OpcUaPoint) -> RawValue:
    """What a node holds before the first result."""
    if point.text is not None:
        return ""
    return [] if point.array else _START.get(point.type, 0)


class _Enumeration:
    """Names get numbers as they come."""

    def __init__(self, data_type: Node) -> None:
        self._data_type = data_type
        self._names: list[str] = []

    async def number(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
            fields = [new_enum_field(one) for one in self._names]
            for number, one in enumerate(fields):
                one.Value = ua.Int64(number)
            await self._data_type.write_data_type_definition(ua.EnumDefinition(Fields=fields))
        return self._names.index(name)


@dataclass
class _Structure:
    """One structure, or a list of them where all its points are lists."""

    layouts: Layouts
    data_type: ua.NodeId
    encoding: ua.NodeId
    paths: Mapping[str, tuple[Sequence[str], ua.VariantType]]
    is_list: bool

    def variant(self, values: Mapping[str, RawValue]) -> ua.Variant:
        if not self.is_list:
            return ua.Variant(self._one(values), ua.VariantType.ExtensionObject)
        columns = {name: value for name, value in values.items() if isinstance(value, list)}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return ua.Variant([self._one(row) for row in rows], ua.VariantType.ExtensionObject, is_array=True)

    def _one(self, values: Mapping[str, RawValue]) -> ua.ExtensionObject:
        tree: dict[str, Any] = {}
        for name, (path, kind) in self.paths.items():
            inner = tree
            for step in path[:-1]:
                inner = inner.setdefault(step, {})
            inner[path[-1]] = variant_of(values[name], kind).Value
        return ua.ExtensionObject(TypeId=self.encoding, Body=ua.ByteString(self.layouts.encoded(self.data_type, tree)))


@dataclass
class Space:
    """What a machine's settings speak of, as it is on the server."""

    server: Server
    settings: OpcUaSettings
    namespaces: Namespaces = field(init=False)
    nodes: dict[str, SimulatedNode] = field(default_factory=dict)
    """By point."""
    signals: dict[str, Node] = field(default_factory=dict)
    """What a station writes, by its key path."""

    async def build(self) -> None:
        """Make it all. Raises ValueError for what cannot be simulated."""
        await self._name_namespaces()
        groups: dict[str, dict[str, OpcUaPoint]] = {}
        for name, point in self.settings.shown_points.items():
            groups.setdefault(str(point.address), {})[name] = point
        for points in groups.values():
            made = await self._variable(points)
            self.nodes |= dict.fromkeys(points, made)
        trigger = self.settings.trigger
        if isinstance(trigger, EventTrigger):
            event_name = ua.QualifiedName("ResultReady", ua.UInt16(_OWN))
            await self.server.nodes.base_event_type.add_object_type(
                self.namespaces.node_id(trigger.event_type), event_name
            )
            source = self.namespaces.node_id(trigger.source)
            await self._object_at(self.server.nodes.objects, source, ua.QualifiedName("machine", ua.UInt16(_OWN)))

    async def show(self, values: Mapping[str, RawValue | None], moment: datetime) -> None:
        """Put these values into the nodes, the counter's and the trigger's last."""
        changed: dict[int, SimulatedNode] = {}
        last = (self.settings.trigger.witness, self.settings.trigger.point)
        for name in sorted(values, key=lambda name: last.index(name) if name in last else -1):
            node = self.nodes[name]
            node.values[name] = values[name]
            changed.pop(id(node), None)
            changed[id(node)] = node
        for node in changed.values():
            await node.show(moment)

    async def add_signal(self, place: str, address: NodeAddress, kind: ua.VariantType, start: Scalar) -> Node:
        """A node that a station may write; one that is a point too is that node."""
        for shown in self.nodes.values():
            if any(str(point.address) == str(address) for point in shown.points.values()):
                self.signals[place] = shown.node
                await shown.node.set_writable()
                return shown.node
        known = next((node for key, node in self.signals.items() if self._address(key) == str(address)), None)
        node = known or await self._add(address, place.rpartition(".")[2], variant_of(start, kind))
        await node.set_writable()
        self.signals[place] = node
        return node

    async def add_method(self, object_at: NodeAddress, method_at: NodeAddress, called: Any, count: int) -> None:
        """A method that tells ``called`` its arguments."""
        parent = await self._add_object(object_at)
        node_id, name = self._names(method_at, "acknowledge")
        inputs = [ua.VariantType.String] * count
        await parent.add_method(node_id, name, called, inputs, [ua.VariantType.Int32])

    async def fire(self, values: Mapping[str, RawValue | None], moment: datetime) -> None:
        """Send the event with these fields."""
        trigger = self.settings.trigger
        assert isinstance(trigger, EventTrigger)
        event: Any = BaseEvent(message="result ready")  # type: ignore[no-untyped-call]  # asyncua's
        event.EventType = self.namespaces.node_id(trigger.event_type)
        for name, point in self.settings.event_points.items():
            value = values.get(name)
            if value is not None:
                names = "/".join(step for _, step in browse_names(str(point.event_field)))
                variant = point_variant(point, value)
                event.add_property(names, variant.Value, variant.VariantType)
        generator = await self.server.get_event_generator(event, self.namespaces.node_id(trigger.source))
        await generator.trigger(time_attr=moment)

    async def _name_namespaces(self) -> None:
        texts = [text for point in self.settings.points.values() for text in (point.node_id, point.start) if text]
        texts += [
            text for node in self.settings.written_nodes().values() for text in (node.node_id, node.start) if text
        ]
        if isinstance(self.settings.trigger, EventTrigger):
            texts += [self.settings.trigger.event_type, self.settings.trigger.source]
        names = [NodeName.of(text) for text in texts]
        paths = [point.browse_path or point.event_field for point in self.settings.points.values()]
        paths += [node.browse_path for node in self.settings.written_nodes().values()]
        indexes = [int(name.namespace) for name in names if name.namespace is not None and name.namespace.isdigit()]
        indexes += [
            int(space) for path in paths if path for space, _ in browse_names(path) if space and space.isdigit()
        ]
        for place in range(2, max(indexes, default=0) + 1):
            await self.server.register_namespace(f"urn:simulated:{place}")
        for uri in [*self.settings.namespaces.values(), *(name.uri for name in names if name.uri is not None)]:
            await self.server.register_namespace(uri)
        self.namespaces = Namespaces(self.settings.namespaces, await self.server.get_namespace_array())

    async def _variable(self, points: Mapping[str, OpcUaPoint]) -> SimulatedNode:
        name, first = next(iter(points.items()))
        assert first.address is not None
        values: dict[str, RawValue | None] = {one: start_value(point) for one, point in points.items()}
        if any(point.field is not None for point in points.values()):
            structure = await self._structure(name, points)
            node = await self._add(first.address, name, structure.variant(_present(values)), structure.data_type)
            return SimulatedNode(node, points, values, structure=structure)
        if first.enumeration == "name":
            data_type = await new_enum(self.server, _OWN, f"{name}-type", [])
            node = await self._add(first.address, name, ua.Variant(0, ua.VariantType.Int32), data_type.nodeid)
            return SimulatedNode(node, points, {name: 0}, enumeration=_Enumeration(data_type))
        node = await self._add(first.address, name, point_variant(first, _present(values)[name]))
        return SimulatedNode(node, points, values)

    async def _structure(self, name: str, points: Mapping[str, OpcUaPoint]) -> _Structure:
        is_list = all(point.array for point in points.values())
        paths: dict[str, tuple[Sequence[str], ua.VariantType]] = {}
        for one, point in points.items():
            steps = field_steps(point.field) if point.field is not None else []
            path = [step for step in steps if isinstance(step, str)]
            if not path or path != steps:
                told = (
                    f"field {point.field} reaches into a list, which the simulator does not make; name members alone"
                    if point.field is not None
                    else "the whole structure beside its members is more than the simulator makes; name a field"
                )
                raise ValueError(f"point {one}: {told} (a real machine takes this)")
            paths[one] = (path, KINDS[point.type])
        layouts = Layouts()
        leaves = {one: points[one].array and not is_list for one in points}
        data_type, encoding = await self._layout(f"{name}-type", layouts, paths, leaves)
        return _Structure(layouts, data_type, encoding, paths, is_list)

    async def _layout(
        self,
        name: str,
        layouts: Layouts,
        paths: Mapping[str, tuple[Sequence[str], ua.VariantType]],
        is_array: Mapping[str, bool],
    ) -> tuple[ua.NodeId, ua.NodeId]:
        members: list[Member] = []
        for first in dict.fromkeys(path[0] for path, _ in paths.values()):
            below = {one: (path[1:], kind) for one, (path, kind) in paths.items() if path[0] == first}
            (leaf, (rest, kind)), *_ = below.items()
            if not rest:
                members.append(Member(first, kind, is_array[leaf]))
            else:
                inner, _ = await self._layout(f"{name}-{first}", layouts, below, is_array)
                members.append(Member(first, inner))
        fields = [_described(member) for member in members]
        data_type, (encoding,) = await new_struct(self.server, _OWN, name, fields)
        layouts.layouts[data_type.nodeid] = Layout(tuple(members))
        return data_type.nodeid, encoding.nodeid

    async def _add(
        self, address: NodeAddress, name: str, start: ua.Variant, data_type: ua.NodeId | None = None
    ) -> Node:
        parent = self.server.nodes.objects
        if address.browse_path is not None:
            parent = await self._way_to(address)
        node_id, qualified = self._names(address, name)
        return await parent.add_variable(node_id, qualified, start, datatype=data_type)

    async def _add_object(self, address: NodeAddress) -> Node:
        node_id, name = self._names(address, "machine")
        if address.browse_path is None:
            return await self._object_at(self.server.nodes.objects, node_id, name)
        return await self._child(await self._way_to(address), name)

    async def _way_to(self, address: NodeAddress) -> Node:
        """The parent of the last step, made where it is not there yet."""
        start = self.namespaces.node_id(address.start or OBJECTS_FOLDER)
        parent = self.server.get_node(start)
        if start != ua.NodeId(ua.Int32(ua.ObjectIds.ObjectsFolder)):
            parent = await self._object_at(self.server.nodes.objects, start, ua.QualifiedName("start", ua.UInt16(_OWN)))
        for space, step in browse_names(str(address.browse_path))[:-1]:
            parent = await self._child(parent, self.namespaces.qualified_name(space, step))
        return parent

    async def _child(self, parent: Node, name: ua.QualifiedName) -> Node:
        """The child of this name, made where it is not there yet: a way has one of each name."""
        children = [(await child.read_browse_name(), child) for child in await parent.get_children()]
        found = next((child for known, child in children if known == name), None)
        return found or await parent.add_object(ua.NodeId(ua.Int32(0), ua.Int16(_OWN)), name)

    async def _object_at(self, parent: Node, node_id: ua.NodeId, name: ua.QualifiedName) -> Node:
        node = self.server.get_node(node_id)
        known = await node.read_attribute(ua.AttributeIds.NodeClass, raise_on_bad_status=False)
        is_there = known.StatusCode is None or known.StatusCode.is_good()
        return node if is_there else await parent.add_object(node_id, name)

    def _names(self, address: NodeAddress, name: str) -> tuple[ua.NodeId, ua.QualifiedName]:
        if address.node_id is not None:
            node_id = self.namespaces.node_id(address.node_id)
            return node_id, ua.QualifiedName(name, ua.UInt16(node_id.NamespaceIndex))
        space, step = browse_names(str(address.browse_path))[-1]
        return ua.NodeId(ua.Int32(0), ua.Int16(_OWN)), self.namespaces.qualified_name(space, step)

    def _address(self, place: str) -> str:
        return str(self.settings.written_nodes()[place])


def _present(values: Mapping[str, RawValue | None]) -> dict[str, RawValue]:
    return {name: value for name, value in values.items() if value is not None}


def _described(member: Member) -> ua.StructureField:
    kind = member.kind
    data_type = kind if isinstance(kind, ua.NodeId) else ua.NodeId(ua.Int32(kind.value))
    found = ua.StructureField(Name=ua.String(member.name), DataType=data_type)
    found.ValueRank = ua.Int32(1 if member.is_array else -1)
    found.IsOptional = False
    return found
