"""Whether a unit may start at a process, as far as facts tell (domain.md, Route)."""

from contracts.refusals import Refusal, RefusalCode
from contracts.route_model import ExceptionCode, LotState, LotStatus, RouteLimits, UnitState, UnitStatus


def may_start(
    unit: UnitState | None, lot: LotState | None, process_number: int, limits: RouteLimits | None = None
) -> Refusal | None:
    """Whether this unit may start at this process as things stand; None means yes.

    That it is busy at another station is a matter of leases, and not known here.
    """
    rules = limits if limits is not None else RouteLimits()
    if process_number not in rules.by_number:
        return Refusal(RefusalCode.INVALID_PROCESS_SEQUENCE, f"process {process_number} is not in the route")
    first = process_number == rules.numbers[0]
    if unit is None and not first:
        return Refusal(RefusalCode.SERIAL_NOT_FOUND, "the unit is not known")
    if lot is None:
        return Refusal(RefusalCode.LOT_NOT_FOUND, "the unit's LOT is not known")
    refusal = may_start_in(lot)
    if refusal is not None:
        return refusal
    if unit is not None and unit.on_hold:
        return Refusal(RefusalCode.ON_HOLD, f"the unit is on hold: {unit.holds[0].reason}")
    full = lot.target_quantity is not None and lot.actual_quantity >= lot.target_quantity
    if full and (unit is None or unit.started_at is None):
        return Refusal(RefusalCode.LOT_FULL, f"{lot.lot_number} has its {lot.target_quantity} units")
    if unit is None:
        return None
    return may_start_by_its_own(unit, process_number, rules)


def belongs_elsewhere(lot_number: str | None, named: str | None) -> Refusal | None:
    """What stops a unit of one LOT where the machine or the operator names another: one of both is mixed up."""
    if lot_number is None or named is None or named == lot_number:
        return None
    detail = f"the unit belongs to {lot_number}, the request names {named}"
    return Refusal(RefusalCode.SERIAL_NOT_FOUND, detail, certain=True)


def may_start_in(lot: LotState) -> Refusal | None:
    """What of a LOT stops every one of its units."""
    if lot.status is LotStatus.CLOSED:
        return Refusal(RefusalCode.LOT_CLOSED, f"{lot.lot_number} is closed")
    if lot.on_hold:
        return Refusal(RefusalCode.ON_HOLD, f"{lot.lot_number} is on hold: {lot.holds[0].reason}")
    return None


def may_start_by_its_own(unit: UnitState, number: int, rules: RouteLimits) -> Refusal | None:
    """What of a unit itself, its holds left out, stops it at a process of the route."""
    name = rules.name(number)
    if unit.deleted_at is not None:
        return Refusal(RefusalCode.SERIAL_NOT_FOUND, "the unit was taken away by an administrator", certain=True)
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


def may_rework(unit: UnitState, return_to: int, limits: RouteLimits | None = None) -> Refusal | None:
    """Whether a manager may authorise a repair that returns the unit to this process; None means yes."""
    rules = limits if limits is not None else RouteLimits()
    process = rules.by_number.get(return_to)
    failed = {failure.process_number for failure in unit.open_failures}
    failed |= {
        one.process_number
        for one in unit.exceptions
        if one.code is ExceptionCode.FAIL_AFTER_PASS and one.process_number is not None
    }
    first = rules.by_number[rules.numbers[0]]
    if process is None:
        return Refusal(RefusalCode.INVALID_PROCESS_SEQUENCE, f"process {return_to} is not in the route")
    if unit.scrapped:
        return Refusal(RefusalCode.REWORK_NOT_ALLOWED, "the unit was scrapped")
    if unit.rework_count >= rules.max_reworks:
        return Refusal(RefusalCode.REWORK_LIMIT_REACHED, f"{rules.max_reworks} reworks are allowed")
    if first.number in failed and not first.rework_allowed:
        return Refusal(RefusalCode.REWORK_NOT_ALLOWED, f"{first.code} failed: the part is scrap")
    if not failed and unit.status is not UnitStatus.FAILED:
        return Refusal(RefusalCode.REWORK_NOT_ALLOWED, "nothing has failed: there is nothing to repair")
    if not process.rework_allowed:
        return Refusal(RefusalCode.REWORK_NOT_ALLOWED, f"{process.code} is never reworked")
    if failed and process.number > max(failed):
        return Refusal(RefusalCode.REWORK_NOT_ALLOWED, f"{process.code} comes after the process that failed")
    return None


def rework_return(unit: UnitState, limits: RouteLimits | None = None) -> int:
    """Where a repair returns to when nobody says: the process that failed, else where the unit was last, and never to
    one that is not reworked where a later one is."""
    rules = limits if limits is not None else RouteLimits()
    failed = max((failure.process_number for failure in unit.open_failures), default=unit.last_process)
    reworked = [number for number in rules.numbers if rules.by_number[number].rework_allowed]
    return failed if failed is not None and (unit.open_failures or failed in reworked) else reworked[0]
