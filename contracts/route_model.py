"""What the route fold takes and what it gives: thin facts in, the derived state of a unit and of a LOT out."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from hashlib import sha256

from contracts.criteria import Outcome
from contracts.facts import AnyDecision, ExceptionClosed
from contracts.processes import PROCESSES, Process
from contracts.record import DataLevel

MAX_RECORDS = 500
"""Records of one unit that are folded: the earliest ones. No unit has so many; a word that a code reader says for
"nothing read" soon has thousands, and each one more would cost more than the one before."""

MAX_EXCEPTIONS = 100
"""Exceptions of one unit that are told one by one."""

FactKey = tuple[str, int]
"""Names one fact: stream_id and seq."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRecord:
    """A station's record, as thin as the route needs it. Only records of a PRODUCT are given to the fold.

    ``completed_at`` is already corrected by the station's clock offset, and ``completed_within_s`` is how far it may be
    from the truth; None: nobody knows. ``return_to`` is the process number a REWORK
    record returns to; None when it names a process that central does not know. A process number that is not in the
    route is an exception on the unit.
    """

    stream_id: str
    seq: int
    station: str
    process_number: int
    outcome: Outcome
    completed_at: datetime
    permit: int | None = None
    return_to: int | None = None
    reject_label: bool = False
    lot_number: str | None = None
    product_model: str | None = None
    defects: tuple[str, ...] = ()
    data_level: DataLevel = DataLevel.SERIAL
    machine: str = ""
    completed_within_s: float | None = None

    @property
    def key(self) -> FactKey:
        """Stream and seq."""
        return self.stream_id, self.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitDecision:
    """A person's decision and its place in central's own stream."""

    stream_id: str
    seq: int
    decision: AnyDecision

    @property
    def key(self) -> FactKey:
        """Stream and seq."""
        return self.stream_id, self.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPermit:
    """A permit that a station gave without central, and its place in the station's stream. ``at`` is corrected by the
    station's clock offset. What central gave is not here: it knew the facts."""

    stream_id: str
    seq: int
    station: str
    process_number: int
    at: datetime
    serial_number: str

    @property
    def key(self) -> FactKey:
        """Stream and seq."""
        return self.stream_id, self.seq


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCheck:
    """A golden sample's record, as thin as the route needs it. ``at`` is corrected by the station's clock offset;
    ``good``: the machine judged the sample as it has to be judged."""

    stream_id: str
    seq: int
    station: str
    machine: str
    sample: str
    good: bool
    at: datetime

    @property
    def key(self) -> FactKey:
        """Stream and seq."""
        return self.stream_id, self.seq


@dataclass(frozen=True)
class RouteLimits:
    """The site's settings of the route.

    ``processes`` in route order carry each process's retest limit and whether it may be reworked.
    ``station_rework``: a station's own REWORK record authorises a rework. ``label_process``: where a failed unit may
    be given a reject label.
    """

    processes: tuple[Process, ...] = PROCESSES
    max_reworks: int = 3
    station_rework: bool = True
    label_process: int = 7

    @cached_property
    def by_number(self) -> Mapping[int, Process]:
        """The processes of the route by number, in order."""
        return {process.number: process for process in sorted(self.processes, key=lambda p: p.number)}

    @cached_property
    def by_code(self) -> Mapping[str, Process]:
        """The processes of the route by code."""
        return {process.code: process for process in self.processes}

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """The process numbers, rising."""
        return tuple(self.by_number)

    def needed_before(self, number: int) -> tuple[int, ...]:
        """The processes that must have passed before this one: the one before it; before the last one all others."""
        place = self.numbers.index(number)
        return self.numbers[:place] if number == self.numbers[-1] else self.numbers[max(place - 1, 0) : place]

    def name(self, number: int) -> str:
        """A process as people read it: its code, or its number where the route does not have it."""
        process = self.by_number.get(number)
        return process.code if process else f"process {number}"


class UnitStatus(StrEnum):
    """Where a unit stands."""

    CREATED = "CREATED"
    IN_PROGRESS = "IN_PROGRESS"
    PASSED = "PASSED"
    FAILED = "FAILED"


class LotStatus(StrEnum):
    """Where a LOT stands."""

    CREATED = "CREATED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    CLOSED = "CLOSED"


