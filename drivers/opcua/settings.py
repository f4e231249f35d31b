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
    timeout: Annotated[Duration, Field(gt=0)] = 4.0


class Trigger(Strict):
    """What says that a result is there: any change of ``point``, or its rising edge, sampled every ``sampling``."""

    point: str
    on: Literal["change", "rising"] = "change"
    sampling: Annotated[Duration, Field(ge=0)] = 0.05


class OpcUaPoint(PointSettings):
    """A node. The node's own type is what is read; ``type`` and ``array`` are what a simulator makes it with."""

    node_id: NodeIdText
    type: NodeType = "string"
    array: bool = False


class Write(Strict):
    """What is written to acknowledge: a text with ``{cycle_key}`` or ``{point}``, in the type the node has."""

    node_id: NodeIdText
    value: Template | bool | int = "{cycle_key}"
    type: NodeType = "uint32"


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
