"""A program is run to its end or ended, and none of its family outlives it."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.process.running import LARGEST_OUTPUT, Run, run
from tests.support.processes import Process

LEAVES_A_FAMILY = """
import os, signal, sys, time
def live(name):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(name + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(name + ".new", name)
    while True:
        time.sleep(60)
if os.fork() == 0:
    live("child")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        live("daemon")
    os._exit(0)
while not (os.path.exists("child") and os.path.exists("daemon")):
    time.sleep(0.001)
print("working", flush=True)
"""
STAYS = LEAVES_A_FAMILY + "time.sleep(60)\n"


async def python(text: str, folder: Path, limit_s: float = 20.0, *arguments: str) -> Run:
    return await run(
        sys.executable,
        ["-S", "-c", text, *arguments],
        environment={"PATH": "/usr/bin:/bin"},
        directory=str(folder),
        limit_s=limit_s,
    )


def is_alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_born(folder: Path) -> bool:
    """Child and daemon run, each of its own time."""
    return all((folder / name).exists() for name in ("child", "daemon"))


def family(folder: Path) -> list[int]:
    return [int((folder / name).read_text()) for name in ("child", "daemon")]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_exit_code_and_both_streams_in_their_order(tmp_path: Path) -> None:
    text = "import os, sys; os.write(1, b'one '); os.write(2, b'two '); os.write(1, b'three'); sys.exit(7)"
    found = await python(text, tmp_path)
    assert (found.exit_code, found.output, found.problem, found.hung) == (7, b"one two three", None, False)
    assert found.duration_s > 0


async def test_arguments_arrive_as_they_are_and_nothing_else_of_the_environment_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "geheim")
    text = "import os, sys; print(sys.argv[1:], sorted(os.environ), os.getcwd(), sys.stdin.read())"
    found = await python(text, tmp_path, 20.0, "a b", "$HOME", "; rm -rf /", "")
    assert found.output.decode().startswith(f"{['a b', '$HOME', '; rm -rf /', '']} ['")
    assert b"BROKER_PASSWORD" not in found.output
    assert str(tmp_path).encode() in found.output


async def test_a_signal_is_told(tmp_path: Path) -> None:
    found = await python("import os; os.kill(os.getpid(), 11)", tmp_path)
    assert (found.exit_code, found.problem, found.hung) == (-signal.SIGSEGV, "ended by SIGSEGV", False)


@pytest.mark.parametrize(("program", "why"), [("/no/such/tool", "No such file"), ("/etc/passwd", "Permission denied")])
async def test_a_program_that_cannot_be_executed_is_told(tmp_path: Path, program: str, why: str) -> None:
    found = await run(program, [], environment={}, directory=str(tmp_path), limit_s=20.0)
    assert found.exit_code is None
    assert (found.problem or "").startswith(f"cannot be started: {why}")


async def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = await run("/bin/true", [], environment={}, directory=str(tmp_path / "absent"), limit_s=20.0)
    assert found.exit_code is None
    assert "cannot be started" in (found.problem or "")


async def test_at_its_time_limit_the_whole_family_is_ended(tmp_path: Path) -> None:
    """Also what ignores SIGTERM, and what left the session and was given away by its parent."""
    found = await python(STAYS, tmp_path, 3.0)
    assert (found.hung, found.problem) == (True, "ended, for it was not done after 3 s")
    assert found.output == b"working\n"
    assert not any(map(is_alive, family(tmp_path)))


async def test_what_outlives_the_program_is_ended_too(tmp_path: Path) -> None:
    found = await python(LEAVES_A_FAMILY, tmp_path)
    assert (found.exit_code, found.output) == (0, b"working\n")
    assert not any(map(is_alive, family(tmp_path)))


async def test_a_tool_that_tidies_up_at_sigterm_is_given_the_time(tmp_path: Path) -> None:
    text = (
        "import signal, sys, time\n"
        "def end(*_):\n    print('reset released', flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(60)"
    )
    found = await python(text, tmp_path, 1.0)
    assert (found.hung, found.exit_code, found.output) == (True, 0, b"up\nreset released\n")


async def test_a_run_that_is_given_up_has_ended_when_the_cancellation_arrives(tmp_path: Path) -> None:
    working = asyncio.create_task(python(STAYS, tmp_path))
    await until(lambda: is_born(tmp_path))
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert not any(map(is_alive, family(tmp_path)))


async def test_output_without_end_ends_the_program(tmp_path: Path) -> None:
    found = await python("while True: print('x' * 1000)", tmp_path)
    assert len(found.output) == LARGEST_OUTPUT
    assert (found.problem, found.hung) == (f"ended, for it printed more than {LARGEST_OUTPUT} bytes", False)


async def test_a_program_that_closes_its_output_is_still_waited_for(tmp_path: Path) -> None:
    text = "import os, time; os.close(1); os.close(2); time.sleep(0.2); os._exit(4)"
    found = await python(text, tmp_path)
    assert (found.exit_code, found.problem) == (4, None)


async def test_a_station_that_is_killed_takes_its_tools_with_it(tmp_path: Path) -> None:
    """Nobody would be left to end a flasher that still writes."""
    station = (
        "import asyncio, sys\nfrom drivers.process.running import run\n"
        f"asyncio.run(run(sys.executable, ['-S', '-c', {STAYS!r}], environment={{}}, "
        f"directory={str(tmp_path)!r}, limit_s=60.0))"
    )
    async with Process([sys.executable, "-c", station]) as process:
        await until(lambda: is_born(tmp_path))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: not any(map(is_alive, family(tmp_path))))


async def test_a_keeper_that_is_killed_is_told_and_takes_the_program_with_it(tmp_path: Path) -> None:
    """By somebody who tidies up, or by a system without memory."""
    text = "import os, time; open('pid', 'w').write(f'{os.getppid()} {os.getpid()}'); time.sleep(60)"
    working = asyncio.create_task(python(text, tmp_path))
    await until(lambda: (tmp_path / "pid").exists() and " " in (tmp_path / "pid").read_text())
    keeper, program = map(int, (tmp_path / "pid").read_text().split())
    os.kill(keeper, signal.SIGKILL)
    found = await working
    assert (found.exit_code, found.is_certain) == (None, False)
    assert found.problem == "nobody knows how it ended: its keeper was killed"
    assert not is_alive(program)


async def test_a_keeper_that_is_killed_leaves_no_child_of_the_program_either(tmp_path: Path) -> None:
    """The next run's flasher would share the device with it."""
    text = STAYS.replace('print("working"', "open('keeper', 'w').write(f'{os.getppid()} '); print(\"working\"")
    working = asyncio.create_task(python(text, tmp_path))
    await until(lambda: (tmp_path / "keeper").exists() and " " in (tmp_path / "keeper").read_text())
    left = family(tmp_path)
    assert all(map(is_alive, left))
    os.kill(int((tmp_path / "keeper").read_text()), signal.SIGKILL)
    found = await working
    assert found.problem == "nobody knows how it ended: its keeper was killed"
    assert not any(map(is_alive, left))
