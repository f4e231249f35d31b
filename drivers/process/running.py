"""One run of a program, to its end, to a time limit, or until nobody wants it any more; never longer."""

import asyncio
import contextlib
import json
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drivers.process.keeper import CERTAIN_S, GRACE_S
from drivers.process.remains import MARK, end_remains

KEEPER = Path(__file__).with_name("keeper.py")
LARGEST_OUTPUT = 1024 * 1024
"""Bytes. A tool that prints more will not come to an end by itself."""
_CHUNK = 65536
_MARGIN_S = 5.0
_STUCK = "a process it started cannot be killed: look at the device it waits for"


@dataclass(frozen=True)
class Run:
    """How one run went. ``exit_code`` is the program's, below 0 that of the signal that ended it, None where it was

    never started. ``problem`` says why it did not end by itself; ``hung``: the time limit ended it. ``is_certain``: how
    it ended is known, and that no process of it is left.
    """

    exit_code: int | None
    output: bytes
    duration_s: float
    problem: str | None = None
    hung: bool = False
    is_certain: bool = True


async def run(
    program: str, arguments: Sequence[str], *, environment: Mapping[str, str], directory: str, limit_s: float
) -> Run:
    """Run it. No process it started is left, however it ends; cancelling ends it too."""
    given_up = asyncio.Event()
    running = asyncio.create_task(_run(program, arguments, environment, directory, limit_s, given_up))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        given_up.set()
        await asyncio.wait({running})
        raise


async def _run(
    program: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    limit_s: float,
    given_up: asyncio.Event,
) -> Run:
    begun = asyncio.get_running_loop().time()
    mark = uuid.uuid4().hex

    def spent_s() -> float:
        return round(asyncio.get_running_loop().time() - begun, 3)

    try:
        keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(KEEPER), program, *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**environment, MARK: mark},
            cwd=directory,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Run(None, b"", spent_s(), f"cannot be started: {error}")
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    assert keeper.stderr is not None
    output = bytearray()
    ended = asyncio.create_task(keeper.stderr.read())
    too_much = asyncio.Event()
    collected = asyncio.create_task(_collect(keeper.stdout, output, too_much))
    stops = [asyncio.create_task(event.wait()) for event in (given_up, too_much)]
    try:
        await asyncio.wait({ended, *stops}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        problem, hung = None, False
        if too_much.is_set():
            problem = f"ended, for it printed more than {LARGEST_OUTPUT} bytes"
        elif not ended.done():
            hung = not given_up.is_set()
            problem = f"ended, for it was not done after {limit_s:g} s" if hung else "ended, for nobody waits any more"
        said = await _end(keeper, ended)
        # A keeper that told no end did not end the family either.
        is_left = not said.startswith(b"{") and not await asyncio.to_thread(end_remains, mark)
        with contextlib.suppress(TimeoutError):  # asyncio waits for the end of the pipes too
            async with asyncio.timeout(GRACE_S):
                await keeper.wait()
        # A process that cannot be killed keeps the pipe open.
        await asyncio.wait({collected}, timeout=GRACE_S)
    finally:
        for task in (ended, collected, *stops):
            task.cancel()
        await asyncio.gather(ended, collected, *stops, return_exceptions=True)
    found = _told(said, bytes(output), spent_s(), problem, hung=hung)
    return replace(found, problem=f"{found.problem}; {_STUCK}") if is_left else found


async def _collect(stream: asyncio.StreamReader, output: bytearray, too_much: asyncio.Event) -> None:
    """Everything it prints, up to the most; what comes after that is thrown away."""
    while data := await stream.read(_CHUNK):
        output += data[: LARGEST_OUTPUT - len(output)]
        if len(output) == LARGEST_OUTPUT:
            too_much.set()


async def _end(keeper: asyncio.subprocess.Process, ended: asyncio.Task[bytes]) -> bytes:
    """Cut the lifeline; what the keeper said of the program's end."""
    assert keeper.stdin is not None
    keeper.stdin.close()
    with contextlib.suppress(OSError):
        await keeper.stdin.wait_closed()
    await asyncio.wait({ended}, timeout=GRACE_S + CERTAIN_S + _MARGIN_S)
    if not ended.done():
        keeper.kill()
    return await ended


def _told(said: bytes, output: bytes, duration_s: float, problem: str | None, *, hung: bool) -> Run:
    try:
        end = json.loads(said)
    except ValueError:
        why = said.decode(errors="replace").strip()[-500:] or "its keeper was killed"
        return Run(None, output, duration_s, f"nobody knows how it ended: {why}", is_certain=False)
    is_stuck = bool(end.get("stuck"))
    if is_stuck:
        problem = f"{problem or 'ended'}; {_STUCK}"
    code: int | None = None
    if "error" in end:
        problem = problem or f"cannot be started: {end['error']}"
    elif "signal" in end:
        code = -end["signal"]
        problem = problem or f"ended by {signal.Signals(end['signal']).name}"
    else:
        code = end["exit"]
    return Run(code, output, duration_s, problem, hung=hung, is_certain=not is_stuck)
