"""Several services of ours as one: each a process of its own, started again when it ends, all stopped together."""

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections.abc import Sequence

import structlog

log = structlog.get_logger()

NEVER_RAN_S = 10.0
"""A first process that ends sooner, with the code for a mistake in the settings, is not started again."""
MISTAKE = 2
_STOP_TIMEOUT_S = 20.0
_PAUSE_S = (1.0, 30.0)
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Together:
    """``neurohub-central`` commands side by side. ``run`` answers the exit code for the whole."""

    def __init__(self, commands: Sequence[Sequence[str]]) -> None:
        self._commands = commands
        self._stopping = asyncio.Event()
        self._code = 0

    def stop(self) -> None:
        """Stop all of them; ``run`` then returns."""
        self._stopping.set()

    async def run(self) -> int:
        """Until ``stop``: 0, or a mistake in the settings: 2."""
        async with asyncio.TaskGroup() as group:
            for command in self._commands:
                group.create_task(self._keep(command))
        return self._code

    async def _keep(self, command: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        ended_soon = 0
        first = True
        while not self._stopping.is_set():
            began = loop.time()
            code = await self._once(command)
            if self._stopping.is_set():
                return
            soon = loop.time() - began < NEVER_RAN_S
            if first and soon and code == MISTAKE:
                self._code = MISTAKE
                self.stop()
                return
            ended_soon = ended_soon + 1 if soon else 1
            seconds = min(_PAUSE_S[1], _PAUSE_S[0] * 2 ** (ended_soon - 1))
            log.error("service ended", service=command[0], code=code, again_in_s=seconds)
            first = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _once(self, command: Sequence[str]) -> int:
        """One life of it. In a session of its own, so that Ctrl-C reaches us alone; it ends with us, however we end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "central", *command, start_new_session=True, preexec_fn=_end_with_parent
        )
        log.info("service started", service=command[0], pid=process.pid)
        ended = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            process.send_signal(signal.SIGTERM)
            await asyncio.wait({ended}, timeout=_STOP_TIMEOUT_S)
        if not ended.done():
            log.error("service killed", service=command[0], waited_s=_STOP_TIMEOUT_S)
            process.kill()
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        return await ended


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
