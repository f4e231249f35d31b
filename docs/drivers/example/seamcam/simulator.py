"""A camera made of software, for ``neurohub-agent simulate`` and for tests: the real protocol, over a real port."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from seamcam.settings import SeamcamSettings


class SeamcamSimulator:
    """Holds each result until the station has taken it, where the settings say so. Implements Simulator."""

    faults = frozenset({Fault.ANSWER_LATE})

    def __init__(self, machine: str, settings: SeamcamSettings, port: int = 0) -> None:
        self._machine = machine
        self._settings = settings
        self._port = port
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._counting = settings.points[settings.trigger.point].key
        self._result: Mapping[str, RawValue] = {self._counting: 0}
        self._taken = asyncio.Event()
        self._late = False

    async def start(self) -> Mapping[str, str | int]:
        self._loop = asyncio.get_running_loop()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name=self._machine)
        self._thread.start()
        return {"connect.url": f"http://127.0.0.1:{self._server.server_port}"}

    async def present(self, values: Mapping[str, RawValue | None]) -> None:
        """Show these values, and wait for nobody. A point with None is left out of the answer."""
        shown = {self._settings.points[name].key: value for name, value in values.items()}
        kept = {**self._result, **shown}
        self._result = {key: value for key, value in kept.items() if value is not None}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:  # noqa: ARG002
        self._taken.clear()
        await self.present(values)
        if self._settings.acknowledge:
            await self._taken.wait()

    async def misbehave(self, fault: Fault) -> None:
        if fault not in self.faults:
            raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")
        self._late = True

    async def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            await asyncio.to_thread(self._thread.join)
            self._server.server_close()

    def _take(self, counter: object) -> None:
        if counter == self._result.get(self._counting) and self._loop is not None:
            self._loop.call_soon_threadsafe(self._taken.set)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        simulator = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's name
                late, simulator._late = simulator._late, False
                if late:
                    time.sleep(simulator._settings.connect.timeout * 1.5)
                self._answer(200 if self.path == "/result" else 404, simulator._result)

            def do_POST(self) -> None:  # the library's name
                told = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
                simulator._take(told.get("counter"))
                self._answer(200 if self.path == "/taken" else 404, {})

            def _answer(self, status: int, content: Mapping[str, Any]) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # the library's name
                """Nothing: standard error is the agent's log."""

        return Handler
