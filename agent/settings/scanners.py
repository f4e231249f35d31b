"""Machines that read which unit another one works on: ``unit: {serial_number: scanner.code, within: 5m}``."""

from collections.abc import Iterator, Mapping

from agent.settings.machine import MachineKeys, MachineSettings
from documents.document import Document
from documents.issues import Issue, KeyPath, did_you_mean, issue_at, one_of


def check_scanners(
    document: Document, machines: Mapping[str, MachineKeys], complete: Mapping[str, MachineSettings]
) -> Iterator[Issue]:
    """A scanner exists, makes no records, works as nobody's companion, and reads for one machine alone.

    ``complete`` are the machines whose points are known.
    """
    companions = {companion.machine for machine in machines.values() for companion in machine.companions}
    reads_for: dict[str, str] = {}
    for name, machine in machines.items():
        scanner = machine.unit.scanner
        if scanner is None:
            continue
        key, point = next(iter(machine.unit.scanned.items()))
        where: KeyPath = ("machines", name, "unit", key)
        if not machine.records:
            yield issue_at(document.place(where), where, "a machine that makes no records has no unit of its own")
        elif scanner == name:
            hint = f"write {key}: {point}"
            yield issue_at(document.place(where), where, "its own points are named without the machine", hint=hint)
        elif scanner not in machines:
            known = list(machines)
            message = f'unknown machine "{scanner}"'
            close = did_you_mean(scanner, known)
            yield issue_at(document.place(where), where, message, expected=one_of(known), hint=close)
        elif machines[scanner].records:
            message = f'"{scanner}" makes records of its own, so it cannot read for another machine'
            hint = f"write records: false at machines.{scanner}"
            yield issue_at(document.place(where), where, message, hint=hint)
        elif scanner in companions:
            message = f'"{scanner}" is a companion: it is asked for each unit, and reads nothing before'
            hint = "take it out of companions"
            yield issue_at(document.place(where), where, message, hint=hint)
        elif reads_for.setdefault(scanner, name) != name:
            message = f'"{scanner}" reads for {reads_for[scanner]} already: whose unit it read could not be told'
            yield issue_at(document.place(where), where, message, hint="one scanner for each machine")
        elif scanner in complete:
            yield from _unknown_points(document, ("machines", name, "unit"), machine, complete[scanner])


def _unknown_points(
    document: Document, path: KeyPath, machine: MachineKeys, scanner: MachineSettings
) -> Iterator[Issue]:
    known = list(scanner.protocol_settings.points)
    for key, point in machine.unit.scanned.items():
        if point not in known:
            where = (*path, key)
            message = f'machine "{scanner.name}" has no point "{point}"'
            hint = did_you_mean(point, known)
            yield issue_at(document.place(where), where, message, expected=one_of(known), hint=hint)
