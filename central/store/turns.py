"""Whose turn it is to write a SQLite database: one writer at a time, and whoever a machine waits for goes first.

SQLite itself lets waiting writers look again after growing pauses, so that one who commits in a row keeps the others
out. Two files are locked (flock): ``.turn`` is held while a transaction lasts; ``.next`` by the urgent one that waits
for it, and nobody else begins meanwhile. Locks go with their process, however that ends.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_S = 0.001
"""How often a taken lock is tried again. A thread that waits inside flock could not be stopped."""


class Turn:
    """Turns on one database. After ``patience_s`` one goes on without: SQLite's own lock holds, and tells."""

    def __init__(self, database: str, patience_s: float) -> None:
        self._turn = f"{database}.turn"
        self._next = f"{database}.next"
        self._patience_s = patience_s

    @contextmanager
    def taken(self, *, urgent: bool) -> Iterator[None]:
        """While it is ours. Raises OSError where the folder cannot be used."""
        until = time.monotonic() + self._patience_s
        with contextlib.ExitStack() as held, contextlib.ExitStack() as waiting:
            waiting.enter_context(_locked(self._next, until))
            if not urgent:
                waiting.close()
            held.enter_context(_locked(self._turn, until))
            waiting.close()
            yield


@contextmanager
def _locked(path: str, until: float) -> Iterator[None]:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    break
                time.sleep(_LOOK_S)
            else:
                break
        yield
    finally:
        os.close(handle)
