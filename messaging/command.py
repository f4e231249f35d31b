"""What both commands have in common: how they begin, and ``--version``."""

import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

OURS = ("agent", "central", "contracts", "drivers", "messaging")


def start(part: str) -> None:
    """Run ``neurohub-<part>``. Where its libraries are not installed: a line that says how, and exit code 2."""
    program = f"neurohub-{part}"
    try:
        import_module(f"{part}.cli").app(prog_name=program)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OURS:
            raise
        print(
            f"{program}: {error.name} is not installed in {sys.prefix}. Each part has an installation of its own; "
            f"this one is made with: tools/setup {part} FOLDER",
            file=sys.stderr,
        )
        sys.exit(2)


def _tell_version(wanted: bool) -> None:  # typer calls it with the option's value
    if wanted:
        typer.echo(f"neurohub-edge {version('neurohub-edge')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version and end.", callback=_tell_version, is_eager=True)
]
"""The option ``--version`` of a command's callback."""
