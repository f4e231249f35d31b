"""What a changed file touches: the machines it changes and those that hold on to them, and nobody else."""

from pathlib import Path

import pytest

from agent.changes import changes_between, differences
from agent.settings import StationSettings, load

CONFIG = Path(__file__).parents[2] / "config" / "stations"


def changed(tmp_path: Path, station: str, old: str, new: str) -> tuple[StationSettings, StationSettings]:
    text = (CONFIG / f"{station}.yaml").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "station.yaml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    return load(CONFIG / f"{station}.yaml"), load(file)


@pytest.mark.parametrize("station", [path.stem for path in sorted(CONFIG.glob("*.yaml"))])
def test_the_same_file_again_changes_nothing(station: str) -> None:
    first, again = (load(CONFIG / f"{station}.yaml") for _ in range(2))
    assert not changes_between(first, again).any
    assert differences(first, again) == []


def test_a_criterion_touches_no_machine(tmp_path: Path) -> None:
    found = changes_between(*changed(tmp_path, "P03-A", "nominal: 60", "nominal: 61"))
    assert (found.touched, found.criteria, found.restart) == (frozenset(), True, ())


def test_a_machine_is_touched_with_those_that_work_for_it(tmp_path: Path) -> None:
    found = changes_between(*changed(tmp_path, "P07-A", "port: 9100", "port: 9101"))
    assert found.touched == {"scanner", "printer", "verifier"}


def test_what_every_record_holds_touches_every_machine(tmp_path: Path) -> None:
    found = changes_between(*changed(tmp_path, "P03-A", "product_model: WR-100", "product_model: WR-200"))
    assert found.touched == {"tester"}


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("id: P03-A", "id: P03-Z", "station"),
        ("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1884", "broker"),
        ("product_model:", "retention: 60d\nproduct_model:", "retention"),
        ("enabled: false", "enabled: true", "machines.tester.interlock"),
    ],
)
def test_what_is_used_once_as_a_station_starts_asks_for_a_restart(old: str, new: str, key: str, tmp_path: Path) -> None:
    assert key in changes_between(*changed(tmp_path, "P03-A", old, new)).restart


def test_a_machine_that_comes_or_goes_is_touched(tmp_path: Path) -> None:
    one, two = changed(tmp_path, "P03-A", "  tester:", "  other:")
    assert changes_between(one, two).touched == {"tester", "other"}
    assert any(line.startswith("machines.other.protocol: (not there) -> modbus") for line in differences(one, two))


def test_every_key_that_differs_is_named_with_both_values(tmp_path: Path) -> None:
    assert differences(*changed(tmp_path, "P03-A", "poll: 100ms", "poll: 250ms")) == [
        "machines.tester.trigger.poll: 0.1 -> 0.25"
    ]
