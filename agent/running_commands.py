"""Commands that ask a station that runs: ``status``, ``watch``, ``reload``, ``diff``."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from contracts.errors import NeuroHubError

StationFile = Annotated[Path, typer.Argument(metavar="FILE", help="The YAML the station runs with.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON, for other programs.")]


def add_to(app: typer.Typer) -> None:
    """Make them commands of this app."""
    for command in (status, watch, reload, diff):
        app.command()(command)


def status(file: StationFile, as_json: AsJson = False) -> None:
    """Show how a running station is: machines, backlog, broker, central, disk, last errors.

    Exit code 0 when all of its machines and the broker are connected, 1 when not, 2 when no station answers.

    Example: neurohub-agent status /etc/neurohub/stations/P03-A.yaml
    """
    from agent.running_shown import show_status

    found = _answer(file, {"ask": "status"})
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        show_status(found)
    connected = all(machine["connected"] for machine in found["machines"].values())
    raise typer.Exit(0 if connected and found["broker"]["connected"] else 1)


def watch(
    file: StationFile,
    as_json: AsJson = False,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after so many results.")] = None,
) -> None:
    """Show each result of a running station as it is kept: measurements, limits and verdicts, until Ctrl-C.

    Exit code 2 when no station answers.

    Example: neurohub-agent watch /etc/neurohub/stations/P03-A.yaml
    """
    from agent.running_shown import show_result

    def show(result: Mapping[str, Any]) -> None:
        if as_json:
            typer.echo(json.dumps(result, ensure_ascii=False))
        else:
            show_result(result)

    try:
        asyncio.run(_watched(file, show, count))
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        raise typer.Exit from None


def reload(file: StationFile) -> None:
    """Let a running station take over its changed file. The file is checked first: a wrong one changes nothing.

    Only the machines that the file changes are stopped and started, each after the cycle it is in; the others never
    notice. What is used once as a station starts (station, broker, state_dir, retention, resend_after, outbox,
    interlock) is refused: restart it for that. Ends when it is done: exit code 0, or 1 where it was refused, 2 when no
    station answers. kill -HUP does the same; the log says what became of it.

    Example: neurohub-agent reload /etc/neurohub/stations/P03-A.yaml
    """
    done = _answer(file, {"ask": "reload"})
    for reason in done["refused"]:
        typer.echo(reason, err=True)
    if done["refused"]:
        typer.echo("nothing was changed", err=True)
        raise typer.Exit(1)
    for line in done["changed"]:
        typer.echo(line)
    machines = ", ".join(done["touched"]) or "no machine"
    typer.echo(f"reloaded: {len(done['changed'])} keys differ, {machines} touched")


def diff(file: StationFile) -> None:
    """Show what a file would change of the running station, key by key, before it is reloaded.

    Durations are in seconds, sizes in bytes. Exit code 0 when nothing differs, 1 when something does, 2 when the file
    is wrong or no station answers.

    Example: neurohub-agent diff /etc/neurohub/stations/P03-A.yaml
    """
    found = _answer(file, {"ask": "diff", "file": str(file.absolute())})["differences"]
    for line in found:
        typer.echo(line)
    raise typer.Exit(1 if found else 0)


def _answer(file: Path, question: Mapping[str, Any]) -> Mapping[str, Any]:
    from agent.control_client import answer_to, state_dir_of

    try:
        return asyncio.run(answer_to(state_dir_of(file), question))
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


async def _watched(file: Path, show: Any, count: int | None) -> None:
    from agent.control_client import asked, state_dir_of

    seen = 0
    async for line in asked(state_dir_of(file), {"ask": "watch"}):
        if "seq" in line:
            show(line)
            seen += 1
        if seen == count:
            return
