"""Parsed cycle -> judged record. Pure: the clock's answers are arguments."""

from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from agent.cycles import Step
from agent.parsing import Parsed
from agent.settings import MachineSettings, StationSettings
from contracts.criteria import (
    JUDGE_VERSION,
    CriteriaSet,
    Judgement,
    MachineVerdict,
    Outcome,
    Verdict,
    judge,
    subjects,
)
from contracts.identity import lot_of_serial
from contracts.record import Defect, Part, ProcessRecord

_MOST_REASONS, _LONGEST_REASON = 5, 300
"""What the log holds of one ERROR; the record has all of it."""


@dataclass(frozen=True)
class Cycle:
    """How a result was read: by which machine, when (station's clock), which number, which bytes.

    ``gap``: results before this one may be lost; a machine that counts says itself how many.
    """

    machine: str
    completed_at: datetime
    source_timestamp: datetime | None
    step: Step | None
    possible_repeat: bool
    raw: bytes | None
    clock_offset_seconds: float | None = None
    completed_within_seconds: float | None = None
    source_clock_off: bool = False
    gap: bool = False

    @property
    def missed_before(self) -> int | None:
        """Results never read before this one; None where that is not known."""
        if self.step is not None:
            return self.step.missed
        return None if self.gap else 0


def criteria_for(machine: MachineSettings, settings: StationSettings, criteria: CriteriaSet) -> CriteriaSet:
    """The criteria a machine's record is judged by, under their own revision.

    Those of its own measurements and of its companions', and those no machine of the station measures: they are
    missing, and make an ERROR. What only another machine measures is judged in that machine's record; a formula in
    the record of a machine that has a part in it.
    """
    own = measured_by(machine, settings)
    others: set[str] = set()
    for other in settings.machines.values():
        others |= measured_by(other, settings)
    elsewhere = others - own
    kept = {
        name: criterion
        for name, criterion in criteria.criteria.items()
        if not elsewhere.issuperset(subjects(name, criterion))
    }
    return criteria.model_copy(update={"criteria": kept})


def measured_by(machine: MachineSettings, settings: StationSettings) -> set[str]:
    """What a machine's records hold: its own measurements, and its companions' as ``machine.point``."""
    if not machine.records:
        return set()
    found = set(machine.measurement_names)
    for wanted in machine.companions:
        companion = settings.machines[wanted.machine]
        found |= {f"{companion.name}.{measured}" for measured in companion.measurement_names}
    return found


def numbered(parsed: Parsed, number: str) -> Parsed:
    """The result of a unit that the machine was told to give this number: it is that unit's, and an ERROR where the
    machine reports another number (domain.md, Identity)."""
    reported = parsed.serial_number
    if reported == number:
        return parsed
    problems = parsed.problems
    if reported is not None:
        problems = (*problems, f"the machine was told to give the unit the number {number}, and reports {reported}")
    lot_number = lot_of_serial(number)
    return replace(
        parsed,
        serial_number=number,
        lot_number=parsed.lot_number if lot_number is None else lot_number[0],
        problems=problems,
    )


