"""How a machine asks whether it may start a unit, and is answered: what every protocol's settings have in common.

A request is a counter or a flag among the machine's points. The answer is several values, written in the order of the
settings; the last one is the flag that the machine looks at. It echoes the request's number, or the machine takes it
back before it asks again: a late answer must not be taken for the next one's.
"""

from collections.abc import Mapping
from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import Field, model_validator

from contracts.duration import Duration
from drivers.base import Strict
from drivers.manuals import TRIGGER, called

Answer_co = TypeVar("Answer_co", covariant=True)

ANSWER_NAMES: Mapping[str, str] = {
    "request": "the number of the request, as the machine gave it",
    "granted": "true or false (1 or 0)",
    "serial_number": "the unit",
    "lot_number": "its LOT",
    "product_model": "its product model",
    "permit": "central's number of the permit; 0 without one",
    "attempt": "which measurement at this process it is, from 1",
    "reject_label": "true where a failed unit may get a reject label, and nothing else",
    "criteria_revision": "what the result will be judged by",
    "firmware": "the firmware version the product model wants",
    "firmware_checksum": "the checksum of its image",
    "code": "why not: LOT_NOT_FOUND, ...; empty when granted",
    "code_number": "the same as a number (docs/interlock.md); 0 when granted",
    "text_ko": "why not, for the operator, in Korean",
    "text_en": "why not, for the operator, in English",
}
"""What may stand in an answer, and what it means."""
TEXT_NAMES = frozenset({"text_ko", "text_en"})
"""Names of texts for people: one that is too long for its place is cut off there."""


class Request(Strict):
    """How the machine says that it asks."""

    point: str
    """The point that says so."""
    on: Annotated[Literal["change", "rising"], called(TRIGGER)] = "change"
    """``change``: a number that is another one for each request. ``rising``: a flag that comes on."""


class Allow(Strict):
    """So many units may start while central is away."""

    allow: Annotated[int, Field(ge=1, le=10_000)]
    """How many, until central answers again."""


class Numbers(Strict):
    """The station gives the units their numbers, from blocks that central reserves for it."""

    block: Annotated[int, Field(ge=1, le=100)] = 20
    """Numbers of one LOT that the station holds; it can go on for so many units without central."""


class Interlock(Strict, Generic[Answer_co]):
    """What happens before a unit starts."""

    request: Request
    """How the machine asks."""
    answer: Answer_co
    """Where the answer goes."""
    enabled: bool = True
    """``false``: the machine's requests are not answered, and its results are taken without permits."""
    serial_number: str | None = None
    """The point that says which unit is meant. A machine whose units get their ``numbers`` here has none."""
    lot_number: str | None = None
    """The point that says of which LOT it is, where the serial number does not; with ``numbers`` it is needed."""
    limit: Annotated[Duration, Field(ge=0.05, le=60)] = 0.5
    """How long an answer may take. The machine's own limit has to be longer by two of its looks."""
    offline: Literal["block", "allow_and_flag"] | Allow = "block"
    """While central does not answer: ``block`` starts nothing. ``allow_and_flag`` starts what the LOT's last route
    digest lets start, and flags what that does not know. ``{allow: 10}`` does so ten times."""
    numbers: Numbers | None = None
    """Of a machine that gives units their number, at the first process."""

    @model_validator(mode="after")
    def _asks_of_something(self) -> Self:
        if self.numbers is None and self.serial_number is None:
            raise ValueError("serial_number: missing; give the point that says which unit is meant, or numbers")
        if self.numbers is not None and self.serial_number is not None:
            raise ValueError("serial_number: with numbers the unit has none yet; take one of them away")
        if self.numbers is not None and self.lot_number is None:
            raise ValueError("lot_number: missing; numbers belong to a LOT")
        return self


AnyInterlock = Interlock[object]


def points_of(interlock: AnyInterlock | None) -> dict[str, str]:
    """Key path -> the point it refers to."""
    if interlock is None:
        return {}
    wanted = {
        "interlock.request.point": interlock.request.point,
        "interlock.serial_number": interlock.serial_number,
        "interlock.lot_number": interlock.lot_number,
    }
    return {key: point for key, point in wanted.items() if point is not None}


def check_names(where: str, names: frozenset[str]) -> None:
    """Raises ValueError for a name that no answer has."""
    unknown = sorted(names - ANSWER_NAMES.keys())
    if unknown:
        raise ValueError(f"{where}: an answer has no {unknown[0]}; it has {', '.join(ANSWER_NAMES)}")


def check_flag(names: frozenset[str], value: object) -> None:
    """Raises ValueError where the last value cannot tell a machine that this is the answer to its request."""
    if isinstance(value, str) and "request" not in names:
        raise ValueError(
            "interlock.answer: the last value is the flag that the machine looks at: it holds {request}, or is always "
            "the same and taken back by the machine"
        )
