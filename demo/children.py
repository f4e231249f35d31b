"""Processes of the demo: started, listened to, started again when they die."""

import asyncio
import contextlib
import ctypes
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

STOP_TIMEOUT_S = 15.0
RESTART_PAUSE_S = 0.5
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ChildError(RuntimeError):
    """A process that did not do what the demo needs of it. The text holds the end of its log."""


class Child:
    """One operating-system process. JSON lines it prints go to ``said``; its log goes to a file."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        said: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.name = name
        self.arguments = (sys.executable, "-m", *arguments)
        self.deaths = 0
        self.log = log
        self._environment = environment
        self._said = said
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._first: asyncio.Future[dict[str, Any]] | None = None

    @property
    def pid(self) -> int:
        """The present process."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start the process: in a session of its own, so that Ctrl-C reaches the demo alone and the demo ends it."""
        self._first = asyncio.get_running_loop().create_future()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=None if self._environment is None else dict(self._environment),
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._listening = asyncio.create_task(self._listen())

    async def first_line(self, timeout_s: float = 30.0) -> dict[str, Any]:
        """The first JSON line it printed. Raises ChildError when it ends or stays silent instead."""
        assert self._first is not None
        assert self._listening is not None
        either: set[asyncio.Future[Any]] = {self._first, self._listening}
        await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if not self._first.done():
            what = "ended" if self._listening.done() else f"said nothing within {timeout_s:.0f} s"
            raise ChildError(f"{self.name} {what} instead of starting.\n{self.last_words()}")
        return self._first.result()

    async def say(self, line: Mapping[str, Any]) -> None:
        """Write a JSON line to its standard input."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        await self._process.stdin.drain()

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        return await self._process.wait()

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, and where the rest is."""
        text = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        return "\n".join([*(f"    {line}" for line in text), f"    (the whole log: {self.log})"])

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL when it does not end in time. The exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        if self._listening is not None:
            await self._listening
        return self._process.returncode or 0

    async def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for raw in self._process.stdout:
            try:
                line = json.loads(raw)
            except ValueError:
                continue
            if self._first is not None and not self._first.done():
                self._first.set_result(line)
            elif self._said is not None:
                self._said(line)


async def keep_running(child: Child, died: Callable[[Child, int], Awaitable[None]]) -> None:
    """Start a child again whenever it ends by itself; until cancelled."""
    while True:
        code = await child.ended()
        child.deaths += 1
        await died(child, code)
        await asyncio.sleep(RESTART_PAUSE_S)
        await child.start()


async def cancelled(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


def _end_with_parent() -> None:
    """In the new process: the kernel ends it with SIGTERM when the demo ends, however the demo ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
