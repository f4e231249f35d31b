"""Sets of seqs as ranges must be the sets they stand for."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from central.store.spans import Spans, both, count, minus, told, union
from contracts.envelope import Range

spans = st.lists(st.tuples(st.integers(1, 25), st.integers(0, 6)).map(lambda pair: (pair[0], pair[0] + pair[1])))


def members(parts: list[Range] | Spans) -> set[int]:
    return {seq for first, last in parts for seq in range(first, last + 1)}


@given(these=spans, those=spans)
def test_they_add_subtract_and_meet_as_sets_do(these: list[Range], those: list[Range]) -> None:
    for found, expected in (
        (union(these, those), members(these) | members(those)),
        (minus(these, those), members(these) - members(those)),
        (both(these, those), members(these) & members(those)),
    ):
        assert members(found) == expected
        assert count(found) == len(expected)
        assert all(later[0] > earlier[1] + 1 for earlier, later in pairwise(found))


def test_a_person_reads_them() -> None:
    assert told([(1, 7), (9, 9)]) == "1-7, 9"
    assert told([(seq, seq) for seq in range(1, 40, 2)], most=2) == "1, 3, and 18 more"
