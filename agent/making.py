"""From a reading to its record: what the permit said of the unit, what companions are asked to do, the judgement."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agent.criteria import StationCriteria
from agent.golden import GoldenSamples
from agent.judging import Cycle, judged, numbered
from agent.parsing import Parsed, parse
from agent.settings import MachineSettings, StationSettings
from agent.told import Told
from contracts.criteria import CriteriaSet
from contracts.measurement import Measurement, Scalar
from contracts.record import Part, ProcessRecord
from drivers.base import REJECT_LABEL, Reading

Answers = Mapping[str, tuple[MachineSettings, Reading | str]]
"""Companion -> its settings and what it answered, or why it did not."""
PRINTED_AGAIN = "printed_again"
"""Measurement of a record whose label may be there twice: the station was interrupted after it was asked for."""


@dataclass(frozen=True)
class Said:
    """All that is known of one result: the machine's reading, what its scanner read of the unit or why there is
    nothing, and what the permit said. ``again``: companions were asked for this result before, and nothing was kept.
    """

    reading: Reading
    scanned: Reading | str | None
    told: Told
    again: bool = False


class Making:
    """Makes the records of one machine. Keeps nothing."""

    def __init__(
        self,
        machine: MachineSettings,
        settings: StationSettings,
        criteria: StationCriteria,
        golden: GoldenSamples | None,
        software: str,
    ) -> None:
        self._machine = machine
        self._settings = settings
        self._criteria = criteria
        self._golden = golden
        self._software = software

    def job(self, said: Said) -> dict[str, Scalar] | None:
        """What companions are to do for this unit; None where nothing is done to it: a rework, one that was given up,
        or one that is to be labelled again for no reason."""
        parsed, told = parse(self._machine, said.reading, scanned=said.scanned), said.told
        if parsed.rework is not None or parsed.aborted or self._withheld(parsed, told) is not None:
            return None
        permitted = told.of(parsed.serial_number)
        # A label bears the day of the place where it is printed.
        job: dict[str, Scalar] = {"date": datetime.now(UTC).astimezone().date().isoformat()}
        job[REJECT_LABEL] = parsed.reject_label or told.rejects(parsed.serial_number)
        given = {
            "serial_number": parsed.serial_number,
            "lot_number": parsed.lot_number or permitted.get("lot_number"),
            "product_model": parsed.product_model or permitted.get("product_model") or self._settings.product_model,
            "firmware": permitted.get("firmware"),
            "firmware_checksum": permitted.get("firmware_checksum"),
        }
        return job | {name: value for name, value in given.items() if value is not None}

    def record(self, said: Said, cycle: Cycle, answers: Answers) -> ProcessRecord:
        """The record, by the criteria for this unit's product model, which the reading itself or the permit tells."""
        model, at = self._settings.product_model, cycle.completed_at
        criteria = self._criteria.for_unit(self._machine, model, at)
        parsed = self._parsed(said, criteria, answers)
        of_sample = None if self._golden is None else self._golden.criteria_of(parsed.serial_number)
        if of_sample is not None or parsed.product_model not in (None, model):
            criteria = of_sample or self._criteria.for_unit(self._machine, parsed.product_model, at)
            # Which texts are numbers, the criteria tell.
            parsed = self._parsed(said, criteria, answers)
        more = said.told.measurements(criteria, parsed.serial_number)
        if said.again:
            more = (*more, Measurement(name=PRINTED_AGAIN, value=True))
        parsed = replace(parsed, measurements=(*parsed.measurements, *more))
        return judged(parsed, cycle, self._settings, criteria, self._software)

    def _parsed(self, said: Said, criteria: CriteriaSet, answers: Answers) -> Parsed:
        """What the reading says, with what the permit said of the unit where the machine says nothing of it."""
        parsed, told = parse(self._machine, said.reading, criteria, answers, said.scanned), said.told
        if told.number is not None and self._settings.part(parsed.serial_number) is Part.PRODUCT:
            parsed = numbered(parsed, told.number)
        if told.rejects(parsed.serial_number) and parsed.rework is None:
            parsed = replace(parsed, reject_label=True)
        if (why := self._withheld(parsed, told)) is not None:
            parsed = replace(parsed, problems=(*parsed.problems, why))
        if parsed.product_model is None:
            parsed = replace(parsed, product_model=told.of(parsed.serial_number).get("product_model"))
        return parsed

    def _withheld(self, parsed: Parsed, told: Told) -> str | None:
        """Why nothing is done to this unit, for a technician; None where it is."""
        reprint, attempt = self._machine.reprint, told.attempt(parsed.serial_number)
        if reprint is None or parsed.reprint_reason is not None or parsed.rework is not None or attempt <= 1:
            return None
        return (
            f"labelled here before (attempt {attempt}), and no reason is given (point {reprint.reason}); scan one too"
        )
