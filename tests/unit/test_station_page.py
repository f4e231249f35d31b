"""docs/station.md tells every key of a station's file: a key without a meaning, or one it lacks, is told."""

import re
from pathlib import Path

import pytest

from agent.reference import PAGE, TABLES, current, problems
from agent.settings import load
from agent.settings.machine import MachineKeys
from agent.settings.station import StationKeys
from drivers.base import Strict
from drivers.registry import OURS

TEXT = PAGE.read_text(encoding="utf-8")


class Bare(Strict):
    speed: int = 1


def test_the_page_is_current() -> None:
    assert problems(TEXT) == []


@pytest.mark.parametrize("key", ["machines", "criteria", *StationKeys.model_fields, *MachineKeys.model_fields])
def test_every_key_that_a_file_may_have_is_on_the_page(key: str) -> None:
    assert f"`{key}`" in TEXT


def test_a_key_without_a_meaning_and_a_page_that_lacks_it_are_told() -> None:
    told = problems(TEXT, {**TABLES, "station": Bare})
    assert len(told) == 2
    assert told[0].startswith("station: key speed has no meaning: write a docstring under its field in ")
    assert told[1] == f"{PAGE} is not current: run python -m agent.reference"


def test_a_missing_mark_is_told() -> None:
    assert "it needs the lines <!-- machine: begin -->" in problems(TEXT.replace("<!-- machine: end -->", ""))[0]


def test_defaults_are_written_as_a_file_writes_them() -> None:
    assert "| `outbox.max_size` | size | `2GB` |" in current(TEXT)
    assert "| `retention` | duration | `30d` |" in TEXT


def test_its_example_is_right(tmp_path: Path) -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    file = tmp_path / "station.yaml"
    file.write_text(example, encoding="utf-8")
    assert set(load(file).machines) == {"scanner", "press"}


@pytest.mark.parametrize("protocol", OURS)
def test_every_protocols_readme_leads_to_it(protocol: str) -> None:
    readme = Path(f"drivers/{protocol}/README.md").read_text(encoding="utf-8")
    assert "(../../docs/station.md#a-machine)" in readme
    assert f"(../drivers/{protocol}/README.md#keys)" in TEXT
