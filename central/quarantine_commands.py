"""``neurohub-central quarantine``: what could not be taken from the stations, and why."""

import sys
from typing import Annotated

import typer

from central.opening import opened, told
from central.show import json_of, quarantine_table, quarantined_lines, show

app = typer.Typer(
    name="quarantine",
    help="Messages and records that are wrong in themselves: kept whole, with the reason.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command(name="list")
def list_quarantine(
    station: Annotated[
        str | None, typer.Option("--station", metavar="STATION", help="Only what came on this station's topics.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="Show at most so many.")] = 100,
    as_json: Json = False,
) -> None:
    """Show what is in quarantine, the newest first.

    stream and seq: the numbers it settled, where it said them. Times are UTC; docs/quarantine.md says what to do.

    Example: neurohub-central quarantine list --station P03-A
    """
    with told(), opened() as (_, store):
        found, total = store.quarantined(station, limit)
        if as_json:
            typer.echo(json_of(found))
        elif found:
            show(quarantine_table(found))
            if total > len(found):
                typer.echo(f"{total - len(found)} older ones are not shown: --limit {total}")
        else:
            typer.echo("nothing is in quarantine")


@app.command(name="show")
def show_quarantined(
    entry: Annotated[int, typer.Argument(metavar="ID", help="Its id in the list.")],
    raw: Annotated[bool, typer.Option("--raw", help="Write its bytes and nothing else, for a file.")] = False,
    as_json: Json = False,
) -> None:
    """Show one of them: where it came from, why it was not taken, and its bytes as text, or as hexadecimal digits.

    Example: neurohub-central quarantine show 12
    """
    with told(), opened() as (_, store):
        found = store.quarantined_whole(entry)
        if raw:
            sys.stdout.buffer.write(found.payload)
        elif as_json:
            typer.echo(json_of(found))
        else:
            for line in quarantined_lines(found):
                typer.echo(line)
