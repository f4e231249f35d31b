"""Where a dialogue stands, as it is kept on disk; and what can happen to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, StrictBool, StrictFloat, StrictInt, StrictStr

from contracts.base import UtcTime
from contracts.measurement import Scalar

KeptScalar = StrictBool | StrictInt | StrictFloat | StrictStr


class Phase(StrEnum):
    """What is waited for."""

    IDLE = "idle"
    """A unit, or a card that begins something else."""
    ASKED = "asked"
    """The answer to the question whether the unit may start."""
    STEPS = "steps"
    """The answer to a step."""
    DONE = "done"
    """That the result is on disk."""


class Event(StrEnum):
    """What the operator is told, as a display can tell it apart by a sound or a colour."""

    ASK = "ask"
    """Understood; this is asked for next."""
    REFUSED = "refused"
    """Not understood, or not now; the same is asked for again."""
    WAIT = "wait"
    """The unit is asked about, or its record is being made."""
    STOPPED = "stopped"
    """The unit may not start here."""
    KEPT = "kept"
    """The record is on disk."""
    CANCELLED = "cancelled"
    """The unit in hand was given up; an ABORTED record is on disk."""


class Part(BaseModel):
    """Base of what is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Said(Part):
    """What the operator was told last: which message (agent/dialogue/texts.py), and what it names."""

    event: Event = Event.ASK
    message: str = ""
    about: Mapping[str, str] = {}


class State(Part):
    """All that is known of the unit in hand. Made anew by each thing that happens, and kept before that is answered.

    ``rules`` names the settings it was made by. ``number`` counts results, the one in hand included once it is done;
    ``request`` counts questions whether a unit may start. ``answers`` are by step, ``defects`` by step and in the order
    they were scanned. ``aborted`` says why a result is none. ``last_code`` and ``last_code_at`` are the last scan that
    was accepted. ``passed`` is the last unit that passed here.
    """

    rules: str = ""
    phase: Phase = Phase.IDLE
    flow: Literal["work", "rework"] = "work"
    number: int = 0
    request: int = 0
    serial_number: str | None = None
    step: str | None = None
    answers: Mapping[str, KeptScalar] = {}
    defects: Mapping[str, tuple[tuple[str, ...], ...]] = {}
    part: tuple[str, ...] = ()
    taken_back: tuple[str, ...] = ()
    permit: Mapping[str, KeptScalar] = {}
    aborted: str | None = None
    begun_at: UtcTime | None = None
    asked_at: UtcTime | None = None
    finished_at: UtcTime | None = None
    operator: str | None = None
    operator_until: UtcTime | None = None
    last_code: str | None = None
    last_code_at: UtcTime | None = None
    passed: str | None = None
    said: Said = Said()

    def values(self) -> dict[str, Scalar | list[Scalar]]:
        """What a dialogue that is done says, by the points of ``agent.dialogue.view``."""
        values: dict[str, Scalar | list[Scalar]] = {"number": self.number}
        if self.serial_number is not None:
            values["serial_number"] = self.serial_number
        if self.operator is not None:
            values["operator"] = self.operator
        if self.aborted is not None:
            values["aborted"] = True
        if self.flow == "rework":
            values["result"] = "REWORK"
        if self.taken_back:
            values["taken_back"] = list(self.taken_back)
        return {**values, **self.answers}


@dataclass(frozen=True)
class Scan:
    """Something was scanned."""

    code: str
    at: datetime


@dataclass(frozen=True)
class ToolValue:
    """A machine of the station said something: ``source`` is ``machine.point``."""

    source: str
    value: Scalar | None
    problem: str | None
    at: datetime


@dataclass(frozen=True)
class PermitAnswer:
    """The answer to the question whether the unit may start (``drivers.interlock.ANSWER_NAMES``)."""

    values: Mapping[str, Scalar]
    at: datetime


@dataclass(frozen=True)
class NoAnswer:
    """Nobody answered that question in time."""

    at: datetime


@dataclass(frozen=True)
class Kept:
    """The result is on disk. ``outcome``: of its record, None where that is not known any more."""

    outcome: str | None
    at: datetime


@dataclass(frozen=True)
class TimePassed:
    """Nothing but time."""

    at: datetime


Input = Scan | ToolValue | PermitAnswer | NoAnswer | Kept | TimePassed
