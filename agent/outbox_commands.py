"""``neurohub-agent outbox``: what a technician does with the results a station keeps."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contracts.errors import SetupError, StoreError

if TYPE_CHECKING:
    from agent.outbox.salvage import Found, StreamFound

app = typer.Typer(
    name="outbox",
    help="The results a station keeps on its disk.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

RANGES_SHOWN = 20


@app.command()
def salvage(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The damaged outbox that was set aside.")],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="OUTBOX", help="The outbox to bring it to; outbox.db beside FILE.")
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(
            "--stream",
            metavar="NUMBER=NAME",
            help="What a stream is called, where FILE no longer says so; central knows its name. May be repeated.",
        ),
    ] = None,
) -> None:
    """Bring what can be read of a damaged outbox into the station's present one.

    The station must be stopped meanwhile. Each record keeps the number it has, so central takes it once, whether it
    had it or not; what was not delivered is delivered when the station runs again. Doing it twice changes nothing.
    FILE is kept; when nothing of it is missing it is renamed, and the station says no more that it waits. Exit code 0
    when nothing is missing, 1 when something could not be read or brought.

    Example: neurohub-agent outbox salvage /var/lib/neurohub/P03-A/outbox.db.damaged-20261123T031500.000000Z
    """
    from agent.outbox.salvage import salvage as bring  # noqa: PLC0415  # a station starts quickly

    try:
        found = bring(file, into or file.with_name("outbox.db"), _names(stream or ()))
    except (SetupError, StoreError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    for line in _told(found):
        typer.echo(line)
    raise typer.Exit(0 if found.is_complete else 1)


def _names(options: "list[str] | tuple[str, ...]") -> dict[int, str]:
    names: dict[int, str] = {}
    for option in options:
        match = re.fullmatch(r"(\d+)=([0-9a-f]{32})", option)
        if match is None:
            raise typer.BadParameter(f"--stream {option}: NUMBER=NAME is needed, with a name of 32 hexadecimal digits")
        names[int(match[1])] = match[2]
    return names


def _told(found: "Found") -> list[str]:
    lines = [line for one in found.streams for line in _of_stream(one)]
    waiting = sum(one.unsettled for one in found.streams)
    if waiting:
        lines.append(f"{waiting} records were not delivered yet: they are when the station is started again")
    if not found.is_complete:
        lines.append("not all of it is back: the station goes on saying so until the file is moved out of its folder")
    return [*lines, f"the damaged file is kept: {found.kept_as}"]


def _of_stream(one: "StreamFound") -> list[str]:
    name = one.stream_id or f"number {one.number}, whose name is lost"
    lines = [f"stream {name}: {len(one.seqs)} records read, {one.brought} brought, {one.known} were there already"]
    if one.stream_id is None:
        lines.append(f"  nothing of it was brought: find its name at central, and add --stream {one.number}=NAME")
    if one.differing:
        lines.append(f"  the outbox holds other records under {_listed(one.differing)}: these stay in the damaged file")
    if one.unreadable:
        lines.append(f"  damaged, and not brought: {_listed(sorted(one.unreadable))}")
    if one.lost:
        lines.append(f"  lost: {one.lost}")
    if one.missing:
        lines.append(f"  not found (lost, or deleted after their time): {_shown(one.missing)}")
    return lines


def _listed(seqs: list[int]) -> str:
    from contracts.envelope import ranges_of  # noqa: PLC0415  # a station starts quickly

    return _shown(ranges_of(sorted(seqs)))


def _shown(ranges: "tuple[tuple[int, int], ...]") -> str:
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:RANGES_SHOWN]]
    return ", ".join(shown) + (f" and {len(ranges) - RANGES_SHOWN} more" if len(ranges) > RANGES_SHOWN else "")
