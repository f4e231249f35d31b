"""The station's own door for commands on its computer: a unix socket in its state folder, one JSON line each way.

``{"ask": "status"}`` and ``{"ask": "reload"}`` are answered with one line, ``{"ask": "diff", "file": PATH}`` too,
``{"ask": "watch"}`` with one for each result until the asker leaves. The folder's rights say who may use it.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from agent.reload import Reloading
from agent.results import Results
from contracts.errors import NeuroHubError
from contracts.record import ProcessRecord

log = structlog.get_logger()

SOCKET = "control.sock"
_LONGEST_LINE = 64 * 1024
Status = Callable[[], Awaitable[Mapping[str, Any]]]


class Control:
    """Answers, for as long as it is open."""

    def __init__(self, status: Status, reloading: Reloading, results: Results) -> None:
        self._status = status
        self._reloading = reloading
        self._results = results
        self._asking: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def opened(self, state_dir: Path) -> AsyncIterator[None]:
        """Listen in this folder. Without the socket the station runs all the same, and says so."""
        try:
            server = await asyncio.start_unix_server(self._asked, path_of(state_dir), limit=_LONGEST_LINE)
        except OSError as error:
            log.warning("no control socket: status, watch and reload do not work", error=str(error))
            yield
            return
        os.chmod(state_dir / SOCKET, 0o660)
        try:
            yield
        finally:
            server.close()
            for task in self._asking:
                task.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)
            with contextlib.suppress(OSError):
                (state_dir / SOCKET).unlink()

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._asking.add(task)
        try:
            await self._answer(await reader.readline(), reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the asker left, or the station stops
        finally:
            self._asking.discard(task)
            writer.close()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            wanted = json.loads(line)
            what = wanted["ask"]
        except (ValueError, KeyError, TypeError):
            await _say(writer, {"error": 'one JSON line is needed: {"ask": "status"}'})
            return
        try:
            if what == "status":
                await _say(writer, await self._status())
            elif what == "reload":
                await _say(writer, vars(await self._reloading.reload()))
            elif what == "diff":
                await _say(writer, {"differences": await self._reloading.difference(Path(wanted["file"]))})
            elif what == "watch":
                await self._watched(reader, writer)
            else:
                await _say(writer, {"error": f"{what} is nothing to ask for; there are status, watch, reload, diff"})
        except (NeuroHubError, KeyError, TypeError) as error:
            await _say(writer, {"error": str(error)})

    async def _watched(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Every result, until the asker leaves."""
        left = asyncio.create_task(reader.read(1))
        result: asyncio.Task[tuple[int, ProcessRecord]] | None = None
        with self._results.looked_at() as onlooker:
            try:
                await _say(writer, {"watching": True})
                while True:
                    result = asyncio.create_task(onlooker.next())
                    await asyncio.wait({result, left}, return_when=asyncio.FIRST_COMPLETED)
                    if not result.done():
                        return
                    await _say(writer, shown(*result.result()))
            finally:
                waiting = [task for task in (left, result) if task is not None]
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)


def shown(seq: int, record: ProcessRecord) -> Mapping[str, Any]:
    """A result as an onlooker gets it: its record with its number, the raw bytes left out."""
    return {"seq": seq, "record": record.model_dump(mode="json", exclude={"raw"}, exclude_none=True)}


def path_of(state_dir: Path) -> str:
    """The socket's path, short enough for the system however deep the folder is (unix(7): 108 bytes)."""
    path = state_dir / SOCKET
    if len(os.fsencode(path)) < 108:
        return str(path)
    return os.path.relpath(path)


async def _say(writer: asyncio.StreamWriter, line: Mapping[str, Any]) -> None:
    writer.write(json.dumps(line, ensure_ascii=False, default=str).encode() + b"\n")
    await writer.drain()
