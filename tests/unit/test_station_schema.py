"""config/schema.json: current, a description for every key, and neither stricter nor looser than the settings."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from agent import schema
from agent.cli import app
from documents.reading import read_document

ROOT = Path(__file__).parents[2]
FORM = Draft202012Validator(json.loads(schema.FILE.read_text(encoding="utf-8")))
RIGHT = sorted(
    path.relative_to(ROOT)
    for pattern in ("config/stations/*.yaml", "drivers/*/sample.yaml", "tests/cases/devices/*/station.yaml")
    for path in ROOT.glob(pattern)
)


def test_what_is_published_is_current_and_explains_every_key() -> None:
    assert schema.problems() == []
    Draft202012Validator.check_schema(FORM.schema)


@pytest.mark.parametrize("path", RIGHT, ids=str)
def test_a_right_file_is_right_by_the_schema_too(path: Path) -> None:
    assert [error.message for error in FORM.iter_errors(read_document(ROOT / path).root.plain())] == []


def _station() -> Any:
    return read_document(ROOT / "config/stations/P03-A.yaml").root.plain()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("retention",), 30),
        (("outbox",), {"max_size": 12}),
        (("machines", "tester", "protocl"), "modbus"),
        (("machines", "tester", "protocol"), "modbis"),
        (("machines", "tester", "connect", "port"), 70000),
        (("machines", "tester", "frame"), {"end": "\r"}),
        (("machines", "tester", "points", "temperature", "word_order"), "middle"),
        (("criteria", "temperature", "nominel"), 60),
        (("criteria", "temperature", "nominal"), "60"),
    ],
)
def test_a_key_or_value_that_cannot_be_is_marked(path: tuple[str, ...], value: object) -> None:
    station = _station()
    at = station
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    assert list(FORM.iter_errors(station))


def test_a_default_is_offered_as_it_is_written() -> None:
    properties = schema.station_schema()["properties"]
    assert properties["retention"]["default"] == "30d"


def test_a_key_without_a_description_is_named() -> None:
    found = schema.station_schema()
    del found["$defs"]["Criterion"]["properties"]["nominal"]["description"]
    assert schema.undescribed(found) == ["Criterion.nominal"]


def test_the_command_prints_the_schema_of_what_is_installed_here() -> None:
    printed = json.loads(CliRunner().invoke(app, ["schema"]).stdout)
    assert "modbus" in printed["properties"]["machines"]["additionalProperties"]["properties"]["protocol"]["enum"]


def test_a_stale_file_ends_the_check_with_1(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(schema, "FILE", tmp_path / "schema.json")
    monkeypatch.setattr(schema, "problems", lambda: ["stale"])
    assert schema.main(["--check"]) == 1
    assert not schema.FILE.exists()
    schema.main([])
    assert schema.FILE.read_text(encoding="utf-8") == schema.text()
