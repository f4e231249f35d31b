"""A machine's counter against the last one kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cycles import Cursor, Relation, step

UINT16 = 65536


def test_the_first_value_is_a_baseline() -> None:
    found = step(None, "tester", 41)
    assert found.relation is Relation.FIRST
    assert found.cursor == Cursor("tester", 41)


def test_the_same_value_is_a_repeat_and_moves_nothing() -> None:
    last = Cursor("tester", 7, epoch=2)
    assert step(last, "tester", 7) == step(last, "tester", 7)
    assert step(last, "tester", 7).relation is Relation.REPEAT
    assert step(last, "tester", 7).cursor == last


def test_a_gap_says_how_many_results_were_never_read() -> None:
    assert step(Cursor("tester", 7), "tester", 8).missed == 0
    assert step(Cursor("tester", 7), "tester", 11).missed == 3


def test_a_counter_wraps_by_its_modulus() -> None:
    found = step(Cursor("tester", 65535), "tester", 0, UINT16)
    assert (found.relation, found.missed) == (Relation.NEXT, 0)
    assert step(Cursor("tester", 65534), "tester", 1, UINT16).missed == 2


def test_a_step_back_is_a_restart_with_an_unknown_gap_and_never_a_duplicate() -> None:
    found = step(Cursor("tester", 500), "tester", 3, UINT16)
    assert (found.relation, found.missed, found.cursor.epoch) == (Relation.NEW_EPOCH, None, 1)


def test_a_text_key_is_equal_or_new() -> None:
    assert step(Cursor("tester", "A-1"), "tester", "A-1").relation is Relation.REPEAT
    assert step(Cursor("tester", "A-1"), "tester", "A-2").relation is Relation.NEXT


@given(st.integers(0, UINT16 - 1), st.integers(0, UINT16 - 1))
def test_only_an_equal_counter_is_ever_a_repeat(last: int, now: int) -> None:
    found = step(Cursor("tester", last), "tester", now, UINT16)
    assert (found.relation is Relation.REPEAT) == (last == now)
    assert found.cursor.key == now
    assert found.missed is None or 0 <= found.missed < UINT16


@given(st.one_of(st.integers(), st.text(max_size=20)), st.integers(0, 9), st.none() | st.text(max_size=8))
def test_a_cursor_survives_its_row(key: int | str, epoch: int, content: str | None) -> None:
    cursor = Cursor("tester", key, epoch, content)
    back = Cursor.from_row("tester", *cursor.as_row())
    assert (back, back.content) == (cursor, content)


def test_another_result_under_the_same_number_is_a_new_epoch_and_never_a_repeat() -> None:
    last = Cursor("tester", 7, epoch=2, content="s.a")
    found = step(last, "tester", 7, content="s.b", presented=True)
    assert (found.relation, found.missed, found.cursor.epoch) == (Relation.REUSED, None, 3)
    assert found.cursor.content == "s.b"
    assert step(found.cursor, "tester", 7, content="s.b", presented=True).relation is Relation.REPEAT


def test_a_text_that_is_used_again_tells_of_no_gap() -> None:
    found = step(Cursor("tester", "SN-1", content="s.a"), "tester", "SN-1", content="s.b", presented=True)
    assert (found.relation, found.missed) == (Relation.REUSED, 0)


@pytest.mark.parametrize(
    ("before", "now", "differs"), [("s.a", "s.b", True), ("s.a", "s.a", False), (None, "s.b", False)]
)
def test_what_merely_stands_beside_a_number_makes_no_result_of_it(before: str | None, now: str, differs: bool) -> None:
    last = Cursor("tester", 7, content=before)
    found = step(last, "tester", 7, content=now)
    assert (found.relation, found.cursor, found.differs) == (Relation.REPEAT, last, differs)


def test_before_a_first_result_values_may_stand_as_they_like() -> None:
    assert not step(Cursor("tester", 0, content="s.a"), "tester", 0, content="s.b").differs


def test_a_number_of_which_only_the_key_is_known_is_a_repeat() -> None:
    """A file of an older version does not tell what its last result said."""
    assert step(Cursor("tester", 7), "tester", 7, content="s.b", presented=True).relation is Relation.REPEAT


def test_a_result_that_is_read_by_other_settings_now_is_the_same_one() -> None:
    """A scale was corrected, or a point was added, while the machine still shows its last result."""
    last = Cursor("tester", 7, content="s.a")
    found = step(last, "tester", 7, content="t.b", presented=True)
    assert (found.relation, found.differs) == (Relation.REPEAT, False)
