"""The whole line as a newcomer runs it, also while its processes are killed: lost 0, doubled 0, misjudged 0."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from contracts.refusals import RefusalCode
from tests.support.brokers import free_port

PATIENCE_S = 150.0
LAST_LINE = re.compile(r"units (\d+), cycles (\d+), lost (\d+), doubled (\d+), misjudged (\d+)")
PID = re.compile(r"([A-Z]\S+ agent|central) (\d+)")


async def run_demo(
    folder: Path, *arguments: str, kill: Sequence[str] = (), terminate_at: str | None = None
) -> tuple[int, list[str]]:
    """Run the demo; SIGKILL each named process once results are made; SIGTERM the demo when it says this."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "demo",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder)},
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
                if terminate_at is not None and terminate_at in line:
                    process.terminate()
            return await process.wait(), lines
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def figures(lines: Sequence[str]) -> tuple[int, ...]:
    found = LAST_LINE.fullmatch(lines[-1])
    assert found is not None, "\n".join(lines)
    return tuple(int(figure) for figure in found.groups())


async def test_the_line_runs_and_nothing_is_lost_doubled_or_misjudged(tmp_path: Path) -> None:
    code, lines = await run_demo(tmp_path, "--units", "10")
    units, cycles, *wrong = figures(lines)
    assert (code, units, wrong) == (0, 10, [0, 0, 0]), "\n".join(lines)
    assert f"machine cycles {cycles}, outbox rows {cycles}, committed rows {cycles}, quarantined 0" in lines
    each_in_its_place = "under another unit or process 0, in another state than they should be 0"
    assert f"units started 10, finished 10, {each_in_its_place}" in lines
    assert cycles > 80


async def test_a_unit_is_refused_for_every_cause(tmp_path: Path) -> None:
    code, lines = await run_demo(tmp_path, "--units", "1", "--refusals")
    assert code == 0, "\n".join(lines)
    refused = [line.split()[1] for line in lines if line.startswith("refused ")]
    own = {code for code in RefusalCode if code.is_of_station}
    assert sorted(refused) == sorted(set(RefusalCode) - own)


async def test_killed_agents_and_a_killed_central_lose_and_double_nothing(tmp_path: Path) -> None:
    code, lines = await run_demo(
        tmp_path,
        "--units",
        "30",
        "--seconds",
        "8",
        kill=["P02-A agent", "P03-A agent", "P06-A agent", "P07-A agent", "central"],
    )
    units, _, *wrong = figures(lines)
    assert (code, wrong) == (0, [0, 0, 0]), "\n".join(lines)
    assert units > 5
    assert any("restarts 5" in line for line in lines), "\n".join(lines)


async def test_a_database_that_is_not_there_is_told_in_a_line_without_its_password(tmp_path: Path) -> None:
    code, lines = await run_demo(tmp_path, "--units", "1", "--postgres", "postgresql://line:secret@127.0.0.1:1/factory")
    told = "\n".join(lines)
    assert code == 1, told
    assert "postgresql://line:***@127.0.0.1:1/factory could not be set up" in told
    assert "Connection refused" in told
    assert "secret" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("broker", "told"),
    [
        ("mqtt://127.0.0.1:{port}", "the demo ends: --broker: broker mqtt://127.0.0.1:{port} cannot be reached: "),
        ("http://foo", "the demo ends: --broker: a broker URL starts with mqtt:// or mqtts://"),
    ],
)
async def test_a_broker_that_is_none_is_told_before_anything_is_started(tmp_path: Path, broker: str, told: str) -> None:
    port = free_port()
    code, lines = await run_demo(tmp_path, "--units", "1", "--broker", broker.format(port=port))
    assert code == 1
    assert lines[0].startswith(told.format(port=port))
    assert len(lines) == 2, "\n".join(lines)


async def test_what_was_kept_running_ends_with_its_reconciliation_and_leaves_no_process(tmp_path: Path) -> None:
    code, lines = await run_demo(tmp_path, "--units", "2", "--keep", terminate_at="running; end with Ctrl-C")
    assert (code, figures(lines[:-1])[2:]) == (0, (0, 0, 0))
    [url] = {line.partition("broker ")[2].partition(",")[0] for line in lines if "pids:" in line}
    commands = "\n".join(lines)
    assert f"-m demo.broker --port {url.rpartition(':')[2]}" in commands
    assert f"BROKER_URL={url} {sys.executable} -m central ingest" in commands
    assert lines[-1].startswith("logs and data:")
    assert still_running(lines) == []


async def test_sigterm_in_the_middle_leaves_no_process(tmp_path: Path) -> None:
    code, lines = await run_demo(tmp_path, "--units", "50", terminate_at="pids:")
    assert code == 143, "\n".join(lines)
    assert still_running(lines) == []


def still_running(lines: Sequence[str]) -> list[str]:
    """Processes the demo told of that are there although it has ended."""
    pids = re.findall(r"(\d+)(?:,|$)", next(line for line in lines if "pids:" in line).partition("pids:")[2])
    assert len(pids) == 21, lines
    return [pid for pid in pids if Path("/proc", pid).exists()]
