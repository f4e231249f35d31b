"""The parts of a station's end and upkeep that a process shows too late to be watched."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent import machines, station
from agent.outbox import Outbox, Pruned
from contracts.errors import StoreError


async def test_what_does_not_end_by_itself_is_told_and_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "FINISH_S", 0.05)

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def ends() -> None:
        return

    running = {"tester": asyncio.create_task(hangs()), "scanner": asyncio.create_task(ends())}
    with capture_logs() as logs:
        await machines.ended(running)
        await asyncio.wait(running.values())
    assert [line["what"] for line in logs] == ["tester"]
    assert (running["tester"].cancelled(), running["scanner"].cancelled()) == (True, False)


async def test_upkeep_goes_on_after_a_disk_has_refused_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station, "PRUNE_EVERY_S", 0.001)
    outbox = Outbox(tmp_path / "outbox.db")
    answers: list[Pruned | Exception] = [StoreError("no space left on device"), Pruned(12, 3)]
    done = asyncio.Event()

    async def prune(retention_s: float) -> Pruned:
        assert retention_s == 60.0
        if not answers:
            done.set()
            return Pruned()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(outbox, "prune", prune)
    with capture_logs() as logs:
        upkeep = asyncio.create_task(station._prune(outbox, 60.0, asyncio.Event()))
        async with asyncio.timeout(5):
            await done.wait()
        upkeep.cancel()
        await asyncio.gather(upkeep, return_exceptions=True)
    assert [(line["log_level"], line.get("records")) for line in logs] == [
        ("warning", None),
        ("info", 12),
        ("error", 3),
    ]
