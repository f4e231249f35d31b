"""A protocol's folder is complete: its README tells every key, its sample loads, its checklist is answered."""

import re
from pathlib import Path

import pytest

import drivers
from agent.settings import load
from drivers.reference import problems
from drivers.registry import OURS, ProtocolFolder

FOLDER = Path(drivers.__file__).parent
RULES = FOLDER.parent / "docs" / "drivers" / "checklist.md"
STATES = {"done", "exempt", "open"}
_ROW = re.compile(r"^\| `([a-z-]+)` \| ([^|]+) \|(?: ([^|]+) \|)?$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/.-]+)`")

every_protocol = pytest.mark.parametrize("protocol", OURS.values(), ids=OURS)


def checklist(protocol: ProtocolFolder) -> dict[str, tuple[str, str]]:
    """Rule -> its state, and how or why."""
    readme = (FOLDER / protocol.name / "README.md").read_text(encoding="utf-8")
    _, _, section = readme.partition("\n## Checklist\n")
    return {rule: (state.strip(), how.strip()) for rule, state, how in _ROW.findall(section.split("\n## ")[0])}


@every_protocol
def test_the_readme_is_current(protocol: ProtocolFolder) -> None:
    assert problems(protocol.name, protocol.settings(), FOLDER / protocol.name) == []


@every_protocol
def test_the_sample_loads_and_uses_the_protocol(protocol: ProtocolFolder) -> None:
    settings = load(FOLDER / protocol.name / "sample.yaml")
    assert protocol.name in {machine.protocol for machine in settings.machines.values()}


@every_protocol
def test_every_rule_of_the_checklist_is_answered(protocol: ProtocolFolder) -> None:
    rules = [rule for rule, _, _ in _ROW.findall(RULES.read_text(encoding="utf-8"))]
    answers = checklist(protocol)
    assert len(rules) > 10
    assert list(answers) == rules
    for rule, (state, how) in answers.items():
        assert state in STATES, f"{rule}: {state} is none of {STATES}"
        assert how, f"{rule}: {state} without saying how or why"


@every_protocol
def test_the_tests_a_checklist_names_exist(protocol: ProtocolFolder) -> None:
    for rule, (_, how) in checklist(protocol).items():
        for path in _TEST.findall(how):
            assert (FOLDER.parent / path).exists(), f"{rule}: there is no {path}"
