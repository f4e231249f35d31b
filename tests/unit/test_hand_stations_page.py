"""docs/hand-stations.md as it stands there: its examples are right, and every key and card of a dialogue is told."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.dialogue.cards import cards_of
from agent.dialogue.settings import DialogueSettings, StepSettings
from agent.settings import SettingsError, load
from drivers.base import DISPLAY_NAMES

PAGE = Path("docs/hand-stations.md").read_text(encoding="utf-8")
WHOLE, DEFECTS, LABELS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def loaded(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "station.yaml"
    file.write_text(text, encoding="utf-8")
    try:
        load(file)
    except SettingsError as refused:
        return str(refused).splitlines()
    return []


def test_its_examples_are_right(tmp_path: Path) -> None:
    assert loaded(tmp_path, WHOLE) == []
    assert loaded(tmp_path, LABELS) == []
    head, tail = WHOLE.split("      steps:", 1)[0], WHOLE[WHOLE.index("  screwdriver:") :]
    below = "".join(f"      {line}\n" for line in DEFECTS.splitlines())
    without_tool = tail[tail.index("criteria:") :].replace(
        "torque: {lower: 0.8, upper: 1.2, unit: Nm", "visual_defects: {equals: none"
    )
    assert loaded(tmp_path, f"{head}{below}{without_tool}") == []


def test_every_kind_of_step_and_every_display_name_is_told() -> None:
    for name in DISPLAY_NAMES:
        assert f"{{{name}}}" in PAGE, name
    for field, info in StepSettings.model_fields.items():
        key = info.alias or field
        assert f"`{key}`" in PAGE or f"{key}:" in PAGE, key
    for key in DialogueSettings.model_fields:
        assert re.search(rf"\b{key}\b", PAGE), key


@pytest.mark.parametrize("card", ["CANCEL", "BACK", "PROMPT", "REWORK", "NO-DEFECT", "END"])
def test_every_card_is_told(card: str) -> None:
    assert f"`{card}`" in PAGE


def test_the_cards_of_a_station_are_listed_and_printed() -> None:
    listed = CliRunner().invoke(app, ["cards", "config/stations/P08-A.yaml"])
    assert listed.exit_code == 0
    dialogue = load(Path("config/stations/P08-A.yaml")).machines["scanner"].dialogue
    assert dialogue is not None
    codes = [card.code for card in cards_of(dialogue)]
    assert [line.split()[0] for line in listed.stdout.splitlines()] == codes
    assert {"CANCEL", "SCRATCH", "MAJOR", "SHELL", "PACKED", "REWORK", "SHELL-POLISHED"} <= set(codes)
    printed = CliRunner().invoke(app, ["cards", "config/stations/P08-A.yaml", "--zpl"]).stdout.splitlines()
    assert len(printed) == len(set(codes))
    assert all(label.startswith("^XA") and label.endswith("^XZ") for label in printed)
    assert CliRunner().invoke(app, ["cards", "config/stations/P03-A.yaml"]).exit_code == 1


TOOL = "from: screwdriver.torque"
SCREWDRIVER = "    points: {torque: {key: torque, type: float, unit: Nm}}\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("scan: code", "scan: cod", 'machines.scanner.dialogue.scan: unknown point "cod"'),
        (TOOL, "from: screwdriver.angle", 'machine "screwdriver" has no point "angle"'),
        (TOOL, "from: wrench.torque", 'unknown machine "wrench"'),
        (TOOL, "from: scanner.code", "the scanner itself is no tool"),
        ("    records: false ", "    clock_tolerance: 60s ", "makes records of its own, so it tells no step"),
        ("point: verdict,", "point: verdikt,", 'unknown point "verdikt"'),
        ("pass: PASS, fail: FAIL}", "pass: 1, fail: 2}", '"verdict" never has this value'),
        ("    dialogue:\n", "    cycle_key: code\n    dialogue:\n", "a dialogue counts its results itself"),
        ("    dialogue:\n", "    records: false\n    dialogue:\n", "a dialogue makes records"),
        ("{text_ko}", "{text_kr}", "a display has no text_kr"),
        ("torque: {lower: 0.8, upper: 1.2, unit: Nm", "torque: {lower: 0.8, upper: 1.2, unit: N", "unit does not fit"),
        ("torque: {lower", "torqe: {lower", "unknown criteria name: no machine measures it"),
        ("sma_spring_lot:", "sma spring lot:", "a point's name becomes a measurement's"),
        (SCREWDRIVER, SCREWDRIVER + '    request: {send: "?"}\n', "speaks only when it is asked"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert WHOLE.count(old) >= 1
    lines = loaded(tmp_path, WHOLE.replace(old, new, 1))
    assert any(told in line for line in lines), lines
    assert all(re.match(rf"{tmp_path}/station.yaml:\d+:\d+ ", line) for line in lines), lines
