"""``neurohub-agent``: what a technician types. Each command imports what it needs: a station starts quickly."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent import outbox_commands
from contracts.errors import SetupError
from messaging.command import Version

app = typer.Typer(
    name="neurohub-agent",
    help="Reads a station's machines, judges every result, keeps it on disk, delivers it to central.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(outbox_commands.app)


@app.callback()
def neurohub_agent(*, version: Version = False) -> None:
    """What stands before any command."""


StationFile = Annotated[Path, typer.Argument(metavar="FILE", help="The station's YAML.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one value of the file, for example --set broker.url=mqtt://127.0.0.1:1883. May be repeated.",
    ),
]


@app.command()
def run(
    file: StationFile,
    overrides: Overrides = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log more.")] = False,
) -> None:
    """Run a station until SIGTERM or Ctrl-C.

    Exit code 2 when the station's file is wrong: starting again does not mend that. 1 when it cannot run here just
    now: its outbox is in use or cannot be written, a file it names cannot be read.

    Example: neurohub-agent run /etc/neurohub/stations/P03-A.yaml
    """
    from agent.settings import SettingsError, load  # noqa: PLC0415
    from agent.station import run_station  # noqa: PLC0415
    from messaging.logs import configure_logging  # noqa: PLC0415

    configure_logging(verbose=verbose)
    try:
        asyncio.run(run_station(load(file, overrides or ())))
    except SetupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2 if isinstance(error, SettingsError) else 1) from error


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Station YAMLs.")],
    overrides: Overrides = None,
) -> None:
    """Check station files without connecting to anything: every mistake at once, with its place.

    Exit code 0 when all are right, 1 otherwise; warnings change nothing about that.

    Example: neurohub-agent check config/stations/*.yaml
    """
    from agent.settings import SettingsError, load  # noqa: PLC0415

    wrong = False
    for file in files:
        try:
            settings = load(file, overrides or ())
        except SettingsError as error:
            typer.echo(str(error), err=True)
            wrong = True
        else:
            for warning in settings.warnings:
                typer.echo(str(warning), err=True)
            machines = ", ".join(f"{name} ({machine.protocol})" for name, machine in settings.machines.items())
            typer.echo(f"{file}: right; station {settings.station.id}, {machines}; {len(settings.criteria)} criteria")
    raise typer.Exit(1 if wrong else 0)


@app.command()
def simulate(
    file: StationFile,
    overrides: Overrides = None,
) -> None:
    """Become the machines of a station file, on real protocols and free ports.

    Prints one JSON line with the --set values that lead an agent to them. Then each JSON line on standard input is
    one result: {"machine": "tester", "values": {"temperature": 60.1}}; a line is answered when the station has
    acknowledged it. The simulator counts the results itself. {"machine": "tester", "fault": "drop_link"} makes the
    machine misbehave once; a name it does not know is answered with those it does. Ends when standard input ends or
    on SIGTERM.

    Example: neurohub-agent simulate config/stations/P03-A.yaml
    """
    from agent.settings import load  # noqa: PLC0415
    from agent.simulate import run_simulation  # noqa: PLC0415
    from messaging.logs import configure_logging  # noqa: PLC0415

    configure_logging()
    try:
        asyncio.run(run_simulation(load(file, overrides or ())))
    except SetupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


@app.command()
def trust(
    file: StationFile,
    machine: Annotated[str, typer.Argument(metavar="MACHINE", help="The machine's name in the file.")],
    overrides: Overrides = None,
    fingerprint: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Trust the certificate with this fingerprint, without asking."),
    ] = None,
) -> None:
    """Show a machine's certificate and trust it from now on; make the station's own where there is none.

    Exit code 0 when it is trusted, 1 when not. Example: neurohub-agent trust /etc/neurohub/stations/P01-A.yaml marker
    """
    from agent.settings import load  # noqa: PLC0415
    from agent.trust import trust_machine  # noqa: PLC0415
    from contracts.errors import NeuroHubError  # noqa: PLC0415

    try:
        settings = load(file, overrides or ())
        trusted = asyncio.run(trust_machine(settings, machine, fingerprint, typer.echo, typer.confirm))
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(0 if trusted else 1)
