"""What people decide, as facts: made at central, append-only, each stored once (domain.md, Facts and state)."""

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from contracts.base import Contract, LotNumber, ProcessCode, SerialNumber, UtcTime

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


class LotShortClosed(Decision):
    """A manager ends a LOT below its target quantity: what is finally passed or failed now is all there will be."""

    kind: Literal["lot_short_closed"] = "lot_short_closed"
    lot_number: LotNumber


class LotClosed(Decision):
    """A manager closed a COMPLETED LOT. Later records are kept and flagged."""

    kind: Literal["lot_closed"] = "lot_closed"
    lot_number: LotNumber


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


AnyDecision = Annotated[
    LotCreated
    | LotShortClosed
    | LotClosed
    | ReworkAuthorised
    | OrderOverridden
    | UnitScrapped
    | HoldPlaced
    | HoldReleased,
    Field(discriminator="kind"),
]

decision_adapter: TypeAdapter[AnyDecision] = TypeAdapter(AnyDecision)
"""Validates and dumps any decision by its ``kind``."""
