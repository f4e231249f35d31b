"""What a commit acknowledgement says beside an earlier one."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from contracts.envelope import COMMIT_RANGES, MAX_RECORDS, Commit, ranges_of, seqs_as_text, seqs_from_text

AT = datetime(2026, 11, 2, tzinfo=UTC)
seqs = st.sets(st.integers(1, 12))


def commit(has: set[int], **changes: object) -> Commit:
    floor = 0
    while floor + 1 in has:
        floor += 1
    above = ranges_of(sorted(seq for seq in has if seq > floor))
    values = {"stream_id": "0" * 32, "epoch": "e", "committed_seq": floor, "ranges": above, "at": AT}
    return Commit.model_validate({**values, **changes})


@given(before=seqs, now=seqs)
def test_a_commit_takes_back_exactly_what_it_does_not_cover(before: set[int], now: set[int]) -> None:
    assert commit(now).takes_back(commit(before)) == bool(before - now)


def test_a_commit_with_as_many_ranges_as_fit_says_nothing_of_what_is_beyond_them() -> None:
    odd = set(range(3, 2 * COMMIT_RANGES + 50, 2))
    whole = commit(odd)
    cut = whole.model_copy(update={"ranges": whole.ranges[:COMMIT_RANGES]})
    assert whole.ranges[COMMIT_RANGES - 1] == (cut.told_through, cut.told_through)
    assert not cut.takes_back(whole)
    assert not cut.takes_back(commit(set(range(cut.told_through, cut.told_through + 9))))
    assert cut.takes_back(commit({4}))


@given(has=seqs)
def test_a_range_that_touches_another_covers_as_one(has: set[int]) -> None:
    in_pieces = commit(has, committed_seq=0, ranges=[(seq, seq) for seq in sorted(has)])
    assert not in_pieces.takes_back(commit(has))


def test_another_database_takes_everything_back() -> None:
    assert commit({1, 2}, epoch="f").takes_back(commit({1, 2}))


def test_late_is_what_was_said_before_by_the_same_central() -> None:
    adopted = commit({1, 2}, generation="g", revision=5)
    assert commit({1}, generation="g", revision=4).is_late(adopted)
    assert not commit({1}, generation="g", revision=5).is_late(adopted)
    assert not commit({1}, generation="h", revision=4).is_late(adopted)
    assert not commit({1}, epoch="f", generation="g", revision=4).is_late(adopted)


def test_what_is_asked_for_again_is_known_all_the_same() -> None:
    asked = commit({1}, known_seq=9)
    assert (asked.covers(9), asked.highest) == (False, 9)


@given(has=seqs.filter(bool))
def test_numbers_are_told_and_read_as_text(has: set[int]) -> None:
    ranges = ranges_of(sorted(has))
    assert seqs_from_text(seqs_as_text(ranges)) == ranges


@given(text=st.text("0123456789-, ", max_size=20) | st.sampled_from(["", "0", "3-1", "1,1", f"1-{MAX_RECORDS + 1}"]))
def test_a_text_is_numbers_that_rise_or_nothing(text: str) -> None:
    ranges = seqs_from_text(text)
    if ranges is not None:
        told = [seq for first, last in ranges for seq in range(first, last + 1)]
        assert told == sorted(set(told))
        assert 1 <= len(told) <= MAX_RECORDS
        assert min(told) > 0
