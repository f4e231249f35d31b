"""The lock files: everything by hash, nothing from an address, one version of each package for station and central."""

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.processes import ROOT

PINNED = re.compile(
    r"^([a-z0-9-]+)(?:\[([a-z0-9,-]+)\])?==([^ ;\\]+)(?: ; (.+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n",
    re.MULTILINE,
)
EXTRAS = ["agent", "central", "demo", "dev"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def text_of(extra: str) -> str:
    return (ROOT / "requirements" / f"{extra}.lock").read_text(encoding="utf-8")


def locked(extra: str) -> dict[str, set[str]]:
    """Package -> versions; more than one where markers tell Pythons apart."""
    found: dict[str, set[str]] = {}
    for name, _, version, _, _ in PINNED.findall(text_of(extra)):
        found.setdefault(name, set()).add(version)
    return found


def wanted(extra: str) -> list[Requirement]:
    """What pyproject.toml asks for, with the extras that an extra takes in."""
    found = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    for requirement in map(Requirement, PROJECT["project"]["optional-dependencies"][extra]):
        if requirement.name == PROJECT["project"]["name"]:
            found += [inner for taken_in in requirement.extras for inner in wanted(taken_in)]
        else:
            found.append(requirement)
    return found + [Requirement(line) for line in PROJECT["dependency-groups"]["build"]]


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_holds_versions_and_hashes_and_nothing_else(extra: str) -> None:
    assert PINNED.sub("", text_of(extra)) == ""


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_lock_answers_what_the_project_asks_for(extra: str) -> None:
    versions = locked(extra)
    for requirement in wanted(extra):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert any(Version(version) in requirement.specifier for version in versions[name]), requirement


def test_extras_stand_beside_the_names() -> None:
    """pip takes coverage==1 beside somebody's coverage[toml]>=1 for two wishes, and refuses the newest it finds."""
    kept = {name: set(extras.split(",")) for name, extras, *_ in PINNED.findall(text_of("dev")) if extras}
    asked: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        for requirement in map(Requirement, distribution.requires or []):
            if requirement.extras and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
                asked.setdefault(re.sub(r"[-_.]+", "-", requirement.name).lower(), set()).update(requirement.extras)
    assert "coverage" in asked
    assert {
        name: extras - kept.get(name, set()) for name, extras in asked.items() if extras - kept.get(name, set())
    } == {}


@pytest.mark.parametrize("extra", ["agent", "central", "demo"])
def test_what_runs_in_a_plant_is_what_was_tested(extra: str) -> None:
    tested = locked("dev")
    assert {name: versions - tested[name] for name, versions in locked(extra).items() if versions - tested[name]} == {}


def test_a_station_installs_no_database_server_driver_and_no_web_framework() -> None:
    assert {"psycopg", "sqlalchemy", "alembic", "fastapi", "uvicorn"} & locked("agent").keys() == set()


def test_central_installs_no_machine_library() -> None:
    assert {"asyncua", "pymodbus", "pyserial"} & locked("central").keys() == set()
