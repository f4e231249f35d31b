"""Figures that many ask for at once: computed once, and told again while they are young."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Generic, TypeVar

Told = TypeVar("Told")


class Remembered(Generic[Told]):
    """What ``make`` found, for ``age_s`` seconds, by name. Who asks while it is computed waits for it. For threads."""

    def __init__(self, age_s: float) -> None:
        self._age_s = age_s
        self._found: dict[str, tuple[float, Told]] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def get(self, name: str, make: Callable[[], Told]) -> Told:
        """Raises what ``make`` raises; then nothing is remembered."""
        asked = time.monotonic()
        with self._locks[name]:
            found = self._found.get(name)
            # What was computed while this one waited is newer than its question.
            if found is not None and found[0] + self._age_s > asked:
                return found[1]
            began = time.monotonic()
            made = make()
            self._found[name] = began, made
            return made
