"""Settings of a dialogue: what a person scans of a unit, in which order, and what is checked at each step."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from agent.shifts import ShiftStart, Zone
from contracts.base import ProcessCode, RegularExpression
from contracts.duration import Duration
from contracts.measurement import Scalar
from contracts.patterns import compiled
from contracts.processes import BY_CODE
from drivers.base import PointSettings, Strict
from drivers.interlock import Allow
from drivers.kinds import UNKNOWN, Kind, Kinds, kinds_of

RESERVED = frozenset(
    {
        "serial_number", "operator", "number", "request", "aborted", "result",
        "return_to", "reason", "taken_back",
    }
)  # fmt: skip
"""Points that every dialogue has: no step has such a name."""
NO_DEFECT = "none"
"""The value of a step with ``defects`` where none was scanned."""

_DEFECT_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,49}")

Prompt = Annotated[str, Field(min_length=1, max_length=200)]
Card = Annotated[str, Field(min_length=1, max_length=64)]
"""The text of a printed card, as the scanner sends it."""
ToolPoint = Annotated[str, Field(pattern=r"^[^.]+\.[^.]+$")]
CardValue = StrictBool | StrictInt | StrictFloat | StrictStr
Word = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^:,\x00-\x1f]+$")]


def _return_to(codes: tuple[str, ...]) -> tuple[str, ...]:
    for code in codes:
        if code not in BY_CODE:
            raise ValueError(f"{code} is no process of the line; there are {', '.join(BY_CODE)}")
    return codes


class ControlCards(Strict):
    """Cards that steer a dialogue, whatever it asks for. Print them as barcodes (docs/hand-stations.md)."""

    cancel: Card = "CANCEL"
    """Ends the unit in hand: what was scanned is kept as a record with outcome ABORTED."""
    back: Card = "BACK"
    """Takes the last answer back, and asks for it again; the record says what was taken back."""
    prompt: Card = "PROMPT"
    """Shows again what is asked for; changes nothing."""


class BadgeSettings(Strict):
    """How an operator signs in: by a badge, at any time. It holds until the shift ends."""

    pattern: Annotated[RegularExpression, Field(min_length=1, max_length=500)]
    """The whole text of a badge, ``OP-[0-9]{4}``; with a group, ``OP-([0-9]{4})``, the group is who it is."""
    required: bool = True
    """Whether nobody works here without having signed in."""
    shifts: Annotated[tuple[ShiftStart, ...], Field(min_length=1, strict=False)] = ("08:00", "20:00")
    """When shifts begin: who signed in before has to sign in anew. A unit in hand is finished first."""
    timezone: Zone | None = None
    """By which clock the shifts begin: ``Asia/Seoul``. None: by this computer's."""


class DefectCards(Strict):
    """Defects of one unit, any number of them: a type each, then its severity and its location."""

    types: Annotated[Mapping[Card, Word], Field(min_length=1)]
    """Card -> type of defect (``scratch``)."""
    severities: Mapping[Card, Word] = {}
    """Card -> severity (``minor``). Without any it is not asked for."""
    locations: Mapping[Card, Word] = {}
    """Card -> place on the unit (``cover``). Without any it is not asked for."""
    none: Card = "NO-DEFECT"
    """The unit has none."""
    end: Card = "END"
    """It has no more than were scanned."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        for key, cards in (("types", self.types), ("severities", self.severities), ("locations", self.locations)):
            for card in (self.none, self.end):
                if card in cards:
                    raise ValueError(f"{key}: {card} means that there are no (more) defects")
        if self.none == self.end:
            raise ValueError("end: none and end are two cards")
        return self

    @property
    def parts(self) -> tuple[tuple[str, Mapping[str, str]], ...]:
        """What one defect consists of, in the order it is asked for."""
        given = (("type", self.types), ("severity", self.severities), ("location", self.locations))
        return tuple((name, cards) for name, cards in given if cards)


class StepSettings(PointSettings):
    """One thing that is scanned, or told by a tool. Exactly one key says what: ``pattern``, ``cards``, ``number``,

    ``from`` or ``defects``.
    """

    pattern: Annotated[RegularExpression, Field(min_length=1, max_length=500)] | None = None
    """The whole of the scanned text: ``SPRING-[0-9]{10}``."""
    cards: Annotated[Mapping[Card, CardValue], Field(min_length=1)] | None = None
    """Card -> the value it means: ``{PASS: OK, FAIL: NG}``."""
    number: Literal[True] | None = None
    """A number is scanned, with its unit or without: a gauge that types, a table of barcodes."""
    source: Annotated[ToolPoint | None, Field(alias="from")] = None
    """Another machine of the station says it: ``torque_driver.torque``. That machine has ``records: false``."""
    defects: DefectCards | None = None
    """Defects, each of several cards. The value is ``none``, or ``scratch:minor:cover,dent:major:base``."""
    defect: bool = False
    """Whether the answer is a defect's code: it then stands among the defects of a record with outcome FAIL."""
    ask_ko: Prompt | None = None
    """What the operator is asked for, in Korean."""
    ask_en: Prompt | None = None
    """What the operator is asked for, in English."""
    timeout: Annotated[Duration, Field(gt=0)] | None = None
    """How long the answer may take; without it ``step_timeout``."""
    when: Mapping[str, CardValue] = {}
    """Asked only where earlier steps have these values: ``{verdict: FAIL}``."""
    again: bool = False
    """Asked only where the permit says that this is not the unit's first measurement here: why a label is reprinted."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in ("pattern", "cards", "number", "source", "defects") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError("give one of pattern, cards, number, from and defects: what is the answer?")
        if self.unit is not None and self.number is None:
            raise ValueError("unit: only a scanned number has one here; a tool's stands at the tool's point")
        values = () if self.cards is None else self.cards.values()
        if self.defect and not (values and all(isinstance(v, str) and _DEFECT_CODE.fullmatch(v) for v in values)):
            raise ValueError("defect: needs cards that mean codes of defects, for example ASSEMBLY_ERROR")
        return self

    @property
    def kinds(self) -> Kinds:
        """See PointSettings.kinds."""
        if self.cards is not None:
            return frozenset().union(*(kinds_of(value) for value in self.cards.values()))
        if self.number is not None:
            return frozenset({Kind.NUMBER})
        return UNKNOWN if self.source is not None else frozenset({Kind.TEXT})

    @property
    def is_conditional(self) -> bool:
        """Whether there are units of which it is not asked."""
        return bool(self.when) or self.again


class DialogueUnit(Strict):
    """The first thing that is scanned: which unit it is."""

    pattern: Annotated[RegularExpression, Field(min_length=1, max_length=500)] | None = None
    """The whole of the scanned text; without it anything that may be a number of this station's ``serial_numbers``."""
    ask_ko: Prompt = "제품을 스캔하세요"
    """What the operator is asked for, in Korean."""
    ask_en: Prompt = "Scan the unit"
    """What the operator is asked for, in English."""


