"""What ``neurohub-agent init`` asks and says; what it makes is in ``agent.init``."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from agent.init import addresses, chosen, made, templates, write
from contracts.errors import SetupError
from contracts.processes import BY_CODE

_QUESTIONS = {
    "id": ("--station", "Station (for example P03-A)"),
    "site": ("--site", "Site, the factory"),
    "line": ("--line", "Line"),
    "process": ("--process", "Process (a number from 1 to 8, or its code)"),
}


def show_templates() -> None:
    """Every example, with its process and machines."""
    for template in templates():
        machines = ", ".join(f"{name} ({protocol})" for name, protocol in template.machines.items())
        typer.echo(f"{template.name:8} {template.process:26} {machines}")


def begin(
    given: Mapping[str, str | None],
    protocol: str | None,
    broker: str | None,
    connect: Sequence[str],
    output: Path | None,
    *,
    replace: bool,
) -> None:
    """Ask for what is missing, write the file, tell what comes next. Raises SetupError."""
    asking = sys.stdin.isatty()
    missing = [option for key, (option, _) in _QUESTIONS.items() if given[key] is None]
    if missing and not asking:
        raise SetupError(f"missing: {', '.join(missing)}; at a terminal they would be asked for")
    identity = {key: given[key] or str(typer.prompt(question)) for key, (_, question) in _QUESTIONS.items()}
    identity["process"] = _process(identity["process"])
    template = chosen(identity["process"], protocol)
    where = dict(_pair(one) for one in connect)
    if broker is None:
        broker = str(typer.prompt("Broker", "mqtt://127.0.0.1:1883")) if asking else "mqtt://127.0.0.1:1883"
    for name, value in addresses(template).items() if asking else ():
        if name not in where:
            where[name] = str(typer.prompt(f"Machine {name.replace('.', ', ')}", value))
    file = output or Path(f"{identity['id']}.yaml")
    typer.echo(write(file, made(template, identity, broker, where), replace=replace))
    typer.echo(f"next: write your machine's points and limits into it, then neurohub-agent check {file}")


def _process(text: str) -> str:
    """The code of ``3`` or ``P03``; any other text as it is."""
    number = text.upper().removeprefix("P").lstrip("0")
    return next((code for code in BY_CODE if code.startswith(f"P{number:0>2}_")), text) if number.isdecimal() else text


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or "." not in name or not value:
        raise SetupError(f"--connect {text}: MACHINE.KEY=VALUE is needed, for example tester.host=10.0.3.21")
    return name, value
