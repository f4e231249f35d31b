"""The route: the pure fold of facts into states, and whether a unit may start at a process (domain.md, Route)."""

from dataclasses import dataclass
from enum import StrEnum

from contracts.route_lot import fold_lot
from contracts.route_model import LotState, LotStatus, RouteLimits, UnitState, UnitStatus
from contracts.route_unit import fold_unit

__all__ = ["Refusal", "RefusalCode", "fold_lot", "fold_unit", "may_start"]


class RefusalCode(StrEnum):
    """Why a permit is refused, as far as facts tell (a unit busy elsewhere is a matter of leases)."""

    LOT_NOT_FOUND = "LOT_NOT_FOUND"
    SERIAL_NOT_FOUND = "SERIAL_NOT_FOUND"
    PREVIOUS_PROCESS_NOT_COMPLETED = "PREVIOUS_PROCESS_NOT_COMPLETED"
    INVALID_PROCESS_SEQUENCE = "INVALID_PROCESS_SEQUENCE"
    PROCESS_ALREADY_PASSED = "PROCESS_ALREADY_PASSED"
    DUPLICATE_PASS_COMPLETE = "DUPLICATE_PASS_COMPLETE"  # not a password
    RETEST_LIMIT_REACHED = "RETEST_LIMIT_REACHED"
    REWORK_LIMIT_REACHED = "REWORK_LIMIT_REACHED"
    REWORK_NOT_ALLOWED = "REWORK_NOT_ALLOWED"
    LOT_CLOSED = "LOT_CLOSED"
    LOT_FULL = "LOT_FULL"
    ON_HOLD = "ON_HOLD"


@dataclass(frozen=True)
class Refusal:
    """A permit refused: the cause, and what a person reads."""

    code: RefusalCode
    detail: str


def may_start(
    unit: UnitState | None, lot: LotState | None, process_number: int, limits: RouteLimits | None = None
) -> Refusal | None:
    """Whether this unit may start at this process as things stand; None means yes."""
    rules = limits if limits is not None else RouteLimits()
    if process_number not in rules.by_number:
        return Refusal(RefusalCode.INVALID_PROCESS_SEQUENCE, f"process {process_number} is not in the route")
    first = process_number == rules.numbers[0]
    if unit is None and not first:
        return Refusal(RefusalCode.SERIAL_NOT_FOUND, "the unit is not known")
    if lot is None:
        return Refusal(RefusalCode.LOT_NOT_FOUND, "the unit's LOT is not known")
    if lot.status is LotStatus.CLOSED:
        return Refusal(RefusalCode.LOT_CLOSED, f"{lot.lot_number} is closed")
    if lot.on_hold or (unit is not None and unit.on_hold):
        return Refusal(RefusalCode.ON_HOLD, "on hold")
    full = lot.target_quantity is not None and lot.actual_quantity >= lot.target_quantity
    if full and (unit is None or unit.started_at is None):
        return Refusal(RefusalCode.LOT_FULL, f"{lot.lot_number} has its {lot.target_quantity} units")
    if unit is None:
        return None
    return _by_unit(unit, process_number, rules)


def _by_unit(unit: UnitState, number: int, rules: RouteLimits) -> Refusal | None:
    name = rules.name(number)
    if unit.status is UnitStatus.PASSED:
        return Refusal(RefusalCode.DUPLICATE_PASS_COMPLETE, "the unit has passed all processes")
    reject_label = unit.status is UnitStatus.FAILED and number == rules.label_process
    if unit.status is UnitStatus.FAILED and not reject_label:
        if not unit.final:
            return Refusal(RefusalCode.RETEST_LIMIT_REACHED, f"failed: {unit.failure_reason}; a rework is needed")
        used_up = unit.rework_count >= rules.max_reworks and not unit.scrapped
        code = RefusalCode.REWORK_LIMIT_REACHED if used_up else RefusalCode.REWORK_NOT_ALLOWED
        return Refusal(code, f"finally failed: {unit.failure_reason}")
    if number in unit.passed:
        return Refusal(RefusalCode.PROCESS_ALREADY_PASSED, f"{name} has passed")
    missing = [needed for needed in rules.needed_before(number) if needed not in unit.passed]
    if missing and number not in unit.overridden and not reject_label:
        names = ", ".join(rules.name(needed) for needed in missing)
        return Refusal(RefusalCode.PREVIOUS_PROCESS_NOT_COMPLETED, f"{names} has not passed")
    return None
