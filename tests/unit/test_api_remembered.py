"""Figures are computed once for all who ask at once, and again when they are old."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from central.api.remembered import Remembered


def test_who_asks_while_it_is_computed_waits_for_it_and_nobody_computes_it_again() -> None:
    begun = threading.Barrier(8)
    made: list[float] = []

    def make() -> float:
        made.append(time.monotonic())
        return made[-1]

    remembered: Remembered[float] = Remembered(60)

    def ask(_: int) -> float:
        begun.wait(10)
        return remembered.get("figures", make)

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(ask, range(8)))) == 1
    assert len(made) == 1


def test_what_is_old_is_computed_again_and_an_error_is_not_remembered() -> None:
    answers = iter([1, 2, 3])
    remembered: Remembered[int] = Remembered(0)

    def broken() -> int:
        raise ValueError("no")

    assert [remembered.get("a", lambda: next(answers)) for _ in range(2)] == [1, 2]
    with pytest.raises(ValueError, match="no"):
        remembered.get("b", broken)
    assert remembered.get("b", lambda: next(answers)) == 3
