"""A program of the line that is started again whenever it ends by itself, as systemd would do it."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.processes import Process

RESTART_AFTER_S = 1.0
RUNS_WITHIN_S = 300.0
_KEPT_LINES = 200


class KeptRunning:
    """Starts ``command()`` and keeps it running; its output goes to ``log``.

    Whoever breaks it takes it out of our hands first: ``kill()`` until ``start()``, ``pause()`` until ``go_on()``.
    """

    def __init__(
        self, name: str, command: Callable[[], Sequence[str | Path]], env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self.ends: list[str] = []
        """Each time it ended by itself: code and last words."""
        self._command = command
        self._env = env
        self._process: Process | None = None
        self._stack = contextlib.AsyncExitStack()
        self._running = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    @property
    def process(self) -> Process:
        """The present process."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process

    @property
    def is_kept(self) -> bool:
        """True between ``start()`` and ``kill()`` or ``stop()``."""
        return self._watching is not None

    async def start(self) -> None:
        """Start it (again), and keep it running."""
        await self._start()
        self._watching = asyncio.create_task(self._watch())

    async def is_running(self) -> None:
        """Return once it runs: it may just be between an end of its own and the next start."""
        async with asyncio.timeout(RUNS_WITHIN_S):
            await self._running.wait()

    async def kill(self) -> None:
        """SIGKILL, and nobody starts it again but ``start()``."""
        await self._stop_watching()
        await self._stack.aclose()

    async def stop(self) -> int:
        """SIGTERM; its exit code. Raises AssertionError, with its last words, when it does not end in time."""
        await self._stop_watching()
        try:
            return await self.process.stop(timeout_s=120.0)
        finally:
            await self._stack.aclose()

    def pause(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.signal(number)

    async def _start(self) -> None:
        self._process = await self._stack.enter_async_context(Process(self._command(), env=self._env, log=self.log))
        self._running.set()

    async def _stop_watching(self) -> None:
        self._running.clear()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                code = await self.process.ended(timeout_s=3600.0)
            except AssertionError:
                continue
            self._running.clear()
            said = next((line for line in reversed(self.process.output) if line.strip()), "nothing")
            self.ends.append(f"{self.name} ended by itself with {code}: {said}")
            await self._stack.aclose()
            await asyncio.sleep(RESTART_AFTER_S)
            await self._start()
