"""The history of the machines beside what central has: what is lost, doubled, misjudged, changed or hidden.

Pure: it knows no process, no broker and no database, so that it can be tried with databases that were tampered with.
A result is known by its serial number, which no two results share. That a gap is told is read from the records alone:
``missed_before``, and the step of ``cycle_epoch`` that says the machine was restarted and nobody knows what is missing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from contracts.record import ProcessRecord
from tests.chaos.history import Baseline, History, Made, place


@dataclass
class Findings:
    """What the comparison found. Every list but ``unreadable`` has to be empty."""

    cycles: int = 0
    records: int = 0
    gaps_made: int = 0
    gaps_reported: int = 0
    results_missed: int = 0
    disputed: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    misjudged: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gaps_wrong: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> dict[str, list[str]]:
        """What must not be, by name."""
        lists = {
            "lost": self.lost,
            "doubled": self.doubled,
            "misjudged": self.misjudged,
            "changed": self.changed,
            "gap told wrongly": self.gaps_wrong,
            "made by no machine": self.strangers,
        }
        return {name: found for name, found in lists.items() if found}


def compare(history: History, records: Sequence[ProcessRecord], disputed: Sequence[ProcessRecord] = ()) -> Findings:
    """Every result the machines made against every record central has.

    ``disputed`` are records in quarantine because a copied outbox used the same numbers for others: kept, whole, for a
    person to decide. They are not lost, and have to be as right as the others.
    """
    records = [record for record in records if record.serial_number not in history.warm_up]
    findings = Findings(cycles=len(history.made), records=len(records))
    by_serial: defaultdict[str, list[ProcessRecord]] = defaultdict(list)
    made = {one.serial_number: one for one in history.made}
    for record in records:
        if record.serial_number in made:
            by_serial[record.serial_number].append(record)
        elif record.serial_number is None and record.outcome == "ERROR" and record.raw is not None:
            findings.unreadable.append(f"{record.station}.{record.machine}: {record.problems} {record.raw!r}")
        else:
            findings.strangers.append(f"{record.station}.{record.machine}: {record.serial_number} {record.cycle_key}")
    for record in disputed:
        if record.serial_number in made and not by_serial[record.serial_number]:
            by_serial[record.serial_number].append(record)
            findings.disputed += 1
    for one in history.made:
        found = by_serial[one.serial_number]
        if len(found) > 1:
            findings.doubled.append(f"{_told(one)}: {len(found)} records")
        for record in found:
            _compare_one(one, record, findings)

    for machine, results in groupby(sorted(history.made, key=place), key=place):
        _compare_gaps(list(results), history.baselines.get(machine, Baseline()), by_serial, history, findings)
    return findings


def _compare_one(one: Made, record: ProcessRecord, findings: Findings) -> None:
    if record.outcome.value != one.expected:
        findings.misjudged.append(f"{_told(one)}: {record.outcome}, not {one.expected}")
    measured = {m.name: m.value for m in record.measurements}
    said = (record.station, record.machine, record.cycle_key, measured.get("temperature"))
    if said != (one.station, one.machine, one.key, one.temperature):
        findings.changed.append(f"{_told(one)}, {one.temperature}: recorded as {said}")


def _compare_gaps(
    results: Sequence[Made],
    baseline: Baseline,
    by_serial: dict[str, list[ProcessRecord]],
    history: History,
    findings: Findings,
) -> None:
    """One machine: what is not there must lie in a gap that the next record tells, and no other gap may be told."""
    at = [index for index, one in enumerate(results) if by_serial[one.serial_number]]
    for before, this in pairwise([-1, *at]):
        here = results[this]
        missing = results[before + 1 : this]
        held = [one for one in missing if one.holds and not one.ended]
        findings.lost.extend(_told(one) for one in held)
        last = results[before] if before >= 0 else None
        last_life, last_key = (last.life, last.key) if last is not None else (baseline.life, baseline.key)
        last_epoch = by_serial[last.serial_number][0].cycle_epoch if last is not None else baseline.epoch
        record = by_serial[here.serial_number][0]
        told = record.missed_before
        restart_told = record.cycle_epoch > last_epoch
        findings.gaps_made += bool(missing)
        findings.results_missed += len(missing)
        if last_life == here.life:
            right = told == len(missing) and not restart_told
        elif restart_told:
            # What is missing of the former life cannot be known; of this life it can, where its beginning was seen.
            right = told is None or told == sum(one.life == here.life for one in missing)
        else:
            # Switched off and past its old number again while the station could not look: the counter cannot show it.
            since = last.made_at_s if last is not None else 0.0
            right = told == here.key - last_key - 1 and history.disturbed(here.station, since, here.made_at_s)
        if right:
            findings.gaps_reported += bool(missing)
        else:
            findings.gaps_wrong.append(
                f"{_told(here)}: {len(missing)} missing before it, told {told}"
                f"{' and a restart' if restart_told else ''}"
            )
            findings.lost.extend(_told(one) for one in missing if one not in held)
    rest = results[at[-1] + 1 :] if at else results
    findings.lost.extend(_told(one) for one in rest if not one.ended)


def _told(one: Made) -> str:
    return f"{one.station}.{one.machine} life {one.life} number {one.key} ({one.serial_number})"
