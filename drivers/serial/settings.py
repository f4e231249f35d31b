"""Settings of a serial machine: the port, how a frame looks, and which part of it each point is."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.duration import Duration
from drivers.base import Strict
from drivers.fields.examples import check_examples
from drivers.fields.settings import FieldSettings
from drivers.fields.spelling import Mark
from drivers.template import Template, names_in


class SerialConnect(Strict):
    """Where the line is: a ``port`` of this computer with its line settings, or the ``url`` of a serial server."""

    port: Annotated[str, Field(min_length=1)] | None = None
    """Device file; the names below ``/dev/serial/by-id/`` stay the same over a restart."""
    url: Annotated[str, Field(pattern=r"^(socket|rfc2217)://[^/:]+:\d+")] | None = None
    """``socket://host:port`` (raw TCP) or ``rfc2217://host:port`` (TCP with line settings)."""
    baudrate: Annotated[int, Field(ge=50, le=4_000_000)] = 9600
    """Bits per second."""
    bytesize: Literal[5, 6, 7, 8] = 8
    """Data bits of a character."""
    parity: Literal["N", "E", "O", "M", "S"] = "N"
    """None, even, odd, mark or space."""
    stopbits: Literal[1, 2] = 1
    """Stop bits of a character."""
    flow_control: Literal["none", "xonxoff", "rtscts"] = "none"
    """Who may hold back the sender: nobody, XON/XOFF characters, or the RTS/CTS lines."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.port is None) == (self.url is None):
            raise ValueError("give either port (a serial port of this computer) or url (a serial server)")
        return self

    @property
    def address(self) -> str:
        """The port or url, whichever is given."""
        return self.port or self.url or ""


class FrameSettings(Strict):
    """How one message is told from the next. ``max_length`` counts bytes, the marks included."""

    end: Annotated[Mark, Field(min_length=1)] = "\r\n"
    """The bytes that end a frame."""
    start: Mark = ""
    """Where it is given, everything before it is noise, and it never occurs inside a frame."""
    max_length: Annotated[int, Field(ge=1, le=1_048_576)] = 4096
    """Bytes of the longest frame, marks included; what is longer is noise."""
    timeout: Annotated[Duration, Field(gt=0)] = 1.0
    """Silence on the line after which an unfinished frame is reported as it is, with a problem."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if self.start and (self.start in self.end or self.end in self.start):
            raise ValueError("start and end must differ, and neither may contain the other")
        if self.max_length <= len(self.start) + len(self.end):
            raise ValueError("max_length leaves no room between start and end")
        return self

    @property
    def start_bytes(self) -> bytes:
        """``start`` as it goes over the line."""
        return self.start.encode("latin-1")

    @property
    def end_bytes(self) -> bytes:
        """``end`` as it goes over the line."""
        return self.end.encode("latin-1")


class SerialAcknowledge(Strict):
    """What the machine is told when its result is kept; ``{cycle_key}`` and the names of points are filled in."""

    send: Annotated[Template, Field(min_length=1)]
    """The text that is sent, line end included."""


class SerialSettings(FieldSettings):
    """A machine on a serial line that sends one frame per result."""

    connect: SerialConnect
    frame: FrameSettings = FrameSettings()
    acknowledge: SerialAcknowledge | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        check_examples(self)
        if self.acknowledge is not None:
            unknown = names_in(self.acknowledge.send) - {"cycle_key", *self.points}
            if unknown:
                raise ValueError(
                    f"acknowledge.send: {', '.join(sorted(unknown))} is no point; there are cycle_key and "
                    + ", ".join(self.points)
                )
        return self
