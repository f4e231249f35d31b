"""``neurohub-central``: what an administrator types."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from central import (
    audit_commands,
    criteria_commands,
    exception_commands,
    golden_commands,
    partition_commands,
    quarantine_commands,
    service_commands,
    unit_commands,
    user_commands,
)
from central.criteria_show import verified_lines
from central.opening import opened, store_of, told
from central.replay import replay
from central.settings import load_settings
from central.shifts import parse_moment
from central.show import (
    ReplayProgress,
    alarms_table,
    incomplete_table,
    json_of,
    machines_table,
    outcome_lines,
    reconciliation_lines,
    show,
    streams_table,
)
from central.verifying import verify
from messaging.command import Version
from messaging.logs import configure_logging

app = typer.Typer(
    name="neurohub-central",
    help="Takes the stations' streams into the factory database, exactly once, and answers the MES REST API. Settings"
    " come from the environment, or from .env in the working directory: DATABASE_URL (sqlite:///neurohub.db),"
    " BROKER_URL (mqtt://127.0.0.1:1883), BROKER_CA, BROKER_CERT, BROKER_KEY, BROKER_USERNAME, BROKER_PASSWORD_FILE,"
    " SITE_TIMEZONE (Asia/Seoul), SITE_SHIFTS (D=08:00,N=20:00), DB_ECHO, PERMIT_LEASE (by default twice a process's"
    " usual time, 10m at least), SERIAL_PATTERN ({lot}-{sequence:04d}), SERIAL_FORM (a regular expression for the whole"
    " of a product's number; any), NO_READ_WORDS (what code readers say when they read nothing, with commas between;"
    " NOREAD and its kind), AUDIT_ANCHOR_FILE (audit-anchors.jsonl, or beside a SQLite database)."
    " For the API: SECRET_KEY (signs the tokens, needed; 32 characters or more), ALGORITHM"
    " (HS256), ACCESS_TOKEN_EXPIRE_MINUTES (30), APP_NAME, APP_VERSION, API_V1_PREFIX (/api/v1), CORS_ORIGINS (none),"
    " CORS_ALLOW_CREDENTIALS (false), CORS_ALLOW_METHODS, CORS_ALLOW_HEADERS, REQUEST_SIZE_LIMIT (1048576 bytes),"
    " LOGINS_PER_MINUTE (60, from one address), FIGURES_AGE (5s), DEBUG (false; true for development:"
    " takes any SECRET_KEY).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(service_commands.app)
app.add_typer(user_commands.app)
app.add_typer(quarantine_commands.app)
app.add_typer(exception_commands.app)
app.add_typer(criteria_commands.app)
app.add_typer(golden_commands.app)
app.add_typer(unit_commands.app)
app.add_typer(audit_commands.app)
app.add_typer(partition_commands.app)


@app.callback()
def neurohub_central(*, version: Version = False) -> None:
    """What stands before any command."""


Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
OneStation = Annotated[str | None, typer.Option("--station", metavar="STATION", help="Only this station.")]


@app.command()
def migrate(
    service_role: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE",
            help="PostgreSQL: the role the service connects as, where DATABASE_URL names the owner's; it gets the"
            " rights it needs and no others (docs/audit.md).",
        ),
    ] = None,
) -> None:
    """Bring the database named by DATABASE_URL to this version's tables. Safe to repeat.

    Example: DATABASE_URL=sqlite:////var/lib/neurohub/central/neurohub.db neurohub-central migrate
    """
    configure_logging()
    with told():
        store = store_of(load_settings())
        try:
            store.migrate(service_role)
        finally:
            store.close()
    typer.echo("database is up to date")


@app.command()
def incomplete(station: OneStation = None, as_json: Json = False) -> None:
    """Show units that were let start at a station and of which no result has come since, the oldest first.

    permit: central's number; none where the station decided without central. Times are UTC.

    Example: neurohub-central incomplete --station P03-A
    """
    with told(), opened() as (_, store):
        found = store.incomplete(station)
        if as_json:
            typer.echo(json_of(found))
        elif found:
            show(incomplete_table(found))
        else:
            typer.echo("every permit has its result")


@app.command()
def streams(station: OneStation = None, as_json: Json = False) -> None:
    """Show every station's ledger: what central has of its stream, what is missing and since when, what is to come.

    committed: the highest number without a gap below it. missing: numbers that have not arrived although higher ones
    have. last and oldest: the highest number the station has given, and the lowest it still keeps. backlog: what it
    still has to deliver. clock: how far its clock runs ahead. All as last heard; times are UTC.

    Example: neurohub-central streams --station P03-A
    """
    with told(), opened() as (_, store):
        found = store.streams(station)
        if as_json:
            typer.echo(json_of(found))
        elif found:
            show(streams_table(found))
        else:
            typer.echo("no station has been heard of" if station is None else f"{station} has not been heard of")


@app.command()
def alarms(
    acknowledge: Annotated[
        list[int] | None,
        typer.Option("--acknowledge", metavar="ID", help="Someone has looked into this one. May be repeated."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show acknowledged ones too.")] = False,
    as_json: Json = False,
) -> None:
    """Show what someone has to look into: numbers used twice, an outbox copied or restored.

    Example: neurohub-central alarms --acknowledge 3
    """
    with told(), opened() as (_, store):
        if acknowledge:
            closed = store.acknowledge_alarms(acknowledge)
            typer.echo(f"{closed} of {len(acknowledge)} acknowledged", err=as_json)
        found = store.alarms(acknowledged=every)
        if as_json:
            typer.echo(json_of(found))
        elif found:
            show(alarms_table(found))
        else:
            typer.echo("no alarms")


@app.command()
def reconcile(
    station: OneStation = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DAY|TIME", help="Begin here, by the site's clock; without it, with yesterday's shifts."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="DAY|TIME", help="End here: a day's last shift counts. Without it, now.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare the machines' counters with the records, per station, machine and shift, and list what is missing.

    made: cycles by the machine's counter. stored: read and kept by the station. committed: here. never read: passed
    by while the station could not read. not here: read, and on the way or in quarantine. doubled: one number twice.
    restarts: the counter stepped back. Shifts are those of SITE_SHIFTS in SITE_TIMEZONE; whole shifts are counted.

    Exit code 0 when everything agrees, 1 when not. Example: neurohub-central reconcile --since 2026-11-25
    """
    with told(), opened() as (settings, store):
        calendar, now = settings.calendar, datetime.now(UTC)
        begin = parse_moment(since or str(calendar.of(now).date - timedelta(days=1)), calendar, end=False)
        end = parse_moment(until, calendar, end=True) if until else now
        found = store.reconcile(calendar.between(begin, end), station)
        if as_json:
            typer.echo(json_of(found))
        else:
            if found.machines:
                show(machines_table(found))
            for line in reconciliation_lines(found):
                typer.echo(line)
    if not found.agrees:
        raise typer.Exit(1)


