"""What keeps a machine from working is told once when it appears and once when it is over."""

import pytest
import structlog
from structlog.testing import capture_logs

from agent.conditions import Conditions

PAPER = {"paper_out": "paper out: load labels"}
HEAD = {"head_open": "head open: close it"}


@pytest.fixture
def conditions() -> Conditions:
    return Conditions(structlog.get_logger())


def test_each_is_told_once_and_its_end_once(conditions: Conditions) -> None:
    with capture_logs() as lines:
        for heard in ({}, PAPER, PAPER, {**PAPER, **HEAD}, HEAD, HEAD, {}, {}):
            conditions.heard(heard)
    assert [(line["event"], line["condition"]) for line in lines] == [
        ("machine condition", "paper_out"),
        ("machine condition", "head_open"),
        ("machine condition over", "paper_out"),
        ("machine condition over", "head_open"),
    ]
    assert lines[0]["text"] == "paper out: load labels"
    assert lines[2]["lasted_s"] >= 0


def test_those_that_stand_can_be_asked_for_and_all_are_counted(conditions: Conditions) -> None:
    for heard in (PAPER, {}, PAPER, HEAD):
        conditions.heard(heard)
    assert {name: condition.text for name, condition in conditions.standing.items()} == HEAD
    assert conditions.count == {"paper_out": 2, "head_open": 1}


def test_what_happens_at_one_moment_is_counted_and_told_when_it_is_new(conditions: Conditions) -> None:
    with capture_logs() as lines:
        for text in ("number 7", "number 7", "number 8"):
            conditions.happened("number used again", text)
        conditions.heard({})
    assert [(line["text"], line["times"]) for line in lines] == [("number 7", 1), ("number 8", 3)]
    assert conditions.count == {"number used again": 3}
    assert conditions.happened_last == {"number used again": "number 8"}
    assert not conditions.standing
