"""A label printer on a raw TCP socket: prints on request, and says how it went."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from contracts.errors import DataError
from contracts.measurement import Quality, Scalar
from drivers.base import LinkError, MachineEvent, PointValue, Reading
from drivers.label.connection import PrinterConnection
from drivers.label.settings import LabelSettings
from drivers.label.zpl import CANCEL_ALL, HostStatus, filled

_STATUS_EVERY_S = 0.05
"""How often a printer at work is asked whether it is done."""
_READY_TWICE = 2
"""~HS overtakes formats in the receive buffer: a first "ready" may be older than the label."""
_ALIVE_EVERY_S = 5.0
"""How often an idle printer is asked whether it is there."""
_CLOSE_GRACE_S = 1.0
_LINK_FAULTS = (OSError, TimeoutError, DataError)


class LabelDriver:
    """Implements Driver and Performing. The printer never signals by itself; only a lost link ends next_event()."""

    def __init__(self, machine: str, settings: LabelSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._connection: PrinterConnection | None = None
        self._printing = asyncio.Lock()

    async def open(self) -> None:
        """Connect, and see that what answers there is a printer. See Driver.open."""
        if self._connection is not None:
            raise RuntimeError(f"machine {self._machine}: open() on a driver that is open")
        connect = self._settings.connect
        try:
            async with asyncio.timeout(connect.timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    PrinterConnection, connect.host, connect.port
                )
        except (OSError, TimeoutError) as error:
            raise LinkError(
                f"{self._where} cannot be reached: {error or f'no answer within {connect.timeout:g} s'}; "
                "check power, cable, connect.host and connect.port"
            ) from error
        self._connection = connection
        try:
            await self._status(connection)
        except BaseException:
            await self.close()
            raise

    async def next_event(self) -> MachineEvent:
        """Wait for ever, watching the link. Raises LinkError when it is lost or the printer answers no longer."""
        connection = self._connected()
        while True:
            await asyncio.wait({connection.lost}, timeout=_ALIVE_EVERY_S)
            if connection.lost.done():
                reason = connection.lost.result()
                raise self._lost(reason or ConnectionError("the connection was closed")) from reason
            await self._status(connection)

    async def read(self, event: MachineEvent) -> Reading:  # noqa: ARG002 - the printer has one state, whatever happened
        """What the printer says of itself now; ``printed`` has a problem, for no label was asked for."""
        return self._reading(await self._status(self._connected()), None, "no label was asked for")

    async def perform(self, job: Mapping[str, Scalar]) -> Reading:
        """Print one label. ``printed`` is True only when the printer was in order, took it and is ready again.

        A label that is not printed in time, or meets a fault, is cancelled in the printer, so that it cannot come out
        later for another unit. Raises LinkError; the label may then be printed or not.
        """
        try:
            label = filled(self._settings.template, job).encode("utf-8")
        except KeyError as error:
            return self._unprintable(f"the label names {error.args[0]}, and this job has none")
        except ValueError as error:
            return self._unprintable(str(error))
        connection = self._connected()
        async with self._printing:
            status = await self._status(connection)
            if status.fault is not None:
                return self._reading(status, False)
            self._send(connection, label)
            return await self._printed(connection)

    async def close(self) -> None:
        """Release the connection. See Driver.close."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(_CLOSE_GRACE_S)

    async def _printed(self, connection: PrinterConnection) -> Reading:
        timeout_s = self._settings.connect.timeout
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        ready = 0
        while True:
            status = await self._status(connection)
            ready = ready + 1 if status.ready else 0
            if ready == _READY_TWICE:
                return self._reading(status, True)
            if status.fault is not None:
                self._send(connection, CANCEL_ALL)
                return self._reading(status, False)
            if loop.time() > until:
                self._send(connection, CANCEL_ALL)
                return self._reading(status, None, f"the printer was still busy after {timeout_s:g} s; label cancelled")
            await asyncio.sleep(_STATUS_EVERY_S)

    def _send(self, connection: PrinterConnection, data: bytes) -> None:
        try:
            connection.send(data)
        except OSError as error:
            raise self._lost(error) from error

    async def _status(self, connection: PrinterConnection) -> HostStatus:
        try:
            return await connection.status(self._settings.connect.timeout)
        except TimeoutError as error:
            raise LinkError(
                f"{self._where} is connected and does not answer ~HS: look at the printer, some models say nothing "
                "while paper or ribbon is out or the head is open"
            ) from error
        except _LINK_FAULTS as error:
            raise self._lost(error) from error

    def _connected(self) -> PrinterConnection:
        if self._connection is None:
            raise LinkError(f"{self._where} is not connected")
        return self._connection

    def _lost(self, error: Exception) -> LinkError:
        return LinkError(f"{self._where}: link lost: {error}; check power and cable")

    @property
    def _where(self) -> str:
        return f"machine {self._machine}: printer {self._settings.connect.host}:{self._settings.connect.port}"

    def _reading(self, status: HostStatus, printed: bool | None, problem: str | None = None) -> Reading:
        said: dict[str, bool | int] = {
            "paper_out": status.paper_out,
            "paused": status.paused,
            "head_open": status.head_open,
            "ribbon_out": status.ribbon_out,
            "labels_remaining": status.labels_remaining,
        }
        label = PointValue(printed) if problem is None else PointValue(None, quality=Quality.BAD, problem=problem)
        points = self._settings.points.items()
        return Reading(
            datetime.now(UTC),
            {name: label if point.status == "printed" else PointValue(said[point.status]) for name, point in points},
        )

    def _unprintable(self, problem: str) -> Reading:
        point = PointValue(None, quality=Quality.BAD, problem=f"machine {self._machine}: not printed: {problem}")
        return Reading(datetime.now(UTC), dict.fromkeys(self._settings.points, point))
