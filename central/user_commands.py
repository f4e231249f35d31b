"""``neurohub-central user``: who may log in to the API. The first ADMIN is made here."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from pydantic import TypeAdapter, ValidationError
from rich.table import Table
from rich.text import Text

from central.api.passwords import Password, hashed
from central.api.people import Department, Email, FullName, Username
from central.opening import opened, told
from central.show import json_of, moment, plain_table, show
from central.store import Author, logins, users
from central.store.users import Role, User
from contracts.errors import DataError

app = typer.Typer(
    name="user",
    help="Users of the API. A password is asked for, or read from a file; it is never an argument.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name, without case.")]
PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Read the password here, its first line; without it, it is asked.")
]


@app.command(name="add")
def add_user(
    name: Name,
    role: Annotated[Role, typer.Option(case_sensitive=False, help="What the user may do.")],
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="E-mail address; no two users have the same.")],
    full_name: Annotated[str | None, typer.Option(metavar="TEXT", help="Without it, the user's name.")] = None,
    department: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
    password_file: PasswordFile = None,
) -> None:
    """Add a user who may log in.

    Example: neurohub-central user add kim --role ADMIN --email kim@factory.example
    """
    with told():
        values = {
            "username": _checked("NAME", Username, name),
            "email": _checked("--email", Email, email),
            "full_name": _checked("--full-name", FullName, full_name or name),
            "department": None if department is None else _checked("--department", Department, department),
            "role": role,
            "is_active": True,
        }
        with _writing() as connection:
            if users.by_name(connection, name) is not None:
                raise DataError(f"there is a user {name} already: neurohub-central user password gives a new password")
        kept = hashed(_password(password_file))
        with _writing() as connection:
            made = users.create(connection, values, kept, datetime.now(UTC))
    typer.echo(f"{made.username} may log in as {made.role.value}")


@app.command(name="list")
def list_users(as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Show every user, also those that stations know by badge alone. Times are UTC.

    Example: neurohub-central user list
    """
    with told(), opened() as (_, store):
        with store.reading() as connection:
            found = [users.user_of(row) for row in connection.execute(users.listing()).mappings()]
        if as_json:
            typer.echo(json_of(found))
        elif found:
            show(_table(found))
        else:
            typer.echo("no user yet: neurohub-central user add")


@app.command(name="password")
def set_password(name: Name, password_file: PasswordFile = None) -> None:
    """Give a user a new password, and unlock the account.

    Example: neurohub-central user password kim
    """
    with told():
        with _writing() as connection:
            _there(connection, name)
        kept = hashed(_password(password_file))
        with _writing() as connection:
            user = _there(connection, name)
            users.set_password(connection, user.id, kept, datetime.now(UTC))
            logins.unlock(connection, user.id)
    typer.echo(f"{user.username} has a new password")


@app.command(name="disable")
def disable(
    name: Name,
    again: Annotated[bool, typer.Option("--undo", help="Let the user in again.")] = False,
) -> None:
    """Let a user in no more; tokens given out are good no more either. What the user did stays.

    Example: neurohub-central user disable kim
    """
    with told(), _writing() as connection:
        user = _there(connection, name)
        if not again and user.role is Role.ADMIN and users.other_admins(connection, user.id) == 0:
            raise DataError(f"{user.username} is the last ADMIN: add another one first")
        users.update(connection, user.id, {"is_active": again}, datetime.now(UTC))
    typer.echo(f"{user.username} is {'active' if again else 'not active'}")


def _table(found: Sequence[User]) -> Table:
    table = plain_table("name", "role", "active", "full name", "department", "e-mail", "last login")
    for user in found:
        cells = (user.username, user.role.value, "yes" if user.is_active else "no", user.full_name)
        more = (user.department or "", user.email, moment(user.last_login_at))
        table.add_row(*(Text(cell) for cell in (*cells, *more)))
    return table


@contextmanager
def _writing() -> Iterator[sa.Connection]:
    who = os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
    with opened() as (_, store), store.writing(Author(name=f"neurohub-central user ({who})")) as connection:
        yield connection


def _there(connection: sa.Connection, name: str) -> User:
    found = users.by_name(connection, name)
    if found is None:
        raise DataError(f"there is no user {name}: neurohub-central user list tells those there are")
    return found


def _password(file: Path | None) -> str:
    if file is None:
        given = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        try:
            given = file.read_text(encoding="utf-8").split("\n", 1)[0].removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"--password-file: {file} cannot be read: {error}") from error
    return _checked("the password", Password, given)


def _checked(what: str, kind: Any, value: str) -> str:
    try:
        return str(TypeAdapter(kind).validate_python(value))
    except ValidationError as error:  # its own text would repeat the password
        raise DataError(f"{what}: {error.errors(include_input=False)[0]['msg']}") from None
