"""What ``neurohub-agent probe`` prints."""

import asyncio

from rich.markup import escape

from agent.probe import Probed, probe
from agent.settings import MachineSettings, StationSettings
from agent.terminal import console, table, verdict, word
from contracts.errors import SetupError
from documents.issues import did_you_mean, one_of
from drivers.looking import Sight

_RAW_SHOWN = 40


def probe_machines(settings: StationSettings, machine: str | None, point: str | None, wait_s: float) -> bool:
    """Look at the machines, one after the other, and print each. Whether all could be read. Raises SetupError."""
    machines = settings.machines
    if machine is not None and machine not in machines:
        raise SetupError(f"no machine {machine}; {did_you_mean(machine, machines) or one_of(machines)}")
    wanted = list(machines.values()) if machine is None else [machines[machine]]
    points = wanted[0].wire.points
    if point is not None and point not in points:
        hint = did_you_mean(point, points) or one_of(points)
        raise SetupError(f"machine {wanted[0].name} has no point {point}; {hint}")
    whole = True
    for one in wanted:
        found = asyncio.run(probe(settings, one, wait_s))
        _show(one, found, point)
        whole = whole and found.is_whole
    return whole


def _show(machine: MachineSettings, found: Probed, point: str | None) -> None:
    out = console()
    title = f"{word('machine')} {machine.name} ({machine.protocol})"
    if found.error is not None:
        out.print(f"[bold]{escape(title)}[/bold]\n[red]{escape(found.error)}[/red]")
        if found.cause is not None:
            out.print(f"{word('likely cause')}: {escape(found.cause)}")
        return
    if not found.sights:
        out.print(f"[bold]{escape(title)}[/bold]\nnothing to read: it is run once for each unit, and can be")
        return
    shown = table("point", "address", "raw", "value", "unit", "quality", "time", "verdict", title=title)
    sights = [sight for sight in found.sights if point in (None, sight.name)]
    for sight in sights:
        shown.add_row(*_row(sight, found))
    out.print(shown)
    for sight in sights:
        if sight.value.problem is not None:
            out.print(f"[red]{escape(sight.name)}: {escape(sight.value.problem)}[/red]")
        if (proposal := found.proposals.get(sight.name)) is not None:
            told = f"{word('proposal')}: {escape(sight.name)}: {escape(proposal)}"
            out.print(f"[yellow]{told}[/yellow]")


def _row(sight: Sight, found: Probed) -> tuple[str, ...]:
    value, raw = sight.value, sight.raw or ""
    judged = found.verdicts.get(sight.name)
    told = "" if judged is None else verdict(judged.verdict.value)
    if judged is not None and judged.reason is not None:
        told += f" {escape(judged.reason)}"
    stamp = value.source_timestamp
    return (
        escape(sight.name),
        escape(sight.address),
        raw if len(raw) <= _RAW_SHOWN else f"{raw[:_RAW_SHOWN]}...",
        "-" if value.value is None else escape(str(value.value)),
        escape(found.units.get(sight.name) or ""),
        value.quality.value,
        "" if stamp is None else stamp.isoformat(timespec="milliseconds"),
        told,
    )
