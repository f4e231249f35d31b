"""Processes of the tests: read as they speak, stopped, and never left behind."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.support.processes import Process


def script(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def is_running(pid: int) -> bool:
    """Whether it lives; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_lines_are_read_while_it_runs_from_both_streams() -> None:
    text = "import sys, time\nprint('out 1')\nprint('err 2', file=sys.stderr)\ntime.sleep(60)"
    async with Process(script(text)) as process:
        assert await process.line(re.compile(r"err \d")) == "err 2"
        assert process.output == ["out 1", "err 2"]
        assert process.returncode is None


async def test_a_wait_may_begin_after_what_was_said_before() -> None:
    async with Process(script("import time\nprint('turn 1')\nprint('turn 2')\ntime.sleep(60)")) as process:
        first = await process.line("turn")
        assert (first, await process.line("turn", since=1)) == ("turn 1", "turn 2")


async def test_a_json_line_is_found_among_others() -> None:
    lines = ["text", "[1]", '{"event": "a"}', '{"event": "b", "n": 1}']
    async with Process(script(f"print(*{lines!r}, sep='\\n')")) as process:
        assert await process.json() == {"event": "a"}
        assert await process.json(lambda line: line["event"] == "b") == {"event": "b", "n": 1}


async def test_a_line_that_never_comes_fails_with_what_was_said_instead() -> None:
    async with Process(script("print('no such file')")) as process:
        with pytest.raises(AssertionError, match=r"ended without saying 'ready'; it said:\n +no such file"):
            await process.line("ready")
    async with Process(script("import time\ntime.sleep(60)")) as process:
        with pytest.raises(AssertionError, match=r"did not say 'ready' within 0\.1 s; it said:\n +\(nothing\)"):
            await process.line("ready", timeout_s=0.1)


async def test_stop_is_sigterm_and_gives_the_exit_code() -> None:
    text = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint('up')\nsignal.pause()"
    async with Process(script(text)) as process:
        await process.line("up")
        assert await process.stop() == 7
        assert await process.stop() == 7


async def test_a_process_that_ignores_sigterm_is_told_and_killed_all_the_same() -> None:
    text = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up')\ntime.sleep(60)"
    async with Process(script(text)) as process:
        await process.line("up")
        with pytest.raises(AssertionError, match=r"did not end within 0\.2 s"):
            await process.stop(timeout_s=0.2)
    assert process.returncode == -signal.SIGKILL


async def test_its_children_are_killed_with_it_although_the_test_fails() -> None:
    text = (
        "import subprocess, sys, time\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)\ntime.sleep(60)"
    )
    started: list[int] = []

    async def failing_test() -> None:
        async with Process(script(text)) as process:
            started.append(int(await process.line(re.compile(r"^\d+$"))))
            assert is_running(started[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing_test()
    async with asyncio.timeout(10):  # SIGKILL is sent by then; the kernel delivers it when it gets to it
        while is_running(started[0]):
            await asyncio.sleep(0.01)


async def test_a_grandchild_that_left_the_group_does_not_hold_the_end() -> None:
    text = (
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True).pid)"
    )
    async with Process(script(text)) as process:
        grandchild = int(await process.line(re.compile(r"^\d+$")))
    os.kill(grandchild, signal.SIGKILL)


async def test_the_environment_is_ours_with_additions() -> None:
    text = "import os\nprint(os.environ['GREETING'], os.environ['PATH'])"
    async with Process(script(text), env={"GREETING": "hello"}) as process:
        assert await process.line("hello") == f"hello {os.environ['PATH']}"


async def test_a_program_that_is_not_there_is_an_error_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        async with Process(["/no/such/program"]):
            pytest.fail("it started")
