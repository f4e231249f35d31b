"""The fold of one unit: facts in their order -> its state (domain.md, Route)."""

from collections.abc import Iterable

from contracts.identity import lot_of_serial
from contracts.record import DataLevel
from contracts.route_corrections import as_they_count
from contracts.route_fold import UnitFold
from contracts.route_golden import failed_around
from contracts.route_model import (
    MAX_EXCEPTIONS,
    MAX_RECORDS,
    ExceptionCode,
    OpenFailure,
    RouteException,
    RouteLimits,
    SampleCheck,
    UnitDecision,
    UnitPermit,
    UnitRecord,
    UnitState,
    UnitStatus,
    closed,
)
from contracts.route_order import decisions_in_order, foremost, in_order


def fold_unit(
    serial_number: str,
    records: Iterable[UnitRecord],
    decisions: Iterable[UnitDecision],
    limits: RouteLimits | None = None,
    permits: Iterable[UnitPermit] = (),
    checks: Iterable[SampleCheck] = (),
) -> UnitState:
    """The state of a unit from all its facts. Pure: any order and any repetition of them gives the same.

    ``permits`` are those that stations gave without central: a wrong one becomes an exception, and moves nothing.
    ``checks`` are those of the machines that worked on the unit, good and failed.
    """
    rules = limits if limits is not None else RouteLimits()
    decided = list(decisions)
    came = list(records)
    counting = as_they_count(came, decided, rules)
    own = foremost((record for record in counting if record.data_level is DataLevel.SERIAL), MAX_RECORDS + 1)
    kept = {record.key for record in own}
    # What a person corrected says nothing of when the machine had the unit.
    failed = failed_around((record for record in came if record.key in kept), checks)
    ordered = in_order(own, decided, permits, failed)
    unit = UnitFold(serial_number, rules)
    beyond = own[MAX_RECORDS] if len(own) > MAX_RECORDS else None
    for fact in ordered:
        if fact is beyond:
            unit.end(fact.key)
        elif isinstance(fact, UnitRecord):
            unit.take_record(fact)
        elif isinstance(fact, UnitDecision):
            unit.take_decision(fact)
        elif isinstance(fact, UnitPermit):
            unit.check_permit(fact)
        else:
            unit.take_check(fact)
    seen = [fact for fact in ordered if isinstance(fact, UnitRecord) and fact is not beyond]
    deleted_at = unit.deleted_at
    if deleted_at is not None and (seen or unit.began_at is not None):
        unit.tell(
            ExceptionCode.WORK_AFTER_DELETED,
            "worked on, although it was taken away",
            None,
            (seen[0].key if seen else ("", 0)),
        )
        deleted_at = None
    lot_number, sequence = _lot(unit, seen)
    status = unit.status()
    return UnitState(
        serial_number=serial_number,
        status=status,
        final=unit.is_final(),
        scrapped=unit.scrapped,
        generation=unit.generation,
        rework_count=unit.generation,
        failure_reason=unit.failure_reason(),
        started_at=min((*(record.completed_at for record in seen), *filter(None, [unit.began_at])), default=None),
        completed_at=unit.completed_at if status in (UnitStatus.PASSED, UnitStatus.FAILED) else None,
        last_record_at=max((record.completed_at for record in seen), default=None),
        last_process=unit.attempts[-1].process_number if unit.attempts else None,
        passed={number: unit.passed[number].key for number in sorted(unit.passed)},
        attempts=tuple(unit.attempts),
        open_failures=tuple(
            OpenFailure(
                process_number=number,
                record=unit.failed[number].key,
                defects=unit.failed[number].defects,
                retests_left=max(unit.attempts_allowed(number) - unit.judged[number], 0),
            )
            for number in sorted(unit.failed)
        ),
        overridden=frozenset(unit.overridden),
        holds=tuple(unit.holds[hold_id] for hold_id in sorted(unit.holds)),
        lot_number=lot_number,
        sequence_in_lot=sequence,
        product_model=_product_model(unit, seen),
        deleted_at=deleted_at,
        exceptions=closed(
            serial_number,
            _bounded(sorted(unit.exceptions, key=RouteException.sort_key)),
            decisions_in_order(decided),
        ),
    )


def _bounded(exceptions: list[RouteException]) -> tuple[RouteException, ...]:
    """The first of them, and how many more there are; those that stand between the unit and PASSED come first then."""
    if len(exceptions) <= MAX_EXCEPTIONS:
        return tuple(exceptions)
    kept = sorted(exceptions, key=lambda one: not one.open)[: MAX_EXCEPTIONS - 1]
    more = RouteException(
        code=ExceptionCode.MORE_EXCEPTIONS,
        detail=f"{len(exceptions) - len(kept)} more of such exceptions",
        open=len(kept) < sum(one.open for one in exceptions),
    )
    return tuple(sorted([*kept, more], key=RouteException.sort_key))


def _lot(unit: UnitFold, records: list[UnitRecord]) -> tuple[str | None, int | None]:
    """The unit's LOT: its number says it, else a person, else the first record that names one. Another one is an
    exception."""
    in_number = lot_of_serial(unit.serial_number)
    named = [record for record in records if record.lot_number is not None]
    lot_number, sequence = named[0].lot_number if named else None, None
    if unit.created is not None:
        lot_number, sequence = unit.created.lot_number, unit.created.sequence_in_lot
    if in_number is not None:
        lot_number, sequence = in_number
    for record in named:
        if record.lot_number != lot_number:
            detail = f"{record.station} names {record.lot_number}, the unit belongs to {lot_number}"
            unit.tell(ExceptionCode.LOT_MISMATCH, detail, record.process_number, record.key)
    return lot_number, sequence


def _product_model(unit: UnitFold, records: list[UnitRecord]) -> str | None:
    named = [record for record in records if record.product_model is not None]
    model = named[0].product_model if named else None
    for record in named:
        if record.product_model != model:
            detail = f"{record.station} names {record.product_model}, the unit is {model}"
            unit.tell(ExceptionCode.PRODUCT_MODEL_MISMATCH, detail, record.process_number, record.key)
    return model
