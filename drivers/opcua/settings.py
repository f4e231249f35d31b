"""How an OPC-UA machine is described. No client library is imported here: it costs 45 MB."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from contracts.duration import Duration
from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.template import Template

NodeIdText = Annotated[str, StringConstraints(pattern=r"^(ns=\d+;)?[isgb]=.+$")]
"""A node id as OPC 10000-6, 5.3.1.10 writes it: ``ns=2;s=Laser.Depth``, ``i=2258``."""

NodeType = Literal["string", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float", "double", "boolean"]


class Connect(Strict):
    """The server's endpoint. ``timeout`` is the longest wait for one answer."""

    url: Annotated[str, StringConstraints(pattern=r"^opc\.tcp://[^\s/:]+(:\d{1,5})?(/\S*)?$")]
    """``opc.tcp://host:port/path`` of the server's endpoint."""
    timeout: Annotated[Duration, Field(gt=0)] = 4.0
    """Longest wait for the connection or for one answer."""


class Trigger(Strict):
    """What says that a result is there: any change of ``point``, or its rising edge, sampled every ``sampling``."""

    point: str
    """Name of the point that is watched."""
    on: Literal["change", "rising"] = "change"
    """``change``: any new value. ``rising``: from false (or 0) to true."""
    sampling: Annotated[Duration, Field(ge=0)] = 0.05
    """How often the server looks at the point; it may round this to what it can do."""


class OpcUaPoint(PointSettings):
    """A node. The node's own type is what is read; ``type`` and ``array`` are what a simulator makes it with."""

    node_id: NodeIdText
    """Where the value is: ``ns=2;s=Laser.Depth``, ``i=2258`` (OPC 10000-6, 5.3.1.10)."""
    type: NodeType = "string"
    """Type a simulator makes the node with; a real server's node has its own."""
    array: bool = False
    """The node holds a list; said for the simulator."""


class Write(Strict):
    """What is written to acknowledge: a text with ``{cycle_key}`` or ``{point}``, in the type the node has."""

    node_id: NodeIdText
    """The node that is written."""
    value: Template | bool | int = "{cycle_key}"
    """What is written; ``{cycle_key}`` and ``{point}`` are filled in."""
    type: NodeType = "uint32"
    """Type a simulator makes the node with; written is the type the real node has."""


class Acknowledge(Strict):
    """How the machine is told that its result is kept."""

    write: Write


class OpcUaSettings(ProtocolSettings):
    """A machine's OPC-UA keys."""

    connect: Connect
    trigger: Trigger
    points: Annotated[Mapping[str, OpcUaPoint], Field(min_length=1)]
    acknowledge: Acknowledge | None = None

    def referenced_points(self) -> Mapping[str, str]:
        return {"trigger.point": self.trigger.point}

    @model_validator(mode="after")
    def _single_trigger(self) -> Self:
        point = self.points.get(self.trigger.point)
        if point is not None and point.array:
            raise ValueError("trigger.point: a list cannot be a trigger")
        return self
