"""docs/commands.md tells every command and option; a command without help, example or page is told."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from agent.cli import app
from agent.command_reference import PAGE, commands, main, page, problems, undocumented
from drivers.reference import between

TEXT = PAGE.read_text(encoding="utf-8")
bare = typer.Typer()


@bare.callback()
def nothing() -> None:
    """Nothing."""


@bare.command()
def silent(name: str, loud: Annotated[bool, typer.Option("--loud")] = False) -> None:
    pass


def test_the_page_is_current_and_everything_has_help_and_an_example() -> None:
    assert problems() == []


@pytest.mark.parametrize("name", commands())
def test_every_command_is_on_the_page_and_runs_its_help(name: str) -> None:
    words = name.split()[1:]
    assert f"### {' '.join(words)}\n" in TEXT
    result = CliRunner().invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert "Example: " in result.stdout


def test_what_has_no_help_is_named() -> None:
    assert undocumented(bare) == [
        "neurohub-agent silent has no docstring",
        "neurohub-agent silent: NAME has no help",
        "neurohub-agent silent: --loud has no help",
    ]


def test_a_page_that_lacks_a_command_is_told_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent import command_reference

    file = tmp_path / "commands.md"
    file.write_text(between(TEXT, "commands", ""), encoding="utf-8")
    monkeypatch.setattr(command_reference, "PAGE", file)
    assert problems(file) == [f"{file} is not current: run python -m agent.command_reference"]
    main([])
    assert page() in file.read_text(encoding="utf-8")


def test_the_shell_can_be_taught_to_complete() -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).stdout
