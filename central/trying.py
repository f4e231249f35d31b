"""Criteria tried on what was measured before: which verdicts would change, and what becomes of the yield."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from contracts.criteria import Criteria, CriteriaSet, Judgement, Outcome, Verdict, judge, subjects
from contracts.record import DataLevel, Part, ProcessRecord

MOST_TOLD = 20
_GOOD = (Verdict.PASS, Verdict.WARN)


@dataclass
class Yield:
    """Of the first records of units: how many there are, and how many passed."""

    judged: int = 0
    passed: int = 0

    def count(self, *, passed: bool) -> None:
        """One more."""
        self.judged += 1
        self.passed += passed

    @property
    def share(self) -> float | None:
        """None while nothing was judged."""
        return self.passed / self.judged if self.judged else None


@dataclass
class Tried:
    """What came of it. ``left``: aborted, reworked, or with a problem no criteria can mend; these stay as they are."""

    records: int = 0
    left: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    before: Yield = field(default_factory=Yield)
    after: Yield = field(default_factory=Yield)
    by_measurement: dict[str, tuple[Yield, Yield]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """Records whose outcome would be another."""
        return sum(count for (before, after), count in self.outcomes.items() if before != after)


def try_criteria(
    records: Iterable[ProcessRecord], criteria: Criteria, measured: Mapping[tuple[str, str], set[str]]
) -> Tried:
    """Judge these records (of one unit together) again. ``measured``: station and machine -> what it measures."""
    found = Tried()
    sets: dict[tuple[str | None, str, str], CriteriaSet] = {}
    for serial_number, group in groupby(_counted(records, found), key=lambda record: record.serial_number):
        judged = [(record, _again(record, criteria, measured, sets)) for record in group]
        for record, again in judged:
            _compare(found, record, again)
        if serial_number is not None:
            _first(found, *min(judged, key=lambda one: one[0].completed_at))
    return found


def _counted(records: Iterable[ProcessRecord], found: Tried) -> Iterator[ProcessRecord]:
    for record in records:
        if record.part is not Part.PRODUCT or record.data_level is not DataLevel.SERIAL:
            continue
        found.records += 1
        if record.problems or record.outcome in (Outcome.ABORTED, Outcome.REWORK):
            found.left += 1
        else:
            yield record


def _again(
    record: ProcessRecord,
    criteria: Criteria,
    measured: Mapping[tuple[str, str], set[str]],
    sets: dict[tuple[str | None, str, str], CriteriaSet],
) -> Judgement:
    key = (record.product_model, record.station, record.machine)
    if key not in sets:
        whole = criteria.chosen("tried", *key)
        own = measured.get((record.station, record.machine), set())
        of_station = (names for (station, _), names in measured.items() if station == record.station)
        elsewhere = set().union(*of_station) - own
        kept = {
            name: criterion
            for name, criterion in whole.criteria.items()
            if not elsewhere.issuperset(subjects(name, criterion))
        }
        sets[key] = whole.model_copy(update={"criteria": kept})
    return judge(record.measurements, sets[key], record.machine_verdict)


def _compare(found: Tried, record: ProcessRecord, again: Judgement) -> None:
    found.outcomes[record.outcome.value, again.outcome.value] += 1
    stored = {one.name: one.verdict for one in record.verdicts}
    for one in again.verdicts:
        before = stored.get(one.name, Verdict.NOT_JUDGED)
        if before is not one.verdict:
            found.verdicts[one.name, before.value, one.verdict.value] += 1
    if record.outcome is not again.outcome and len(found.told) < MOST_TOLD:
        reasons = "; ".join(f"{one.name}: {one.reason}" for one in again.verdicts if one.reason)
        unit = record.serial_number or "no unit"
        found.told.append(f"{unit} at {record.station}: {record.outcome} -> {again.outcome} {reasons}".rstrip())


def _first(found: Tried, record: ProcessRecord, again: Judgement) -> None:
    found.before.count(passed=record.outcome is Outcome.PASS)
    found.after.count(passed=again.outcome is Outcome.PASS)
    for place, verdicts in enumerate((record.verdicts, again.verdicts)):
        for one in verdicts:
            if one.verdict is not Verdict.NOT_JUDGED:
                both = found.by_measurement.setdefault(one.name, (Yield(), Yield()))
                both[place].count(passed=one.verdict in _GOOD)
