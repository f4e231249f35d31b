"""What is said to a machine: requests, acknowledgements, and the handshake around them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.duration import Duration
from drivers.base import DISPLAY_NAMES, Strict
from drivers.fields.spelling import Mark, Pattern
from drivers.interlock import Interlock, check_flag, check_names
from drivers.manuals import TRIGGER, called
from drivers.template import Template, names_in

Control = Annotated[Mark, Field(min_length=1, max_length=1)]
Text = Annotated[Template, Field(min_length=1, max_length=4096)]


class Exchange(Strict):
    """One thing that is said to the machine, and what it answers."""

    send: Text | None = None
    """What is sent, line end included, ``{names}`` of values filled in. Without it the machine is only waited for."""
    framed: bool = False
    """Whether ``send`` is the message alone: marks, length and checksum are put around it as ``frame`` says."""
    expect: Literal["message", "accept", "nothing"] = "message"
    """What comes back: a message, the handshake's ``accept``, or nothing."""
    answer: Pattern | None = None
    """Regular expression, searched in the answer. Another answer is a refusal."""
    until: Pattern | None = None
    """Regular expression: the machine is asked ``again`` and again until it is found in the answer."""
    again: Annotated[Duration, Field(gt=0)] = 0.2
    """How long to wait between these questions."""
    within: Annotated[Duration, Field(gt=0)] | None = None
    """How long ``until`` may take; without it for ever."""
    pause: Duration = 0.0
    """How long to wait before it is sent."""
    timeout: Annotated[Duration, Field(gt=0)] = 1.0
    """How long the machine may take to answer. What comes later is dropped, never taken for the next answer."""
    retries: Annotated[int, Field(ge=0, le=20)] = 2
    """How often it is said again when there is no answer, a broken one or a refusal."""
    example: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """What a simulated machine answers, marks left out."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.send is None and (self.expect != "message" or self.framed or self.until):
            raise ValueError("send: without it a message is waited for, and nothing else")
        if self.expect != "message" and (self.answer or self.until or self.example):
            raise ValueError("expect: only a message has answer, until and example")
        if self.within is not None and self.until is None:
            raise ValueError("within: only until has it")
        return self

    @property
    def longest_s(self) -> float:
        """How long it may take: no answer is waited for, and silence after it."""
        once_s = self.pause + self.timeout
        return (self.within or 0.0) + once_s + self.retries * (once_s + self.timeout)


class RequestSettings(Exchange):
    """How the machine is asked for a result: at an interval (``every``), when it says something (``after``), or, with

    neither, once for each unit, as the companion of another machine.
    """

    steps: Annotated[tuple[Exchange, ...], Field(strict=False, max_length=20)] = ()
    """Instead of ``send``, where it takes several: arm, wait, fetch. The last answer is the result."""
    every: Annotated[Duration, Field(gt=0)] | None = None
    """The interval."""
    after: str | None = None
    """The kind of message after which it is asked; its values belong to the result too."""

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if (self.send is None) == (not self.steps):
            raise ValueError("give send, or steps")
        if self.steps:
            given = set(self.model_fields_set) - {"steps", "every", "after"}
            if given:
                raise ValueError(f"{min(given)}: belongs to a step where there are steps")
        if self.every is not None and self.after is not None:
            raise ValueError("after: give every or after")
        if self.is_on_demand and any(one.until and one.within is None for one in self.exchanges):
            raise ValueError("within: a unit does not wait for ever; until needs it here")
        if self.exchanges[-1].expect != "message":
            raise ValueError("expect: the last answer is the result, so it is a message")
        return self

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Everything that is said, in its order."""
        return self.steps or (self,)

    @property
    def is_on_demand(self) -> bool:
        """Whether the machine is asked for each unit of another."""
        return self.every is None and self.after is None


class KeepAliveSettings(Exchange):
    """Said again and again, so that a machine that is gone, or would hang up, is noticed."""

    send: Text
    """What is sent, line end included."""
    every: Annotated[Duration, Field(gt=0)] = 10.0
    """The interval."""


class TriggerSettings(Strict):
    """Which answer of a machine that is asked at an interval is a new result."""

    point: str
    """The point that says so."""
    on: Annotated[Literal["change", "rising"], called(TRIGGER)] = "change"
    """Any other value than before, or false that becomes true."""


class AcknowledgeSettings(Strict):
    """What the machine is told when its result is kept; ``{cycle_key}`` and the names of points are filled in."""

    send: Text
    """The text that is sent, line end included."""
    framed: bool = False
    """Whether ``send`` is the message alone: marks, length and checksum are put around it as ``frame`` says."""


class DisplaySettings(Strict):
    """What the operator's display is told, at a station with a ``dialogue`` (docs/hand-stations.md)."""

    send: Text
    """The text that is sent, line end included, for example ``"{text_en}\\r\\n"``; the names are filled in."""
    framed: bool = False
    """Whether ``send`` is the message alone: marks, length and checksum are put around it as ``frame`` says."""

    @model_validator(mode="after")
    def _known_names(self) -> Self:
        unknown = sorted(names_in(self.send) - DISPLAY_NAMES.keys())
        if unknown:
            raise ValueError(f"send: a display has no {unknown[0]}; it has {', '.join(DISPLAY_NAMES)}")
        return self


class AnswerSettings(Strict):
    """What a machine that asks is told: one text with all the values, so that it comes whole or not at all."""

    send: Text
    """The text that is sent, line end included; the names of the answer's values are filled in."""
    framed: bool = False
    """Whether ``send`` is the message alone: marks, length and checksum are put around it as ``frame`` says."""


class SerialInterlock(Interlock[AnswerSettings]):
    """What happens before a unit starts. A message in which the request's point has a value is a request."""

    @model_validator(mode="after")
    def _answers(self) -> Self:
        names = names_in(self.answer.send)
        check_names("interlock.answer.send", names)
        check_flag(names, self.answer.send)
        if self.request.on != "change":
            raise ValueError("interlock.request.on: each message with that point is a request; there is no flag")
        return self


class HandshakeSettings(Strict):
    """ENQ, ACK, NAK and EOT around every frame, both ways; each is one byte between frames.

    A frame of the machine's is answered ``accept``: the last one of a result when that is on disk, the others at once.
    A broken one is answered ``refuse``, and comes again.
    """

    enquiry: Control | None = "\x05"
    """May I send? Answered ``accept``. Null: nobody asks."""
    accept: Control = "\x06"
    """Understood."""
    refuse: Control = "\x15"
    """Not understood: again, please."""
    end: Control | None = "\x04"
    """I have sent all. Null: nobody says so."""
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    """How often a frame is sent, or heard, again."""
    timeout: Annotated[Duration, Field(gt=0)] = 1.0
    """How long the machine may take to answer a control byte or a frame."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(set(self.controls)) < len(self.controls):
            raise ValueError("each control byte means one thing")
        return self

    @property
    def of_sender(self) -> frozenset[str]:
        """What the side says that sends a frame."""
        return frozenset(filter(None, (self.enquiry, self.end)))

    @property
    def controls(self) -> bytes:
        """All of them."""
        return "".join(filter(None, (self.enquiry, self.accept, self.refuse, self.end))).encode("latin-1")
