"""Who may import whom: the contracts in pyproject.toml can fail."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.processes import ROOT

LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the packages in this folder, with the project's own contracts."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--config", ROOT / "pyproject.toml"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["agent/faults.py", "demo/line.py"])
def test_a_module_that_imports_the_tests_is_refused(module: str, tmp_path: Path) -> None:
    for package in LINTER["root_packages"]:
        shutil.copytree(ROOT / package, tmp_path / package)
    changed = tmp_path / module
    changed.write_text(changed.read_text(encoding="utf-8") + "\nimport tests.support.records\n", encoding="utf-8")
    done = linted(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{module.removesuffix('.py').replace('/', '.')} -> tests" in done.stdout


def test_every_package_of_ours_is_held_to_it() -> None:
    [contract] = [one for one in LINTER["contracts"] if one.get("forbidden_modules") == ["tests"]]
    assert contract["source_modules"] == LINTER["root_packages"]