class ExceptionCode(StrEnum):
    """What is wrong with a fact only beside other facts: it is kept, and shown."""

    PREVIOUS_PROCESS_NOT_COMPLETED = "PREVIOUS_PROCESS_NOT_COMPLETED"
    SECOND_PASS = "SECOND_PASS"  # not a password
    FAIL_AFTER_PASS = "FAIL_AFTER_PASS"  # not a password
    TWO_STATIONS_AT_ONCE = "TWO_STATIONS_AT_ONCE"
    RETEST_LIMIT_REACHED = "RETEST_LIMIT_REACHED"
    REWORK_LIMIT_REACHED = "REWORK_LIMIT_REACHED"
    REWORK_NOT_ALLOWED = "REWORK_NOT_ALLOWED"
    REJECT_LABEL_NOT_FAILED = "REJECT_LABEL_NOT_FAILED"
    WORK_AFTER_SCRAPPED = "WORK_AFTER_SCRAPPED"
    TOO_MANY_RECORDS = "TOO_MANY_RECORDS"
    MORE_EXCEPTIONS = "MORE_EXCEPTIONS"
    UNKNOWN_PROCESS = "UNKNOWN_PROCESS"
    LOT_MISMATCH = "LOT_MISMATCH"
    PRODUCT_MODEL_MISMATCH = "PRODUCT_MODEL_MISMATCH"
    LOT_NOT_FOUND = "LOT_NOT_FOUND"
    LOT_CREATED_TWICE = "LOT_CREATED_TWICE"
    LOT_CLOSED_INCOMPLETE = "LOT_CLOSED_INCOMPLETE"
    UNIT_BEYOND_TARGET = "UNIT_BEYOND_TARGET"
    WORK_AFTER_CLOSED = "WORK_AFTER_CLOSED"
    OFFLINE_PERMIT_WRONG = "OFFLINE_PERMIT_WRONG"
    PASSED_BY_DECISION = "PASSED_BY_DECISION"  # not a password
    STATUS_MOVE_NOT_ALLOWED = "STATUS_MOVE_NOT_ALLOWED"
    WORK_AFTER_DELETED = "WORK_AFTER_DELETED"
    NUMBER_GIVEN_TWICE = "NUMBER_GIVEN_TWICE"
    GOLDEN_SAMPLE_FAILED = "GOLDEN_SAMPLE_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteException:
    """One derived exception. ``open``: it stands between the unit and PASSED. ``closed_by``: a person has looked into
    it, and ``closed_because`` is what came of it; that moves nothing."""

    code: ExceptionCode
    detail: str
    process_number: int | None = None
    about: FactKey | None = None
    serial_number: str | None = None
    open: bool = False
    closed_by: str | None = None
    closed_because: str | None = None

    def sort_key(self) -> tuple[str, int, FactKey, str, str]:
        """The one order exceptions are listed in."""
        return self.code, self.process_number or 0, self.about or ("", 0), self.serial_number or "", self.detail


def exception_id(
    number: str,
    code: str,
    process_number: int | None,
    about: Sequence[str | int] | None,
    serial_number: str | None,
    detail: str,
) -> str:
    """What makes it the same exception of this unit or LOT, however often it is derived: 16 hexadecimal digits.

    One that no single fact makes (a LOT closed incomplete) is another one when its words are others.
    """
    parts = [number, code, process_number, list(about) if about else detail, serial_number]
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]


def closed(
    number: str, exceptions: Iterable[RouteException], decisions: Iterable[UnitDecision]
) -> tuple[RouteException, ...]:
    """The exceptions of this unit or LOT, those that people closed with their words; the first word counts."""
    words: dict[str, ExceptionClosed] = {}
    for fact in decisions:
        if isinstance(fact.decision, ExceptionClosed):
            words.setdefault(fact.decision.exception_id, fact.decision)
    if not words:
        return tuple(exceptions)
    found = []
    for one in exceptions:
        word = words.get(exception_id(number, one.code, one.process_number, one.about, one.serial_number, one.detail))
        found.append(one if word is None else replace(one, closed_by=word.author, closed_because=word.reason))
    return tuple(found)


def hold_name(code: ExceptionCode, about: FactKey) -> str:
    """The ``hold_id`` of a hold that is derived from a fact: who releases it names it so."""
    return f"{code}:{about[0]}:{about[1]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What stops permits until a HoldReleased of the same ``hold_id``.

    ``code`` is None for a hold a person placed, else the exception the hold is derived from.
    """

    hold_id: str
    reason: str
    code: ExceptionCode | None = None
    about: FactKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One record in its place: the generation it belongs to, and the how-manieth in its process there (from 1)."""

    record: FactKey
    process_number: int
    outcome: Outcome
    completed_at: datetime
    generation: int
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFailure:
    """A process whose last judged attempt failed. ``retests_left`` 0: only a rework can help."""

    process_number: int
    record: FactKey
    defects: tuple[str, ...]
    retests_left: int


@dataclass(frozen=True, kw_only=True)
class UnitState:
    """All that is derived of one unit.

    ``generation`` is 0 before any rework and equals ``rework_count``. ``passed`` holds the passes that count in the
    current generation: process number -> record. ``final``: FAILED, and no rework can change it. ``completed_at`` is
    when the unit became PASSED or FAILED. ``overridden``: processes a manager opened out of order in this generation.
    ``deleted_at``: taken away, and nothing was ever done to it.
    """

    serial_number: str
    status: UnitStatus = UnitStatus.CREATED
    final: bool = False
    scrapped: bool = False
    generation: int = 0
    rework_count: int = 0
    failure_reason: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    last_record_at: datetime | None = None
    last_process: int | None = None
    passed: Mapping[int, FactKey] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()
    open_failures: tuple[OpenFailure, ...] = ()
    overridden: frozenset[int] = frozenset()
    holds: tuple[Hold, ...] = ()
    lot_number: str | None = None
    sequence_in_lot: int | None = None
    product_model: str | None = None
    deleted_at: datetime | None = None
    exceptions: tuple[RouteException, ...] = ()

    @property
    def on_hold(self) -> bool:
        """True while any hold of the unit itself stands; its LOT may be on hold besides."""
        return bool(self.holds)


@dataclass(frozen=True, kw_only=True)
class LotState:
    """All that is derived of one LOT.

    ``created`` is False while records name a LOT that nobody has opened yet. ``actual_quantity`` counts units with a
    record, ``failed_quantity`` those that are finally failed. ``deleted_at``: taken away, and nothing was made in it.
    """

    lot_number: str
    created: bool = False
    status: LotStatus = LotStatus.CREATED
    short_closed: bool = False
    target_quantity: int | None = None
    actual_quantity: int = 0
    passed_quantity: int = 0
    failed_quantity: int = 0
    product_model: str | None = None
    closed_at: datetime | None = None
    deleted_at: datetime | None = None
    holds: tuple[Hold, ...] = ()
    exceptions: tuple[RouteException, ...] = ()

    @property
    def on_hold(self) -> bool:
        """True while any hold of the LOT stands."""
        return bool(self.holds)
