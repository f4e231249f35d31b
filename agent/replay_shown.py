"""What ``neurohub-agent replay`` prints."""

from pathlib import Path

from rich.markup import escape

from agent.history import FILE, lines_of
from agent.replay import Replayed, replayed
from agent.settings import load
from agent.terminal import console, verdict
from contracts.errors import SetupError


def show_replay(file: Path, recording: Path | None, *, history: bool, everything: bool) -> int:
    """Print every result that differs. How many do. Raises SetupError."""
    settings = load(file)
    if history == (recording is not None):
        raise SetupError("give a RECORDING, or --history")
    source = settings.state_dir / FILE if recording is None else recording
    try:
        found = list(replayed(settings, lines_of(source)))
    except OSError as error:
        raise SetupError(f"{source} cannot be read: {error.strerror or error}") from error
    if not found:
        raise SetupError(f"{source}: nothing of a machine of {file} is recorded there")
    for one in found:
        if everything or one.differences or not one.line.outcome:
            _show(one)
    differing = sum(bool(one.differences) for one in found)
    console().print(f"{len(found)} results replayed, {differing} differ")
    return differing


def _show(one: Replayed) -> None:
    out, line = console(), one.line
    who = escape(line.serial_number or "-")
    out.print(f"{line.at.isoformat(timespec='milliseconds')}  {escape(line.machine)}  {who}  {verdict(one.outcome)}")
    told = one.differences or tuple(f"{name}: {value}" for name, value in one.measurements.items())
    for text in (*told, *one.problems):
        out.print(f"  {escape(text)}")
