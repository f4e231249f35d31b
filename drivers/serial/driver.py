"""The driver of a machine on a serial line: it speaks by itself, or is asked."""

import asyncio
import termios
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from contracts.errors import DataError, LinkError, SetupError
from contracts.measurement import Scalar
from drivers.base import Driver, MachineEvent, MachineRequest, PointValue, Reading
from drivers.fields.gathering import Gathered
from drivers.looking import Sight
from drivers.ports import lost_error, open_error
from drivers.serial.asking import Asking, reading_of, scalars
from drivers.serial.dialogue import Dialogue
from drivers.serial.framing import Frame
from drivers.serial.hearing import Callbacks, Hearing
from drivers.serial.line import Line
from drivers.serial.noise import told_of_silence
from drivers.serial.settings import SerialSettings

log = structlog.get_logger()

_NOTHING = Gathered((), b"")
_UNUSABLE_KEPT = 256


def serial_driver(machine: str, settings: SerialSettings) -> Driver:
    """The driver these settings need: one that is asked for each unit, or one that waits for results."""
    if settings.request is not None and settings.request.is_on_demand:
        return OnDemandDriver(machine, settings)
    return SerialDriver(machine, settings)


@dataclass(frozen=True)
class FrameEvent(MachineEvent):
    """A result arrived. ``is_whole``: its last frame was, so that a handshake may accept it."""

    gathered: Gathered = _NOTHING
    is_whole: bool = True


@dataclass(frozen=True)
class RequestEvent(FrameEvent, MachineRequest):
    """A message asked whether a unit may start."""