@app.command(name="replay")
def replay_command(
    station: Annotated[str, typer.Argument(metavar="STATION", help="The station's id, for example P03-A.")],
    first: Annotated[
        int | None,
        typer.Option("--from", metavar="SEQ", min=1, help="Begin here; without it, at the oldest record it keeps."),
    ] = None,
    last: Annotated[int | None, typer.Option("--to", metavar="SEQ", min=1, help="End here.")] = None,
    stream: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="An earlier stream that the station still holds, by how its name begins (neurohub-central streams);"
            " without it, the one it writes now.",
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Give up when nothing has come for so long.")
    ] = 30.0,
) -> None:
    """Ask a station to send its records again. Central stores what it lacks and recognises the rest.

    An ingestor must run and the station be connected. Exit code 0 when everything came, 1 when not, 2 when it could
    not be asked. Example: neurohub-central replay P03-A --from 1200
    """
    with told(), opened() as (settings, store):
        with ReplayProgress() as progress:
            outcome = asyncio.run(
                replay(
                    store, settings.broker, station, first, last, stream=stream, patience_s=patience, progress=progress
                )
            )
        for line in outcome_lines(station, outcome):
            typer.echo(line)
    if not outcome.complete:
        raise typer.Exit(1)


@app.command(name="verify")
def verify_command(
    since: Annotated[str, typer.Option(metavar="DAY|TIME", help="Begin here, by the site's clock.")],
    until: Annotated[str | None, typer.Option(metavar="DAY|TIME", help="End here; without it, now.")] = None,
    process: Annotated[str | None, typer.Option(metavar="PROCESS", help="Only this one: its code, or P03.")] = None,
    station: OneStation = None,
    as_json: Json = False,
) -> None:
    """Judge stored records again by the limits they carry, and compare with their verdicts, byte for byte.

    Where a record names a revision of central's, its limits are compared with that too. Records of an earlier version
    of the judge are repeated and counted apart.
    Exit code 0 when all are equal, 1 when not. Example: neurohub-central verify --since 2026-11-01
    """
    with told(), opened() as (settings, store):
        begin = parse_moment(since, settings.calendar, end=False)
        end = parse_moment(until, settings.calendar, end=True) if until else datetime.now(UTC)
        code = None if process is None else store.criteria.code_of(process)
        revisions = {(one.process, one.revision.name): one.revision.criteria for one in store.criteria.kept()}
        with store.records(begin, end, code, station) as records:
            found = verify(records, revisions)
        if as_json:
            typer.echo(json_of(found))
        else:
            for line in verified_lines(found):
                typer.echo(line)
    if found.different:
        raise typer.Exit(1)
