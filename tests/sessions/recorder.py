"""Types commands as a technician would, in a folder of their own, and writes down what came of each."""

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.brokers import mosquitto_broker
from tests.support.processes import Process

PATIENCE_S = 60.0


@dataclass
class Desk:
    """Where a session is typed: ``folder`` is its own, ``broker`` an address, ``env`` what central goes by."""

    folder: Path
    broker: str
    env: dict[str, str]
    lines: list[str] = field(default_factory=list)
    commands: int = 0
    _begun: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """What is prepared is ready: the technician comes."""
        self._begun = time.monotonic()

    def say(self, why: str) -> None:
        """Why the next command is typed."""
        self.lines += ["", *(f"# {line}" for line in why.splitlines())]

    async def type(self, command: str, *, exit_code: int = 0) -> str:
        """Run it to its end. Raises AssertionError when it does not end with this exit code."""
        begun = time.monotonic()
        async with Process(["bash", "-c", command], env=self.env, cwd=self.folder) as process:
            ended = await process.ended(timeout_s=PATIENCE_S)
            self._wrote(command, process.output, f"exit code {ended}, {time.monotonic() - begun:.1f} s")
            assert ended == exit_code, process.output
            return "\n".join(process.output)

    @asynccontextmanager
    async def second_terminal(self, command: str, *, until: str) -> AsyncIterator[Process]:
        """Let it run on, once it has said this."""
        async with Process(["bash", "-c", f"exec {command}"], env=self.env, cwd=self.folder) as process:
            begun = time.monotonic()
            await process.line(until, timeout_s=PATIENCE_S)
            self._wrote(command, process.output, f"runs on; so far {time.monotonic() - begun:.1f} s")
            yield process
            await process.stop()

    async def first_record(self) -> str:
        """Wait until central has one; its unit and result."""
        database = self.env["DATABASE_URL"].removeprefix("sqlite:///")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with closing(sqlite3.connect(database)) as opened:
                    query = "SELECT serial_number, result FROM process_data JOIN serials ON serials.id = serial_id"
                    row = opened.execute(f"{query} ORDER BY process_data.id LIMIT 1").fetchone()
                if row is not None:
                    return f"{row[0]} {row[1]}"
                await asyncio.sleep(0.05)

    @property
    def lasted_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    def _wrote(self, command: str, output: list[str], note: str) -> None:
        self.commands += 1
        told = [line.rstrip().replace(str(self.folder), "~") for line in output]
        self.lines += [f"$ {command}", *told, f"# [{note}]"]


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    """With a mosquitto and central on SQLite, which are there before a technician comes."""
    typed = folder / "typed"
    typed.mkdir()
    async with mosquitto_broker(folder) as broker:
        env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "DATABASE_URL": f"sqlite:///{folder}/neurohub.db",
            "BROKER_URL": broker.url,
            "LANG": "C.UTF-8",
        }
        async with Process(["neurohub-central", "migrate"], env=env) as migrating:
            assert await migrating.ended(timeout_s=PATIENCE_S) == 0, migrating.output
        async with Process(["neurohub-central", "ingest"], env=env) as ingesting:
            await ingesting.line("broker connected", timeout_s=PATIENCE_S)
            yield Desk(typed, broker.url, env)
