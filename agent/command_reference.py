"""Keeps docs/commands.md true: ``python -m agent.command_reference`` writes it, made from the commands themselves.

``--check`` writes nothing, names what is not current, has no help or no example, and exits with 1.
"""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from agent.cli import app
from drivers.reference import between

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
PROGRAM = "neurohub-agent"
_COMPLETION = ("install_completion", "show_completion", "help")


def commands(of: typer.Typer = app) -> dict[str, Any]:
    """Every command by the words that call it, those of groups among them."""
    return dict(_below(PROGRAM, typer.main.get_command(of)))


def page(of: typer.Typer = app) -> str:
    """The commands as Markdown."""
    return "\n\n".join(_section(name, command) for name, command in commands(of).items())


def undocumented(of: typer.Typer = app) -> list[str]:
    """Commands without help or example, and options and arguments without help."""
    found: list[str] = []
    for name, command in commands(of).items():
        text = command.help or ""
        if not text:
            found.append(f"{name} has no docstring")
        elif f"Example: {name}" not in text:
            found.append(f"{name} has no example: end its docstring with Example: {name} ...")
        found += [
            f"{name}: {_named(one)} has no help" for one in _parameters(command) if not getattr(one, "help", None)
        ]
    return found


def problems(file: Path = PAGE) -> list[str]:
    """What is wrong, each with its remedy."""
    found = undocumented()
    text = file.read_text(encoding="utf-8")
    if between(text, "commands", page()) != text:
        found.append(f"{file} is not current: run python -m agent.command_reference")
    return found


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, one in inner.items():
        yield from _below(f"{name} {word}", one)


def _parameters(command: Any) -> list[Any]:
    return [one for one in command.params if one.name not in _COMPLETION]


def _section(name: str, command: Any) -> str:
    text = inspect.cleandoc(command.help or "")
    body, _, example = text.partition(f"Example: {name}")
    words = [f"### {name.removeprefix(PROGRAM + ' ')}", body.strip()]
    rows = [_row(one) for one in _parameters(command)]
    words.append("\n".join(["| argument or option | default | meaning |", "|---|---|---|", *rows]) if rows else "")
    words.append(f"```text\n{name}{example.rstrip()}\n```")
    return "\n\n".join(word for word in words if word)


def _row(one: Any) -> str:
    default = "none" if one.default in (None, ..., False, ()) or one.required else f"`{one.default}`"
    if one.required:
        default = "required"
    cells = (f"`{_named(one)}`", default, getattr(one, "help", "") or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _named(one: Any) -> str:
    metavar = one.metavar or ""
    if one.param_type_name == "argument":
        return metavar or one.name.upper()
    names = ", ".join(one.opts)
    return names if one.is_flag else f"{names} {metavar}".rstrip()


def main(arguments: list[str]) -> int:
    """Write the page, or check it. The exit code."""
    if "--check" not in arguments:
        PAGE.write_text(between(PAGE.read_text(encoding="utf-8"), "commands", page()), encoding="utf-8")
    wrong = problems()
    for problem in wrong:
        print(problem)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
