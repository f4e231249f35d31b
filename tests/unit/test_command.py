"""What both commands say before they do anything: who they are, and that they are not installed here."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import agent.cli
import central.cli
from tests.support.processes import ROOT

PARTS = {"agent": (agent.cli.app, "ruamel.yaml"), "central": (central.cli.app, "sqlalchemy")}


@pytest.mark.parametrize("part", PARTS)
def test_the_version_is_told(part: str) -> None:
    said = CliRunner().invoke(PARTS[part][0], ["--version"])

    assert (said.exit_code, said.stdout.split()[0]) == (0, "neurohub-edge")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_not_installed_says_so(part: str) -> None:
    """As in an installation of the other part: one of its libraries is not there."""
    missing = PARTS[part][1]
    words = ["check", "config/stations/P03-A.yaml"] if part == "agent" else ["--help"]
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = {words}\nfrom {part}.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith(f"neurohub-{part}: {missing} is not installed in ")
    assert done.stderr.endswith(f"this one is made with: tools/setup {part} FOLDER\n")


def test_no_folder_is_made_for_a_database_at_a_wrong_place(tmp_path: Path) -> None:
    place = tmp_path / "nodir"
    said = CliRunner().invoke(central.cli.app, ["migrate"], env={"DATABASE_URL": f"sqlite:///{place}/central.db"})

    assert (said.exit_code, f"there is no folder {place}: make it" in said.output) == (2, True)
    assert not place.exists()
