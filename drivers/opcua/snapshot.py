"""One consistent snapshot of a machine's nodes: a Read of all, between two looks whether it is the same result."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from asyncua import ua

from contracts.errors import LinkError
from contracts.measurement import Quality
from drivers.base import PointValue, Reading
from drivers.opcua.link import OpcUaLink
from drivers.opcua.nodes import Located
from drivers.opcua.settings import OpcUaPoint
from drivers.opcua.typebook import TypeBook
from drivers.opcua.values import Enumerated, point_value

TORN_READS = 5
ABSENT = frozenset(
    {ua.StatusCodes.BadNodeIdUnknown, ua.StatusCodes.BadNodeIdInvalid, ua.StatusCodes.BadAttributeIdInvalid}
)
"""Statuses of a node that is not there, or is no variable."""

log = structlog.get_logger()


class Snapshots:
    """Reads the points of one machine. Points of one node share its value; a node that is not there is told by name.

    ``witness`` is the point that the machine sets last in a result: a snapshot during which it changed is torn. It is
    looked at in Reads of its own, before and after: a server takes the nodes of one Read in any order, at one moment or
    not (OPC 10000-4, 5.11.2), and has a Read of many nodes split.
    """

    def __init__(
        self, machine: str, link: OpcUaLink, points: Mapping[str, OpcUaPoint], located: Located, witness: str | None
    ) -> None:
        self._machine = machine
        self._link = link
        self._points = points
        self._nodes = located.nodes
        self._missing = located.missing
        self._witness = witness
        self._order = list(dict.fromkeys(node_id for name, node_id in located.nodes.items() if name in points))
        self._types = TypeBook(link)
        self._enumerations: dict[str, tuple[ua.NodeId, Mapping[int, str]]] = {}
        """Of points that are told by a name: the node's data type, and the names of its numbers."""

    async def prepare(self) -> Mapping[str, PointValue]:
        """The first snapshot, torn or not, with everything asked for that values need. Raises LinkError."""
        named = [name for name, point in self._points.items() if point.enumeration == "name" and name in self._nodes]
        types = await self._link.read([(self._nodes[name], ua.AttributeIds.DataType) for name in named])
        for name, answer in zip(named, types, strict=True):
            if answer.Value is not None and isinstance(answer.Value.Value, ua.NodeId):
                await self._learn_names(name, answer.Value.Value)
        found = await self._points_of(self._order, await self._link.values(self._order))
        for name, point in found.items():
            if point.value is None and (name in self._missing or point.status_code in _ABSENT_NAMES):
                log.warning("point not on the server", machine=self._machine, point=name, error=point.problem)
        return found

    async def take(self) -> dict[str, PointValue]:
        """A snapshot; a torn one is taken again. Raises LinkError."""
        if self._witness is None:
            return await self._points_of(self._order, await self._link.values(self._order))
        witness = self._nodes[self._witness]
        (before,) = await self._link.values([witness])
        for _ in range(TORN_READS):
            answers = await self._link.values(self._order)
            (after,) = await self._link.values([witness])
            if _same(before, answers[self._order.index(witness)]) and _same(before, after):
                return await self._points_of(self._order, answers)
            before = after
        raise LinkError(
            f"machine {self._machine}: point {self._witness} changed {TORN_READS} times while one result was read; the "
            "machine has to hold a result until it is read (see acknowledge)"
        )

    async def still_stands(self, reading: Reading) -> bool:
        """Whether the witness has the value it was read with. Raises LinkError."""
        assert self._witness is not None
        (now,) = await self._link.values([self._nodes[self._witness]])
        point = await self.of_one(self._witness, now)
        return point.value is not None and point.value == reading.values[self._witness].value

    async def of_one(self, name: str, answer: ua.DataValue) -> PointValue:
        """A value of one point that came another way. Raises LinkError."""
        return (await self._points_of([self._nodes[name]], [answer], only=name))[name]

    async def fields(self, fields: Sequence[Any], names: Sequence[str]) -> dict[str, PointValue]:
        """The fields of an event as points. Raises LinkError."""
        for encoding in self._types.missing(fields):
            await self._types.learn(encoding)
        found: dict[str, PointValue] = {}
        for name, value in zip(names, fields, strict=True):
            variant = value if isinstance(value, ua.Variant) else ua.Variant(value)
            data = ua.DataValue(variant, SourceTimestamp=None, ServerTimestamp=None)
            point = self._points[name]
            found[name] = point_value(data, self._types.content(variant), point, f"point {name}, {point}")
        return found

    async def _points_of(
        self, nodes: Sequence[ua.NodeId], answers: Sequence[ua.DataValue], only: str | None = None
    ) -> dict[str, PointValue]:
        for encoding in self._types.missing(answers):
            await self._types.learn(encoding)
        by_node = dict(zip(nodes, answers, strict=True))
        contents = {node_id: self._types.content(answer.Value) for node_id, answer in by_node.items()}
        found: dict[str, PointValue] = {}
        for name, point in self._points.items() if only is None else [(only, self._points[only])]:
            where = f"point {name}, {point}"
            if name in self._missing:
                found[name] = PointValue(None, Quality.BAD, problem=f"{where}: {self._missing[name]}")
            elif name in self._nodes:
                node_id = self._nodes[name]
                content = await self._with_names(name, contents[node_id])
                found[name] = point_value(by_node[node_id], content, point, where)
        return found

    async def _with_names(self, name: str, content: Any) -> Any:
        if name not in self._enumerations:
            return content
        data_type, names = self._enumerations[name]
        numbers = content if isinstance(content, list) else [content]
        if any(isinstance(number, int) and number not in names for number in numbers):
            names = await self._learn_names(name, data_type)  # it may have got a new one
        if isinstance(content, list):
            return [Enumerated.of(number, names) if isinstance(number, int) else number for number in content]
        return Enumerated.of(content, names) if isinstance(content, int) else content

    async def _learn_names(self, name: str, data_type: ua.NodeId) -> Mapping[int, str]:
        names = await self._types.names_of(data_type, self._nodes[name])
        self._enumerations[name] = (data_type, names)
        return names


_ABSENT_NAMES = {ua.StatusCode(ua.UInt32(code)).name for code in ABSENT}


def _same(one: ua.DataValue, other: ua.DataValue) -> bool:
    """The same value with the same status; the times may differ."""
    return (one.Value, one.StatusCode) == (other.Value, other.StatusCode)
