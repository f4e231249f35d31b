"""What every command begins with: settings from the environment, the store of their database, and errors as a line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from central.settings import CentralSettings, load_settings
from central.store import Store
from contracts.errors import NeuroHubError


@contextmanager
def told() -> Iterator[None]:
    """An error of ours is one line for a person, and exit code 2."""
    try:
        yield
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


@contextmanager
def opened() -> Iterator[tuple[CentralSettings, Store]]:
    """The settings, and the store of a database that has this version's tables."""
    settings = load_settings()
    store = store_of(settings)
    try:
        store.check_schema()
        yield settings, store
    finally:
        store.close()


def store_of(settings: CentralSettings) -> Store:
    """The store of this database, whatever its tables are."""
    return Store(settings.database_url, echo=settings.database_echo, lease_s=settings.permits.lease_s)


def login() -> str:
    """Who is logged in here, as the author of what he decides."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or f"uid {os.getuid()}"
