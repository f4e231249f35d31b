"""``neurohub-central exceptions``: what is wrong only beside other facts, and what people found out about it."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from central.opening import login, opened, told
from central.show import exception_lines, exceptions_table, json_of, show
from central.store import ExceptionRow, Store, exceptions
from contracts.errors import DataError
from contracts.facts import ExceptionClosed

app = typer.Typer(
    name="exceptions",
    help="Facts that contradict others: a process left out, a second PASS, work after a LOT was closed.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Its id in the list; its first digits are enough.")]


@app.command(name="list")
def list_exceptions(
    code: Annotated[
        str | None, typer.Option(metavar="CODE", help="Only of this kind, for example SECOND_PASS.")
    ] = None,
    lot: Annotated[str | None, typer.Option(metavar="LOT", help="Only of this LOT and its units.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show closed ones too.")] = False,
    as_json: Json = False,
) -> None:
    """Show the exceptions that nobody has closed, by LOT and unit.

    blocks: it stands between the unit and PASSED. Example: neurohub-central exceptions list --lot WF-KR-241118D-001
    """
    with told(), opened() as (_, store):
        found = [one for one in _all(store, code, lot) if every or one.closed_by is None]
        if as_json:
            typer.echo(json_of(found))
        elif found:
            show(exceptions_table(found))
        else:
            typer.echo("no exceptions")


@app.command(name="show")
def show_exception(exception: Id, as_json: Json = False) -> None:
    """Show one of them: whose it is, the fact that makes it, and what people said of it.

    Example: neurohub-central exceptions show 3f2a
    """
    with told(), opened() as (_, store):
        found = _one(store, exception)
        if as_json:
            typer.echo(json_of(found))
        else:
            for line in exception_lines(found):
                typer.echo(line)


@app.command(name="close")
def close(
    exception: Id,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What came of it, for those who ask later.")],
    author: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who decides; without it, who is logged in here.")
    ] = None,
) -> None:
    """Say that someone has looked into an exception. It stays on the unit, with these words, and moves nothing: a
    status, a hold and the order of processes have decisions of their own.

    Example: neurohub-central exceptions close 3f2a --reason "label of the neighbour, both units checked"
    """
    with told(), opened() as (_, store):
        found = _one(store, exception)
        if found.closed_by is not None:
            raise DataError(f"exception {found.id} was closed by {found.closed_by}: {found.closed_because}")
        store.add_decision(
            ExceptionClosed(
                author=author or login(),
                decided_at=datetime.now(UTC),
                reason=reason,
                exception_id=found.id,
                serial_number=found.unit,
                lot_number=None if found.unit else found.lot_number,
            )
        )
        typer.echo(f"exception {found.id} is closed")


def _all(store: Store, code: str | None = None, lot: str | None = None) -> list[ExceptionRow]:
    with store.reading() as connection:
        return list(exceptions.rows(connection, code, lot))


def _one(store: Store, name: str) -> ExceptionRow:
    found = {one.id: one for one in _all(store) if one.id.startswith(name)}
    if len(found) != 1:
        many = f"{len(found)} exceptions have ids that begin with" if found else "no exception has the id"
        raise DataError(f"{many} {name}: neurohub-central exceptions list --all tells them")
    return next(iter(found.values()))
