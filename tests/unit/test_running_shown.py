"""What status and watch print, and what the control socket says to who asks wrongly."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent import control
from agent.cli import app
from agent.control import Control, path_of
from agent.control_client import answer_to, asked, state_dir_of
from agent.results import Results
from agent.running_shown import show_result, show_status
from contracts.errors import LinkError, SetupError
from tests.support.records import record

STATUS: dict[str, Any] = {
    "station": "P03-A",
    "process": "P03_SENSOR_INSPECTION",
    "software": "neurohub-edge 0.1.0",
    "since": "2026-11-25T08:00:00+00:00",
    "machines": {
        "tester": {
            "protocol": "modbus",
            "connected": False,
            "since": None,
            "error": "machine tester: no connection",
            "conditions": {"paper_out": "no paper"},
            "happened": {"cycle_key_reused": {"times": 4, "last": "another result has the number"}},
            "figures": {"poll_interval_seconds": 0.10234},
            "results": 3,
            "last_outcome": "FAIL",
        }
    },
    "outbox": {"waiting": 12, "parked": 0, "disputed": 2, "last_seq": 40, "troubles": ["the disk is full"]},
    "broker": {"connected": False, "address": None},
    "central": {"heard": False},
    "last_error": "broker refused",
    "disk": {"free_bytes": 2_000_000_000, "total_bytes": 8_000_000_000},
}


def test_status_shows_what_a_technician_asks_for(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(STATUS)
    said = capsys.readouterr().out
    for wanted in (
        "tester (modbus)",
        "not connected",
        "no paper",
        "12 (0 parked, 2 disputed)",
        "2.0 of 8.0 GB",
        "broker refused",
    ):
        assert wanted in said
    assert "the disk is full" in said
    said = " ".join(said.split())
    assert "0.1023" in said
    assert "(4)" in said
    assert "\x1b" not in said


def test_status_is_read_in_korean_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    show_status(STATUS)
    assert "연결 안 됨" in capsys.readouterr().out


def test_a_result_is_shown_with_its_limits(capsys: pytest.CaptureFixture[str]) -> None:
    show_result(control.shown(7, record()))
    said = capsys.readouterr().out
    assert record().serial_number in said
    assert record().outcome.value in said
    for measured in record().measurements:
        assert measured.name in said


async def test_who_does_not_take_results_holds_nobody_up() -> None:
    results = Results()
    with results.looked_at() as onlooker:
        for seq in range(1000):
            results.kept(seq, record())
        assert (await onlooker.next())[0] == 900
    results.kept(1000, record())
    assert results.counts[str(record().machine)] == 1001


async def _status() -> dict[str, Any]:
    return STATUS


async def test_the_socket_answers_one_after_the_other_and_tells_what_it_knows(tmp_path: Path) -> None:
    nobody: Any = None
    async with Control(_status, nobody, Results()).opened(tmp_path):
        assert (await answer_to(tmp_path, {"ask": "status"}))["station"] == "P03-A"
        with pytest.raises(LinkError, match="there are status, watch, reload, diff"):
            await answer_to(tmp_path, {"ask": "coffee"})
        with pytest.raises(LinkError, match="one JSON line is needed"):
            await answer_to(tmp_path, {})
        assert (tmp_path / "control.sock").stat().st_mode & 0o777 == 0o660
    with pytest.raises(LinkError, match="no station runs with"):
        await answer_to(tmp_path, {"ask": "status"})


async def test_a_station_ends_while_somebody_looks_on(tmp_path: Path) -> None:
    nobody: Any = None
    async with asyncio.timeout(5):
        async with Control(_status, nobody, Results()).opened(tmp_path):
            watching = asked(tmp_path, {"ask": "watch"})
            assert await anext(watching) == {"watching": True}
        with pytest.raises(StopAsyncIteration):
            await anext(watching)


async def test_a_station_without_its_socket_runs_all_the_same(tmp_path: Path) -> None:
    nobody: Any = None
    async with Control(_status, nobody, Results()).opened(tmp_path / "no" / "folder"):
        pass


def test_the_socket_is_found_by_the_file_also_by_one_with_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text("station: {id: P03-A}\nmachnes: 1\n", encoding="utf-8")
    assert state_dir_of(file) == Path("/var/lib/neurohub/P03-A")
    file.write_text("state_dir: /srv/x\n", encoding="utf-8")
    assert state_dir_of(file) == Path("/srv/x")
    file.write_text("broker: 1\n", encoding="utf-8")
    with pytest.raises(SetupError, match="names no station"):
        state_dir_of(file)
    assert len(path_of(tmp_path)) < 108 or not path_of(tmp_path).startswith("/")


@pytest.mark.parametrize("command", ["status", "watch", "reload", "diff"])
def test_commands_say_that_no_station_runs(command: str, tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(f"station: {{id: P03-A}}\nstate_dir: {tmp_path}\n", encoding="utf-8")
    result = CliRunner().invoke(app, [command, str(file)])
    assert result.exit_code == 2
    assert f"no station runs with {tmp_path}" in result.stderr


@pytest.mark.parametrize(
    ("command", "answer", "code", "says"),
    [
        (["status"], STATUS, 1, "tester (modbus)"),
        (["status", "--json"], STATUS, 1, '"waiting": 12'),
        (["diff"], {"differences": ["a: 1 -> 2"]}, 1, "a: 1 -> 2"),
        (["diff"], {"differences": []}, 0, ""),
        (["reload"], {"refused": ["x.yaml:1:1 a: wrong"], "touched": [], "changed": []}, 1, "nothing was changed"),
        (["reload"], {"refused": [], "touched": ["oven"], "changed": ["a: 1 -> 2"]}, 0, "oven touched"),
    ],
)
def test_commands_print_the_answer_and_end_by_it(
    command: list[str], answer: dict[str, Any], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said(state_dir: Path, question: dict[str, Any]) -> dict[str, Any]:
        assert question["ask"] == command[0]
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return]

    monkeypatch.setattr("agent.control_client.answer_to", said)
    file = tmp_path / "station.yaml"
    file.write_text("station: {id: P03-A}\n", encoding="utf-8")
    result = CliRunner().invoke(app, [command[0], str(file), *command[1:]])
    assert result.exit_code == code
    assert says in result.output
