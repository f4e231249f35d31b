"""What each fact does to a unit, one after the other in their order (domain.md, Route)."""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import datetime

from contracts.criteria import Outcome
from contracts.facts import (
    HoldPlaced,
    HoldReleased,
    OrderOverridden,
    ReworkAuthorised,
    SerialCreated,
    SerialDeleted,
    StatusDecided,
    UnitScrapped,
)
from contracts.route_model import (
    MAX_RECORDS,
    Attempt,
    ExceptionCode,
    FactKey,
    Hold,
    RouteException,
    RouteLimits,
    SampleCheck,
    UnitDecision,
    UnitPermit,
    UnitRecord,
    UnitState,
    UnitStatus,
    hold_name,
)
from contracts.route_order import cannot_be_ordered
from contracts.route_start import may_start_by_its_own

COMPARED = 8
"""Judged results of a process and generation that a later one is compared with: more than any process allows."""

_JUDGED = (Outcome.PASS, Outcome.FAIL)


@dataclass
class UnitFold:
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
    released: set[str] = field(default_factory=set)
    exceptions: list[RouteException] = field(default_factory=list)
    last_judged: defaultdict[int, deque[UnitRecord]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=COMPARED))
    )
    final_failure: UnitRecord | None = None
    failed_by: StatusDecided | None = None
    passed_by: StatusDecided | None = None
    began_at: datetime | None = None
    completed_at: datetime | None = None
    created: SerialCreated | None = None
    deleted_at: datetime | None = None

    def tell(
        self, code: ExceptionCode, detail: str, process: int | None, about: FactKey, *, standing: bool = False
    ) -> None:
        self.exceptions.append(
            RouteException(code=code, detail=detail, process_number=process, about=about, open=standing)
        )

    def hold(self, code: ExceptionCode, detail: str, about: FactKey) -> None:
        hold_id = hold_name(code, about)
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
        if number in self.passed and number == self.limits.numbers[0]:
            detail = f"passed here before ({self.passed[number].station}): two units may bear this number"
            self.tell(ExceptionCode.NUMBER_GIVEN_TWICE, detail, number, record.key)
            self.hold(ExceptionCode.NUMBER_GIVEN_TWICE, detail, record.key)
            return
        if number in self.passed:
            self.tell(ExceptionCode.SECOND_PASS, "passed before in this generation", number, record.key)
            return
        if self.passed_by is not None:
            detail = "the unit had been passed by decision"
            self.tell(ExceptionCode.SECOND_PASS, detail, number, record.key)
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
        if number in self.passed or self.passed_by is not None:
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
        elif isinstance(decision, StatusDecided):
            self.decide_status(decision, fact.key)
        elif isinstance(decision, SerialCreated):
            self.created, self.deleted_at = decision, None
        elif isinstance(decision, SerialDeleted):
            self.deleted_at = decision.decided_at
        elif isinstance(decision, UnitScrapped):
            self.scrapped = True
            self.completed_at = decision.decided_at
        elif isinstance(decision, HoldPlaced):
            self.holds[decision.hold_id] = Hold(hold_id=decision.hold_id, reason=decision.reason, about=fact.key)
        elif isinstance(decision, HoldReleased):
            self.holds.pop(decision.hold_id, None)
            self.released.add(decision.hold_id)

    def decide_status(self, decision: StatusDecided, key: FactKey) -> None:
        """A person's word on the status. A move that the rules do not have is an exception; where it contradicts a
        PASSED unit, a hold besides."""
        status = self.status()
        if status in (UnitStatus.PASSED, UnitStatus.FAILED):
            if decision.status != status.value:
                detail = f"{decision.author} says {decision.status}, the unit was {status}"
                self.tell(ExceptionCode.STATUS_MOVE_NOT_ALLOWED, detail, None, key)
                if decision.status == "FAILED":
                    self.hold(ExceptionCode.STATUS_MOVE_NOT_ALLOWED, detail, key)
            return
        self.began_at = self.began_at or decision.decided_at
        if decision.status == "PASSED":
            names = ", ".join(self.limits.name(number) for number in self.limits.numbers if number not in self.passed)
            detail = f"passed by decision of {decision.author}: {decision.reason}"
            detail += f"; {names} had not passed" if names else ""
            self.tell(ExceptionCode.PASSED_BY_DECISION, detail, None, key)
            self.passed_by = decision
            self.failed.clear()
        elif decision.status == "FAILED":
            self.failed_by = decision
        if decision.status != "IN_PROGRESS":
            self.completed_at = decision.decided_at

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
        elif by_station and not failed and self.failed_by is None:
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
        self.final_failure = self.failed_by = self.passed_by = None
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
                deleted_at=None if self.attempts or self.began_at else self.deleted_at,
            )
            refusal = may_start_by_its_own(now, number, self.limits)
            why = None if refusal is None else f"{refusal.code}, {refusal.detail}"
        if why is not None:
            detail = f"{permit.station} let it start without central: {why}"
            self.tell(ExceptionCode.OFFLINE_PERMIT_WRONG, detail, number, permit.key)

    # -- what became of the machines' golden samples -----------------------------------------------------------------

    def take_check(self, check: SampleCheck) -> None:
        """A machine judged its golden sample wrongly, and no good check lies between that and its work on this unit.
        Who released the hold saw the check, whatever the station's clock says."""
        code = ExceptionCode.GOLDEN_SAMPLE_FAILED
        detail = f"{check.station}, {check.machine}: golden sample {check.sample} failed beside this unit"
        self.tell(code, detail, None, check.key)
        if hold_name(code, check.key) not in self.released:
            self.hold(code, detail, check.key)

    # -- what follows ------------------------------------------------------------------------------------------------

    def is_passed(self) -> bool:
        complete = all(number in self.passed for number in self.limits.numbers)
        return complete and not self.failed and not any(exception.open for exception in self.exceptions)

    def status(self) -> UnitStatus:
        if self.scrapped or self.final_failure is not None or self.failed_by is not None:
            return UnitStatus.FAILED
        if self.is_passed() or self.passed_by is not None:
            return UnitStatus.PASSED
        begun = self.attempts or self.generation or self.began_at is not None
        return UnitStatus.IN_PROGRESS if begun else UnitStatus.CREATED

    def failure_reason(self) -> str | None:
        if self.status() is not UnitStatus.FAILED:
            return None
        if self.final_failure is not None:
            return (
                ", ".join(self.final_failure.defects) or f"{self.limits.name(self.final_failure.process_number)} failed"
            )
        return "scrapped" if self.failed_by is None else self.failed_by.failure_reason

    def is_final(self) -> bool:
        at_first = self.final_failure is not None and not (
            self.limits.by_number[self.final_failure.process_number].rework_allowed
        )
        used_up = self.generation >= self.limits.max_reworks
        failed = self.final_failure is not None or self.failed_by is not None
        return self.scrapped or at_first or (failed and used_up)
