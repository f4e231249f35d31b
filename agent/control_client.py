"""Asks a running station: the other end of ``agent.control``."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from agent.control import SOCKET, path_of
from agent.settings.load import STATE_ROOT
from contracts.errors import LinkError, SetupError
from documents.document import ScalarNode
from documents.reading import read_document

_LONGEST_ANSWER = 16 * 1024 * 1024


def state_dir_of(file: Path) -> Path:
    """Where the station of this file keeps its socket, also where the file has mistakes. Raises SetupError."""
    document = read_document(file)
    written, station = document.node(("state_dir",)), document.node(("station", "id"))
    if isinstance(written, ScalarNode) and isinstance(written.value, str):
        return Path(written.value)
    if isinstance(station, ScalarNode) and isinstance(station.value, str):
        return STATE_ROOT / station.value
    raise SetupError(f"{file} names no station; write station: {{id: ...}}")


async def asked(state_dir: Path, question: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
    """The station's answers, one by one. Raises LinkError where no station runs there, or it says why not."""
    try:
        reader, writer = await asyncio.open_unix_connection(path_of(state_dir), limit=_LONGEST_ANSWER)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise LinkError(
            f"no station runs with {state_dir}/{SOCKET}: start it, or name the file it runs with"
        ) from error
    except OSError as error:
        remedy = "run this as the station's user (sudo -u neurohub)"
        raise LinkError(f"{state_dir}/{SOCKET} cannot be used: {error.strerror or error}; {remedy}") from error
    try:
        writer.write(json.dumps(question).encode() + b"\n")
        await writer.drain()
        while line := await reader.readline():
            answer: Mapping[str, Any] = json.loads(line)
            if "error" in answer:
                raise LinkError(str(answer["error"]))
            yield answer
    finally:
        writer.close()


async def answer_to(state_dir: Path, question: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one answer. Raises LinkError."""
    answers = asked(state_dir, question)
    try:
        async for answer in answers:
            return answer
    finally:
        await answers.aclose()  # type: ignore[attr-defined]  # it is a generator
    raise LinkError(f"the station with {state_dir} ended before it answered")
