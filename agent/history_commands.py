"""Commands for what came in: ``record`` it, ``replay`` it through a file as it is now."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import NeuroHubError


def add_to(app: typer.Typer) -> None:
    """Make them commands of this app."""
    for command in (record, replay):
        app.command()(command)


def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The station's YAML.")],
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="The machine's name in the file.")],
    into: Annotated[Path, typer.Option("--into", metavar="RECORDING", help="The file it is added to.")],
    seconds: Annotated[float, typer.Option(metavar="N", help="How long to listen.")] = 60.0,
    count: Annotated[int | None, typer.Option(metavar="N", help="End after so many results.")] = None,
) -> None:
    """Write down what a machine says, to replay it later; nothing is acknowledged.

    The station is stopped meanwhile. A machine that waits for its acknowledgement shows its one result. A station
    that runs keeps its last readings by itself: replay --history.

    Exit code 0 when something came, 1 when not, 2 when the file is wrong or the machine cannot be reached.

    Example: neurohub-agent record /etc/neurohub/stations/P02-A.yaml driver --into driver.jsonl --count 20
    """
    from agent.recording import record_machine
    from agent.settings import load

    try:
        written = asyncio.run(record_machine(load(file), machine, into, seconds, count))
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{written} results written to {into}")
    raise typer.Exit(0 if written else 1)


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The station's YAML, as it is to be.")],
    recording: Annotated[
        Path | None, typer.Argument(metavar="[RECORDING]", help="What record wrote; or --history.")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="What the station itself kept of its last results.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show results that do not differ, too.")] = False,
) -> None:
    """Run a file over what really came in: parsed and judged by it as it is now, and what would differ.

    Modbus registers and serial bytes are understood anew; of other protocols the values are taken by the points'
    names. The criteria are the file's own, also where central's were in force. Nothing is written or sent.

    Exit code 0 when nothing differs, 1 when something does, 2 when the file is wrong or there is nothing to replay.

    Example: neurohub-agent replay P03-A.new.yaml --history
    """
    from agent.replay_shown import show_replay

    try:
        differing = show_replay(file, recording, history=history, everything=everything)
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(1 if differing else 0)
