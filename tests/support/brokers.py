"""Real MQTT brokers for tests, on a free port of 127.0.0.1: started, killed, started again where they were.

``async with iotcore_broker() as broker`` is the embedded broker of the demo (nothing on disk);
``async with mosquitto_broker(tmp_path) as broker`` is mosquitto (Debian's package).
"""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.processes import Process

HOST = "127.0.0.1"
START_S = 60.0
_PORT_TRIES = 5


class RunningBroker:
    """A broker process. ``url`` and ``port`` stay the same over ``kill()`` and ``restart()``."""

    def __init__(self, port: int, command: Sequence[str | Path], wipe: Callable[[], None]) -> None:
        self.port = port
        self.url = f"mqtt://{HOST}:{port}"
        self._command = command
        self._wipe = wipe
        self._stack = contextlib.AsyncExitStack()
        self.process: Process

    async def start(self) -> None:
        """Start it; returns when it accepts connections. Raises AssertionError, with its words, when it does not."""
        self.process = await self._stack.enter_async_context(Process(self._command))
        async with asyncio.timeout(START_S):
            while self.process.returncode is None:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(HOST, self.port)
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(0.01)
        raise AssertionError("\n".join(["the broker ended at once:", *self.process.output]))

    async def kill(self) -> None:
        """SIGKILL: no goodbye, no saving; what is connected loses its link."""
        await self._stack.aclose()

    async def stop(self) -> None:
        """SIGTERM: it ends as an administrator ends it, saving what it saves."""
        await self.process.stop()
        await self._stack.aclose()

    async def restart(self, *, wipe: bool = False) -> None:
        """Start it again on the same port, after killing it where it still runs; ``wipe`` takes its storage first."""
        await self.kill()
        if wipe:
            self._wipe()
        await self.start()


@asynccontextmanager
async def iotcore_broker(*, max_packet: int | None = None) -> AsyncIterator[RunningBroker]:
    """The embedded broker, through the command a user types. Every restart forgets everything."""

    def make(port: int) -> RunningBroker:
        command = [sys.executable, "-m", "demo.broker", "--with-parent", "--port", str(port)]
        if max_packet is not None:
            command += ["--max-packet", str(max_packet)]
        return RunningBroker(port, command, wipe=lambda: None)

    async with _on_a_free_port(make) as broker:
        yield broker


@asynccontextmanager
async def mosquitto_broker(
    folder: Path, *, persistence: bool = True, max_packet: int | None = None, lines: Sequence[str] = ()
) -> AsyncIterator[RunningBroker]:
    """mosquitto with its files in ``folder``; ``lines`` are more of its configuration.

    With persistence it saves when it is stopped, and once a second: what came in just before a kill is lost.
    """
    program = mosquitto_program()
    store = folder / "mosquitto"
    store.mkdir(parents=True, exist_ok=True)
    config = folder / "mosquitto.conf"

    def wipe() -> None:
        shutil.rmtree(store)
        store.mkdir()

    def make(port: int) -> RunningBroker:
        settings = [
            f"listener {port} {HOST}",
            "allow_anonymous true",
            f"persistence {'true' if persistence else 'false'}",
            f"persistence_location {store}/",
            "autosave_interval 1",
            "max_queued_messages 100000",
            *([f"max_packet_size {max_packet}"] if max_packet is not None else []),
            *(["user root"] if os.geteuid() == 0 else []),  # else it drops to a user who may not write here
            *lines,
        ]
        config.write_text("\n".join(settings) + "\n")
        return RunningBroker(port, [program, "-c", config], wipe)

    async with _on_a_free_port(make) as broker:
        yield broker


def mosquitto_program() -> str:
    """Where mosquitto is; administrators' folders are not on everybody's PATH."""
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert program is not None, "mosquitto is needed for the tests: apt-get install mosquitto"
    return program


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


@asynccontextmanager
async def _on_a_free_port(make: Callable[[int], RunningBroker]) -> AsyncIterator[RunningBroker]:
    for remaining in reversed(range(_PORT_TRIES)):
        broker = make(free_port())
        try:
            await broker.start()
            break
        except AssertionError:  # somebody may have taken the port in between
            await broker.kill()
            if not remaining:
                raise
    try:
        yield broker
    finally:
        await broker.kill()
