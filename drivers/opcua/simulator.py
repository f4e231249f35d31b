"""An OPC-UA machine made of software: an asyncua server on a free port, with the nodes of the settings."""

import asyncio
import logging
import socket
from collections.abc import Mapping

from asyncua import Server, ua
from asyncua.common.node import Node

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.opcua.settings import NodeType, OpcUaSettings
from drivers.opcua.values import variant_of
from drivers.template import as_text, render

_KINDS: Mapping[NodeType, ua.VariantType] = {
    "string": ua.VariantType.String,
    "int16": ua.VariantType.Int16,
    "int32": ua.VariantType.Int32,
    "int64": ua.VariantType.Int64,
    "uint16": ua.VariantType.UInt16,
    "uint32": ua.VariantType.UInt32,
    "uint64": ua.VariantType.UInt64,
    "float": ua.VariantType.Float,
    "double": ua.VariantType.Double,
    "boolean": ua.VariantType.Boolean,
}
_ACKNOWLEDGED_EVERY_S = 0.005

logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class OpcUaSimulator:
    """Holds each result until the station has acknowledged it, where the settings say so."""

    faults: frozenset[Fault] = frozenset()

    def __init__(self, machine: str, settings: OpcUaSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._server: Server | None = None
        self._nodes: dict[str, tuple[Node, ua.VariantType]] = {}
        self._acknowledged: tuple[Node, ua.VariantType] | None = None

    async def start(self) -> Mapping[str, str | int]:
        server = self._server = Server()
        await server.init()
        url = f"opc.tcp://127.0.0.1:{_free_port()}/"
        server.set_endpoint(url)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        for place in range(2, max(map(_namespace, self._node_ids()), default=0) + 1):
            await server.register_namespace(f"urn:simulated:{place}")
        for name, point in self._settings.points.items():
            kind = _KINDS[point.type]
            start: RawValue = [] if point.array else _zero(point.type)
            self._nodes[name] = (await self._add(point.node_id, name, variant_of(start, kind)), kind)
        if self._settings.acknowledge is not None:
            write = self._settings.acknowledge.write
            kind = _KINDS[write.type]
            node = await self._add(write.node_id, "acknowledge", variant_of(_zero(write.type), kind))
            await node.set_writable()
            self._acknowledged = (node, kind)
        await server.start()
        return {"connect.url": url}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:
        await self.present(values)
        if self._settings.acknowledge is None or self._acknowledged is None:
            return
        wanted: Scalar = self._settings.acknowledge.write.value
        if isinstance(wanted, str):
            scalars = {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}
            if cycle_key is not None:
                scalars["cycle_key"] = cycle_key
            wanted = render(wanted, scalars, as_text)
        node, kind = self._acknowledged
        expected = variant_of(wanted, kind).Value
        while await node.read_value() != expected:
            await asyncio.sleep(_ACKNOWLEDGED_EVERY_S)

    async def present(self, values: Mapping[str, RawValue | None]) -> None:
        """Put these values into the nodes, the trigger's last. A node with None has a bad status from now on."""
        trigger = self._settings.trigger.point
        for name in sorted(values, key=lambda name: name == trigger):
            node, kind = self._nodes[name]
            value = values[name]
            if value is None:
                bad = ua.StatusCode(ua.UInt32(ua.StatusCodes.BadSensorFailure))
                await node.write_value(ua.DataValue(Value=ua.Variant(None), StatusCode=bad))
            else:
                await node.write_value(ua.DataValue(variant_of(value, kind)))

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
            # asyncua keeps the session of a station whose link broke, and what runs for it, beyond its own end.
            for session in list(server.iserver._external_sessions.values()):
                await session.close_session()

    async def _add(self, node_id: str, name: str, start: ua.Variant) -> Node:
        assert self._server is not None
        place = _namespace(node_id)
        browse_name = ua.QualifiedName(name, ua.UInt16(place))
        return await self._server.nodes.objects.add_variable(ua.NodeId.from_string(node_id), browse_name, start)

    def _node_ids(self) -> list[str]:
        ids = [point.node_id for point in self._settings.points.values()]
        return ids if self._settings.acknowledge is None else [*ids, self._settings.acknowledge.write.node_id]


def _namespace(node_id: str) -> int:
    return int(ua.NodeId.from_string(node_id).NamespaceIndex)


def _zero(kind: NodeType) -> Scalar:
    special: dict[NodeType, Scalar] = {"string": "", "boolean": False, "float": 0.0, "double": 0.0}
    return special.get(kind, 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
