"""What came in once, parsed and judged by a file as it is now: what would differ."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.history import Line
from agent.judging import criteria_for
from agent.parsing import parse
from agent.settings import MachineSettings, StationSettings
from contracts.criteria import Outcome, Verdict, judge
from drivers.base import Reading
from drivers.registry import protocols


@dataclass(frozen=True)
class Replayed:
    """One result again. ``differences`` are lines ``name: before -> now``; None: it was not judged before."""

    line: Line
    outcome: str
    problems: tuple[str, ...]
    measurements: Mapping[str, str]
    differences: tuple[str, ...]


def replayed(settings: StationSettings, lines: Iterable[Line]) -> Iterator[Replayed]:
    """Every line of a machine that the file has, in their order. The criteria are the file's own."""
    for line in lines:
        machine = settings.machines.get(line.machine)
        if machine is not None:
            yield _again(settings, machine, line)


def _again(settings: StationSettings, machine: MachineSettings, line: Line) -> Replayed:
    criteria = criteria_for(machine, settings, settings.criteria_set())
    companions = {
        name: (settings.machines[name], _reread(settings.machines[name], answer))
        for name, answer in line.companions.items()
        if name in settings.machines
    }
    scanner = settings.machines.get(machine.unit.scanner or "")
    scanned = line.scanned if scanner is None or line.scanned is None else _reread(scanner, line.scanned)
    reading = _reread(machine, line.reading)
    assert isinstance(reading, Reading)
    parsed = parse(machine, reading, criteria, companions, scanned)
    judgement = judge(parsed.measurements, criteria, parsed.machine_verdict)
    outcome = Outcome.ABORTED if parsed.aborted else Outcome.ERROR if parsed.problems else judgement.outcome
    verdicts = {one.name: one for one in judgement.verdicts}
    now: dict[str, str] = {}
    problems = list(parsed.problems)
    for one in parsed.measurements:
        verdict = verdicts.get(one.name)
        now[one.name] = _told(one.value, one.unit, None if verdict is None else verdict.verdict.value)
        if one.problem is not None:
            problems.append(f"{one.name}: {one.problem}")
    was = {name: _told(one.value, one.unit, one.verdict) for name, one in line.measurements.items()}
    differences = [
        f"{name}: {was.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    if line.serial_number != parsed.serial_number:
        differences.insert(0, f"serial number: {line.serial_number} -> {parsed.serial_number}")
    if line.outcome != outcome.value:
        differences.insert(0, f"outcome: {line.outcome or 'none'} -> {outcome.value}")
    return Replayed(line, outcome.value, tuple(problems), now, tuple(differences) if line.outcome else ())


def _reread(machine: MachineSettings, reading: Reading | str) -> Reading | str:
    """By the machine's settings as they are now, where its protocol keeps what came; else the values by name. Of a
    dialogue its answers are what came."""
    if isinstance(reading, str) or machine.dialogue is not None:
        return reading
    reread = protocols()[machine.protocol].rereader()
    return reading if reread is None else replace(reading, values=reread(machine.wire, reading))


def _told(value: Any, unit: str | None, verdict: str | None) -> str:
    words = [str(value), unit or "", "" if verdict in (None, Verdict.NOT_JUDGED.value) else str(verdict)]
    return " ".join(word for word in words if word)
