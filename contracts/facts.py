"""What people decide, as facts: made at central, append-only, each stored once (domain.md, Facts and state)."""

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from contracts.base import Contract, LotNumber, ProcessCode, Seq, SerialNumber, StreamId, UtcTime
from contracts.measurement import Measurement
from contracts.record import DataLevel, Defect, ProcessRecord

Reason = Annotated[str, Field(min_length=1, max_length=1000)]


class Decision(Contract):
    """What every decision carries: who, when, why."""

    author: Annotated[str, Field(min_length=1, max_length=100)]
    decided_at: UtcTime
    reason: Reason


class LotCreated(Decision):
    """A manager opened a LOT."""

    kind: Literal["lot_created"] = "lot_created"
    lot_number: LotNumber
    product_model: str | None = None
    target_quantity: Annotated[int, Field(ge=1, le=100)] = 100


class LotChanged(Decision):
    """A manager changed what a LOT that is open is to be. None: as it was."""

    kind: Literal["lot_changed"] = "lot_changed"
    lot_number: LotNumber
    product_model: str | None = None
    target_quantity: Annotated[int, Field(ge=1, le=100)] | None = None


class LotStarted(Decision):
    """A person says that work on a LOT has begun, before any record does."""

    kind: Literal["lot_started"] = "lot_started"
    lot_number: LotNumber


class LotDeleted(Decision):
    """An administrator takes away a LOT nothing was made in. Work that comes after all brings it back, flagged."""

    kind: Literal["lot_deleted"] = "lot_deleted"
    lot_number: LotNumber


class LotShortClosed(Decision):
    """A manager ends a LOT below its target quantity: what is finally passed or failed now is all there will be."""

    kind: Literal["lot_short_closed"] = "lot_short_closed"
    lot_number: LotNumber


class LotClosed(Decision):
    """A manager closed a COMPLETED LOT. Later records are kept and flagged."""

    kind: Literal["lot_closed"] = "lot_closed"
    lot_number: LotNumber


class SerialCreated(Decision):
    """A person entered a unit before it was worked on, or gave it another place. The last word counts.

    A number made of its LOT (``WF-KR-241118D-001-0001``) says LOT and sequence itself, whatever stands here.
    """

    kind: Literal["serial_created"] = "serial_created"
    serial_number: SerialNumber
    lot_number: LotNumber
    sequence_in_lot: Annotated[int, Field(ge=1, le=100)]


class SerialDeleted(Decision):
    """An administrator takes away a unit that nothing was done to. Work that comes after all brings it back."""

    kind: Literal["serial_deleted"] = "serial_deleted"
    serial_number: SerialNumber


class StatusDecided(Decision):
    """A person says what has become of a unit, whatever its processes say. A FAILED unit moves on only by rework."""

    kind: Literal["status_decided"] = "status_decided"
    serial_number: SerialNumber
    status: Literal["IN_PROGRESS", "PASSED", "FAILED"]
    failure_reason: Annotated[str, Field(min_length=1, max_length=1000)] | None = None

    @model_validator(mode="after")
    def _failed_says_why(self) -> Self:
        if (self.status == "FAILED") != (self.failure_reason is not None):
            raise ValueError("failure_reason is given exactly with FAILED")
        return self


class ProcessStarted(Decision):
    """A person began a process: a permit that central gave. Its result is a record that names it (``Entry.started``),
    or another start that ``replaces`` it."""

    kind: Literal["process_started"] = "process_started"
    process: ProcessCode
    data_level: DataLevel = DataLevel.SERIAL
    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None
    operator: Annotated[str, Field(min_length=1, max_length=100)]
    started_at: UtcTime
    measurements: tuple[Measurement, ...] = ()
    defects: tuple[Defect, ...] = ()
    process_order: Annotated[int, Field(ge=0, le=1000)] | None = None
    notes: Annotated[str, Field(max_length=1000)] | None = None
    permit: Annotated[int, Field(ge=1)] | None = None
    replaces: Seq | None = None


class RecordCorrected(Decision):
    """A person corrects a record. The record stays as it came; from now on this one counts in its place.

    Of several the last counts. Unit, LOT, process and level are the record's own.
    """

    kind: Literal["record_corrected"] = "record_corrected"
    stream_id: StreamId
    seq: Seq
    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None
    record: ProcessRecord


class RecordDeleted(Decision):
    """An administrator takes a record, or a start, out of what counts. It stays as it came; nothing brings it back."""

    kind: Literal["record_deleted"] = "record_deleted"
    stream_id: StreamId
    seq: Seq
    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None


class ReworkAuthorised(Decision):
    """A manager authorised a repair: opens a new generation, voids the passes from ``return_to`` on."""

    kind: Literal["rework_authorised"] = "rework_authorised"
    serial_number: SerialNumber
    return_to: ProcessCode


class OrderOverridden(Decision):
    """A manager lets a unit run at ``process`` although an earlier process has not passed."""

    kind: Literal["order_overridden"] = "order_overridden"
    serial_number: SerialNumber
    process: ProcessCode


class UnitScrapped(Decision):
    """A disposition: the unit is finally failed."""

    kind: Literal["unit_scrapped"] = "unit_scrapped"
    serial_number: SerialNumber


class HoldPlaced(Decision):
    """Stops permits for a unit or a LOT until the hold of the same ``hold_id`` is released.

    With both it is the unit's alone, and the LOT says which unit is meant.
    """

    kind: Literal["hold_placed"] = "hold_placed"
    hold_id: Annotated[str, Field(min_length=1, max_length=64)]
    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.serial_number is None and self.lot_number is None:
            raise ValueError("a hold names a unit or a LOT: this one would stop nothing")
        return self


class HoldReleased(Decision):
    """Ends the hold of the same ``hold_id``, whatever it holds."""

    kind: Literal["hold_released"] = "hold_released"
    hold_id: Annotated[str, Field(min_length=1, max_length=64)]
    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None


class ExceptionClosed(Decision):
    """A person has looked into an exception of a unit or a LOT. It stays, with these words, and moves nothing.

    ``exception_id`` is ``route_model.exception_id``: the same exception is closed, whenever the facts make it; another
    one is open.
    """

    kind: Literal["exception_closed"] = "exception_closed"
    exception_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None

    @model_validator(mode="after")
    def _is_of_something(self) -> Self:
        if (self.serial_number is None) == (self.lot_number is None):
            raise ValueError("an exception is of a unit or of a LOT")
        return self


AnyDecision = Annotated[
    LotCreated
    | LotChanged
    | LotStarted
    | LotDeleted
    | LotShortClosed
    | LotClosed
    | SerialCreated
    | SerialDeleted
    | StatusDecided
    | ProcessStarted
    | RecordCorrected
    | RecordDeleted
    | ReworkAuthorised
    | OrderOverridden
    | UnitScrapped
    | HoldPlaced
    | HoldReleased
    | ExceptionClosed,
    Field(discriminator="kind"),
]

decision_adapter: TypeAdapter[AnyDecision] = TypeAdapter(AnyDecision)
"""Validates and dumps any decision by its ``kind``."""
