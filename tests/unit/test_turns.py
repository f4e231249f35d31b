"""Who writes a SQLite database next: an urgent transaction waits for one at most."""

import threading
import time
from pathlib import Path

import pytest

from central.store.turns import Turn


def test_an_urgent_one_goes_before_all_that_have_not_begun(tmp_path: Path) -> None:
    """Ten that write in a row keep nobody waiting for more than the one that has begun."""
    turn = Turn(str(tmp_path / "x.db"), 10.0)
    order: list[str] = []
    begun = threading.Event()

    def in_a_row() -> None:
        for number in range(10):
            with turn.taken(urgent=False):
                order.append(f"batch {number}")
                begun.set()
                time.sleep(0.03)

    def urgent() -> None:
        begun.wait()
        with turn.taken(urgent=True):
            order.append("urgent")

    threads = [threading.Thread(target=in_a_row), threading.Thread(target=in_a_row), threading.Thread(target=urgent)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(order) == 21
    assert order.index("urgent") <= 2


def test_one_after_the_other(tmp_path: Path) -> None:
    turn = Turn(str(tmp_path / "x.db"), 10.0)
    inside: list[int] = []

    def one(urgent: bool) -> None:
        for _ in range(20):
            with turn.taken(urgent=urgent):
                inside.append(1)
                assert sum(inside) == 1
                inside.pop()

    threads = [threading.Thread(target=one, args=(urgent,)) for urgent in (True, False, True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_turn_that_is_never_given_up_holds_nobody_for_ever(tmp_path: Path) -> None:
    with Turn(str(tmp_path / "x.db"), 0.05).taken(urgent=False), Turn(str(tmp_path / "x.db"), 0.05).taken(urgent=True):
        pass


def test_a_turn_is_free_again_when_it_ends_badly(tmp_path: Path) -> None:
    turn = Turn(str(tmp_path / "x.db"), 10.0)
    with pytest.raises(ZeroDivisionError), turn.taken(urgent=True):
        raise ZeroDivisionError
    begun = time.monotonic()
    with turn.taken(urgent=False):
        pass
    assert time.monotonic() - begun < 5
