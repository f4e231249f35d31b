"""The fold of one LOT: its units' states, its own records and decisions -> its state (domain.md, Facts and state)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from contracts.facts import (
    HoldPlaced,
    HoldReleased,
    LotChanged,
    LotClosed,
    LotCreated,
    LotDeleted,
    LotShortClosed,
    LotStarted,
)
from contracts.route_corrections import as_they_count
from contracts.route_model import (
    ExceptionCode,
    Hold,
    LotState,
    LotStatus,
    RouteException,
    RouteLimits,
    UnitDecision,
    UnitPermit,
    UnitRecord,
    UnitState,
    UnitStatus,
    closed,
)
from contracts.route_order import decisions_in_order, once, permits_in_order

MAX_UNITS = 100


def fold_lot(
    lot_number: str,
    units: Iterable[UnitState],
    records: Iterable[UnitRecord],
    decisions: Iterable[UnitDecision],
    limits: RouteLimits | None = None,
    permits: Iterable[UnitPermit] = (),
) -> LotState:
    """The state of a LOT. ``records`` are its LOT-level records, ``permits`` those that stations gave its units
    without central. Pure: any order and repetition gives the same."""
    members = sorted({unit.serial_number: unit for unit in units}.values(), key=lambda unit: unit.serial_number)
    rules = limits if limits is not None else RouteLimits()
    decided = decisions_in_order(decisions)
    counting = as_they_count(once(records), decided, rules)
    own = sorted(counting, key=lambda record: (record.completed_at, record.key))
    said = _People.of(decided)
    created, holds, exceptions = said.created, said.holds, said.exceptions
    deleted_at = said.deleted_at
    exceptions.extend(_wrong_permits(permits_in_order(permits), decided))
    target = created.target_quantity if created is not None else None
    working = [unit for unit in members if unit.started_at is not None]
    if deleted_at is not None and (working or own):
        deleted_at = None
        exceptions.append(
            RouteException(code=ExceptionCode.WORK_AFTER_DELETED, detail="worked on, although it was taken away")
        )
    passed = sum(unit.status is UnitStatus.PASSED for unit in members)
    failed = sum(unit.status is UnitStatus.FAILED and unit.final for unit in members)
    complete = said.short_closed or passed + failed >= (target if target is not None else MAX_UNITS)
    if said.closed_at is not None:
        status = LotStatus.CLOSED
        if not complete:
            exceptions.append(
                RouteException(
                    code=ExceptionCode.LOT_CLOSED_INCOMPLETE, detail=f"closed with {passed + failed} units finished"
                )
            )
        late = [(unit.last_record_at, unit.serial_number) for unit in working if unit.last_record_at is not None]
        exceptions.extend(
            RouteException(
                code=ExceptionCode.WORK_AFTER_CLOSED, detail="worked on after the LOT was closed", serial_number=serial
            )
            for at, serial in late
            if at > said.closed_at
        )
    elif working and complete:
        status = LotStatus.COMPLETED
    else:
        status = LotStatus.IN_PROGRESS if working or own or said.begun else LotStatus.CREATED
    beyond = sorted(working, key=lambda unit: (unit.sequence_in_lot or 0, unit.serial_number))[
        target if target is not None else MAX_UNITS :
    ]
    exceptions.extend(
        RouteException(
            code=ExceptionCode.UNIT_BEYOND_TARGET,
            detail=f"the LOT has a target of {target if target is not None else MAX_UNITS} units",
            serial_number=unit.serial_number,
        )
        for unit in beyond
    )
    models = sorted({unit.product_model for unit in members if unit.product_model is not None})
    models += sorted({record.product_model for record in own if record.product_model is not None})
    return LotState(
        lot_number=lot_number,
        created=created is not None,
        status=status,
        short_closed=said.short_closed,
        target_quantity=target,
        actual_quantity=len(working),
        passed_quantity=passed,
        failed_quantity=failed,
        product_model=created.product_model
        if created is not None and created.product_model
        else next(iter(models), None),
        closed_at=said.closed_at,
        deleted_at=deleted_at,
        holds=tuple(holds[hold_id] for hold_id in sorted(holds)),
        exceptions=closed(lot_number, sorted(exceptions, key=RouteException.sort_key), decided),
    )


@dataclass
class _People:
    """What people decided of the LOT, one decision after the other."""

    created: LotCreated | None = None
    deleted_at: datetime | None = None
    begun: bool = False
    short_closed: bool = False
    closed_at: datetime | None = None
    holds: dict[str, Hold] = field(default_factory=dict)
    exceptions: list[RouteException] = field(default_factory=list)

    @classmethod
    def of(cls, decided: Iterable[UnitDecision]) -> Self:
        """All of it; ``decided`` in order."""
        found = cls()
        for fact in decided:
            found.take(fact)
        return found

    def take(self, fact: UnitDecision) -> None:
        decision = fact.decision
        if isinstance(decision, LotCreated):
            if self.created is None:
                self.created, self.deleted_at = decision, None
            else:
                detail = "the LOT had been created"
                twice = RouteException(code=ExceptionCode.LOT_CREATED_TWICE, detail=detail, about=fact.key)
                self.exceptions.append(twice)
        elif isinstance(decision, LotChanged) and self.created is not None:
            self.created = self.created.model_copy(update=_changes(decision))
        elif isinstance(decision, LotDeleted):
            self.created, self.deleted_at = None, decision.decided_at
            self.begun, self.short_closed, self.closed_at = False, False, None
        elif isinstance(decision, LotStarted):
            self.begun = True
        elif isinstance(decision, LotShortClosed):
            self.short_closed = True
        elif isinstance(decision, LotClosed):
            self.closed_at = self.closed_at or decision.decided_at
        elif isinstance(decision, HoldPlaced) and decision.serial_number is None:
            self.holds[decision.hold_id] = Hold(hold_id=decision.hold_id, reason=decision.reason, about=fact.key)
        elif isinstance(decision, HoldReleased):
            self.holds.pop(decision.hold_id, None)


def _changes(decision: LotChanged) -> dict[str, str | int]:
    """What a change changes of how the LOT was opened."""
    named = {"product_model": decision.product_model, "target_quantity": decision.target_quantity}
    return {name: value for name, value in named.items() if value is not None}


def _wrong_permits(permits: Iterable[UnitPermit], decided: list[UnitDecision]) -> Iterator[RouteException]:
    """Permits given without central while the LOT was on hold, or when it was closed."""
    for permit in permits:
        holds: set[str] = set()
        closed = False
        for fact in decided:
            decision = fact.decision
            if decision.decided_at > permit.at:
                break
            if isinstance(decision, LotClosed):
                closed = True
            elif isinstance(decision, HoldPlaced) and decision.serial_number is None:
                holds.add(decision.hold_id)
            elif isinstance(decision, HoldReleased):
                holds.discard(decision.hold_id)
        if closed or holds:
            why = "closed" if closed else "on hold"
            yield RouteException(
                code=ExceptionCode.OFFLINE_PERMIT_WRONG,
                detail=f"{permit.station} let a unit start without central: the LOT was {why}",
                process_number=permit.process_number,
                about=permit.key,
                serial_number=permit.serial_number,
            )
