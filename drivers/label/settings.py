"""Settings of a label printer: where it is, the label, and what is asked of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from contracts.duration import Duration
from drivers.base import JOB_NAMES, NeededFile, PointSettings, ProtocolSettings, Strict
from drivers.kinds import Kind, Kinds
from drivers.label.zpl import misplaced_names
from drivers.manuals import FLOW_CONTROL, LINE_KEYS, PARITY, called, line_format
from drivers.ports import host_alone, needed
from drivers.template import Template, names_in

StatusField = Literal[
    "printed",
    "printer",
    "job",
    "label",
    "paper_out",
    "paused",
    "head_open",
    "ribbon_out",
    "label_waiting",
    "labels_remaining",
    "labels_printed",
    "print_length",
]
LENGTH_UNIT = "cm"
_COPIES = re.compile(r"\^PQ\s*(\d+)", re.IGNORECASE)


def _one_label(template: str) -> str:
    if template.upper().count("^XA") != 1 or template.upper().count("^XZ") != 1:
        raise ValueError("one label is needed: ^XA ... ^XZ, each once")
    if misplaced := misplaced_names(template):
        names = ", ".join(sorted(misplaced))
        raise ValueError(f"{names}: a name stands in field data only, between ^FD and ^FS")
    if unknown := sorted(names_in(template) - JOB_NAMES):
        raise ValueError(f"unknown name {{{unknown[0]}}}; there are {', '.join(sorted(JOB_NAMES))}")
    if any(int(copies) != 1 for copies in _COPIES.findall(template)):
        raise ValueError("a unit has one label: write ^PQ1, or leave ^PQ out")
    return template


class TcpConnect(Strict):
    """Raw printing over the network."""

    transport: Literal["tcp"]
    """Over the network."""
    host: Annotated[str, Field(min_length=1), AfterValidator(host_alone)]
    """Name or address of the printer or its print server."""
    port: Annotated[int, Field(ge=1, le=65535)] = 9100
    """TCP port of raw printing."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """Longest wait for the connection, for one answer, and for a label to be printed."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class SerialConnect(Strict):
    """A serial port, set as the printer's own (its configuration label prints them)."""

    other_names = LINE_KEYS
    transport: Literal["serial"]
    """On a serial port."""
    port: Annotated[str, Field(min_length=1)]
    """Device file; the names below ``/dev/serial/by-id/`` stay the same over a restart."""
    baudrate: Annotated[int, Field(ge=110, le=4_000_000), line_format({})] = 9600
    """Bits per second."""
    bytesize: Annotated[Literal[7, 8], line_format({})] = 8
    """Data bits of a character; labels with other than ASCII need 8."""
    parity: Annotated[Literal["N", "E", "O"], line_format(PARITY)] = "N"
    """None, even or odd."""
    stopbits: Annotated[Literal[1, 2], line_format({})] = 1
    """Stop bits of a character."""
    flow_control: Annotated[Literal["none", "xonxoff", "rtscts", "dsrdtr"], called(FLOW_CONTROL)] = "xonxoff"
    """How a printer whose buffer is full holds the station back; without it a long label loses its end."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """Longest wait for one answer, and for a label to be printed."""

    def __str__(self) -> str:
        return self.port


class UsbConnect(Strict):
    """The device node that Linux makes for a printer on USB (module usblp), in both directions."""

    transport: Literal["usb"]
    """On USB."""
    device: Annotated[str, Field(pattern=r"^/")] = "/dev/usb/lp0"
    """Device node; with several printers give each a lasting name by a udev rule (SYMLINK)."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """Longest wait for one answer, and for a label to be printed."""

    def __str__(self) -> str:
        return self.device


Connect = TcpConnect | SerialConnect | UsbConnect


class LabelPoint(PointSettings):
    """One thing the printer says."""

    status: StatusField
    """``printed``: the label was accepted and printed, and the printer is ready again. ``printer``: its model and
    firmware, as it names itself (``~HI``). ``job``: the name of the print job, another one for each label that was
    sent. ``label``: which label that was, ``unit`` or ``reject``. ``paper_out``, ``paused``,
    ``head_open``, ``ribbon_out``, ``label_waiting`` (printed, not yet taken off), ``labels_remaining``: of its host
    status. ``labels_printed``: its counter of labels. ``print_length``: its odometer, in cm."""

    @property
    def kinds(self) -> Kinds:
        """See PointSettings.kinds."""
        counted = ("labels_remaining", "labels_printed", "print_length")
        if self.status in ("printer", "job", "label"):
            return frozenset({Kind.TEXT})
        return frozenset({Kind.NUMBER if self.status in counted else Kind.TRUTH})

    @model_validator(mode="after")
    def _unit_of_its_own(self) -> Self:
        if self.unit is not None and not (self.status == "print_length" and self.unit == LENGTH_UNIT):
            raise ValueError(f"unit: only print_length has one, and it is {LENGTH_UNIT}")
        return self


class LabelSettings(ProtocolSettings):
    """A label printer."""

    connect: Annotated[Connect, Field(discriminator="transport")]
    """Where the printer is, and how it is reached."""
    template: Annotated[Template, AfterValidator(_one_label)]
    """The label in ZPL II, one ``^XA`` to ``^XZ``. ``{serial_number}``, ``{lot_number}``, ``{product_model}`` and
    ``{date}`` stand in field data (after ``^FD``)."""
    reject_template: Annotated[Template, AfterValidator(_one_label)] | None = None
    """The label of a failed unit, of the same form. Without one a failed unit gets none: it is never printed with
    ``template``."""
    done: Literal["ready", "counted"] = "ready"
    """When a label counts as printed. ``ready``: the printer says twice that it is in order and has nothing left to
    do. ``counted``: its counter of labels (``odometer.total_label_count``) has also risen by one."""
    poll: Annotated[Duration, Field(ge=0.1)] = 5.0
    """How often an idle printer is asked how it is."""
    points: Annotated[Mapping[str, LabelPoint], Field(min_length=1)]

    def needed_files(self) -> Mapping[str, NeededFile]:
        match self.connect:
            case SerialConnect(port=port):
                return {"connect.port": needed(port)}
            case UsbConnect(device=device):
                remedy = "switch the printer on, or correct the name (ls -l /dev/usb shows the printers there are)"
                return {"connect.device": NeededFile(Path(device), remedy)}
        return {}

    @property
    def longest_job_s(self) -> float:
        """See ProtocolSettings.longest_job_s: the printer is asked how it is, then it prints."""
        return 2 * self.connect.timeout

    @property
    def needs_counter(self) -> bool:
        """Whether the printer has to know how many labels it printed."""
        return self.done == "counted" or any(point.status == "labels_printed" for point in self.points.values())

    @property
    def needs_odometer(self) -> bool:
        """Whether the printer is asked how far it has printed."""
        return any(point.status == "print_length" for point in self.points.values())
