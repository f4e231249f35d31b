"""``neurohub-agent outbox``: what a technician does with the results a station keeps."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from contracts.errors import SetupError, StoreError

if TYPE_CHECKING:
    from agent.outbox.look import Held, Look
    from agent.outbox.salvage import Found, StreamFound

app = typer.Typer(
    name="outbox",
    help="The results a station keeps on its disk.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

RANGES_SHOWN = 20

OutboxPath = Annotated[
    Path, typer.Argument(metavar="OUTBOX", help="The file: outbox.db in the station's state_dir, or one set aside.")
]
OfState = Annotated[
    Literal["waiting", "settled", "parked", "disputed"] | None,
    typer.Option("--state", help="Only these: waiting for central, settled, parked or disputed."),
]
OfMachine = Annotated[str | None, typer.Option("--machine", metavar="NAME", help="Only what this machine made.")]


@app.command(name="list")
def list_records(
    outbox: OutboxPath,
    state: OfState = None,
    machine: OfMachine = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="The newest so many.")] = 20,
) -> None:
    """List what an outbox holds: how much in each state, then the newest records with number, unit and outcome.

    waiting: central has not said that it has it; settled: it has; parked: it cannot be sent; disputed: central has it
    in quarantine, beside another content of the same number. The station may run meanwhile, and nothing is changed; a
    copy is read, so the folder for temporary files (TMPDIR) needs room for one. Exit code 2 where it cannot be read.

    Example: neurohub-agent outbox list /var/lib/neurohub/P03-A/outbox.db --state waiting
    """
    from rich.markup import escape

    from agent.outbox.look import State
    from agent.terminal import console, table, verdict

    with _looked_at(outbox) as seen:
        typer.echo(", ".join(f"{count} {name.value}" for name, count in seen.counts().items()))
        shown = table("stream", "seq", "machine", "kept at", "state", "serial number", "outcome", "why parked")
        wanted = None if state is None else State(state)
        for held in seen.records(state=wanted, machine=machine, last=last):
            record = held.record or {}
            unit = record.get("serial_number") or record.get("lot_number") or "-"
            shown.add_row(
                held.stream_id[:8],
                str(held.seq),
                escape(held.machine),
                held.created_at,
                held.state.value,
                escape(str(unit)),
                verdict(escape(_outcome(held))),
                escape(held.parked or ""),
            )
        console().print(shown)


@app.command()
def show(
    outbox: OutboxPath,
    seq: Annotated[int, typer.Argument(metavar="SEQ", help="The record's number.")],
    stream: Annotated[
        str | None,
        typer.Option("--stream", metavar="NAME", help="Only of this stream; a file may hold more than one."),
    ] = None,
) -> None:
    """Show one record whole, as it is kept and sent, with its state; of every stream that has this number.

    The station may run meanwhile. Exit code 1 where there is no such record (settled ones are deleted after
    retention), 2 where the outbox cannot be read.

    Example: neurohub-agent outbox show /var/lib/neurohub/P03-A/outbox.db 1204
    """
    with _looked_at(outbox) as seen:
        found = list(seen.records(seq=seq, stream=stream))
    for held in found:
        typer.echo(json.dumps(_as_json(held), ensure_ascii=False, indent=2))
    if not found:
        typer.echo(f"{outbox}: no record {seq} is held there; outbox list shows what is", err=True)
        raise typer.Exit(1)


@app.command()
def export(outbox: OutboxPath, state: OfState = None, machine: OfMachine = None) -> None:
    """Print an outbox's records as JSON lines: stream, number, state, and the record itself.

    A record that is damaged stands there as base64 under "body". The station may run meanwhile; nothing is changed.
    Exit code 2 where the outbox cannot be read.

    Example: neurohub-agent outbox export /var/lib/neurohub/P03-A/outbox.db --state waiting > waiting.jsonl
    """
    from agent.outbox.look import State

    with _looked_at(outbox) as seen:
        for held in seen.records(state=None if state is None else State(state), machine=machine):
            typer.echo(json.dumps(_as_json(held), ensure_ascii=False))


@app.command()
def retry(
    outbox: OutboxPath,
    seq: Annotated[int | None, typer.Option("--seq", metavar="SEQ", help="Only this number; all by default.")] = None,
) -> None:
    """Let parked records be sent again when the station is started. It must be stopped meanwhile.

    Of use after an update that sends what could not be sent before: what still cannot be sent is parked again, and
    what is damaged stays parked. Exit code 0 when something was taken up or nothing is parked, 1 when all of it is
    damaged, 2 when it could not be done.

    Example: neurohub-agent outbox retry /var/lib/neurohub/P03-A/outbox.db
    """
    from agent.outbox.look import retry as take_up

    try:
        again, damaged = take_up(outbox, seq)
    except (SetupError, StoreError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{len(again)} parked records are tried again when the station is started")
    for held in damaged:
        typer.echo(f"stays parked: {held.stream_id} {held.seq}: {held.parked}")
    raise typer.Exit(1 if damaged and not again else 0)


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
    from agent.outbox.salvage import salvage as bring

    try:
        found = bring(file, into or file.with_name("outbox.db"), _names(stream or ()))
    except (SetupError, StoreError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    for line in _told(found):
        typer.echo(line)
    raise typer.Exit(0 if found.is_complete else 1)


@contextmanager
def _looked_at(outbox: Path) -> "Iterator[Look]":
    from agent.outbox.look import look

    try:
        with look(outbox) as seen:
            yield seen
    except SetupError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _outcome(held: "Held") -> str:
    record = held.record
    if not held.is_intact or record is None:
        return "damaged"
    if "outcome" in record:
        return str(record["outcome"])
    return "granted" if record.get("granted") else "refused"


def _as_json(held: "Held") -> dict[str, Any]:
    found: dict[str, Any] = {
        "stream_id": held.stream_id,
        "seq": held.seq,
        "machine": held.machine,
        "created_at": held.created_at,
        "state": held.state.value,
        "settled_at": held.settled_at,
        "parked": held.parked,
    }
    if held.is_intact and held.record is not None:
        return {**found, "record": held.record}
    return {**found, "body": base64.b64encode(held.body).decode("ascii")}


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
    from contracts.envelope import ranges_of

    return _shown(ranges_of(sorted(seqs)))


def _shown(ranges: "tuple[tuple[int, int], ...]") -> str:
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in ranges[:RANGES_SHOWN]]
    return ", ".join(shown) + (f" and {len(ranges) - RANGES_SHOWN} more" if len(ranges) > RANGES_SHOWN else "")
