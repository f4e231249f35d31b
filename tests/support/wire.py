"""A protocol made for tests of settings: a tagged union, points with types, a trigger, an address of two forms."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.registry import ProtocolFolder


class Tcp(Strict):
    """Reached over a network."""

    transport: Literal["tcp"]
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 502


class Rtu(Strict):
    """Reached over a line. ``tcp`` is a key that is named like the other branch of the union."""

    transport: Literal["rtu"]
    port: str
    tcp: str | None = None


class WirePoint(PointSettings):
    """A point by its number."""

    at: int
    type: Literal["uint16", "uint32", "float32"] = "float32"


class WireTrigger(Strict):
    """The point that signals."""

    point: str


class Text(Strict):
    """One branch of a union without a tag."""

    text: str
    length: Annotated[int, Field(ge=1)] = 1


class Level(Strict):
    """The other branch."""

    low: float
    high: float


class WireSettings(ProtocolSettings):
    """Settings of the protocol ``wire``."""

    connect: Annotated[Tcp | Rtu, Field(discriminator="transport")]
    points: Mapping[str, WirePoint]
    trigger: WireTrigger | None = None
    acknowledge: str | None = None
    ready: Text | Level | None = None
    tags: tuple[str, ...] = ()

    def referenced_points(self) -> Mapping[str, str]:
        """The trigger's point."""
        return {} if self.trigger is None else {"trigger.point": self.trigger.point}


WIRE = ProtocolFolder("wire", f"{__name__}:WireSettings", "nowhere:Driver", "nowhere:Simulator")
BROKEN = ProtocolFolder("broken", "no_such_package.settings:Settings", "nowhere:Driver", "nowhere:Simulator")