class DialogueRework(Strict):
    """How this station authorises a rework, where the site allows that: the card, the unit, where to, and why."""

    card: Card = "REWORK"
    """The card that begins it, when no unit is in hand."""
    return_to: Annotated[tuple[ProcessCode, ...], Field(min_length=1, strict=False), AfterValidator(_return_to)]
    """The processes a unit may go back to; their codes are the cards. A single one is not asked for."""
    reasons: Mapping[Card, Annotated[str, Field(min_length=1, max_length=200)]] = {}
    """Card -> reason. Without any, what is scanned (or typed at a terminal) is the reason."""


class DialogueInterlock(Strict):
    """Whether a unit may start is asked as soon as it is scanned (docs/interlock.md)."""

    enabled: bool = True
    """``false``: nobody is asked, and results are made without permits."""
    limit: Annotated[Duration, Field(ge=0.05, le=60)] = 0.5
    """How long the answer may take."""
    offline: Literal["block", "allow_and_flag"] | Allow = "block"
    """While central does not answer; as in docs/interlock.md."""


class DialogueSettings(Strict):
    """A person with a scanner makes this machine's records, step by step (docs/hand-stations.md).

    The machine is the scanner. Each step becomes a measurement of its name.
    """

    scan: str
    """The scanner's point that holds what was scanned."""
    steps: Annotated[Mapping[str, StepSettings], Field(max_length=50)] = {}
    """What is asked for after the unit, in this order, by the measurement's name."""
    unit: DialogueUnit = DialogueUnit()
    cards: ControlCards = ControlCards()
    badge: BadgeSettings | None = None
    """Without it nobody signs in."""
    rework: DialogueRework | None = None
    """Without it this station authorises none."""
    interlock: DialogueInterlock | None = None
    """Without it nobody is asked."""
    step_timeout: Annotated[Duration, Field(gt=0)] = 7200.0
    """How long a step may take. After that the dialogue is cancelled as by the card."""
    timeout: Annotated[Duration, Field(gt=0)] = 14400.0
    """How long the whole may take."""
    double_read: Annotated[Duration, Field(ge=0)] = 1.5
    """The same text within this time is one scan, read twice."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        known: list[str] = []
        for name, step in self.steps.items():
            if name in RESERVED:
                raise ValueError(f"steps.{name}: every dialogue has a point of this name; call the step otherwise")
            for other, value in step.when.items():
                if other not in known:
                    raise ValueError(f"steps.{name}.when: {other} is no step before this one")
                cards = self.steps[other].cards
                if cards is not None and not any(_same(value, meant) for meant in cards.values()):
                    raise ValueError(f"steps.{name}.when: {other} never has the value {value!r}")
            known.append(name)
        self._check_cards()
        return self

    def _check_cards(self) -> None:
        control = [self.cards.cancel, self.cards.back, self.cards.prompt]
        control += [] if self.rework is None else [self.rework.card]
        if len(set(control)) < len(control):
            raise ValueError("cards: each card means one thing")
        badge = None if self.badge is None else self.badge.pattern
        for where, cards in self._answers():
            for card in control:
                if card in cards:
                    raise ValueError(f"{where}: {card} is a card of its own, and no answer")
            for card in cards:
                if badge is not None and compiled(badge).fullmatch(card):
                    raise ValueError(f"{where}: {card} looks like a badge (badge.pattern)")

    def _answers(self) -> Iterator[tuple[str, Mapping[str, Scalar]]]:
        """Where cards that are answers stand in the settings."""
        for name, step in self.steps.items():
            yield f"steps.{name}", step.cards or {}
            if step.defects is not None:
                for part, cards in step.defects.parts:
                    yield f"steps.{name}.defects.{part}", cards
                last = {step.defects.none: NO_DEFECT, step.defects.end: NO_DEFECT}
                yield f"steps.{name}.defects", last
        if self.rework is not None:
            yield "rework.reasons", self.rework.reasons

    def asks(self) -> bool:
        """Whether a permit is asked for."""
        return self.interlock is not None and self.interlock.enabled


def _same(one: Scalar, other: Scalar) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other
