"""Settings of a label printer: where it is, the label, and what is asked of it."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from contracts.duration import Duration
from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.label.zpl import misplaced_names
from drivers.template import Template

StatusField = Literal["printed", "paper_out", "paused", "head_open", "ribbon_out", "labels_remaining"]


def _one_label(template: str) -> str:
    if template.upper().count("^XA") != 1 or template.upper().count("^XZ") != 1:
        raise ValueError("one label is needed: ^XA ... ^XZ, each once")
    if misplaced := misplaced_names(template):
        names = ", ".join(sorted(misplaced))
        raise ValueError(f"{names}: a name stands in field data only, between ^FD and ^FS")
    return template


class LabelConnect(Strict):
    """The printer's raw socket. ``timeout`` is the longest wait for one answer, and for a label to be printed."""

    host: Annotated[str, Field(min_length=1)]
    """Name or address of the printer or its print server."""
    port: Annotated[int, Field(ge=1, le=65535)] = 9100
    """TCP port of raw printing."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """Longest wait for one answer, and for a label to be printed."""


class LabelPoint(PointSettings):
    """``printed`` (the label was accepted and printed, and the printer is ready again), or a field of host status."""

    status: StatusField
    """Which of the printer's answers this point is."""


class LabelSettings(ProtocolSettings):
    """A label printer. ``template`` is ZPL with the ``{names}`` of the job: serial_number, lot_number, ..."""

    connect: LabelConnect
    template: Annotated[Template, AfterValidator(_one_label)]
    """The label in ZPL II, one ``^XA`` to ``^XZ``; ``{names}`` stand in field data (after ``^FD``)."""
    points: Annotated[Mapping[str, LabelPoint], Field(min_length=1)]
