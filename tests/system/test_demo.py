"""The whole line as a newcomer runs it, also while its processes are killed: lost 0, doubled 0, misjudged 0."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence

PATIENCE_S = 150.0
LAST_LINE = re.compile(r"units (\d+), cycles (\d+), lost (\d+), doubled (\d+), misjudged (\d+)")
PID = re.compile(r"([A-Z]\S+ agent|central) (\d+)")


async def run_demo(*arguments: str, kill: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Run the demo; SIGKILL each named process, one after the other, once results are made."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo", *arguments, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    lines: list[str] = []
    pids: dict[str, int] = {}
    to_kill = list(kill)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for raw in process.stdout:
                line = raw.decode().rstrip()
                lines.append(line)
                if "pids:" in line:
                    pids = {name: int(pid) for name, pid in PID.findall(line)}
                if to_kill and "cycles" in line and not line.endswith("cycles 0"):
                    for name in to_kill:
                        os.kill(pids[name], signal.SIGKILL)
                    to_kill.clear()
            return await process.wait(), lines
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def figures(lines: Sequence[str]) -> tuple[int, ...]:
    found = LAST_LINE.fullmatch(lines[-1])
    assert found is not None, "\n".join(lines)
    return tuple(int(figure) for figure in found.groups())


async def test_the_line_runs_and_nothing_is_lost_doubled_or_misjudged() -> None:
    code, lines = await run_demo("--units", "10")
    units, cycles, *wrong = figures(lines)
    assert (code, units, wrong) == (0, 10, [0, 0, 0]), "\n".join(lines)
    assert f"machine cycles {cycles}, outbox rows {cycles}, committed rows {cycles}, quarantined 0" in lines
    assert cycles > 80


async def test_killed_agents_and_a_killed_central_lose_and_double_nothing() -> None:
    code, lines = await run_demo(
        "--units", "30", "--seconds", "8", kill=["P03-A agent", "P06-A agent", "P07-A agent", "central"]
    )
    units, _, *wrong = figures(lines)
    assert (code, wrong) == (0, [0, 0, 0]), "\n".join(lines)
    assert units > 5
    assert any("restarts 4" in line for line in lines), "\n".join(lines)
