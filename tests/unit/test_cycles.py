"""A machine's counter against the last one kept."""

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


@given(st.one_of(st.integers(), st.text(max_size=20)), st.integers(0, 9))
def test_a_cursor_survives_its_row(key: int | str, epoch: int) -> None:
    cursor = Cursor("tester", key, epoch)
    assert Cursor.from_row("tester", *cursor.as_row()) == cursor
