"""What a station and central say to each other before a unit starts: topics ``.../interlock`` and ``.../permits``.

Question and answer are matched by ``request_id``. A question that is said again gets the same answer.
"""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from contracts.base import Contract, LotNumber, MessageVersion, Name, ProcessCode, SerialNumber, StationId, UtcTime
from contracts.criteria import CriteriaRevision
from contracts.firmware import Checksum, Version
from contracts.permit import PermitNumber, RequestId
from contracts.refusals import Refusal, RefusalCode

MAX_NUMBERS = 100
"""Serial numbers in one block: a LOT has no more."""


class Question(Contract):
    """What every question carries: who asks, and when by the station's clock."""

    v: MessageVersion = 1
    site: StationId
    line: StationId
    station: StationId
    request_id: RequestId
    asked_at: UtcTime


class PermitRequest(Question):
    """May this unit run here? ``within_seconds`` is how long the answer is of use."""

    kind: Literal["permit"] = "permit"
    process: ProcessCode
    machine: Name
    serial_number: SerialNumber
    lot_number: LotNumber | None = None
    within_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5


class PermitReturned(Question):
    """A permit that came to nothing: central gave it, and the machine never got it."""

    kind: Literal["returned"] = "returned"
    serial_number: SerialNumber
    permit: PermitNumber


class NumbersRequest(Question):
    """Serial numbers of a LOT, for a station that gives units their number."""

    kind: Literal["numbers"] = "numbers"
    lot_number: LotNumber
    count: Annotated[int, Field(ge=1, le=MAX_NUMBERS)]


class PermitAnswer(Contract):
    """Yes, with what the station has to know of the unit; or no, with its cause.

    ``attempt`` counts the unit's measurements at this process since its last rework, this one included.
    ``reject_label``: the unit has failed and may be given a reject label, nothing else. ``criteria_revision`` is the
    one in force; None: central has none. ``firmware`` and ``firmware_checksum`` are what its product model wants.
    ``lease_seconds``: how long no other station is given a permit for this unit.
    """

    v: MessageVersion = 1
    kind: Literal["permit"] = "permit"
    request_id: RequestId
    serial_number: SerialNumber
    permit: PermitNumber
    granted: bool
    refusal: RefusalCode | None = None
    detail: Annotated[str, Field(max_length=500)] | None = None
    lot_number: LotNumber | None = None
    product_model: str | None = None
    attempt: Annotated[int, Field(ge=1)] | None = None
    reject_label: bool = False
    criteria_revision: CriteriaRevision | None = None
    firmware: Version | None = None
    firmware_checksum: Checksum | None = None
    lease_seconds: Annotated[float, Field(ge=0)] = 0.0
    at: UtcTime

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.granted == (self.refusal is not None):
            raise ValueError("refusal is given exactly when it was not granted")
        return self


class NumbersAnswer(Contract):
    """A block of numbers that nobody else is given; or none, with the cause."""

    v: MessageVersion = 1
    kind: Literal["numbers"] = "numbers"
    request_id: RequestId
    lot_number: LotNumber
    numbers: tuple[SerialNumber, ...] = ()
    product_model: str | None = None
    refusal: RefusalCode | None = None
    detail: Annotated[str, Field(max_length=500)] | None = None
    at: UtcTime

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if bool(self.numbers) == (self.refusal is not None):
            raise ValueError("refusal is given exactly when there are no numbers")
        return self


AnyQuestion = Annotated[PermitRequest | PermitReturned | NumbersRequest, Field(discriminator="kind")]
AnyAnswer = Annotated[PermitAnswer | NumbersAnswer, Field(discriminator="kind")]
question_adapter: TypeAdapter[AnyQuestion] = TypeAdapter(AnyQuestion)
answer_adapter: TypeAdapter[AnyAnswer] = TypeAdapter(AnyAnswer)


def refused(question: PermitRequest, permit: int, refusal: Refusal, at: datetime) -> PermitAnswer:
    """No, and why."""
    return PermitAnswer(
        request_id=question.request_id,
        serial_number=question.serial_number,
        permit=permit,
        granted=False,
        refusal=refusal.code,
        detail=refusal.detail[:500],
        at=at,
    )
