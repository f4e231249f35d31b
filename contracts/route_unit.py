"""The fold of one unit: facts in their order -> its state (domain.md, Route)."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from contracts.criteria import Outcome
from contracts.facts import HoldPlaced, HoldReleased, OrderOverridden, ReworkAuthorised, UnitScrapped
from contracts.identity import lot_of_serial
from contracts.record import DataLevel
from contracts.route_model import (
    MAX_EXCEPTIONS,
    MAX_RECORDS,
    Attempt,
    ExceptionCode,
    FactKey,
    Hold,
    OpenFailure,
    RouteException,
    RouteLimits,
    UnitDecision,
    UnitPermit,
    UnitRecord,
    UnitState,
    UnitStatus,
)
from contracts.route_order import cannot_be_ordered, foremost, in_order
from contracts.route_start import may_start_by_its_own

COMPARED = 8
"""Judged results of a process and generation that a later one is compared with: more than any process allows."""

_JUDGED = (Outcome.PASS, Outcome.FAIL)


@dataclass
class _Unit:
    """The state while facts are taken in, one after the other."""

    serial_number: str
    limits: RouteLimits
    generation: int = 0
    scrapped: bool = False
    passed: dict[int, UnitRecord] = field(default_factory=dict)
    failed: dict[int, UnitRecord] = field(default_factory=dict)
    failed_after_pass: set[int] = field(default_factory=set)
    judged: Counter[int] = field(default_factory=Counter)
    overridden: set[int] = field(default_factory=set)
    attempts: list[Attempt] = field(default_factory=list)
    holds: dict[str, Hold] = field(default_factory=dict)
    exceptions: list[RouteException] = field(default_factory=list)
    last_judged: defaultdict[int, deque[UnitRecord]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=COMPARED))
    )
    final_failure: UnitRecord | None = None
    completed_at: datetime | None = None

    def tell(
        self, code: ExceptionCode, detail: str, process: int | None, about: FactKey, *, standing: bool = False
    ) -> None:
        self.exceptions.append(
            RouteException(code=code, detail=detail, process_number=process, about=about, open=standing)
        )

    def hold(self, code: ExceptionCode, detail: str, about: FactKey) -> None:
        hold_id = f"{code}:{about[0]}:{about[1]}"
        self.holds[hold_id] = Hold(hold_id=hold_id, reason=detail, code=code, about=about)

    # -- what machines saw -------------------------------------------------------------------------------------------

    def take_record(self, record: UnitRecord) -> None:
        number = record.process_number
        if number not in self.limits.by_number:
            self.tell(ExceptionCode.UNKNOWN_PROCESS, f"process {number} is not in the route", number, record.key)
            return
        if record.outcome is Outcome.REWORK:
            self.rework(record.return_to, record.key, record.completed_at, by_station=True)
            return
        reject_label = record.reject_label and number == self.limits.label_process
        if self.scrapped and not reject_label:
            self.tell(ExceptionCode.WORK_AFTER_SCRAPPED, "the unit was scrapped before", number, record.key)
        if record.outcome in _JUDGED and not reject_label:
            self.judged[number] += 1
        self.attempts.append(
            Attempt(
                record=record.key,
                process_number=number,
                outcome=record.outcome,
                completed_at=record.completed_at,
                generation=self.generation,
                number=max(self.judged[number], 1),
            )
        )
        if record.outcome not in _JUDGED:
            return
        if reject_label:
            if not self.failed and not self.scrapped:
                detail = "a reject label on a unit that has not failed"
                self.tell(ExceptionCode.REJECT_LABEL_NOT_FAILED, detail, number, record.key)
            return
        self.check_order(record)
        self.check_two_stations(record)
        self.last_judged[number].append(record)
        if record.outcome is Outcome.PASS:
            self.take_pass(record)
        else:
            self.take_fail(record)

    def end(self, key: FactKey) -> None:
        """The unit has more records than any unit: they are kept, and this one and all later ones move nothing."""
        detail = f"more than {MAX_RECORDS} records: this may be what a code reader says when it reads nothing"
        self.tell(ExceptionCode.TOO_MANY_RECORDS, detail, None, key, standing=True)
        self.hold(ExceptionCode.TOO_MANY_RECORDS, detail, key)

    def check_order(self, record: UnitRecord) -> None:
        number = record.process_number
        missing = [needed for needed in self.limits.needed_before(number) if needed not in self.passed]
        if missing:
            names = ", ".join(self.limits.name(needed) for needed in missing)
            standing = number not in self.overridden
            detail = f"{names} had not passed" + ("" if standing else ", allowed by a manager")
            code = ExceptionCode.PREVIOUS_PROCESS_NOT_COMPLETED
            self.tell(code, detail, number, record.key, standing=standing and record.outcome is Outcome.PASS)

    def check_two_stations(self, record: UnitRecord) -> None:
        for other in self.last_judged[record.process_number]:
            if other.outcome is record.outcome or not cannot_be_ordered(other, record):
                continue
            detail = f"{other.station} says {other.outcome}, {record.station} says {record.outcome}: which came first "
            detail += "cannot be known"
            self.tell(ExceptionCode.TWO_STATIONS_AT_ONCE, detail, record.process_number, record.key)
            self.hold(ExceptionCode.TWO_STATIONS_AT_ONCE, detail, record.key)
            return

    def take_pass(self, record: UnitRecord) -> None:
        number = record.process_number
        if number in self.passed:
            self.tell(ExceptionCode.SECOND_PASS, "passed before in this generation", number, record.key)
            return
        if self.judged[number] > self.attempts_allowed(number):
            detail = f"passed at attempt {self.judged[number]}, {self.attempts_allowed(number)} are allowed"
            self.tell(ExceptionCode.RETEST_LIMIT_REACHED, detail, number, record.key)
            return
        self.passed[number] = record
        self.failed.pop(number, None)
        if self.is_passed():
            self.completed_at = record.completed_at

    def take_fail(self, record: UnitRecord) -> None:
        number = record.process_number
        if number in self.passed:
            detail = "failed after it had passed in this generation"
            self.tell(ExceptionCode.FAIL_AFTER_PASS, detail, number, record.key)
            self.hold(ExceptionCode.FAIL_AFTER_PASS, detail, record.key)
            self.failed_after_pass.add(number)
            return
        if self.judged[number] > self.attempts_allowed(number):
            detail = f"attempt {self.judged[number]}, {self.attempts_allowed(number)} are allowed"
            self.tell(ExceptionCode.RETEST_LIMIT_REACHED, detail, number, record.key)
        self.failed[number] = record
        if self.judged[number] >= self.attempts_allowed(number) and self.final_failure is None:
            self.final_failure = record
            self.completed_at = record.completed_at

    def attempts_allowed(self, number: int) -> int:
        return 1 + self.limits.by_number[number].retest_limit

    # -- what people decided -----------------------------------------------------------------------------------------

    def take_decision(self, fact: UnitDecision) -> None:
        decision = fact.decision
        if isinstance(decision, ReworkAuthorised):
            process = self.limits.by_code.get(decision.return_to)
            self.rework(process.number if process else None, fact.key, decision.decided_at, by_station=False)
        elif isinstance(decision, OrderOverridden):
            process = self.limits.by_code.get(decision.process)
            if process is None:
                detail = f"{decision.process} is not in the route"
                self.tell(ExceptionCode.UNKNOWN_PROCESS, detail, None, fact.key)
            else:
                self.overridden.add(process.number)
        elif isinstance(decision, UnitScrapped):
            self.scrapped = True
            self.completed_at = decision.decided_at
        elif isinstance(decision, HoldPlaced):
            self.holds[decision.hold_id] = Hold(hold_id=decision.hold_id, reason=decision.reason, about=fact.key)
        elif isinstance(decision, HoldReleased):
            self.holds.pop(decision.hold_id, None)

    def rework(self, return_to: int | None, key: FactKey, _at: datetime, *, by_station: bool) -> None:
        """Open a new generation, where the rules allow it; else an exception, and nothing is counted."""
        process = self.limits.by_number.get(return_to) if return_to is not None else None
        if process is None:
            self.tell(ExceptionCode.UNKNOWN_PROCESS, "the rework returns to no process of the route", None, key)
            return
        failed = self.failed.keys() | self.failed_after_pass
        refused = None
        if by_station and not self.limits.station_rework:
            refused = "this site lets only managers authorise rework"
        elif not process.rework_allowed:
            refused = f"{process.code} is never reworked"
        elif 1 in self.failed and not self.limits.by_number[1].rework_allowed:
            refused = f"{self.limits.name(1)} failed: the part is scrap"
        elif self.scrapped:
            refused = "the unit was scrapped"
        elif by_station and not failed:
            refused = "nothing has failed: there is nothing to repair"
        elif failed and process.number > max(failed):
            refused = f"{process.code} comes after the process that failed"
        if refused is not None:
            self.tell(ExceptionCode.REWORK_NOT_ALLOWED, refused, process.number, key)
            return
        if self.generation >= self.limits.max_reworks:
            detail = f"{self.limits.max_reworks} reworks are allowed"
            self.tell(ExceptionCode.REWORK_LIMIT_REACHED, detail, process.number, key)
            return
        self.generation += 1
        for number in [number for number in self.passed if number >= process.number]:
            del self.passed[number]
        self.failed.clear()
        self.failed_after_pass.clear()
        self.judged.clear()
        self.overridden.clear()
        self.last_judged.clear()
        self.final_failure = None
        self.completed_at = None
        # What stood between the last generation and PASSED is voided with it.
        self.exceptions = [
            exception
            if not exception.open or (exception.process_number or 0) < process.number
            else RouteException(
                code=exception.code,
                detail=exception.detail,
                process_number=exception.process_number,
                about=exception.about,
            )
            for exception in self.exceptions
        ]

    # -- what stations permitted without central ---------------------------------------------------------------------

    def check_permit(self, permit: UnitPermit) -> None:
        """A permit that central would have refused, by what is known today of the moment it was given."""
        number = permit.process_number
        why = "on hold" if self.holds else None
        if number not in self.limits.by_number:
            why = f"process {number} is not in the route"
        elif why is None:
            now = UnitState(
                serial_number=self.serial_number,
                status=self.status(),
                final=self.is_final(),
                scrapped=self.scrapped,
                rework_count=self.generation,
                failure_reason=self.failure_reason(),
                passed={number: record.key for number, record in self.passed.items()},
                overridden=frozenset(self.overridden),
            )
            refusal = may_start_by_its_own(now, number, self.limits)
            why = None if refusal is None else f"{refusal.code}, {refusal.detail}"
        if why is not None:
            detail = f"{permit.station} let it start without central: {why}"
            self.tell(ExceptionCode.OFFLINE_PERMIT_WRONG, detail, number, permit.key)

    # -- what follows ------------------------------------------------------------------------------------------------

    def is_passed(self) -> bool:
        complete = all(number in self.passed for number in self.limits.numbers)
        return complete and not self.failed and not any(exception.open for exception in self.exceptions)

    def status(self) -> UnitStatus:
        if self.scrapped or self.final_failure is not None:
            return UnitStatus.FAILED
        if self.is_passed():
            return UnitStatus.PASSED
        return UnitStatus.IN_PROGRESS if self.attempts or self.generation else UnitStatus.CREATED

    def failure_reason(self) -> str | None:
        if self.status() is not UnitStatus.FAILED:
            return None
        if self.final_failure is not None:
            return (
                ", ".join(self.final_failure.defects) or f"{self.limits.name(self.final_failure.process_number)} failed"
            )
        return "scrapped"

    def is_final(self) -> bool:
        at_first = self.final_failure is not None and not (
            self.limits.by_number[self.final_failure.process_number].rework_allowed
        )
        used_up = self.generation >= self.limits.max_reworks
        return self.scrapped or (self.final_failure is not None and (at_first or used_up))


def fold_unit(
    serial_number: str,
    records: Iterable[UnitRecord],
    decisions: Iterable[UnitDecision],
    limits: RouteLimits | None = None,
    permits: Iterable[UnitPermit] = (),
) -> UnitState:
    """The state of a unit from all its facts. Pure: any order and any repetition of them gives the same.

    ``permits`` are those that stations gave without central: a wrong one becomes an exception, and moves nothing.
    """
    rules = limits if limits is not None else RouteLimits()
    own = foremost((record for record in records if record.data_level is DataLevel.SERIAL), MAX_RECORDS + 1)
    ordered = in_order(own, decisions, permits)
    unit = _Unit(serial_number, rules)
    beyond = own[MAX_RECORDS] if len(own) > MAX_RECORDS else None
    for fact in ordered:
        if fact is beyond:
            unit.end(fact.key)
        elif isinstance(fact, UnitRecord):
            unit.take_record(fact)
        elif isinstance(fact, UnitDecision):
            unit.take_decision(fact)
        else:
            unit.check_permit(fact)
    seen = [fact for fact in ordered if isinstance(fact, UnitRecord) and fact is not beyond]
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
        started_at=min((record.completed_at for record in seen), default=None),
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
        exceptions=_bounded(sorted(unit.exceptions, key=RouteException.sort_key)),
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


def _lot(unit: _Unit, records: list[UnitRecord]) -> tuple[str | None, int | None]:
    """The unit's LOT: its number says it, else the first record that names one. Another one is an exception."""
    in_number = lot_of_serial(unit.serial_number)
    named = [record for record in records if record.lot_number is not None]
    lot_number = in_number[0] if in_number is not None else (named[0].lot_number if named else None)
    for record in named:
        if record.lot_number != lot_number:
            detail = f"{record.station} names {record.lot_number}, the unit belongs to {lot_number}"
            unit.tell(ExceptionCode.LOT_MISMATCH, detail, record.process_number, record.key)
    return lot_number, in_number[1] if in_number is not None else None


def _product_model(unit: _Unit, records: list[UnitRecord]) -> str | None:
    named = [record for record in records if record.product_model is not None]
    model = named[0].product_model if named else None
    for record in named:
        if record.product_model != model:
            detail = f"{record.station} names {record.product_model}, the unit is {model}"
            unit.tell(ExceptionCode.PRODUCT_MODEL_MISMATCH, detail, record.process_number, record.key)
    return model
