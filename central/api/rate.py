"""How often one address may try to log in, in each process of the API."""

import math
import threading
import time
from collections import deque

_WINDOW_S = 60.0
_MOST_ADDRESSES = 10_000


class Rate:
    """At most ``most`` in any minute, by address. Safe for threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> int:
        """0: go on. Else in how many seconds the next one may be tried."""
        now = time.monotonic()
        with self._lock:
            if len(self._seen) >= _MOST_ADDRESSES:
                self._seen = {one: times for one, times in self._seen.items() if times[-1] > now - _WINDOW_S}
            times = self._seen.setdefault(address, deque(maxlen=self._most))
            if len(times) == self._most and times[0] > now - _WINDOW_S:
                return math.ceil(times[0] + _WINDOW_S - now)
            times.append(now)
        return 0
