"""docs/install.md is copied by people who know nothing else: what it names is there, and is what the units use."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import agent.cli
import central.cli
from tests.support.processes import ROOT

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [shlex.split(line) for block in BLOCKS for line in block.splitlines()]
APPS = {"neurohub-agent": agent.cli.app, "neurohub-central": central.cli.app}
UNITS = sorted(path.name for path in (ROOT / "systemd").glob("*.service"))


def installed() -> dict[str, Path]:
    """Each file of the project that the page puts somewhere, by where it then is."""
    found: dict[str, Path] = {}
    for words in COMMANDS:
        files = [word for word in words if re.match(r"(systemd|config|tools)/", word)]
        assert all((ROOT / file).exists() for file in files), words
        if words[:2] == ["sudo", "install"]:
            for file in files:
                at = words[-1]
                found[at + Path(file).name if at.endswith("/") else at] = ROOT / file
    return found


def test_every_unit_is_installed_and_started() -> None:
    at = installed()
    started = " ".join(" ".join(words) for words in COMMANDS if "enable" in words)

    for unit in UNITS:
        assert at[f"/etc/systemd/system/{unit}"] == ROOT / "systemd" / unit
        assert unit.removesuffix(".service") in started


def test_what_the_units_start_and_read_is_what_the_page_makes() -> None:
    text = "".join((ROOT / "systemd" / unit).read_text(encoding="utf-8") for unit in UNITS)
    programs = set(re.findall(r"^Exec\w+=(\S+)/neurohub-\w+", text, re.MULTILINE))
    files = set(re.findall(r"/etc/neurohub/[\w./%-]+", re.sub(r"^#.*$", "", text, flags=re.MULTILINE)))

    assert programs == {"/opt/neurohub/bin"}
    assert ["sudo", "tools/setup", "agent", "/opt/neurohub"] in COMMANDS
    assert ["sudo", "tools/setup", "central", "/opt/neurohub"] in COMMANDS
    assert {file.replace("%i", "P03-A") for file in files} <= {words[-1] for words in COMMANDS}


@pytest.mark.parametrize(("program", "word"), re.findall(r"(neurohub-agent|neurohub-central) (?!neurohub)(\w+)", PAGE))
def test_every_command_it_names_is_one(program: str, word: str) -> None:
    context = get_command(APPS[program])

    assert word in getattr(context, "commands", {})


def test_every_setting_of_central_it_names_is_told_by_its_help() -> None:
    told = CliRunner().invoke(central.cli.app, ["--help"]).stdout
    [environment] = [block for block in BLOCKS if block.startswith("DATABASE_URL=")]

    assert all(line.partition("=")[0] in told for line in environment.splitlines())
