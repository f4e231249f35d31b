"""The route digest of a LOT: what a station has to know of its units to decide without central. Compact: it is
published retained whenever the LOT changes, and kept on every station."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Self

from pydantic import Field

from contracts.base import Contract, Count, LotNumber, MessageVersion, SerialNumber, UtcTime
from contracts.criteria import Outcome
from contracts.firmware import Firmware
from contracts.route_model import Hold, LotState, LotStatus, UnitState, UnitStatus

_DIGEST_HOLD = "digest"
Number = Annotated[int, Field(ge=0, le=1000)]


class UnitDigest(Contract):
    """Where one unit stands, as far as a permit depends on it.

    ``passed`` and ``overridden`` are process numbers. ``attempts`` counts judged measurements since the last rework,
    by process number. ``hold`` says why the unit is on hold. ``deleted``: it was taken away, and nothing was ever
    done to it. A default is left out of what is published.
    """

    status: UnitStatus = UnitStatus.IN_PROGRESS
    passed: tuple[Number, ...] = ()
    attempts: Mapping[Number, Number] = {}
    overridden: tuple[Number, ...] = ()
    hold: str | None = None
    final: bool = False
    scrapped: bool = False
    reworks: Number = 0
    failure: str | None = None
    model: str | None = None
    deleted: bool = False

    @classmethod
    def of(cls, unit: UnitState) -> Self:
        """The digest of a unit's state."""
        return cls(
            status=unit.status,
            passed=tuple(sorted(unit.passed)),
            attempts=attempts_of(unit),
            overridden=tuple(sorted(unit.overridden)),
            hold=_short(unit.holds[0].reason) if unit.holds else None,
            final=unit.final,
            scrapped=unit.scrapped,
            reworks=unit.rework_count,
            failure=_short(unit.failure_reason),
            model=unit.product_model,
            deleted=unit.deleted_at is not None,
        )

    def state(self, serial_number: str, at: UtcTime) -> UnitState:
        """The unit as ``may_start`` takes it; what a permit does not depend on is left out."""
        return UnitState(
            serial_number=serial_number,
            status=self.status,
            final=self.final,
            scrapped=self.scrapped,
            generation=self.reworks,
            rework_count=self.reworks,
            failure_reason=self.failure,
            started_at=None if self.status is UnitStatus.CREATED else at,
            passed=dict.fromkeys(self.passed, ("", 0)),
            overridden=frozenset(self.overridden),
            holds=() if self.hold is None else (Hold(hold_id=_DIGEST_HOLD, reason=self.hold),),
            product_model=self.model,
            deleted_at=at if self.deleted else None,
        )


class RouteDigest(Contract):
    """Published retained to ``f2x/v1/route/{lot}``. ``revision`` rises with every change while ``epoch``, central's
    database, is the same. ``created`` is False of a LOT that records name and nobody has opened. ``firmware``: what its
    product models want, by their codes."""

    v: MessageVersion = 1
    lot_number: LotNumber
    epoch: str
    revision: Count
    at: UtcTime
    created: bool = True
    status: LotStatus
    hold: str | None = None
    target_quantity: Annotated[int, Field(ge=1)] | None = None
    actual_quantity: Count = 0
    product_model: str | None = None
    units: Mapping[SerialNumber, UnitDigest] = {}
    firmware: Mapping[str, Firmware] = {}

    def lot(self) -> LotState | None:
        """The LOT as ``may_start`` takes it; None where nobody has opened it."""
        if not self.created:
            return None
        return LotState(
            lot_number=self.lot_number,
            created=True,
            status=self.status,
            target_quantity=self.target_quantity,
            actual_quantity=self.actual_quantity,
            product_model=self.product_model,
            holds=() if self.hold is None else (Hold(hold_id=_DIGEST_HOLD, reason=self.hold),),
        )

    def unit(self, serial_number: str) -> UnitState | None:
        """The unit as ``may_start`` takes it; None where the LOT has none of this number."""
        found = self.units.get(serial_number)
        return None if found is None else found.state(serial_number, self.at)

    def replaces(self, known: "RouteDigest") -> bool:
        """False for one that was said before ``known`` and came after it."""
        return self.epoch != known.epoch or self.revision >= known.revision

    def encoded(self) -> bytes:
        """The bytes that are published."""
        return self.model_dump_json(exclude_defaults=True).encode()


def digest_of(
    lot: LotState,
    units: Iterable[UnitState],
    epoch: str,
    revision: int,
    at: UtcTime,
    firmware: Mapping[str, Firmware] = MappingProxyType({}),
) -> RouteDigest:
    """What is published of a LOT and its units."""
    return RouteDigest(
        lot_number=lot.lot_number,
        epoch=epoch,
        revision=revision,
        at=at,
        created=lot.created,
        status=lot.status,
        hold=_short(lot.holds[0].reason) if lot.holds else None,
        target_quantity=lot.target_quantity,
        actual_quantity=lot.actual_quantity,
        product_model=lot.product_model,
        units={unit.serial_number: UnitDigest.of(unit) for unit in units},
        firmware=firmware,
    )


def attempts_of(unit: UnitState) -> dict[int, int]:
    """Judged measurements in the current generation, by process number."""
    counted: dict[int, int] = {}
    for attempt in unit.attempts:
        if attempt.generation == unit.generation and attempt.outcome in (Outcome.PASS, Outcome.FAIL):
            counted[attempt.process_number] = attempt.number
    return counted


def _short(text: str | None) -> str | None:
    return None if text is None else text[:100]
