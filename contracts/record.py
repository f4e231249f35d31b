"""ProcessRecord: one result of one machine, judged, as it is kept, sent and stored."""

from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Self

from pydantic import Base64Bytes, Field, StrictBool, model_validator

from contracts.base import (
    Contract,
    DefectCode,
    LotNumber,
    Name,
    ProcessCode,
    Seq,
    SerialNumber,
    StationId,
    UtcTime,
)
from contracts.criteria import CriteriaRevision, MachineVerdict, MeasurementVerdict, Outcome, Verdict, subjects
from contracts.measurement import Measurement


class DataLevel(StrEnum):
    """What a record belongs to. A LOT record moves no serial."""

    LOT = "LOT"
    SERIAL = "SERIAL"


class Part(StrEnum):
    """What was on the machine. Only a PRODUCT counts for route, LOT and yield; the others are kept."""

    PRODUCT = "PRODUCT"
    GOLDEN_SAMPLE = "GOLDEN_SAMPLE"
    DRY_RUN = "DRY_RUN"
    CALIBRATION = "CALIBRATION"


class Defect(Contract):
    """A defect found on the unit, by us, by the machine or by a person."""

    code: DefectCode
    measurement: Name | None = None
    detail: str | None = None


class GoldenCheck(Contract):
    """What the record of a golden sample says of its machine. ``sample`` is its name in the station's settings, of
    which a machine may have several; ``good``: the machine judged it as it has to be judged."""

    sample: Name
    good: StrictBool


class ReworkRequest(Contract):
    """A station's own rework authorisation, carried by a record with outcome REWORK (domain.md, Route)."""

    return_to: ProcessCode
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class Entry(Contract):
    """A record's origin where no machine gave it: who entered or corrected it through the API, and when.

    Only central writes it. ``started`` names the seq, in central's own stream, of the start that the record ends.
    """

    by: Annotated[str, Field(min_length=1, max_length=100)]
    at: UtcTime
    notes: Annotated[str, Field(max_length=1000)] | None = None
    process_order: Annotated[int, Field(ge=0, le=1000)] | None = None
    started: Seq | None = None


