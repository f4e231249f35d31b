"""The fold of one LOT: its units' states, its own records and decisions -> its state (domain.md, Facts and state)."""

from collections.abc import Iterable, Iterator

from contracts.facts import HoldPlaced, HoldReleased, LotClosed, LotCreated, LotShortClosed
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
)
from contracts.route_order import decisions_in_order, once, permits_in_order

MAX_UNITS = 100


def fold_lot(
    lot_number: str,
    units: Iterable[UnitState],
    records: Iterable[UnitRecord],
    decisions: Iterable[UnitDecision],
    limits: RouteLimits | None = None,  # noqa: ARG001  # the same signature as fold_unit: a site's rules of the route
    permits: Iterable[UnitPermit] = (),
) -> LotState:
    """The state of a LOT. ``records`` are its LOT-level records, ``permits`` those that stations gave its units
    without central. Pure: any order and repetition gives the same."""
    members = sorted({unit.serial_number: unit for unit in units}.values(), key=lambda unit: unit.serial_number)
    own = sorted(once(records), key=lambda record: (record.completed_at, record.key))
    exceptions: list[RouteException] = []
    created: LotCreated | None = None
    holds: dict[str, Hold] = {}
    short_closed = False
    closed_at = None
    decided = decisions_in_order(decisions)
    for fact in decided:
        decision = fact.decision
        if isinstance(decision, LotCreated):
            if created is None:
                created = decision
            else:
                exceptions.append(
                    RouteException(
                        code=ExceptionCode.LOT_CREATED_TWICE, detail="the LOT had been created", about=fact.key
                    )
                )
        elif isinstance(decision, LotShortClosed):
            short_closed = True
        elif isinstance(decision, LotClosed):
            closed_at = closed_at or decision.decided_at
        elif isinstance(decision, HoldPlaced) and decision.serial_number is None:
            holds[decision.hold_id] = Hold(hold_id=decision.hold_id, reason=decision.reason, about=fact.key)
        elif isinstance(decision, HoldReleased):
            holds.pop(decision.hold_id, None)

    exceptions.extend(_wrong_permits(permits_in_order(permits), decided))
    target = created.target_quantity if created is not None else None
    working = [unit for unit in members if unit.started_at is not None]
    passed = sum(unit.status is UnitStatus.PASSED for unit in members)
    failed = sum(unit.status is UnitStatus.FAILED and unit.final for unit in members)
    complete = short_closed or passed + failed >= (target if target is not None else MAX_UNITS)
    if closed_at is not None:
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
            if at > closed_at
        )
    elif working and complete:
        status = LotStatus.COMPLETED
    else:
        status = LotStatus.IN_PROGRESS if working or own else LotStatus.CREATED
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
        short_closed=short_closed,
        target_quantity=target,
        actual_quantity=len(working),
        passed_quantity=passed,
        failed_quantity=failed,
        product_model=created.product_model
        if created is not None and created.product_model
        else next(iter(models), None),
        closed_at=closed_at,
        holds=tuple(holds[hold_id] for hold_id in sorted(holds)),
        exceptions=tuple(sorted(exceptions, key=RouteException.sort_key)),
    )


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
