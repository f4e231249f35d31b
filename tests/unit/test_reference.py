"""The table of keys in each protocol's README: whole, in a technician's words, and never older than the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from contracts.duration import Duration
from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.reference import keys, problems, table, write

BARE = "# Test\n<!-- sample: begin -->\n<!-- sample: end -->\n<!-- keys: begin -->\n<!-- keys: end -->\nBelow.\n"


class Tcp(Strict):
    transport: Literal["tcp"]
    """Over the network."""
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    """TCP port."""
    timeout: Annotated[Duration, Field(gt=0)] = 0.05
    """Longest wait
    for one answer."""


class Rtu(Strict):
    transport: Literal["rtu"]
    """Over a line."""
    timeout: Annotated[Duration, Field(gt=0)] = 0.05
    """Longest wait for one answer."""


class Group(Strict):
    """Fields that belong together."""

    text: Annotated[str, Field(max_length=8)] | None = None
    """A ``mark`` | a text."""
    inner: "Group | None" = None


class Point(PointSettings):
    """A signal."""

    at: float | int = 1
    """Where it is."""
    groups: tuple[Group, ...] = ()


class Settings(ProtocolSettings):
    connect: Annotated[Tcp | Rtu, Field(discriminator="transport")]
    """How it is reached."""
    points: Mapping[str, Point]
    again: Tcp | Rtu | Point | None = None
    """A union that no key decides."""
    group: Group = Group(text="x")
    """One with a default of its own."""


class WithoutMeaning(ProtocolSettings):
    points: Mapping[str, Point]
    baudrate: int = 9600


def lines() -> list[str]:
    return table(keys(Settings)).splitlines()


def test_types_defaults_and_meanings_are_in_words() -> None:
    assert "| `points.<point>.at` | number | `1` | Where it is. |" in lines()
    assert "| `points.<point>.unit` | text | none | Unit of the value, as the criteria spell it " in "".join(lines())
    assert "| `connect.port` (`transport: tcp`) | whole number 1 to 65535 | `502` | TCP port. |" in lines()


def test_a_key_that_all_branches_of_a_union_share_is_told_once() -> None:
    found = [line for line in lines() if line.startswith("| `connect.timeout`")]
    assert found == [
        "| `connect.timeout` (`transport: tcp` or `transport: rtu`) | duration | `50ms` | "
        "Longest wait for one answer. |"
    ]


def test_a_union_that_no_key_decides_is_told_apart_by_what_its_branches_need() -> None:
    assert "| `again.port` (with `transport`) | whole number 1 to 65535 | `502` | TCP port. |" in lines()
    assert "| `again.at` (without `transport`) | number | `1` | Where it is. |" in lines()


def test_a_default_that_is_not_the_models_own_says_what_differs() -> None:
    assert "| `group` | keys | as below, but `text: x` | One with a default of its own. |" in lines()


def test_keys_in_lists_of_groups_are_reached_and_a_model_that_holds_itself_ends() -> None:
    paths = [key.path for key in keys(Settings)]
    assert "points.<point>.groups[].text" in paths
    assert "points.<point>.groups[].inner" in paths
    assert len(paths) == len(set(paths)) + len(["connect.transport", "again.transport"])


def test_a_column_cannot_be_broken_by_its_text() -> None:
    assert r"| `points.<point>.groups[].text` | text of at most 8 characters | none | A `mark` \| a text. |" in lines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text(BARE, encoding="utf-8")
    (tmp_path / "sample.yaml").write_text("machines:\n  a: 1\n", encoding="utf-8")
    return tmp_path


def test_what_is_not_current_is_found_and_mended(folder: Path) -> None:
    assert problems("test", Settings, folder) == [
        f"test: {folder / 'README.md'} is not current: run python -m drivers.reference"
    ]
    write(Settings, folder)
    assert problems("test", Settings, folder) == []
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "```yaml\nmachines:\n  a: 1\n```" in text
    assert text.startswith("# Test\n")
    assert text.endswith("\nBelow.\n")


def test_a_changed_sample_makes_the_readme_old(folder: Path) -> None:
    write(Settings, folder)
    (folder / "sample.yaml").write_text("machines:\n  a: 2\n", encoding="utf-8")
    assert "not current" in problems("test", Settings, folder)[0]


def test_a_key_without_a_meaning_is_named(folder: Path) -> None:
    write(WithoutMeaning, folder)
    assert problems("test", WithoutMeaning, folder) == [
        "test: key baudrate has no meaning: write a docstring under its field in settings.py"
    ]


def test_a_missing_file_or_marker_is_named(folder: Path) -> None:
    (folder / "README.md").write_text(BARE.replace("<!-- keys: end -->", ""), encoding="utf-8")
    write(Settings, folder)
    assert "it needs the lines <!-- keys: begin --> and <!-- keys: end --> once" in problems("t", Settings, folder)[0]
    (folder / "README.md").unlink()
    (folder / "sample.yaml").unlink()
    write(Settings, folder)
    assert problems("t", Settings, folder) == [
        f"t: {folder / 'README.md'} is missing",
        f"t: {folder / 'sample.yaml'} is missing",
    ]
