"""The documents' site has every page and every protocol, and a link to what is not there ends its build."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the site is made of."""
    for name in ("docs", "drivers", "tools", "tests/contract"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


def built(project: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", project / "site"],
        cwd=project,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_link_an_anchor_or_a_page_that_leads_nowhere_is_told(project: Path) -> None:
    chaos = project / "docs" / "chaos.md"
    chaos.write_text(chaos.read_text(encoding="utf-8") + "\n[a](station.md#nowhere)\n", encoding="utf-8")
    (project / "docs" / "unlisted.md").write_text("# In no menu\n", encoding="utf-8")
    found = built(project)
    assert found.returncode == 1
    assert "#nowhere" in found.stderr
    assert "unlisted.md" in found.stderr
    chaos.write_text("[a](nowhere.md)\n", encoding="utf-8")
    found = built(project)
    assert found.returncode == 1
    assert "docs/chaos.md: the link to nowhere.md leads nowhere" in found.stderr
