"""Runs one program and answers for its whole family: ``python -I -S keeper.py PROGRAM ARGUMENT...``

A process of its own, because only a parent gets back the children of children (also those that left their session):
it makes itself their new parent (prctl(2), PR_SET_CHILD_SUBREAPER). It imports nothing but the standard library's
smallest parts, to begin quickly.

Standard input is the lifeline: when it ends, because the station gives up or has died, the whole family is ended,
politely (SIGTERM) and, after ``GRACE_S``, for certain (SIGKILL). What outlives the program is killed too. The program's
standard output and error are this process's standard output; its own standard error says in one JSON line how the
program ended: ``{"exit": 0}``, ``{"signal": 9}`` or ``{"error": "..."}``, and whether something could not be killed.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time

GRACE_S = 1.0
CERTAIN_S = 5.0
"""A process that does not die of SIGKILL within this time hangs in the kernel (a device that does not answer)."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 0.005
_LIFELINE, _OUTPUT, _SAID = 0, 1, 2


def family() -> list[int]:
    """Every living process below this one."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stat:
                    parent = int(stat.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):  # it has just ended
                continue
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def reap() -> dict[int, int]:
    """The wait status of every child that has ended."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def end(number: int, within_s: float) -> tuple[bool, dict[int, int]]:
    """Send a signal to the family until it is gone or the time is over. Whether it is gone, and the wait statuses."""
    until = time.monotonic() + within_s
    ended: dict[int, int] = {}
    told: set[int] = set()
    while left := family():
        for pid in left:
            if number == signal.SIGKILL or pid not in told:
                told.add(pid)
                try:
                    os.kill(pid, number)
                except OSError:  # it has just ended, or became somebody else's
                    continue
        ended |= reap()
        if time.monotonic() > until:
            return not family(), ended
        time.sleep(_LOOK_S)
    return True, ended | reap()


def start(program: str, arguments: list[str]) -> tuple[int, str | None]:
    """Fork and execute. The process id, and why it could not be executed."""
    told, tells = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.dup2(_OUTPUT, _SAID)
            os.dup2(os.open(os.devnull, os.O_RDONLY), _LIFELINE)
            for number in (signal.SIGPIPE, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.execv(program, [program, *arguments])  # noqa: S606 - without a shell is the point
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
            os.write(tells, (getattr(error, "strerror", None) or repr(error)).encode())
        os._exit(127)
    os.close(tells)
    with os.fdopen(told, "rb") as pipe:
        problem = pipe.read().decode()
    return pid, problem or None


def wait(pid: int) -> int | None:
    """The program's wait status, or None when the lifeline ended first."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ended = reap()
        if pid in ended:
            return ended[pid]
        readable, _, _ = select.select([woken, _LIFELINE], [], [])
        if woken in readable:
            os.read(woken, 4096)
        if _LIFELINE in readable and not os.read(_LIFELINE, 4096):
            return None


def main(program: str, arguments: list[str]) -> dict[str, object]:
    """Run it to its end, and leave nothing behind."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) != 0:
        return {"error": "this system does not let a process answer for its children's children"}
    pid, problem = start(program, arguments)
    if problem is not None:
        os.waitpid(pid, 0)
        return {"error": problem}
    status = wait(pid)
    if status is None:
        gone, ended = end(signal.SIGTERM, GRACE_S)
        status = ended.get(pid)
    gone, ended = end(signal.SIGKILL, CERTAIN_S)
    status = ended.get(pid) if status is None else status
    said: dict[str, object] = {"stuck": not gone}
    if status is None:
        return {**said, "error": "it could not be killed"}
    return {**said, **({"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"exit": os.WEXITSTATUS(status)})}


if __name__ == "__main__":
    os.write(_SAID, json.dumps(main(sys.argv[1], sys.argv[2:])).encode())
