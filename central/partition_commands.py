"""``neurohub-central partitions``: old months of results, out of PostgreSQL into files, and back."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from central.opening import login, opened, told
from central.show import json_of, partitions_table, show
from central.store.archiving import Archive
from contracts.errors import SetupError

app = typer.Typer(
    name="partitions",
    help="The months that results are kept in (PostgreSQL): how large they are, archived to files, and put back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Who = Annotated[
    str | None, typer.Option("--author", metavar="NAME", help="Who does it; without it, who is logged in here.")
]


@app.command(name="list")
def list_partitions(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show every month with its rows and its size, indexes included.

    Example: neurohub-central partitions list
    """
    with told(), opened() as (_, store):
        found = Archive(store.database, store.seals, store.epoch).months()
        if as_json:
            typer.echo(json_of(found))
        elif found:
            show(partitions_table(found))
        else:
            typer.echo("no month has results")


@app.command()
def archive(
    before: Annotated[str, typer.Option(metavar="YYYY-MM", help="Every month before this one.")],
    folder: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where the files go.")],
    author: Who = None,
) -> None:
    """Write old months to files, read them back, and only then take them out of the database, month by month.

    DATABASE_URL names the owner of the tables. Units, LOTs, the route and the audit trail stay; lists, reports and the
    records' text of these months are in the files from then on.

    Example: neurohub-central partitions archive --before 2024-01 --to /mnt/archive
    """
    with told(), opened() as (_, store):
        months = Archive(store.database, store.seals, store.epoch)
        end = _month(before)
        for one in months.months():
            if one.month < end:
                path = months.archive(one.month, folder, author or login())
                typer.echo(f"{one.month:%Y-%m}: {one.rows} rows in {path}")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As archive wrote it.")],
    author: Who = None,
) -> None:
    """Put an archived month back.

    Example: neurohub-central partitions restore /mnt/archive/process_data_2023_11.copy.gz
    """
    with told(), opened() as (_, store):
        found = Archive(store.database, store.seals, store.epoch).restore(file, author or login())
        typer.echo(f"{found.month[:7]}: {found.rows} rows are back")


def _month(text: str) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise SetupError(f"--before {text!r}: a month such as 2024-01 is needed") from error
