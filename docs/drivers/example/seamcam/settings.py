"""How a camera is described in YAML. Every field's docstring is its meaning in the README's table of keys."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StringConstraints

from contracts.duration import Duration
from drivers.base import PointSettings, ProtocolSettings, Strict


class Connect(Strict):
    """Where the camera is."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")]
    """``http://host:port`` of the camera."""
    timeout: Annotated[Duration, Field(gt=0)] = 2.0
    """Longest wait for one answer."""


class Trigger(Strict):
    """What says that a result is there."""

    point: str
    """The point that counts the results."""
    poll: Annotated[Duration, Field(ge=0.01)] = 0.1
    """How often the camera is asked for it."""


class SeamcamPoint(PointSettings):
    """A value of the camera's result."""

    key: str
    """Its name in the camera's answer."""


class SeamcamSettings(ProtocolSettings):
    """A camera's keys."""

    connect: Connect
    trigger: Trigger
    points: Annotated[Mapping[str, SeamcamPoint], Field(min_length=1)]
    acknowledge: bool = True
    """Tell the camera when its result is kept, so that it makes the next one."""

    def referenced_points(self) -> Mapping[str, str]:
        """So that ``check`` finds a trigger that is no point, at its line."""
        return {"trigger.point": self.trigger.point}
