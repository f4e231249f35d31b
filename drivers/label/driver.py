"""A label printer on a raw TCP socket: prints on request, and says how it went."""

import asyncio
import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime

from contracts.errors import DataError
from contracts.measurement import Scalar
from drivers.base import LinkError, MachineEvent, PointValue, Reading
from drivers.label.settings import LabelSettings
from drivers.label.zpl import STATUS_LINES, STATUS_QUERY, HostStatus, field_data, parse_host_status, with_hex_fields
from drivers.template import render

STATUS_EVERY_S = 0.05
ALIVE_EVERY_S = 5.0


class LabelDriver:
    """Prints one label a job. The printer itself never signals; a lost link does."""

    def __init__(self, machine: str, settings: LabelSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._busy = asyncio.Lock()

    async def open(self) -> None:
        if self._writer is not None:
            raise RuntimeError(f"{self._machine} is open already")
        connect = self._settings.connect
        try:
            async with asyncio.timeout(connect.timeout):
                self._reader, self._writer = await asyncio.open_connection(connect.host, connect.port)
        except (OSError, TimeoutError) as error:
            raise LinkError(
                f"machine {self._machine}: printer {connect.host}:{connect.port} cannot be reached: "
                f"{error or 'no answer'}; check power, cable and address"
            ) from error

    async def next_event(self) -> MachineEvent:
        while True:
            await asyncio.sleep(ALIVE_EVERY_S)
            async with self._busy:
                await self._status()

    async def read(self, event: MachineEvent) -> Reading:  # noqa: ARG002  # there is one state, whoever asks
        async with self._busy:
            return self._reading(await self._status(), printed=None)

    async def perform(self, job: Mapping[str, Scalar]) -> Reading:
        """Print one label with the job's values; done when the printer is ready again."""
        template = with_hex_fields(self._settings.template)
        try:
            zpl = render(template, job, field_data)
        except KeyError as error:
            problem = f"the label needs {error}, and this unit has none"
            return Reading(
                datetime.now(UTC), {name: PointValue(None, problem=problem) for name in self._settings.points}
            )
        async with self._busy:
            before = await self._status()
            if before.fault is not None:
                return self._reading(before, printed=False)
            await self._send(zpl.encode("utf-8"))
            loop = asyncio.get_running_loop()
            until = loop.time() + self._settings.connect.timeout
            status = await self._status()
            while not status.ready and loop.time() < until:
                await asyncio.sleep(STATUS_EVERY_S)
                status = await self._status()
            return self._reading(status, printed=status.ready)

    async def close(self) -> None:
        writer, self._writer, self._reader = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _send(self, data: bytes) -> None:
        if self._writer is None:
            raise LinkError(f"machine {self._machine}: not connected")
        try:
            async with asyncio.timeout(self._settings.connect.timeout):
                self._writer.write(data)
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise LinkError(f"machine {self._machine}: printer link lost: {error or 'no answer'}") from error

    async def _status(self) -> HostStatus:
        await self._send(STATUS_QUERY)
        if self._reader is None:
            raise LinkError(f"machine {self._machine}: not connected")
        try:
            async with asyncio.timeout(self._settings.connect.timeout):
                answer = b"".join([await self._reader.readuntil(b"\x03\r\n") for _ in range(STATUS_LINES)])
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise LinkError(f"machine {self._machine}: printer link lost: {error or 'no answer'}") from error
        try:
            return parse_host_status(answer)
        except DataError as error:
            raise LinkError(f"machine {self._machine}: {error}") from error

    def _reading(self, status: HostStatus, *, printed: bool | None) -> Reading:
        said: dict[str, bool | int | None] = {
            "printed": printed,
            "paper_out": status.paper_out,
            "paused": status.paused,
            "head_open": status.head_open,
            "ribbon_out": status.ribbon_out,
            "labels_remaining": status.labels_remaining,
        }
        values: dict[str, PointValue] = {}
        for name, point in self._settings.points.items():
            value = said[point.status]
            values[name] = PointValue(value, problem="no label was asked for" if value is None else None)
        return Reading(datetime.now(UTC), values)