class ProcessRecord(Contract):
    """One result, complete in itself: who, what, judged by which limits, when, and how it was read.

    ``cycle_key`` is the machine's own number for the result; ``cycle_epoch`` counts the machine's restarts as
    this station saw them. ``missed_before`` is how many results the counter shows as never read before this one
    (None: unknown, the counter stepped back, or stood still). ``possible_repeat`` marks a result that cannot be told
    from one read twice around a crash. ``raw`` is what the machine sent, kept whenever it could not be understood.
    ``source_timestamp`` is when the machine says the result came to be, kept as it came; ``source_clock_off`` says
    that it cannot be right, by the station's clock. ``clock_offset_seconds`` is how far the station's clock runs ahead;
    ``completed_within_seconds`` how far ``completed_at``, so corrected, may be from the truth at most. None: not known,
    the clock was never measured, or the result stood there for a while before it was seen. ``entered`` is there when a
    person gave the result, and never when a station did. ``golden`` is given for a golden sample that the station
    demands, and that could be judged.
    """

    station: StationId
    process: ProcessCode
    machine: Name
    data_level: DataLevel = DataLevel.SERIAL
    part: Part = Part.PRODUCT
    serial_number: SerialNumber | None = None
    lot_number: LotNumber | None = None
    product_model: str | None = None
    operator: str | None = None

    outcome: Outcome
    measurements: tuple[Measurement, ...] = ()
    verdicts: tuple[MeasurementVerdict, ...] = ()
    defects: tuple[Defect, ...] = ()
    machine_verdict: MachineVerdict | None = None
    disagreement: bool = False
    criteria_revision: CriteriaRevision | None = None
    judge_version: int | None = None

    started_at: UtcTime | None = None
    completed_at: UtcTime
    cycle_time_seconds: Annotated[float, Field(ge=0)] | None = None
    source_timestamp: UtcTime | None = None
    source_clock_off: bool = False
    clock_offset_seconds: float | None = None
    completed_within_seconds: Annotated[float, Field(ge=0)] | None = None

    cycle_key: int | str | None = None
    cycle_epoch: Annotated[int, Field(ge=0)] = 0
    missed_before: Annotated[int, Field(ge=0)] | None = 0
    possible_repeat: bool = False
    permit: Annotated[int, Field(ge=1)] | None = None
    rework: ReworkRequest | None = None
    reject_label: bool = False
    golden: GoldenCheck | None = None

    problems: tuple[str, ...] = ()
    raw: Base64Bytes | None = None
    software: str | None = None
    entered: Entry | None = None

    @model_validator(mode="after")
    def _belongs_to_something(self) -> Self:
        judged = self.outcome in (Outcome.PASS, Outcome.FAIL, Outcome.REWORK)
        if self.data_level is DataLevel.LOT:
            if self.serial_number is not None:
                raise ValueError("a LOT record names no serial_number")
            if judged and self.lot_number is None:
                raise ValueError("a LOT record needs a lot_number")
        elif judged and self.serial_number is None and self.part is Part.PRODUCT:
            raise ValueError(f"a SERIAL record with outcome {self.outcome} needs a serial_number")
        if self.golden is not None and (self.part is not Part.GOLDEN_SAMPLE or not judged):
            raise ValueError("golden is given for golden samples that were judged")
        if (self.rework is not None) != (self.outcome is Outcome.REWORK):
            raise ValueError("rework is given exactly when the outcome is REWORK")
        return self

    @model_validator(mode="after")
    def _never_a_pass_by_accident(self) -> Self:
        """A PASS carries its proof, as judge() gives it; a record that says PASS and shows otherwise is no record.

        Golden samples, reject labels and work by hand are judged by criteria as every result is. What a person entered
        is that person's word: where criteria judged it, it must not contradict them.
        """
        if self.outcome is Outcome.PASS and (reason := self._unproved()) is not None:
            raise ValueError(f"outcome PASS, but {reason}")
        return self

    def _unproved(self) -> str | None:
        by_hand = self.entered is not None
        if not by_hand and (self.criteria_revision is None or self.judge_version is None):
            return "criteria_revision and judge_version do not say what it was judged by"
        if self.machine_verdict is MachineVerdict.FAIL:
            return "the machine's own verdict is FAIL"
        if self.problems:
            return f"there is a problem: {self.problems[0]}"
        measured = {measurement.name for measurement in self.measurements}
        judged = [one for one in self.verdicts if one.verdict is not Verdict.NOT_JUDGED]
        for one in judged:
            if one.verdict not in (Verdict.PASS, Verdict.WARN):
                return f"the verdict of {one.name} is {one.verdict}"
            if one.limit is None:
                return f"the verdict of {one.name} has no limit"
            if not measured.issuperset(subjects(one.name, one.limit)):
                return f"the verdict of {one.name} has no measurement"
        return None if judged or by_hand else "nothing was judged"

    @property
    def result(self) -> str | None:
        """The MES result: PASS, FAIL or REWORK; None for ERROR and ABORTED."""
        return self.outcome.value if self.outcome in (Outcome.PASS, Outcome.FAIL, Outcome.REWORK) else None

    @property
    def warned(self) -> bool:
        """True when a verdict is WARN: a PASS with a flag."""
        return any(v.verdict is Verdict.WARN for v in self.verdicts)


def corrected_time(record: ProcessRecord) -> datetime:
    """``completed_at`` by a true clock: ``clock_offset_seconds`` is how far the station's clock runs ahead of it."""
    return shifted(record.completed_at, record.clock_offset_seconds)


def shifted(moment: datetime, seconds: float | None) -> datetime:
    """So many seconds earlier; the moment itself where that lies outside the calendar."""
    try:
        return moment - timedelta(seconds=seconds or 0)
    except OverflowError:
        return moment


def canonical(record: Contract) -> bytes:
    """The one byte form of a record: fields in the order of the model, defaults left out.

    Defaults are left out so that a field added later does not change the bytes of an older record.
    """
    return record.model_dump_json(exclude_defaults=True).encode()


def digest(record: Contract) -> str:
    """SHA-256 of ``canonical(record)`` in hexadecimal: tells a repeat from other content under the same number."""
    return digest_of(canonical(record))


def digest_of(body: bytes) -> str:
    """The digest of a record that is in canonical bytes already."""
    return sha256(body).hexdigest()
