"""``neurohub-central audit``: seal the audit trail now, and verify it."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from central.anchors import AnchorFile, KnownAnchors
from central.opening import opened, told
from central.sealer import retained_anchor
from central.settings import CentralSettings
from central.show import json_of
from central.store import Store, TrailCheck
from contracts.errors import DataError, LinkError

app = typer.Typer(
    name="audit",
    help="The audit trail: who changed what and when, sealed into a chain that shows every later change.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_AGAIN_S = 0.1
_RETAINED_WITHIN_S = 3.0


@app.command()
def seal(
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Wait so long for transactions that are still open.")
    ] = 30.0,
) -> None:
    """Seal every row that is committed, and add an anchor to AUDIT_ANCHOR_FILE. "run" does the same all the time.

    Exit code 1 when a transaction stayed open and its rows could not be sealed. Example: neurohub-central audit seal
    """
    with told(), opened() as (settings, store):
        file = AnchorFile(settings.anchor_file)
        file.prepare()
        until = time.monotonic() + patience
        seals = store.seals.seal()
        while (still := store.seals.open()) and time.monotonic() < until:
            time.sleep(_AGAIN_S)
            seals += store.seals.seal()
        anchor = store.seals.anchor()
        if anchor is not None:
            file.add(anchor)
        rows = sum(one.rows for one in seals)
        typer.echo(f"{rows} rows sealed; " + ("nothing to anchor yet" if anchor is None else f"anchor in {file.path}"))
        if still:
            typer.echo("a transaction is still open: rows that may belong to it are not sealed yet", err=True)
            raise typer.Exit(1)


@app.command()
def verify(
    anchors: Annotated[
        list[Path] | None,
        typer.Option("--anchors", metavar="FILE", help="Anchors; without it AUDIT_ANCHOR_FILE. May be repeated."),
    ] = None,
    broker: Annotated[
        bool, typer.Option("--broker", help="Compare with the anchor that the broker keeps, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Verify that no row of the audit trail was changed, removed, inserted or moved up to the last anchor.

    Use a copy of the anchors that whoever you suspect cannot write. Exit code 0 when everything is as it was sealed,
    1 when not, 2 when it could not be verified. Example: neurohub-central audit verify --anchors /mnt/usb/anchors.jsonl
    """
    with told(), opened() as (settings, store):
        known = _known(settings, store, anchors, broker=broker)
        console = Console(stderr=True)
        with Progress(
            TextColumn("verifying rows"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        ) as progress:
            task = progress.add_task("rows", total=None)
            found = store.seals.check(
                known.by_number, lambda rows, total: progress.update(task, completed=rows, total=total)
            )
        for text in known.wrong:
            found.find(text)
        if found.seals and not known.by_number:
            found.find(
                "there is no anchor of this database: a chain that was made anew could not be told from the first"
            )
        if as_json:
            typer.echo(json_of(found))
        else:
            for line in (*_lines(found), *known.unread):
                typer.echo(line)
            if known.others:
                typer.echo(f"{known.others} anchors are of other databases")
        if found.wrong:
            raise typer.Exit(1)


def _known(settings: CentralSettings, store: Store, files: list[Path] | None, *, broker: bool) -> KnownAnchors:
    known = KnownAnchors(store.epoch)
    for path in files or [settings.anchor_file]:
        if files or path.exists():
            known.read(path)
    if broker:
        try:
            anchor = asyncio.run(retained_anchor(settings.broker, store.epoch, patience_s=_RETAINED_WITHIN_S))
        except ValidationError as error:
            raise DataError("the broker keeps something that is no anchor: who may write there?") from error
        if anchor is None:
            raise LinkError(f"broker {settings.broker} keeps no anchor of this database")
        known.add([anchor], "the broker's")
    return known


def _lines(found: TrailCheck) -> list[str]:
    lines = [
        f"{found.rows} rows verified in {found.seals} seals against {found.anchors} anchors;"
        f" {found.anchored} are anchored"
    ]
    if found.later:
        lines.append(
            f"{found.later} rows are sealed and not anchored yet: nothing outside the database stands for them"
        )
    if found.unsealed:
        lines.append(f"{found.unsealed} rows are not sealed yet")
    lines += found.told
    if found.wrong > len(found.told):
        lines.append(f"and {found.wrong - len(found.told)} more")
    lines.append("the audit trail is as it was sealed" if not found.wrong else f"{found.wrong} things are wrong")
    return lines
