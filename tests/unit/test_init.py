"""A new station's file: whatever template it is made from, it passes check and holds what was said."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.init import addresses, chosen, made, templates
from agent.settings import load
from contracts.errors import SetupError
from contracts.processes import BY_CODE
from drivers.registry import OURS

WHO = {"station": "P09-X", "site": "busan", "line": "KR02"}


def run(*words: object) -> tuple[int, str, str]:
    options = [text for key, value in WHO.items() for text in (f"--{key}", value)]
    result = CliRunner().invoke(app, ["init", *options, *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("process", "protocol"),
    [*((process, None) for process in BY_CODE), *(("P03_SENSOR_INSPECTION", protocol) for protocol in OURS)],
)
def test_every_process_and_protocol_gives_a_file_that_passes_check(
    process: str, protocol: str | None, tmp_path: Path
) -> None:
    template = chosen(process, protocol)
    identity = {"id": "P09-X", "site": "busan", "line": "KR02", "process": process}
    wanted = {name: "4711" if value.isdecimal() else f"{value}0" for name, value in addresses(template).items()}
    file = tmp_path / "station.yaml"
    file.write_text(made(template, identity, "mqtts://mes.factory.local:8883", wanted), encoding="utf-8")
    settings = load(file)
    assert settings.station.model_dump() == identity
    assert settings.broker.url == "mqtts://mes.factory.local:8883"
    assert protocol in (None, *(machine.protocol for machine in settings.machines.values()))
    assert addresses(template) != wanted or not wanted
    assert "#" in file.read_text(encoding="utf-8")


def test_there_is_a_template_for_every_process_and_protocol() -> None:
    found = templates()
    assert {one.process for one in found} == set(BY_CODE)
    assert {one.name for one in found} >= set(OURS)


def test_the_command_writes_it_says_what_it_is_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    words = ("--process", "3", "--connect", "tester.host=10.0.3.21", "--output", file)
    code, said, told = run(*words)
    assert (code, told) == (0, "")
    assert said.startswith(f"{file}: right; station P09-X, tester (modbus)")
    assert "host: 10.0.3.21" in file.read_text(encoding="utf-8") or '"10.0.3.21"' in file.read_text(encoding="utf-8")
    before = file.read_bytes()
    code, _, told = run(*words)
    assert (code, file.read_bytes()) == (2, before)
    assert "is there already" in told
    assert run(*words, "--force")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "missing: --process"),
        (("--process", "P03_SENSOR"), 'did you mean "P03_SENSOR_INSPECTION"?'),
        (("--process", "3", "--protocol", "modbis"), 'did you mean "modbus"?'),
        (("--process", "3", "--connect", "tester.hots=1"), 'did you mean "tester.host"?'),
        (("--process", "3", "--connect", "10.0.0.1"), "MACHINE.KEY=VALUE is needed"),
        (("--process", "3", "--output", "/nowhere/x.yaml"), "cannot be written"),
    ],
)
def test_what_is_missing_or_wrong_is_told_and_nothing_is_written(
    words: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, told = run(*words)
    assert code == 2
    assert says in told
    assert list(tmp_path.iterdir()) == []


def test_a_value_of_an_impossible_form_is_told_by_check(tmp_path: Path) -> None:
    code, _, told = run("--process", "3", "--connect", "tester.port=700000", "--output", tmp_path / "a.yaml")
    assert code == 2
    assert "machines.tester.connect.port: out of range" in told


def test_templates_are_listed() -> None:
    result = CliRunner().invoke(app, ["init", "--list"])
    assert "P03-A    P03_SENSOR_INSPECTION      tester (modbus)" in result.stdout


def test_at_a_terminal_what_is_missing_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("agent.init_command.sys.stdin.isatty", lambda: True, raising=False)

    class Terminal:
        def isatty(self) -> bool:
            return True

    from agent import init_command

    answers = iter(["P03-C", "gimcheon", "KR01", "3", "mqtt://mes", "10.0.3.9", "1502"])
    monkeypatch.setattr(init_command.sys, "stdin", Terminal())
    monkeypatch.setattr(init_command.typer, "prompt", lambda *_: next(answers))
    init_command.begin(dict.fromkeys(("id", "site", "line", "process")), None, None, (), None, replace=False)
    settings = load(tmp_path / "P03-C.yaml")
    assert (settings.station.id, settings.broker.url) == ("P03-C", "mqtt://mes")
    assert next(answers, None) is None


def test_an_unknown_process_is_refused_by_name() -> None:
    with pytest.raises(SetupError, match="P99"):
        chosen("P99", None)
