"""What ``check`` tells people and other programs: each mistake with the page that tells more, and the exit code."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.check import page_of
from agent.cli import app
from documents.issues import Issue

ROOT = Path(__file__).parents[2]
RIGHT = ROOT / "config/stations/P03-A.yaml"
WRONG = RIGHT.read_text(encoding="utf-8").replace("nominal: 60", "nominel: 60")


def run(*words: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["check", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def test_several_files_are_told_at_once_each_with_its_page(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    for file in (first, second):
        file.write_text(WRONG, encoding="utf-8")
    code, said, told = run(first, RIGHT, second)
    lines = told.splitlines()
    assert code == 1
    assert [line.split(":")[0] for line in lines] == [str(first), str(second)]
    assert lines[0].endswith('did you mean "nominal"? [docs/criteria.md#rules]')
    assert said == f"{RIGHT}: right; station P03-A, tester (modbus); 2 criteria\n"


def test_other_programs_get_each_part_by_name(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(WRONG, encoding="utf-8")
    code, said, told = run("--json", file, RIGHT)
    wrong, right = json.loads(said)["files"]
    assert (code, told) == (1, "")
    assert (wrong["right"], wrong["station"], wrong["machines"]) == (False, None, {"tester": "modbus"})
    assert (right["right"], right["station"], right["issues"]) == (True, "P03-A", [])
    (issue,) = wrong["issues"]
    line = 1 + WRONG[: WRONG.index("nominel")].count("\n")
    assert (issue["severity"], issue["line"], issue["column"]) == ("error", line, 17)
    assert (issue["path"], issue["message"]) == ("criteria.temperature.nominel", "unknown key")
    assert issue["hint"] == 'did you mean "nominal"?'


def test_neither_form_shows_a_password(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(
        RIGHT.read_text(encoding="utf-8").replace("mqtt://127.0.0.1:1883", "mqtt://me:hunter2@mes"), encoding="utf-8"
    )
    for words in ([file], ["--json", file]):
        code, said, told = run(*words)
        assert code == 1
        assert "hunter2" not in said + told


def test_a_file_that_is_not_there_is_told_too(tmp_path: Path) -> None:
    code, said, _ = run("--json", tmp_path / "none.yaml")
    assert code == 1
    assert json.loads(said)["files"][0]["issues"][0]["message"].startswith("cannot be read")
    assert run("--no-such-option", RIGHT)[0] == 2


@pytest.mark.parametrize(
    "path",
    [
        "",
        "station.id",
        "outbox.max_size",
        "criteria.x",
        "machines",
        "machines.m.unit",
        "machines.m.interlock.limit",
        *(f"machines.{protocol}.points.x" for protocol in ("modbus", "opcua", "serial", "label", "process")),
    ],
)
def test_the_page_that_is_named_exists_and_has_that_heading(path: str) -> None:
    protocols = {name: name for name in ("modbus", "opcua", "serial", "label", "process")}
    page, _, anchor = page_of(Issue("x.yaml", 1, 1, path, "wrong"), protocols).partition("#")
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert anchor in anchors


def test_what_is_measured_in_no_unit_and_what_is_read_for_nothing_are_warnings(tmp_path: Path) -> None:
    text = RIGHT.read_text(encoding="utf-8").replace(", unit: degC", "")
    text = text.replace("    cycle_key:", "    measurements: [temperature]\n    cycle_key:")
    text = text.replace("  tof_i2c:     {equals: true, defect: SENSOR_TOF_FAIL}\n", "")
    file = tmp_path / "station.yaml"
    file.write_text(text, encoding="utf-8")
    code, _, told = run(file)
    assert code == 0
    unused, without = told.splitlines()
    assert "machines.tester.points.tof_i2c: warning: the point is read and used for nothing" in unused
    assert "criteria.temperature: warning: a nominal value without unit" in without


def test_a_line_that_is_slower_than_its_poll_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    serial = "{transport: rtu, port: /dev/null, baudrate: 1200, device_id: 1}"
    text = RIGHT.read_text(encoding="utf-8")
    file.write_text(
        text.replace("{transport: tcp, host: 127.0.0.1, port: 502, device_id: 1}", serial), encoding="utf-8"
    )
    # 22 characters of 10 bits at 1200 baud.
    assert "machines.tester.trigger.poll: warning: one look takes 183 ms on this line (1200 baud)" in run(file)[2]
    file.write_text(file.read_text(encoding="utf-8").replace("1200", "19200"), encoding="utf-8")
    assert run(file)[2] == ""
