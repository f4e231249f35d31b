"""A pattern a technician writes holds up nobody, and means the same wherever it is matched."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.criteria import CriteriaSet, Criterion, Outcome, judge
from contracts.measurement import Measurement
from contracts.patterns import compiled
from drivers.fields.messages import Message, values_of
from drivers.serial.settings import SerialSettings

TEXT = st.text(alphabet="ab01 -.가\n", max_size=12)


@pytest.mark.parametrize("pattern", [r"(\d+\s*)+kg", r"([A-Z0-9]+-?)+", "(a*)*b", r"(.*,){20}x"])
def test_no_pattern_takes_longer_than_the_text_is_long(pattern: str) -> None:
    """Each takes Python's own engine minutes, or years."""
    begun = time.monotonic()
    for text in ("1" * 4000 + "!", "A1" * 2000 + "_", "a" * 4000, "x," * 2000):
        compiled(pattern).fullmatch(text)
        compiled(pattern).search(text)
    assert time.monotonic() - begun < 20


def test_a_station_judges_and_reads_by_such_a_pattern_at_once() -> None:
    settings = SerialSettings.model_validate(
        {
            "connect": {"url": "socket://127.0.0.1:1"},
            "message": {"format": "regex", "pattern": r"(?P<v>(\d+\s*)+)kg"},
            "points": {"v": {"group": "v", "type": "int"}},
        }
    )
    values = values_of([Message(b"1" * 4000 + b"!")], settings)
    assert values["v"].problem is not None
    criteria = CriteriaSet(
        process="P03_SENSOR_INSPECTION", revision="1", criteria={"code": Criterion(pattern=r"([A-Z0-9]+-?)+")}
    )
    judgement = judge((Measurement(name="code", value="A" * 4000 + "_"),), criteria)
    assert judgement.outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing )"),
        (r"(?=a)b", "look-around and back-references are not supported"),
        (r"(a)\1", "not a regular expression"),
        ("((a{100}){100}){100}", "not a regular expression"),
    ],
)
def test_what_is_no_pattern_is_told_when_it_is_written(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        Criterion(pattern=pattern)


@given(
    pattern=st.sampled_from([r"[ab]+\d*", r"^\s*(a|b)?", r"(?P<x>[0-9]+)-?(b)?", r"[^0-9]*", r"가|a{2,3}", r"\w+\.\w"]),
    text=TEXT,
)
def test_what_both_engines_know_they_find_alike(pattern: str, text: str) -> None:
    plain = re.compile(pattern, re.ASCII)
    for name in ("fullmatch", "search"):
        ours, theirs = getattr(compiled(pattern), name)(text), getattr(plain, name)(text)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert (ours.span(), ours.groups(), ours.groupdict()) == (
                theirs.span(),
                theirs.groups(),
                theirs.groupdict(),
            )
