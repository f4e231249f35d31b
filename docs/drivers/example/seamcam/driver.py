"""The camera's wire: ``GET /result`` gives what stands there, as JSON; ``POST /taken`` lets it go on.

What every method has to promise stands in ``drivers/base.py``, class ``Driver``.
"""

import asyncio
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from contracts.errors import LinkError, SetupError
from contracts.measurement import Quality, Scalar
from drivers.base import MachineEvent, PointValue, Reading
from seamcam.settings import SeamcamPoint, SeamcamSettings


class SeamcamDriver:
    """One camera. Implements Driver and Acknowledging."""

    def __init__(self, machine: str, settings: SeamcamSettings) -> None:
        # No I/O here: a driver that is made and never opened leaves nothing behind.
        self._where = f"machine {machine}: {settings.connect.url}"
        self._settings = settings
        self._client: httpx.AsyncClient | None = None
        self._closed = asyncio.Event()
        self._told: object = None

    async def open(self) -> None:
        if self._client is not None:
            raise RuntimeError(f"{self._where}: open() on a driver that is open")
        connect = self._settings.connect
        self._closed.clear()
        self._told = None
        self._client = httpx.AsyncClient(base_url=connect.url, timeout=connect.timeout)
        await self._result()  # a camera that is not there, or is none, is told now

    async def next_event(self) -> MachineEvent:
        first = self._told is None
        while True:
            counter = (await self._result())[0].get(self._key(self._settings.trigger.point))
            # Nothing is awaited from here to the return: a wait that is given up has lost no signal.
            if counter is not None and counter != self._told:
                self._told = counter
                return MachineEvent(datetime.now(UTC), key=counter, first=first)
            try:
                async with asyncio.timeout(self._settings.trigger.poll):
                    await self._closed.wait()
            except TimeoutError:
                continue
            raise LinkError(f"{self._where}: closed")

    async def read(self, event: MachineEvent) -> Reading:  # noqa: ARG002 - what stands there is asked for
        # One answer holds the whole result, so it cannot be torn.
        result, raw = await self._result()
        values = {name: _value(name, point, result) for name, point in self._settings.points.items()}
        return Reading(datetime.now(UTC), values, raw)

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:  # noqa: ARG002
        # The camera compares the number with its own: the same one twice does no harm, an old one neither.
        if self._settings.acknowledge:
            await self._ask("POST", "/taken", {"counter": reading.values[self._settings.trigger.point].value})

    async def close(self) -> None:
        client, self._client = self._client, None
        self._closed.set()
        if client is not None:
            await client.aclose()

    async def _result(self) -> tuple[Mapping[str, Any], bytes]:
        raw = await self._ask("GET", "/result")
        try:
            result = json.loads(raw)
        except ValueError as error:
            raise SetupError(f"{self._where} answers with something else than JSON; is it a SeamCam?") from error
        if not isinstance(result, dict):
            raise SetupError(f"{self._where} answers with something else than a result; is it a SeamCam?")
        return result, raw

    async def _ask(self, method: str, path: str, content: Mapping[str, Any] | None = None) -> bytes:
        """The library's errors become ours, here and nowhere else: LinkError may pass by itself, SetupError not."""
        if self._client is None:
            raise LinkError(f"{self._where}: not connected")
        try:
            # A connection for each question: an answer that comes too late is never the next one's.
            answer = await self._client.request(method, path, json=content, headers={"Connection": "close"})
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise LinkError(f"{self._where} cannot be reached: {reason}; check address, cable, power") from error
        if 400 <= answer.status_code < 500:
            raise SetupError(f"{self._where}{path} answers {answer.status_code}; is it a SeamCam, and its release 2?")
        if not answer.is_success:
            raise LinkError(f"{self._where}{path} answers {answer.status_code}")
        return answer.content

    def _key(self, point: str) -> str:
        return self._settings.points[point].key


def _value(name: str, point: SeamcamPoint, result: Mapping[str, Any]) -> PointValue:
    """One that cannot be used is told by its name; the others are still read."""
    value = result.get(point.key)
    where = f"point {name}, {point.key}"
    if value is None:
        return PointValue(None, Quality.BAD, problem=f"{where}: the camera gives none")
    if isinstance(value, float) and not math.isfinite(value):
        return PointValue(None, original=str(value), problem=f"{where}: {value} is no number")
    if isinstance(value, bool | int | float | str):
        return PointValue(value)
    return PointValue(None, original=json.dumps(value), problem=f"{where}: neither a number nor a text")
