"""What one agent holds in memory after its first results, and how long it takes from its start to its machine.

Beside it the floors: a Python that does nothing, and one that imports what the agent imports and ends.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Memory, memory, memory_in, table, times
from tests.bench.parts import MODBUS, OPCUA, SERIAL, Backbone, Bench, backbone, counter_of, machines
from tests.support.agents import agent
from tests.support.processes import ROOT

LIMIT_MB = {"modbus": 70, "serial": 70, "opcua": 90}
LIMIT_S = 1.5
_TELL = "; import os; print(open('/proc/self/smaps_rollup').read(), flush=True); os._exit(0)"
"""Taking everything down again at the end is no part of starting."""
_FASTER = {"modbus": "trigger.poll=10ms", "opcua": "trigger.sampling=10ms"}
"""So that a run takes seconds; memory does not depend on it."""


@dataclass(frozen=True)
class Run:
    """One process: seconds to the point that counts, and what it held."""

    seconds: float
    memory: Memory


async def run(runs: int, records: int) -> None:
    """Measure every protocol and print it beside its floors."""
    nothing = [_imported("pass") for _ in range(runs)]
    rows = [_row("python -c pass", nothing, nothing)]
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        async with backbone(Path(name)) as line:
            for bench in (MODBUS, SERIAL, OPCUA):
                imported = [_imported(_imports(bench)) for _ in range(runs)]
                lived = [await _live(bench, records, Path(name) / f"{bench.station}-{n}", line) for n in range(runs)]
                rows.append(_row(f"{bench.protocol}: imports alone", imported, nothing))
                limit = f" (at most {LIMIT_MB[bench.protocol]} MiB, {LIMIT_S:g} s)"
                rows.append(_row(f"{bench.protocol}: agent{limit}", lived, imported))
    print(f"footprint: {runs} runs each, {records} records a run; the agent's time ends at its machine's connection\n")
    print(table(["", "RSS MiB", "PSS MiB", "seconds", "slowest", "RSS / row above", "time / row above"], rows))


async def _live(bench: Bench, records: int, state_dir: Path, line: Backbone) -> Run:
    counter = counter_of(bench)
    async with machines(bench.file) as (simulators, reached_at):
        faster = _FASTER.get(bench.protocol)
        overrides = [*reached_at, *([f"machines.{bench.machine}.{faster}"] if faster else [])]
        begun = time.perf_counter()
        async with agent(bench.file, state_dir, overrides, broker_url=line.broker.url) as process:
            await process.line("machine connected")
            seconds = time.perf_counter() - begun
            await process.line("broker connected")
            for number in range(1, records + 1):
                await simulators[bench.machine].cycle(bench.result(number, counter), number)
            await process.line(f'"seq": {records},')
            held = memory(process.pid)
            await process.stop()
    return Run(seconds, held)


def _imports(bench: Bench) -> str:
    modules = ("agent.cli", "agent.settings", "agent.station", "messaging.logs", f"drivers.{bench.protocol}.driver")
    return f"import {', '.join(modules)}"


def _imported(statement: str) -> Run:
    command = [sys.executable, "-c", statement + _TELL]
    begun = time.perf_counter()
    ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Run(time.perf_counter() - begun, memory_in(ended.stdout))


def _row(name: str, runs: Sequence[Run], above: Sequence[Run]) -> list[str]:
    rss, seconds = _rss(runs), _seconds(runs)
    return [
        name,
        f"{rss:.1f}",
        f"{statistics.median(one.memory.pss for one in runs):.1f}",
        f"{seconds:.2f}",
        f"{max(one.seconds for one in runs):.2f}",
        times(rss, _rss(above)),
        times(seconds, _seconds(above)),
    ]


def _rss(runs: Sequence[Run]) -> float:
    return statistics.median(one.memory.rss for one in runs)


def _seconds(runs: Sequence[Run]) -> float:
    return statistics.median(one.seconds for one in runs)
