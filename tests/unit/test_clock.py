"""The station's clock beside central's: measured by answers, and true after the station's clock was set."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import CentralClock


class Times:
    """True time is ``since_boot`` + 1,000,000; the station's clock is ahead of it by ``ahead``."""

    def __init__(self) -> None:
        self.since_boot = 100.0
        self.ahead = 0.0

    def clock(self, boot_id: str = "this") -> CentralClock:
        return CentralClock(
            since_boot=lambda: self.since_boot,
            wall=lambda: self.since_boot + 1_000_000.0 + self.ahead,
            boot_id=boot_id,
        )

    def answer(self, clock: CentralClock, there: float, back: float, central_ahead: float = 0.0) -> bool:
        """Central is asked, and heard after ``there`` + ``back`` seconds."""
        asked = self.since_boot
        said = datetime.fromtimestamp(asked + there + 1_000_000.0 + central_ahead, UTC)
        self.since_boot += there + back
        return clock.heard(asked, said)


def test_nothing_is_claimed_before_it_was_measured() -> None:
    clock = Times().clock()
    assert clock.offset_s() is None


@given(
    ahead=st.floats(-86400, 86400),
    answers=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30), st.floats(0, 3600)), min_size=1, max_size=10),
)
def test_the_offset_is_within_half_of_the_quickest_answer(
    ahead: float, answers: list[tuple[float, float, float]]
) -> None:
    times = Times()
    times.ahead = ahead
    clock = times.clock()
    for there, back, pause in answers:
        times.answer(clock, there, back)
        times.since_boot += pause
    offset = clock.offset_s()
    within = clock.within_s()
    assert offset is not None
    assert within is not None
    assert abs(offset - ahead) <= within + 1e-5
    best = min((there + back) / 2 for there, back, _ in answers)
    elapsed = times.since_boot - 100.0
    assert abs(offset - ahead) <= best + 100e-6 * elapsed + 1e-5


def test_a_station_whose_clock_is_set_knows_it_without_central() -> None:
    times = Times()
    clock = times.clock()
    times.answer(clock, 0.01, 0.01)
    times.ahead = 3 * 3600.0
    assert abs((clock.offset_s() or 0.0) - 3 * 3600.0) < 0.02
    times.since_boot += 3600.0
    times.ahead = -7200.0
    assert abs((clock.offset_s() or 0.0) + 7200.0) < 0.02


def test_a_central_whose_clock_is_set_is_believed_at_once() -> None:
    times = Times()
    clock = times.clock()
    assert times.answer(clock, 0.001, 0.001)
    assert not times.answer(clock, 1.0, 1.0), "a slow answer says less"
    assert times.answer(clock, 1.0, 1.0, central_ahead=600.0), "it contradicts: central's clock is another now"
    assert abs((clock.offset_s() or 0.0) + 600.0) <= 1.01


def test_the_next_process_knows_what_the_last_one_measured_until_the_computer_starts_anew() -> None:
    times = Times()
    clock = times.clock()
    times.answer(clock, 0.0, 0.0)
    times.ahead = 5.0
    note = clock.as_note()
    following = times.clock()
    following.recall(note)
    assert following.offset_s() == 5.0
    for elsewhere, said in (
        ("another", note),
        ("this", None),
        ("this", "{"),
        ("this", "[]"),
        ("this", '{"boot": "this"}'),
    ):
        other = times.clock(elsewhere)
        other.recall(said)
        assert other.offset_s() is None


def test_the_real_clocks_are_used_by_default() -> None:
    clock = CentralClock()
    clock.heard(clock.since_boot(), datetime.now(UTC))
    assert clock.offset_s() == pytest.approx(0.0, abs=0.5)
    following = CentralClock()
    following.recall(clock.as_note())
    assert following.offset_s() is not None