class SerialDriver:
    """Implements Driver, Acknowledging, Permitting, Displaying and Looking.

    A result that arrived exists: it is still handed out after the link is lost, and after the driver was closed and
    opened again. Reading it needs no line.
    """

    def __init__(self, machine: str, settings: SerialSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._events: deque[FrameEvent] = deque()
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._line: Line | None = None
        self._dialogue: Dialogue | None = None
        self._asking: Asking | None = None
        self._hearing: Hearing | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lost: Exception | None = None
        self._notice: str | None = None
        self._is_in_vain = False
        self._unaccepted: Reading | None = None
        self._unusable = bytearray()
        """The beginning of what came and was no message."""

    async def open(self) -> None:
        """Open the port for this driver alone. See Driver.open; SetupError also where the port may not be used."""
        if self._line is not None:
            raise RuntimeError(f"machine {self._machine}: open() on a driver that is open")
        self._lost = self._notice = None
        settings = self._settings
        line = self._line = Line(
            settings, f"serial {self._machine}", lambda: len(self._events), self._arrived, self._broke
        )
        self._dialogue = Dialogue(self._machine, settings, line.write, lambda: line.silent_s)
        self._asking = Asking(self._where, settings, self._dialogue)
        told = Callbacks(self._heard, self._asking.triggered, self._send_soon)
        self._hearing = Hearing(self._machine, settings, told)
        try:
            await line.opened()
            await self._begin(self._asking)
        except (OSError, ValueError, termios.error) as error:
            await self.close()
            raise open_error(error, self._machine, settings.connect.address) from error
        except BaseException:
            await self.close()
            raise

    async def next_event(self) -> MachineEvent:
        """Wait for the next result. Raises LinkError once all that arrived before the loss is handed out."""
        while not self._events:
            self._opened()
            self._wanted.set()
            self._changed.clear()
            await self._changed.wait()
        return self._events.popleft()

    async def read(self, event: MachineEvent) -> Reading:
        """Take the points out of the event's messages. Never raises."""
        assert isinstance(event, FrameEvent)
        reading = reading_of(event.gathered, self._settings, event.signalled_at)
        interlock = self._settings.interlock
        if interlock is not None and not isinstance(event, MachineRequest):
            asks = interlock.request.point
            reading = replace(reading, values={name: one for name, one in reading.values.items() if name != asks})
        self._unaccepted = reading if event.is_whole else None
        return reading

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        """Send the configured text, or the handshake's accept. Raises LinkError.

        Where a value the text names is missing (a garbled frame) nothing is sent: a machine that hears nothing sends
        its result again, and this time it may arrive whole.
        """
        if self._settings.handshake is not None and reading is self._unaccepted:
            await self._send(self._settings.handshake.accept.encode("latin-1"))
            self._unaccepted = None
        acknowledge = self._settings.acknowledge
        if acknowledge is None:
            return
        known = scalars(reading)
        if cycle_key is not None:
            known["cycle_key"] = cycle_key
        self._opened()
        assert self._dialogue is not None
        try:
            text = self._dialogue.filled(acknowledge.send, known, framed=acknowledge.framed)
        except DataError as error:
            log.warning("machine not acknowledged", machine=self._machine, why=str(error))
            return
        await self._send(text)

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        """See Permitting."""
        interlock = self._settings.interlock
        assert interlock is not None
        assert self._dialogue is not None
        if self._settings.handshake is not None and self._unaccepted is not None:
            await self._send(self._settings.handshake.accept.encode("latin-1"))
            self._unaccepted = None
        self._opened()
        try:
            text = self._dialogue.filled(interlock.answer.send, values, framed=interlock.answer.framed)
        except DataError as error:
            raise SetupError(f"machine {self._machine}, interlock.answer: {error}") from error
        await self._send(text)

    async def display(self, values: Mapping[str, Scalar]) -> None:
        """See Displaying. A text that the encoding cannot write is logged, and not shown."""
        display = self._settings.display
        if display is None:
            return
        self._opened()
        assert self._dialogue is not None
        try:
            text = self._dialogue.filled(display.send, values, framed=display.framed)
        except DataError as error:
            log.warning("operator not told", machine=self._machine, why=str(error))
            return
        await self._send(text)

    async def look(self, wait_s: float) -> Sequence[Sight]:
        """See Looking: the next message, however long its machine takes to send one, and up to ``wait_s``."""
        self._unusable.clear()
        await self.open()
        try:
            reading = await self._next_reading(wait_s)
        finally:
            await self.close()
        raw = None if reading.raw is None else reading.raw.hex(" ")
        absent = PointValue(None, problem="not in this message")
        return [
            Sight(name, f"{point.address} {getattr(point, point.address)}", reading.values.get(name, absent), raw)
            for name, point in self._settings.points.items()
        ]

    async def _next_reading(self, wait_s: float) -> Reading:
        try:
            async with asyncio.timeout(wait_s):
                while True:  # the first message may have begun before the port was opened
                    event = await self.next_event()
                    if isinstance(event, FrameEvent) and event.is_whole:
                        return await self.read(event)
        except TimeoutError:
            raise LinkError(f"{self._where}: {told_of_silence(bytes(self._unusable), wait_s)}") from None

    async def close(self) -> None:
        """End everything that runs, and free the port. See Driver.close."""
        line, self._line = self._line, None
        self._changed.set()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._asking is not None:
            self._is_in_vain = self._is_in_vain or self._asking.is_in_vain
        if line is not None:
            await line.close()
        if self._hearing is not None:
            self._hearing.lost(datetime.now(UTC), "the station closed the port")

    async def _begin(self, asking: Asking) -> None:
        await asking.begin(in_vain=self._is_in_vain)
        self._is_in_vain = False
        request = self._settings.request
        if request is not None and not request.is_on_demand:
            self._start(asking.ask_on(self._wanted, self._answered))
        if self._settings.keep_alive is not None:
            self._start(asking.keep_alive())

    # -- tasks of one life: their failure is the link's ----------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._living(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _living(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except (LinkError, OSError) as error:
            self._broke(error)

    def _send_soon(self, data: bytes) -> None:
        self._start(self._send(data))

    async def _send(self, data: bytes) -> None:
        line = self._opened()
        try:
            await line.write(data)
        except OSError as error:
            raise self._lost_error(error) from error

    # -- results -----------------------------------------------------------------------------------------------------

    def _arrived(self, frame: Frame, at: datetime) -> None:
        assert self._dialogue is not None
        assert self._hearing is not None
        if frame.kind not in ("message", "notice"):
            self._unusable += frame.data[: _UNUSABLE_KEPT - len(self._unusable)]
        if frame.kind == "notice":
            self._notice = frame.data.decode("latin-1").strip() or self._notice
        elif not self._dialogue.take(frame):
            self._hearing.take(frame, at)

    def _heard(self, gathered: Gathered, at: datetime, is_whole: bool) -> None:
        event = FrameEvent(at, payload=gathered.raw, gathered=gathered, is_whole=is_whole)
        self._put(self._request_in(event) or event)

    def _request_in(self, event: FrameEvent) -> RequestEvent | None:
        """The event as a request, where its message holds the request's point."""
        interlock = self._settings.asking()
        if interlock is None:
            return None
        found = reading_of(event.gathered, self._settings, event.signalled_at).values[interlock.request.point]
        if found.value is None or isinstance(found.value, list):
            return None
        return RequestEvent(
            event.signalled_at,
            key=found.value,
            payload=event.payload,
            gathered=event.gathered,
            is_whole=event.is_whole,
        )

    def _answered(self, gathered: Gathered, key: Scalar | None, is_first: bool) -> None:
        # What stands in the machine is a state; what it answers to no trigger is a message.
        payload = gathered.raw if self._settings.trigger is None else None
        settings, now = self._settings, datetime.now(UTC)
        again = settings.answers_again or (settings.trigger is not None and settings.trigger.on == "change")
        self._put(FrameEvent(now, key=key, payload=payload, first=is_first, maybe_again=again, gathered=gathered))

    def _put(self, event: FrameEvent) -> None:
        self._events.append(event)
        self._wanted.clear()
        self._changed.set()

    # -- the link ----------------------------------------------------------------------------------------------------

    def _broke(self, error: Exception) -> None:
        if self._lost is None:
            self._lost = error
            if self._hearing is not None:
                self._hearing.lost(datetime.now(UTC), "the link was lost in the middle of it")
        self._changed.set()

    def _opened(self) -> Line:
        if self._lost is not None:
            raise self._lost_error(self._lost) from self._lost
        if self._line is None:
            raise LinkError(f"{self._where} is not open")
        return self._line

    def _lost_error(self, error: Exception) -> LinkError:
        if isinstance(error, LinkError):
            return LinkError(str(error))
        return lost_error(error, self._machine, self._settings.connect.address, self._notice)

    @property
    def _where(self) -> str:
        return f"machine {self._machine}: serial port {self._settings.connect.address}"


class OnDemandDriver(SerialDriver):
    """Implements Performing too: the machine is asked once for each unit of another machine."""

    async def perform(self, job: Mapping[str, Scalar]) -> Reading:
        """Ask for this unit. Raises LinkError, where the machine has no result too."""
        self._opened()
        assert self._asking is not None
        try:
            gathered = await self._asking.ask_for(job)
        except LinkError as error:
            if self._asking.is_in_vain:
                self._broke(error)
            raise
        except OSError as error:
            self._broke(error)
            raise self._lost_error(error) from error
        return reading_of(gathered, self._settings, datetime.now(UTC))

    async def _next_reading(self, wait_s: float) -> Reading:  # noqa: ARG002 - its own settings say how long it may take
        return await self.perform({})
