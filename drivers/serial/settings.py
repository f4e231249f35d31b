"""Settings of a serial machine: the port, how a frame looks, and which part of it each point is."""

import codecs
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from contracts.duration import Duration
from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.template import Template, names_in


def _known_codec(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError:
        raise ValueError(f"{name!r} is no text encoding; usual ones are ascii, utf-8, cp949, latin-1") from None
    return name


def _bytes_only(text: str) -> str:
    if any(ord(character) > 0xFF for character in text):
        raise ValueError(r"one character stands for one byte: use characters up to \xff")
    return text


Mark = Annotated[str, AfterValidator(_bytes_only), Field(max_length=16)]
"""The bytes that begin or end a frame; each character is one byte."""

Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, strict=False)]


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


class MessageSettings(Strict):
    """How the text inside a frame is divided.

    ``key_value``: ``code=SN-1;temp=60.1``. ``fields``: ``SN-1,60.1``, counted from 1. ``whole``: the text is the value.
    """

    format: Literal["key_value", "fields", "whole"] = "key_value"
    """How the text is divided."""
    separator: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """Between the parts: by default ``;`` for key_value and ``,`` for fields."""
    assign: Annotated[str, Field(min_length=1, max_length=8)] = "="
    """Between a key and its value, for key_value."""
    encoding: Annotated[str, AfterValidator(_known_codec)] = "utf-8"
    """How bytes become text: ``utf-8``, ``cp949``, ``latin-1``, ..."""

    @model_validator(mode="after")
    def _parts_can_be_told_apart(self) -> Self:
        if self.format == "whole" and self.separator is not None:
            raise ValueError("format whole has no separator")
        if self.format == "key_value" and self.assign == self.parts_separator:
            raise ValueError("separator and assign must differ")
        return self

    @property
    def parts_separator(self) -> str:
        """The separator in use."""
        return self.separator or ("," if self.format == "fields" else ";")


class SerialPoint(PointSettings):
    """One value of the message: a ``key``, the number of a ``field`` (from 1), or ``whole: true``."""

    key: Annotated[str, Field(min_length=1)] | None = None
    """Its key, for key_value."""
    field: Annotated[int, Field(ge=1)] | None = None
    """Its place, counted from 1, for fields."""
    whole: Literal[True] | None = None
    """The whole text is the value, for whole."""
    type: Literal["string", "int", "float", "boolean"] = "string"
    """What the text is. A number may carry its unit: ``0.05mm``."""
    true_text: Texts = ("1", "true", "yes", "on", "ok", "pass")
    """Texts that mean true, in any case of letters."""
    false_text: Texts = ("0", "false", "no", "off", "ng", "fail")
    """Texts that mean false, in any case of letters."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.key, self.field, self.whole)) != 1:
            raise ValueError("give exactly one of key, field, whole")
        both = {text.casefold() for text in self.true_text} & {text.casefold() for text in self.false_text}
        if both:
            raise ValueError(f"true_text and false_text both hold {', '.join(sorted(both))}")
        return self


class SerialAcknowledge(Strict):
    """What the machine is told when its result is kept; ``{cycle_key}`` and the names of points are filled in."""

    send: Annotated[Template, Field(min_length=1)]
    """The text that is sent, line end included."""


_PLACE = {"key_value": "key", "fields": "field", "whole": "whole"}


class SerialSettings(ProtocolSettings):
    """A machine on a serial line that sends one frame per result."""

    connect: SerialConnect
    frame: FrameSettings = FrameSettings()
    message: MessageSettings = MessageSettings()
    points: Annotated[Mapping[str, SerialPoint], Field(min_length=1)]
    acknowledge: SerialAcknowledge | None = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        place = _PLACE[self.message.format]
        for name, point in self.points.items():
            if getattr(point, place) is None:
                raise ValueError(f"points.{name}: message format {self.message.format} needs {place}")
        if self.acknowledge is not None:
            unknown = names_in(self.acknowledge.send) - {"cycle_key", *self.points}
            if unknown:
                raise ValueError(
                    f"acknowledge.send: {', '.join(sorted(unknown))} is no point; there are cycle_key and "
                    + ", ".join(self.points)
                )
        return self
