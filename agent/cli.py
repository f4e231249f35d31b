"""``neurohub-agent``: what a technician types. Each command imports what it needs: a station starts quickly."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from agent import finding_commands, history_commands, outbox_commands, running_commands
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
running_commands.add_to(app)
finding_commands.add_to(app)
history_commands.add_to(app)


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
    from agent.reload import source_of
    from agent.settings import SettingsError, load
    from agent.station import run_station
    from messaging.logs import configure_logging

    configure_logging(verbose=verbose)
    try:
        asyncio.run(run_station(load(file, overrides or ()), source_of(file, overrides or ())))
    except SetupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2 if isinstance(error, SettingsError) else 1) from error


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Station YAMLs.")],
    overrides: Overrides = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object for all files, on standard output, for other programs.")
    ] = False,
) -> None:
    """Check station files without connecting to anything: every mistake at once, with its place.

    A line for each: file:line:column, key, what is wrong, what was expected and found, what to do, and the page of the
    documents that tells more. Exit code 0 when all are right (warnings change nothing about that), 1 when a file is
    wrong, 2 when the command itself is.

    Example: neurohub-agent check config/stations/*.yaml
    """
    from agent.check import as_text, checked, in_json

    found = [checked(file, overrides or ()) for file in files]
    if as_json:
        typer.echo(in_json(found))
    for one in found if not as_json else ():
        for line in as_text(one):
            typer.echo(line, err=True)
        if one.settings is not None:
            typer.echo(one.summary)
    raise typer.Exit(0 if all(one.settings is not None for one in found) else 1)


@app.command()
def init(
    station: Annotated[str | None, typer.Option(metavar="ID", help="The station's name, for example P03-A.")] = None,
    process: Annotated[
        str | None, typer.Option(metavar="CODE", help="Its process: P03_SENSOR_INSPECTION, or 3.")
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="opcua, modbus, serial, label or process; the process's own by default."),
    ] = None,
    site: Annotated[str | None, typer.Option(metavar="NAME", help="The factory.")] = None,
    line: Annotated[str | None, typer.Option(metavar="NAME", help="The line in it.")] = None,
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="mqtt://host[:1883] or mqtts://host[:8883].")
    ] = None,
    connect: Annotated[
        list[str] | None,
        typer.Option(metavar="MACHINE.KEY=VALUE", help="Where a machine is: tester.host=10.0.3.21. May be repeated."),
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="The new file; ID.yaml by default.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List the templates and end.")] = False,
) -> None:
    """Write a station's file to begin with, from the example of its process and machine, with comments.

    What is not given is asked for, at a terminal. The new file passes check; its points and limits are examples.
    Exit code 2 where something is missing or wrong.

    Example: neurohub-agent init --station P03-C --process P03_SENSOR_INSPECTION --connect tester.host=10.0.3.21
    """
    from agent import init_command

    given = {"id": station, "site": site, "line": line, "process": process}
    try:
        if listed:
            init_command.show_templates()
        else:
            init_command.begin(given, protocol, broker, connect or (), output, replace=force)
    except SetupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


@app.command()
def schema() -> None:
    """Print the JSON Schema of station files, with the protocols installed here: plug-ins among them.

    An editor completes and explains every key by it. The one of the product's own protocols is config/schema.json.

    Example: neurohub-agent schema > schema.json
    """
    from agent.schema import text
    from drivers.registry import Unloadable, protocols

    typer.echo(text({name: one for name, one in protocols().items() if not isinstance(one, Unloadable)}), nl=False)


@app.command()
def simulate(
    file: StationFile,
    overrides: Overrides = None,
    script: Annotated[
        Path | None,
        typer.Option(metavar="SCRIPT", help="Take the lines from this file; end when each of its results is made."),
    ] = None,
) -> None:
    """Become the machines of a station file, on real protocols and free ports.

    Prints one JSON line with the --set values that lead an agent to them. Then each JSON line on standard input is
    one result: {"machine": "tester", "values": {"temperature": 60.1}}; a line is answered when the station has
    acknowledged it. The simulator counts the results itself. At a station with a dialogue a line is one unit, its
    values are by step, and a simulated operator scans what the display asks for.
    {"machine": "tester", "fault": "drop_link"} makes the machine misbehave once; a name it does not know is answered
    with those it does. With "values" too it happens in that very result; "after": 5 waits so many seconds before it.
    Ends when standard input ends or on SIGTERM.

    Example: neurohub-agent simulate config/stations/P03-A.yaml
    """
    from agent.settings import load
    from agent.simulate import run_simulation
    from messaging.logs import configure_logging

    configure_logging()
    try:
        asyncio.run(run_simulation(load(file, overrides or ()), script))
    except SetupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


@app.command()
def cards(
    file: StationFile,
    overrides: Overrides = None,
    zpl: Annotated[bool, typer.Option("--zpl", help="As labels for a Zebra-class printer, 60 x 20 mm.")] = False,
) -> None:
    """List the cards of a station's dialogue, for printing.

    Example: neurohub-agent cards config/stations/P08-A.yaml --zpl | nc printer-1.line 9100
    """
    from agent.dialogue.cards import as_table, as_zpl, cards_of
    from agent.settings import load

    try:
        settings = load(file, overrides or ())
    except SetupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    dialogues = [machine.dialogue for machine in settings.machines.values() if machine.dialogue is not None]
    if not dialogues:
        typer.echo(f"{file}: no machine has a dialogue, so there are no cards", err=True)
        raise typer.Exit(1)
    found = [card for dialogue in dialogues for card in cards_of(dialogue)]
    lines = [as_zpl(card) for card in {card.code: card for card in found}.values()] if zpl else as_table(found)
    typer.echo("\n".join(lines))


@app.command()
def probe(
    file: StationFile,
    machine: Annotated[str | None, typer.Argument(metavar="[MACHINE]", help="One machine; all by default.")] = None,
    point: Annotated[str | None, typer.Argument(metavar="[POINT]", help="One of its points; all by default.")] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to listen to a machine that speaks by itself.")
    ] = 10.0,
    overrides: Overrides = None,
) -> None:
    """Connect to the machines as the station would, and show every point once; nothing is written to them.

    Address, raw bytes, value, unit, quality, the machine's own time, and the verdict by the file's criteria. What
    fails is told with its likely cause; where another word or byte order gives a plausible value, it is proposed.
    Stop the station before: most machines and every serial port take one visitor. Exit code 0 when every point could
    be read, 1 when not, 2 when the file is wrong.

    Example: neurohub-agent probe /etc/neurohub/stations/P03-A.yaml tester temperature
    """
    from agent.probe_command import probe_machines
    from agent.settings import load
    from messaging.logs import configure_logging

    configure_logging()
    try:
        whole = probe_machines(load(file, overrides or ()), machine, point, wait)
    except SetupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(0 if whole else 1)


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
    from agent.settings import load
    from agent.trust import trust_machine
    from contracts.errors import NeuroHubError

    try:
        settings = load(file, overrides or ())
        trusted = asyncio.run(trust_machine(settings, machine, fingerprint, typer.echo, typer.confirm))
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(0 if trusted else 1)
