"""``neurohub-central golden``: machines' golden samples, and the units that a failed one put on hold."""

from typing import Annotated

import typer

from central.opening import login, opened, told
from central.show import golden_table, json_of, show
from contracts.errors import DataError

app = typer.Typer(
    name="golden",
    help="Golden samples: what machines made of them, and the units on hold since the last good check.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.command(name="list")
def list_golden(
    station: Annotated[str | None, typer.Option("--station", metavar="STATION", help="Only this station.")] = None,
    as_json: Json = False,
) -> None:
    """Show the last check of every sample, and every failed one that holds units still. Times are UTC.

    Example: neurohub-central golden list --station P03-A
    """
    with told(), opened() as (_, store):
        found = store.golden(station)
        if as_json:
            typer.echo(json_of(found))
        elif found:
            show(golden_table(found))
        else:
            typer.echo("no golden sample has been checked")


@app.command(name="release")
def release(
    hold: Annotated[str, typer.Argument(metavar="HOLD", help="As the list names it: GOLDEN_SAMPLE_FAILED:...")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why the units are good, for those who ask later.")],
    author: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; without it, who is logged in here.")
    ] = None,
) -> None:
    """Release every unit that this hold holds. Other holds of a unit stay.

    Example: neurohub-central golden release GOLDEN_SAMPLE_FAILED:4f0c...:118 --reason "dirty sample, measured again"
    """
    with told(), opened() as (_, store):
        units = store.release(hold, author or login(), reason)
        if not units:
            raise DataError(f"{hold} holds no unit")
    for number in units:
        typer.echo(number)
    typer.echo(f"{len(units)} released", err=True)
