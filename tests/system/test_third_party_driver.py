"""The worked example of a driver from elsewhere, installed as its page says: a package, found by its entry point."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.reference import problems
from tests.support.agents import agent, kept
from tests.support.processes import ROOT, Process

EXAMPLE = ROOT / "docs" / "drivers" / "example"
SAMPLE = EXAMPLE / "sample.yaml"
PATIENCE_S = 60.0


def commands() -> list[list[str]]:
    """What the page tells to type."""
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- tested: begin -->\n```sh\n(.*?)```\n<!-- tested: end -->", page, re.DOTALL)
    assert found is not None
    return [line.split() for line in found[1].splitlines()]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, installed by pip; httpx is here already."""
    folder = tmp_path_factory.mktemp("seamcam")
    source = shutil.copytree(EXAMPLE, folder / "source")  # pip leaves its traces where it builds
    command = commands()[0]
    assert command == ["pip", "install", "docs/drivers/example"]
    place = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", folder / "site"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    subprocess.run([sys.executable, "-m", *command[:2], *place, source], check=True, env=environment)
    return folder / "site"


def typed(command: list[str], site: Path, **keys: bool) -> Process:
    """A command of the agent as the page has it, where the package is installed."""
    assert command[0] == "neurohub-agent"
    return Process([sys.executable, "-m", "agent", *command[1:]], env={"PYTHONPATH": str(site)}, **keys)


async def test_check_knows_the_protocol_where_it_is_installed_and_names_it_where_not(
    installed: Path, tmp_path: Path
) -> None:
    command = commands()[1]
    assert command == ["neurohub-agent", "check", str(SAMPLE.relative_to(ROOT))]
    async with typed(command, installed) as process:
        assert await process.ended(timeout_s=PATIENCE_S) == 0, process.output
        assert "right; station P05-A, camera (seamcam); 1 criteria" in process.output[-1]
    async with typed(command, tmp_path) as process:
        assert await process.ended(timeout_s=PATIENCE_S) == 1
        assert "machines.camera.protocol: unknown protocol" in "\n".join(process.output)
    shutil.copytree(installed, tmp_path / "broken")
    (tmp_path / "broken" / "seamcam" / "settings.py").unlink()
    async with typed(command, tmp_path / "broken") as process:
        assert await process.ended(timeout_s=PATIENCE_S) == 1
        assert "machines.camera.protocol: protocol cannot be loaded: No module named 'seamcam." in process.output[0]


async def test_the_agent_keeps_the_results_of_a_simulated_camera(installed: Path, tmp_path: Path) -> None:
    command = commands()[2]
    assert command == ["neurohub-agent", "simulate", str(SAMPLE.relative_to(ROOT))]
    result = re.search(r"```json\n(.*?)\n```", (EXAMPLE / "README.md").read_text(encoding="utf-8"))
    assert result is not None
    good = json.loads(result[1])
    bad = {"machine": "camera", "values": {"serial_number": "SN-2", "seam_depth": 2.5, "judgement": "OK"}}
    async with typed(command, installed, listens=True) as cameras:
        said = await cameras.json(lambda line: "set" in line, timeout_s=PATIENCE_S)
        overrides = [f"{key}={value}" for key, value in said["set"].items()]
        environment = {"PYTHONPATH": str(installed)}
        async with agent(SAMPLE, tmp_path, overrides, env=environment) as station, asyncio.timeout(PATIENCE_S):
            await station.line("machine connected")
            for number, made in enumerate((good, bad), 1):
                await cameras.tell(json.dumps(made))
                await cameras.json(lambda line, number=number: line.get("cycle_key") == number)  # it was acknowledged
            assert await station.stop() == 0
    records = [(record["cycle_key"], record["serial_number"], record["outcome"]) for record in kept(tmp_path)]
    assert records == [(1, "SN-241118-001", "PASS"), (2, "SN-2", "FAIL")]


def test_its_page_is_current(installed: Path) -> None:
    """Its sample and its table of keys, as those of our own protocols."""
    sys.path.append(str(installed))
    try:
        from seamcam.settings import SeamcamSettings

        assert problems("seamcam", SeamcamSettings, EXAMPLE) == []
    finally:
        sys.path.remove(str(installed))
