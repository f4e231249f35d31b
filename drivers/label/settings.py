"""How a label printer is described."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from contracts.duration import Duration
from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.template import Template

StatusField = Literal["printed", "paper_out", "paused", "head_open", "ribbon_out", "labels_remaining"]


class Connect(Strict):
    """The printer's raw socket. ``timeout`` is the longest wait for a label, from sending to printed."""

    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)] = 9100
    timeout: Annotated[Duration, Field(gt=0)] = 5.0


class LabelPoint(PointSettings):
    """One field of what the printer says of itself, or ``printed``: the label came out and the printer is ready."""

    status: StatusField


class LabelSettings(ProtocolSettings):
    """A label printer's keys. ``template`` is ZPL with ``{serial_number}``, ``{lot_number}``, ``{product_model}``,
    ``{date}``."""

    connect: Connect
    template: Annotated[Template, Field(min_length=1)]
    points: Annotated[Mapping[str, LabelPoint], Field(min_length=1)]
