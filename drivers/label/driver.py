"""A label printer: prints on request, says how it went, and what keeps it from printing."""

import asyncio
import contextlib
import errno
import termios
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

from contracts.errors import DataError
from contracts.measurement import Quality, Scalar
from drivers.base import REJECT_LABEL, LinkError, MachineEvent, PointValue, Reading, SetupError
from drivers.label.answers import (
    CANCEL_ALL,
    HOST_IDENTIFICATION,
    HOST_STATUS,
    LABEL_COUNT,
    PRINT_LENGTH,
    Answer,
    HostStatus,
    Question,
)
from drivers.label.connection import PrinterConnection, connected
from drivers.label.settings import LabelSettings, StatusField, TcpConnect
from drivers.label.zpl import filled
from drivers.looking import Sight

_STATUS_EVERY_S = 0.05
"""How often a printer at work is asked whether it is done."""
_READY_TWICE = 2
"""~HS overtakes formats in the receive buffer: a first "ready" may be older than the label."""
_CLOSE_GRACE_S = 1.0
_DO_NOT_COUNT = "where it cannot, write done: ready and take points with status labels_printed away"
_LINK_FAULTS = (OSError, TimeoutError, DataError)


class LabelDriver:
    """Implements Driver, Performing, Conditioned and Looking. The printer makes no results of its own: next_event()
    keeps an eye on it, and ends only with a lost link.
    """

    def __init__(self, machine: str, settings: LabelSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._connection: PrinterConnection | None = None
        self._printing = asyncio.Lock()
        self._jobs = 0
        self._told: Callable[[Mapping[str, str]], None] = lambda _: None

    def watch_conditions(self, told: Callable[[Mapping[str, str]], None]) -> None:
        """See Conditioned.watch_conditions."""
        self._told = told

    async def open(self) -> None:
        """Connect, and see that what answers there is a printer that can tell what is asked. See Driver.open."""
        if self._connection is not None:
            raise RuntimeError(f"machine {self._machine}: open() on a driver that is open")
        try:
            self._connection = await connected(self._settings.connect)
        except (OSError, ValueError, termios.error) as error:
            raise self._not_opened(error) from error
        try:
            await self._status(self._connection)
            if self._settings.needs_counter:
                await self._counted(self._connection)
        except BaseException:
            await self.close()
            raise

    async def next_event(self) -> MachineEvent:
        """Wait for ever, asking now and then. Raises LinkError when the link is lost or nothing answers any more."""
        connection = self._connected()
        while True:
            await asyncio.wait({connection.lost}, timeout=self._settings.poll)
            if connection.lost.done():
                reason = connection.lost.result()
                raise self._lost(reason or ConnectionError("the connection was closed")) from reason
            await self._status(connection)

    async def read(self, event: MachineEvent) -> Reading:  # noqa: ARG002 - the printer has one state, whatever happened
        """What the printer says of itself now; ``printed`` has a problem, for no label was asked for."""
        connection = self._connected()
        return await self._reading(connection, await self._status(connection), _without("no label was asked for"))

    async def perform(self, job: Mapping[str, Scalar]) -> Reading:
        """Print one label. ``printed`` is True only when the printer was in order, took it and says it is done.

        A label that is not printed in time, meets a fault or is given up is cancelled in the printer, so that it
        cannot come out later for another unit. Raises LinkError; the label may then be printed or not.
        """
        template, kind = self._settings.template, "unit"
        if job.get(REJECT_LABEL) is True:
            if self._settings.reject_template is None:
                return self._unprintable("the unit has failed, and there is no reject_template for its label")
            template, kind = self._settings.reject_template, "reject"
        try:
            label = filled(template, job).encode("utf-8")
        except KeyError as error:
            return self._unprintable(f"the label names {error.args[0]}, and this job has none")
        except ValueError as error:
            return self._unprintable(str(error))
        connection = self._connected()
        async with self._printing:
            status = await self._status(connection)
            if status.conditions:
                return await self._reading(connection, status, PointValue(False))
            sent = self._next_job(kind)
            before = await self._counted(connection) if self._settings.done == "counted" else None
            self._send(connection, label)
            try:
                status, printed = await self._printed(connection, before)
            except asyncio.CancelledError:
                with contextlib.suppress(OSError):
                    connection.send(CANCEL_ALL)
                raise
            return await self._reading(connection, status, printed, sent)

    async def look(self, wait_s: float) -> Sequence[Sight]:  # noqa: ARG002 - a printer is asked, and nothing printed
        """See Looking."""
        await self.open()
        try:
            reading = await self.read(MachineEvent(datetime.now(UTC)))
        finally:
            await self.close()
        return [
            Sight(name, f"status {point.status}", reading.values[name]) for name, point in self._settings.points.items()
        ]

    async def close(self) -> None:
        """Release the connection. See Driver.close."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close(_CLOSE_GRACE_S)

    async def _printed(self, connection: PrinterConnection, before: int | None) -> tuple[HostStatus, PointValue]:
        """Wait until the printer says what became of the label. ``before``: its count of labels, where it counts."""
        timeout_s = self._settings.connect.timeout
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        ready = 0
        while True:
            status = await self._status(connection)
            ready = ready + 1 if status.ready else 0
            more = 1
            if ready >= _READY_TWICE:
                more = 1 if before is None else await self._counted(connection) - before
                if more == 1:
                    return status, PointValue(True)
                if more != 0:
                    return status, _without(f"the printer counted {more} labels for one: look at what came out")
            if status.conditions:
                self._send(connection, CANCEL_ALL)
                return status, PointValue(False)
            if loop.time() > until:
                self._send(connection, CANCEL_ALL)
                what = "was still busy" if more else "was idle and had counted no label"
                return status, _without(f"the printer {what} after {timeout_s:g} s; label cancelled")
            await asyncio.sleep(_STATUS_EVERY_S)

    def _next_job(self, kind: str) -> dict[StatusField, PointValue]:
        """The name of a print job and which label it is: the moment it was sent, and how many were sent before it."""
        self._jobs += 1
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self._jobs}"
        return {"job": PointValue(name), "label": PointValue(kind)}

    async def _reading(
        self,
        connection: PrinterConnection,
        status: HostStatus,
        printed: PointValue,
        sent: Mapping[StatusField, PointValue] = MappingProxyType({}),
    ) -> Reading:
        """The points. What is asked for beside the host status may fail by itself: the label's fate is known."""
        said: dict[StatusField, PointValue] = {
            "printed": printed,
            "paper_out": PointValue(status.paper_out),
            "paused": PointValue(status.paused),
            "head_open": PointValue(status.head_open),
            "ribbon_out": PointValue(status.ribbon_out),
            "label_waiting": PointValue(status.label_waiting),
            "labels_remaining": PointValue(status.labels_remaining),
            "job": _without("no label was sent"),
            "label": _without("no label was sent"),
            **sent,
        }
        wanted = {point.status for point in self._settings.points.values()}
        if "labels_printed" in wanted:
            said["labels_printed"] = await self._or_problem(connection, LABEL_COUNT)
        if "printer" in wanted:
            said["printer"] = await self._or_problem(connection, HOST_IDENTIFICATION)
        if "print_length" in wanted:
            said["print_length"] = await self._or_problem(connection, PRINT_LENGTH)
        return Reading(datetime.now(UTC), {name: said[point.status] for name, point in self._settings.points.items()})

    async def _or_problem(self, connection: PrinterConnection, question: Question[Answer]) -> PointValue:
        try:
            found = await connection.ask(question, self._settings.connect.timeout)
        except TimeoutError:
            return _without(f"the printer does not answer {question.name}")
        except (OSError, DataError) as error:
            return _without(str(error))
        return PointValue(found)  # type: ignore[arg-type]  # each is answered with a number or a text

    def _send(self, connection: PrinterConnection, data: bytes) -> None:
        try:
            connection.send(data)
        except OSError as error:
            raise self._lost(error) from error

    async def _status(self, connection: PrinterConnection) -> HostStatus:
        try:
            status = await connection.ask(HOST_STATUS, self._settings.connect.timeout)
        except TimeoutError as error:
            raise LinkError(
                f"{self._where} is connected and does not answer ~HS: look at the printer, some models say nothing "
                "while paper or ribbon is out or the head is open"
            ) from error
        except _LINK_FAULTS as error:
            raise self._lost(error) from error
        self._told(status.conditions)
        return status

    async def _counted(self, connection: PrinterConnection) -> int:
        try:
            return await connection.ask(LABEL_COUNT, self._settings.connect.timeout)
        except DataError as error:
            raise SetupError(f"{self._where} does not tell {LABEL_COUNT.name}: {error}; {_DO_NOT_COUNT}") from error
        except TimeoutError as error:
            raise LinkError(f"{self._where} does not answer {LABEL_COUNT.name}; {_DO_NOT_COUNT}") from error
        except OSError as error:
            raise self._lost(error) from error

    def _connected(self) -> PrinterConnection:
        if self._connection is None:
            raise LinkError(f"{self._where} is not connected")
        return self._connection

    def _lost(self, error: Exception) -> LinkError:
        return LinkError(f"{self._where}: link lost: {error}; check power and cable")

    def _not_opened(self, error: Exception) -> LinkError | SetupError:
        connect = self._settings.connect
        if isinstance(connect, TcpConnect):
            why = str(error) or f"no answer within {connect.timeout:g} s"
            return LinkError(
                f"{self._where} cannot be reached: {why}; check power, cable, connect.host and connect.port"
            )
        cause = error.__context__ if isinstance(error.__context__, termios.error) else error
        code = cause.args[0] if cause.args else None
        if code in (errno.EACCES, errno.EPERM):
            group = "dialout" if connect.transport == "serial" else "lp"
            return SetupError(
                f"{self._where} may not be used: permission denied; add the agent's user to the group {group} "
                f"(usermod -aG {group} USER) and start the agent again"
            )
        if code in (errno.ENOTTY, errno.EISDIR, errno.EINVAL) or isinstance(error, ValueError):
            return SetupError(f"{self._where} is no such device, or cannot be set so: {error}; check connect")
        if code in (errno.EAGAIN, errno.EBUSY):
            return LinkError(f"{self._where} is in use: close the other program on it (a print queue holds it, too)")
        return LinkError(f"{self._where} cannot be opened: {error or 'it never falls silent'}; check power and cable")

    @property
    def _where(self) -> str:
        return f"machine {self._machine}: printer {self._settings.connect}"

    def _unprintable(self, problem: str) -> Reading:
        point = _without(f"machine {self._machine}: not printed: {problem}")
        return Reading(datetime.now(UTC), dict.fromkeys(self._settings.points, point))


def _without(problem: str) -> PointValue:
    return PointValue(None, quality=Quality.BAD, problem=problem)
