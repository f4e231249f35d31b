"""``judge()``: the one comparator of the project."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from contracts.base import Contract, Name
from contracts.criteria.compare import Check, Found, Measured, across_of, check_of, unusable
from contracts.criteria.rules import CriteriaSet, Criterion, subjects
from contracts.criteria.verdicts import MachineVerdict, Outcome, Verdict
from contracts.measurement import Measurement

JUDGE_VERSION = 2
"""Raised whenever judge() gives another verdict for the same input.

1: one unit for limit and value. 2: units are converted; percentages, open ends, decimals, warnings, formulas, lists.
"""


class MeasurementVerdict(Contract):
    """One verdict, with the limit it was given by and the reason where it is not a PASS."""

    name: Name
    verdict: Verdict
    limit: Criterion | None = None
    reason: str | None = None


class Judgement(Contract):
    """What judge() found: a verdict per measurement, and the worst of them."""

    outcome: Outcome
    verdicts: tuple[MeasurementVerdict, ...]
    disagreement: bool
    """True when the machine's own verdict and ours differ; the worse one is the outcome."""


def judge(
    measurements: Sequence[Measurement], criteria: CriteriaSet | None, machine_verdict: MachineVerdict | None = None
) -> Judgement:
    """Judge measurements against criteria. Pure: the same input gives the same verdict anywhere, any year.

    A criterion whose measurement is missing gives ERROR; a measurement without a criterion is NOT_JUDGED. Without
    criteria, or with nothing judged, the outcome is ERROR: never PASS by accident. ERROR outweighs FAIL: where the
    station could not judge, it does not claim to know the unit. A WARN passes. The machine's FAIL makes our PASS a
    FAIL.
    """
    rules = _prepared(criteria) if criteria is not None else {}
    by_name: dict[str, Measurement] = {}
    repeated: set[str] = set()
    for measurement in measurements:
        if measurement.name in by_name:
            repeated.add(measurement.name)
        by_name[measurement.name] = measurement
    once = {name: one for name, one in by_name.items() if name not in repeated} if repeated else by_name

    verdicts = [rule.judged(by_name, once, repeated) for rule in rules.values()]
    verdicts += [_not_judged(name) for name in by_name if name not in rules]
    judged = {verdict.verdict for verdict in verdicts}
    judged.discard(Verdict.NOT_JUDGED)
    if not judged or Verdict.ERROR in judged:
        ours = Outcome.ERROR
    else:
        ours = Outcome.FAIL if Verdict.FAIL in judged else Outcome.PASS
    outcome = Outcome.FAIL if ours is Outcome.PASS and machine_verdict is MachineVerdict.FAIL else ours
    disagreement = (
        machine_verdict is not None and ours in (Outcome.PASS, Outcome.FAIL) and ours.value != machine_verdict.value
    )
    return Judgement(outcome=outcome, verdicts=tuple(verdicts), disagreement=disagreement)


class _Rule:
    """A criterion made ready: its comparison, and its PASS, which is the same for every record."""

    def __init__(self, name: str, criterion: Criterion) -> None:
        across = criterion.formula is not None or criterion.holds is not None
        self._name = name
        self._limit = criterion
        self._check: Check | None = None if across else check_of(criterion)
        self._across = across_of(criterion) if across else None
        self._needs = subjects(name, criterion)
        self._passed = MeasurementVerdict(name=name, verdict=Verdict.PASS, limit=criterion)

    def judged(self, by_name: Measured, once: Measured, repeated: set[str]) -> MeasurementVerdict:
        verdict, reason = self._found(by_name, once, repeated)
        if verdict is Verdict.PASS:
            return self._passed
        return MeasurementVerdict(name=self._name, verdict=verdict, limit=self._limit, reason=reason)

    def _found(self, by_name: Measured, once: Measured, repeated: set[str]) -> Found:
        if self._across is not None:
            twice = [name for name in self._needs if name in repeated]
            return (Verdict.ERROR, f"{twice[0]}: measured twice in one record") if twice else self._across(once)
        if self._name in repeated:
            return Verdict.ERROR, "measured twice in one record"
        measurement = by_name.get(self._name)
        why = unusable(measurement)
        if why is not None or measurement is None:
            return Verdict.ERROR, why
        assert self._check is not None
        return self._check(measurement, once)


_MOST_PREPARED = 64
_ready: dict[int, tuple[CriteriaSet, Mapping[str, _Rule]]] = {}
"""What was prepared for the sets in use, by identity; each entry holds its set, so that no other can have its id."""


def _prepared(criteria: CriteriaSet) -> Mapping[str, _Rule]:
    found = _ready.get(id(criteria))
    if found is not None:
        return found[1]
    rules = {name: _Rule(name, criterion) for name, criterion in criteria.criteria.items()}
    if len(_ready) >= _MOST_PREPARED:
        _ready.clear()
    _ready[id(criteria)] = criteria, rules
    return rules


@lru_cache(maxsize=512)
def _not_judged(name: str) -> MeasurementVerdict:
    return MeasurementVerdict(name=name, verdict=Verdict.NOT_JUDGED)
