"""Real processes for tests: start one, read what it says without blocking, kill it, and leave none behind."""

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
STOP_S = 10.0
_LINE_LIMIT = 1024 * 1024


class Process:
    """A child process in a group of its own; ``async with Process([sys.executable, "-m", "agent"]) as process``.

    It runs in the project's folder unless told otherwise. ``output`` holds the lines of its stdout and stderr so
    far, in the order they came; they are added to the file ``log`` too. One that ``listens`` is told lines with
    ``tell``, until ``end_of_input``. Leaving the block kills the whole group, whatever has happened.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        log: Path | None = None,
        listens: bool = False,
    ) -> None:
        self._command = [str(word) for word in command]
        self._env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self._cwd = cwd
        self._log = log
        self._stdin = asyncio.subprocess.PIPE if listens else asyncio.subprocess.DEVNULL
        self._process: asyncio.subprocess.Process | None = None
        self._pipe: asyncio.ReadTransport | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self._is_quiet = False
        self.output: list[str] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        ours, theirs = os.pipe()
        reader = asyncio.StreamReader(limit=_LINE_LIMIT)
        self._pipe, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
        )
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=self._stdin,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        except BaseException:
            self._pipe.close()
            raise
        finally:
            os.close(theirs)
        self._reading = asyncio.create_task(self._read(reader))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        """Its process id, also after its end."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the signal that ended it, or None while it runs."""
        return self._running().returncode

    async def tell(self, line: str) -> None:
        """A line on the standard input of a process that listens."""
        stdin = self._running().stdin
        assert stdin is not None, "made without listens=True"
        stdin.write(line.encode() + b"\n")
        await stdin.drain()

    async def end_of_input(self) -> None:
        """Close its standard input, as Ctrl-D does."""
        stdin = self._running().stdin
        assert stdin is not None, "made without listens=True"
        stdin.close()
        await stdin.wait_closed()

    async def line(self, wanted: str | re.Pattern[str], *, since: int = 0, timeout_s: float = 20.0) -> str:
        """The first line of ``output[since:]`` that holds this text or matches, waited for.

        Raises AssertionError, with all it said, when the process ends without it or the time is up.
        """
        pattern = wanted if isinstance(wanted, re.Pattern) else re.compile(re.escape(wanted))
        return await self._first(lambda line: line if pattern.search(line) else None, pattern.pattern, since, timeout_s)

    async def json(
        self,
        wanted: Callable[[dict[str, Any]], bool] = lambda _: True,
        *,
        since: int = 0,
        timeout_s: float = 20.0,
    ) -> dict[str, Any]:
        """The first line of ``output[since:]`` that is a JSON object, and wanted. Raises as ``line`` does."""

        def parsed(line: str) -> dict[str, Any] | None:
            with contextlib.suppress(json.JSONDecodeError):
                value = json.loads(line)
                if isinstance(value, dict) and wanted(value):
                    return value
            return None

        return await self._first(parsed, "a JSON line", since, timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone. Raises ProcessLookupError when it has ended."""
        self._running().send_signal(number)

    async def stop(self, *, timeout_s: float = STOP_S) -> int:
        """SIGTERM, and its exit code. Raises AssertionError, with all it said, when it does not end in time."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGTERM)
        return await self.ended(timeout_s=timeout_s)

    async def ended(self, *, timeout_s: float = STOP_S) -> int:
        """Wait for its end; its exit code. Raises AssertionError, with all it said, when it does not end in time."""
        try:
            async with asyncio.timeout(timeout_s):
                code = await self._running().wait()
        except TimeoutError as error:
            raise AssertionError(self._story(f"did not end within {timeout_s:g} s")) from error
        await self._finish_reading()
        return code

    async def kill(self) -> None:
        """SIGKILL to the process and everything it started in its group; returns when it is gone."""
        process = self._running()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await self._finish_reading()

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "used outside of its async with block"
        return self._process

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            with contextlib.nullcontext() if self._log is None else self._log.open("ab", buffering=0) as log:
                async for line in reader:
                    if log is not None:
                        log.write(line)
                    self.output.append(line.decode(errors="replace").rstrip("\n"))
                    await self._announce()
        finally:
            self._is_quiet = True
            await self._announce()

    async def _announce(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def _finish_reading(self) -> None:
        """Take in its last words; a grandchild that left the group may hold the pipe open, so not for ever."""
        assert self._reading is not None
        await asyncio.wait([self._reading], timeout=1.0)
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def _first(self, pick: Callable[[str], T | None], name: str, since: int, timeout_s: float) -> T:
        position = since
        try:
            async with asyncio.timeout(timeout_s), self._news:
                while True:
                    for line in self.output[position:]:
                        found = pick(line)
                        if found is not None:
                            return found
                    position = max(position, len(self.output))
                    if self._is_quiet:
                        raise AssertionError(self._story(f"ended without saying {name!r}"))
                    await self._news.wait()
        except TimeoutError as error:
            raise AssertionError(self._story(f"did not say {name!r} within {timeout_s:g} s")) from error

    def _story(self, what: str) -> str:
        said = "\n".join(f"    {line}" for line in self.output[-60:]) or "    (nothing)"
        return f"{' '.join(self._command)} {what}; it said:\n{said}"
