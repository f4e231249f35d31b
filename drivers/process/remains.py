"""What a run left behind when its keeper was killed: found by a mark in its environment, and ended.

A keeper that is killed gives its program's children away, and nobody can follow them by their parents any more. A
process inherits its environment also where it leaves its session (proc_pid_environ(5)). Not found is what cleared its
environment, and what this user may not look into (a program with rights of its own).
"""

import os
import signal
import time

from drivers.process.keeper import CERTAIN_S

MARK = "NEUROHUB_RUN"
"""Environment variable that every process of a run has, with a value that no other run has."""
_LOOK_S = 0.01


def end_remains(mark: str) -> bool:
    """Kill every process of that mark, until there is none. Whether they are gone; blocks up to ``CERTAIN_S``."""
    until = time.monotonic() + CERTAIN_S
    times_none = 0
    while times_none < 2:  # one that was started while the list was made is found by the next look
        found = _marked(mark)
        times_none = 0 if found else times_none + 1
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:  # it has just ended
                continue
        if time.monotonic() > until:
            return not found
        time.sleep(_LOOK_S)
    return True


def _marked(mark: str) -> list[int]:
    wanted = f"{MARK}={mark}".encode()
    found: list[int] = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/environ", "rb") as environ:
                    is_marked = wanted in environ.read().split(b"\0")
            except OSError:  # it has just ended, or is somebody else's
                continue
            if is_marked:
                found.append(int(name))
    return found
