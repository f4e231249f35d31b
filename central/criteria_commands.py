"""``neurohub-central criteria``: what every unit of a process is judged by, revision by revision."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from central.criteria_file import not_measured, read_criteria
from central.criteria_show import revision_lines, revisions_json, revisions_table, tried_json, tried_lines
from central.opening import login, opened, told
from central.shifts import parse_moment
from central.show import show
from central.trying import try_criteria
from contracts.criteria import in_force
from contracts.errors import DataError

app = typer.Typer(
    name="criteria",
    help="Quality criteria of the processes. A revision is never changed; stations learn of a new one at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
OneProcess = Annotated[
    str | None, typer.Option("--process", metavar="PROCESS", help="Only this process: its code, or P03 for short.")
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML as docs/criteria.md describes it.")]


@app.command(name="list")
def list_criteria(process: OneProcess = None, as_json: Json = False) -> None:
    """Show every revision: who wrote it, why, from when on, and which is in force now. Times are UTC.

    Example: neurohub-central criteria list --process P03
    """
    with told(), opened() as (_, store):
        found = store.criteria.kept(None if process is None else store.criteria.code_of(process))
        if as_json:
            typer.echo(revisions_json(found))
        elif found:
            show(revisions_table(found, datetime.now(UTC)))
        else:
            typer.echo("no revision yet: stations judge by the criteria of their own files")


@app.command(name="show")
def show_criteria(
    process: Annotated[str, typer.Argument(metavar="PROCESS", help="The process's code, or P03 for short.")],
    number: Annotated[
        int | None, typer.Option("--revision", metavar="NUMBER", help="This one; without it, the one in force.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one revision, criterion by criterion.

    Example: neurohub-central criteria show P03 --revision 2
    """
    with told(), opened() as (_, store):
        code = store.criteria.code_of(process)
        kept = store.criteria.kept(code)
        wanted = number
        if wanted is None:
            present = in_force([one.revision for one in kept], datetime.now(UTC))
            wanted = None if present is None else present.number
        found = [one for one in kept if one.revision.number == wanted]
        if not found:
            raise DataError(f"{code} has no revision {'in force' if number is None else number}")
        if as_json:
            typer.echo(revisions_json(found))
        else:
            for line in revision_lines(found[0].revision):
                typer.echo(line)


@app.command(name="set")
def set_criteria(
    file: File,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for those who look at it later.")],
    author: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; without it, who is logged in here.")
    ] = None,
    effective_at: Annotated[
        str | None,
        typer.Option(metavar="DAY|TIME", help="In force from then on, by the site's clock; without it, from now on."),
    ] = None,
    unmeasured: Annotated[
        bool, typer.Option("--unmeasured", help="Also criteria for what no stored record holds: a machine is new.")
    ] = False,
) -> None:
    """Write a new revision of a process's criteria, and tell the stations.

    A file with criteria that nothing can meet is refused, each mistake with its place.
    Example: neurohub-central criteria set P03.yaml --reason "sensor type B" --effective-at 2026-12-01T08:00
    """
    with told():
        criteria = read_criteria(file)
        with opened() as (settings, store):
            measured = store.criteria.measured(criteria.process)
            refused = not_measured(file, criteria, measured) if measured and not unmeasured else None
            if refused is not None:
                raise refused
            moment = parse_moment(effective_at, settings.calendar, end=False) if effective_at else None
            revision = store.criteria.add(criteria, author or login(), reason, moment)
    typer.echo(f"{criteria.process}: revision {revision.number}, in force from {revision.effective_at.isoformat()}")


@app.command(name="try")
def try_file(
    file: File,
    process: OneProcess = None,
    days: Annotated[int, typer.Option(metavar="DAYS", min=1, max=3660, help="The records of so many days.")] = 90,
    as_json: Json = False,
) -> None:
    """Judge stored records again by a file's criteria: what would change, and the first-pass yield before and after.

    Nothing is written. First pass: a unit's first record of these days. Records that were aborted, reworked or have a
    problem that no criteria can mend are left as they are.
    Example: neurohub-central criteria try P03.yaml --days 30
    """
    with told():
        criteria = read_criteria(file)
        with opened() as (_, store):
            if process is not None and store.criteria.code_of(process) != criteria.process:
                raise DataError(f"{file} holds the criteria of {criteria.process}, not of {process}")
            until = datetime.now(UTC)
            since = until - timedelta(days=days)
            measured = store.measured_by_machines(since, until, criteria.process)
            with store.records(since, until, criteria.process) as records:
                found = try_criteria(records, criteria, measured)
    if as_json:
        typer.echo(tried_json(found))
    else:
        for line in tried_lines(found, criteria.process, days):
            typer.echo(line)
