"""``neurohub-central unit``: what a manager decides about one unit, without the API."""

from collections.abc import Callable
from typing import Annotated

import typer

from central.opening import login, opened, told
from central.store import Author
from central.store import production_units as units
from central.store.decisions import Decisions

app = typer.Typer(
    name="unit",
    help="What a manager decides about one unit: run it out of order, scrap it. Stations are told at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Serial = Annotated[str, typer.Argument(metavar="SERIAL", help="The unit's serial number.")]
Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for those who ask later.")]
Who = Annotated[
    str | None, typer.Option("--author", metavar="NAME", help="Who decides; without it, who is logged in here.")
]


@app.command()
def override(
    serial: Serial,
    process: Annotated[str, typer.Argument(metavar="PROCESS", help="Its code or its number.")],
    reason: Why,
    author: Who = None,
) -> None:
    """Let a unit run at a process although an earlier one has not passed, until its next rework.

    Example: neurohub-central unit override SN-241118-001 P03_SENSOR_INSPECTION --reason "assembled at the bench"
    """
    named = int(process) if process.isdecimal() else process
    _decide(serial, author, lambda people, who, unit: units.override(people, who, unit, named, reason))
    typer.echo(f"{serial} may run at {process}")


@app.command()
def scrap(serial: Serial, reason: Why, author: Who = None) -> None:
    """Scrap a unit: it is finally failed, whatever it has passed, and nothing brings it back.

    Example: neurohub-central unit scrap SN-241118-001 --reason "dropped, frame cracked"
    """
    _decide(serial, author, lambda people, who, unit: units.scrap(people, who, unit, reason))
    typer.echo(f"{serial} is scrapped")


def _decide(serial: str, author: str | None, change: Callable[[Decisions, str, int], None]) -> None:
    who = author or login()
    with told(), opened() as (_, store), store.writing(Author(name=who)) as connection:
        change(store.decisions(connection), who, units.by_number(connection, serial)["id"])
