"""A running station and its results, as people read them."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from agent.terminal import console, table, verdict, word
from contracts.criteria import Criterion


def show_status(found: Mapping[str, Any]) -> None:
    """Print what a station says of itself."""
    out = console()
    whose = f"[bold]{found['station']}[/bold] {found['process']}, {found['software']}"
    out.print(f"{whose}, {word('since')} {found['since']}")
    machines = table("machine", "state", "since", "results", "outcome", "measured", "last error")
    for name, machine in found["machines"].items():
        state = "connected" if machine["connected"] else "not connected"
        style = "green" if machine["connected"] else "red"
        happened = [f"{one['last']} ({one['times']})" for one in machine["happened"].values()]
        troubles = [machine["error"], *machine["conditions"].values(), *happened]
        machines.add_row(
            f"{escape(name)} ({machine['protocol']})",
            f"[{style}]{word(state)}[/{style}]",
            machine["since"] or "",
            str(machine["results"]),
            verdict(machine["last_outcome"] or ""),
            "\n".join(f"{name} {value:.4g}" for name, value in machine["figures"].items()),
            escape("; ".join(trouble for trouble in troubles if trouble)),
        )
    out.print(machines)
    outbox, disk = found["outbox"], found["disk"]
    broker = found["broker"]["address"] or word("not connected")
    apart = f"{outbox['parked']} parked, {outbox['disputed']} disputed"
    waiting = f"{outbox['waiting']} ({apart}), seq {outbox['last_seq']}"
    out.print(f"{word('waiting for central')}: {waiting}")
    out.print(f"{word('broker')}: {escape(str(broker))}; {word('central')}: {_yes(found['central']['heard'])}")
    out.print(f"{word('disk free')}: {disk['free_bytes'] / 1e9:.1f} of {disk['total_bytes'] / 1e9:.1f} GB")
    for trouble in (found["last_error"], *outbox["troubles"]):
        if trouble:
            out.print(f"[red]{escape(trouble)}[/red]")


def show_result(result: Mapping[str, Any]) -> None:
    """Print one result: whose, what came of it, and each measurement beside its limits."""
    out, record = console(), result["record"]
    who = escape(str(record.get("serial_number", "-")))
    title = f"{record['completed_at']}  {escape(str(record.get('machine', '')))}  {who}  {verdict(record['outcome'])}"
    out.print(title)
    shown = table("measurement", "value", "unit", "limits", "verdict")
    limits = {one["name"]: one for one in record.get("verdicts", ())}
    for measured in record.get("measurements", ()):
        judged = limits.get(measured["name"], {})
        shown.add_row(
            escape(measured["name"]),
            escape(str(measured.get("value", measured.get("original", "-")))),
            measured.get("unit", ""),
            escape(_limits(judged.get("limit"))),
            f"{verdict(judged.get('verdict', ''))} {escape(judged.get('reason') or '')}",
        )
    out.print(shown)
    for problem in record.get("problems", ()):
        out.print(f"[magenta]{escape(problem)}[/magenta]")


def _limits(limit: Mapping[str, Any] | None) -> str:
    return "" if limit is None else Criterion.model_validate(limit).told()


def _yes(heard: bool) -> str:
    return word("connected") if heard else word("not connected")
