"""``neurohub-central quarantine``: what could not be taken from the stations, and why."""

import sys
from typing import Annotated

import typer

from central.opening import login, opened, told
from central.retrying import again
from central.show import json_of, quarantine_table, quarantined_lines, show
from central.store import Author
from central.store.quarantined import DISCARDED, RETRIED

app = typer.Typer(
    name="quarantine",
    help="Messages and records that are wrong in themselves: kept whole, with the reason.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Entry = Annotated[int, typer.Argument(metavar="ID", help="Its id in the list.")]
Who = Annotated[
    str | None, typer.Option("--author", metavar="NAME", help="Who decides; without it, who is logged in here.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command(name="list")
def list_quarantine(
    station: Annotated[
        str | None, typer.Option("--station", metavar="STATION", help="Only what came on this station's topics.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="Show at most so many.")] = 100,
    every: Annotated[bool, typer.Option("--all", help="Show what was retried or discarded, too.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is in quarantine, the newest first.

    stream and seq: the numbers it settled, where it said them. Times are UTC; docs/quarantine.md says what to do.

    Example: neurohub-central quarantine list --station P03-A
    """
    with told(), opened() as (_, store):
        found, total = store.quarantined(station, limit, settled=every)
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
    entry: Entry,
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


@app.command(name="retry")
def retry(
    entry: Entry,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="What was changed, for those who ask later.")
    ] = "read again",
    author: Who = None,
) -> None:
    """Take one of them by the rules of today: after SERIAL_FORM was put right, or central was updated.

    Where it would be refused again nothing changes, and the reason is told with exit code 2. What is taken counts as if
    it had come so. Example: neurohub-central quarantine retry 12
    """
    with told(), opened() as (settings, store):
        arrival = again(store.quarantined_whole(entry), settings.serial_form)
        result = store.ingest([arrival])
        store.settle_quarantined(entry, RETRIED, Author(name=author or login()), reason)
        typer.echo(f"{result.inserted} taken, {result.repeated} had been taken before")


@app.command(name="discard")
def discard(
    entry: Entry,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why nobody needs it, for those who ask later.")],
    author: Who = None,
) -> None:
    """Say that one of them is of no use. It is not deleted: list --all shows it with the reason.

    Example: neurohub-central quarantine discard 12 --reason "somebody's test of the broker"
    """
    with told(), opened() as (_, store):
        store.settle_quarantined(entry, DISCARDED, Author(name=author or login()), reason)
        typer.echo(f"{entry} is discarded")