def judged(
    parsed: Parsed, cycle: Cycle, settings: StationSettings, criteria: CriteriaSet, software: str
) -> ProcessRecord:
    """The record of one cycle, judged by ``criteria`` (``criteria_for`` its machine).

    What could not be understood gives ERROR with the raw bytes kept, never PASS.
    """
    judgement = judge(parsed.measurements, criteria, parsed.machine_verdict)
    problems = list(parsed.problems)
    part = settings.part(parsed.serial_number)
    if parsed.serial_number is None and part is Part.PRODUCT:
        problems.append("no serial number")
    outcome = _outcome(parsed, judgement, problems)
    step = cycle.step
    started_at = None
    if parsed.cycle_time_seconds is not None:
        started_at = cycle.completed_at - timedelta(seconds=parsed.cycle_time_seconds)
    return ProcessRecord(
        station=settings.station.id,
        process=settings.station.process,
        machine=cycle.machine,
        part=part,
        serial_number=parsed.serial_number,
        lot_number=parsed.lot_number,
        product_model=parsed.product_model or settings.product_model,
        operator=parsed.operator or settings.operator,
        outcome=outcome,
        measurements=parsed.measurements,
        verdicts=judgement.verdicts,
        defects=_defects(outcome, judgement, parsed, cycle.machine, settings),
        machine_verdict=parsed.machine_verdict,
        disagreement=judgement.disagreement,
        criteria_revision=criteria.revision,
        judge_version=JUDGE_VERSION,
        started_at=started_at,
        completed_at=cycle.completed_at,
        cycle_time_seconds=parsed.cycle_time_seconds,
        source_timestamp=cycle.source_timestamp,
        source_clock_off=cycle.source_clock_off,
        clock_offset_seconds=cycle.clock_offset_seconds,
        completed_within_seconds=cycle.completed_within_seconds,
        cycle_key=step.cursor.key if step is not None else None,
        cycle_epoch=step.cursor.epoch if step is not None else 0,
        missed_before=cycle.missed_before,
        possible_repeat=cycle.possible_repeat,
        rework=parsed.rework if outcome is Outcome.REWORK else None,
        reject_label=parsed.reject_label,
        problems=tuple(problems),
        raw=None if cycle.raw is None or outcome is not Outcome.ERROR else b64encode(cycle.raw),
        software=software,
    )


def unjudged(cycle: Cycle, settings: StationSettings, software: str, problem: str) -> ProcessRecord:
    """The record of a result our own program failed on: an ERROR that says so, with what was read in ``raw``."""
    step = cycle.step
    return ProcessRecord(
        station=settings.station.id,
        process=settings.station.process,
        machine=cycle.machine,
        outcome=Outcome.ERROR,
        completed_at=cycle.completed_at,
        clock_offset_seconds=cycle.clock_offset_seconds,
        completed_within_seconds=cycle.completed_within_seconds,
        cycle_key=step.cursor.key if step is not None else None,
        cycle_epoch=step.cursor.epoch if step is not None else 0,
        missed_before=cycle.missed_before,
        possible_repeat=cycle.possible_repeat,
        problems=(problem,),
        raw=None if cycle.raw is None else b64encode(cycle.raw),
        software=software,
    )


def told_of(record: ProcessRecord) -> dict[str, Any]:
    """What the log says of a result: what it is, and of an ERROR why it could not be judged."""
    told: dict[str, Any] = {
        "outcome": record.outcome.value,
        "serial_number": record.serial_number,
        "cycle_key": record.cycle_key,
    }
    if record.outcome is Outcome.ERROR:
        unjudged = [f"{one.name}: {one.reason}" for one in record.verdicts if one.verdict is Verdict.ERROR]
        reasons = [*record.problems, *unjudged] or ["nothing of it has a criterion"]
        told["reasons"] = [reason[:_LONGEST_REASON] for reason in reasons[:_MOST_REASONS]]
        if len(reasons) > _MOST_REASONS:
            told["more_reasons"] = len(reasons) - _MOST_REASONS
    return told


def _outcome(parsed: Parsed, judgement: Judgement, problems: list[str]) -> Outcome:
    if parsed.aborted:
        return Outcome.ABORTED
    if problems:
        return Outcome.ERROR
    if parsed.rework is not None:
        return Outcome.REWORK
    return judgement.outcome


def _defects(
    outcome: Outcome, judgement: Judgement, parsed: Parsed, machine: str, settings: StationSettings
) -> tuple[Defect, ...]:
    if outcome is not Outcome.FAIL:
        return ()
    found = [Defect(code=code, measurement=name) for name, code in parsed.defects.items()]
    found += [
        Defect(code=verdict.limit.defect, measurement=verdict.name, detail=verdict.reason)
        for verdict in judgement.verdicts
        if verdict.verdict is Verdict.FAIL and verdict.limit is not None and verdict.limit.defect is not None
    ]
    verdict_settings = settings.machines[machine].machine_verdict
    if not found and judgement.disagreement and verdict_settings is not None and verdict_settings.defect is not None:
        found.append(Defect(code=verdict_settings.defect, detail=f"{machine}: {MachineVerdict.FAIL}"))
    return tuple(found)
