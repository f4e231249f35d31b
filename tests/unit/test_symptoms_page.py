"""What docs/symptoms.md says one reads, the program says; what it and docs/quick-start.md let one type, is there."""

import re
import shlex
from collections.abc import Iterator

import pytest
from typer.main import get_command

import agent.cli
import central.cli
from tests.support.processes import ROOT

SYMPTOMS = (ROOT / "docs" / "symptoms.md").read_text(encoding="utf-8")
QUICK_START = (ROOT / "docs" / "quick-start.md").read_text(encoding="utf-8")
APPS = {"neurohub-agent": agent.cli.app, "neurohub-central": central.cli.app}


def said() -> str:
    """Everything our programs may say: their source, with texts that go over several lines put together."""
    files = [
        file for folder in ("agent", "drivers", "contracts", "documents") for file in (ROOT / folder).rglob("*.py")
    ]
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(file.read_text(encoding="utf-8") for file in files))


def quoted() -> list[str]:
    """What stands under "you read", between backticks. State and number of `status` are put together by it."""
    cells = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", SYMPTOMS, re.MULTILINE)
    found = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    return sorted({part for text in found for part in re.split(r": (?=not connected)", text)})


@pytest.mark.parametrize("text", quoted())
def test_what_one_reads_is_said_by_the_program(text: str) -> None:
    of_settings_or_libraries = {"BadNodeIdUnknown", "offline: block", "interlock.enabled: false"}
    assert text in of_settings_or_libraries or text in said()


def typed(page: str) -> Iterator[list[str]]:
    """The commands of ours on a page."""
    code = [*re.findall(r"```sh\n(.*?)```", page, re.DOTALL), *re.findall(r"`([^`\n]+)`", page)]
    for line in "\n".join(code).splitlines():
        words = [word.rpartition("/")[2] for word in shlex.split(line)] if "neurohub-" in line else []
        for name in APPS:
            if name in words:
                yield words[words.index(name) :]


@pytest.mark.parametrize("page", [SYMPTOMS, QUICK_START], ids=["symptoms", "quick-start"])
def test_what_one_types_is_a_command_with_these_options(page: str) -> None:
    commands = list(typed(page))
    assert len(commands) >= 5
    for program, *words in commands:
        if not words:
            continue
        command = get_command(APPS[program])
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, f"{program} {words[0]}"
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, (program, words)
