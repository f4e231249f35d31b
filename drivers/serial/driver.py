"""The driver of a machine that sends one frame per result over a serial line."""

import asyncio
import termios
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from contracts.errors import LinkError
from contracts.measurement import Scalar
from drivers.base import MachineEvent, Reading
from drivers.fields.gathering import Gathered, Gathering
from drivers.fields.messages import values_of
from drivers.serial.framing import Frame
from drivers.serial.line import Line, lost_error, open_error
from drivers.serial.settings import SerialSettings
from drivers.template import as_text, names_in, render


@dataclass(frozen=True)
class FrameEvent(MachineEvent):
    """A result arrived: ``payload`` is all that came for it, marks included."""

    gathered: Gathered | None = None


class SerialDriver:
    """Implements Driver and Acknowledging.

    A frame that arrived is a result that exists: it is still handed out after the link is lost, and after the driver
    was closed and opened again. Reading it needs no line.
    """

    def __init__(self, machine: str, settings: SerialSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._frames: deque[FrameEvent] = deque()
        self._gathering = Gathering(settings)
        self._changed = asyncio.Event()
        self._line: Line | None = None
        self._lost: Exception | None = None

    async def open(self) -> None:
        """Open the port for this driver alone. See Driver.open; SetupError also where the port may not be used."""
        if self._line is not None:
            raise RuntimeError(f"machine {self._machine}: open() on a driver that is open")
        self._lost = None
        self._line = Line(
            self._settings, f"serial {self._machine}", lambda: len(self._frames), self._arrived, self._broke
        )
        try:
            await self._line.opened()
        except (OSError, ValueError, termios.error) as error:
            await self.close()
            raise open_error(error, self._machine, self._settings.connect) from error
        except BaseException:
            await self.close()
            raise

    async def next_event(self) -> MachineEvent:
        """Wait for the next frame. Raises LinkError once all that arrived before the loss is handed out."""
        while not self._frames:
            self._check_line()
            self._changed.clear()
            await self._changed.wait()
        return self._frames.popleft()

    async def read(self, event: MachineEvent) -> Reading:
        """Take the points out of the event's frame. Never raises."""
        assert isinstance(event, FrameEvent)
        assert event.gathered is not None
        gathered = event.gathered
        values = values_of(gathered.messages, self._settings, gathered.problem)
        return Reading(event.signalled_at, values, raw=gathered.raw)

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        """Send the configured text. Raises LinkError.

        Where a value it names is missing (a garbled frame) nothing is sent: a machine that hears nothing sends its
        result again, and this time it may arrive whole.
        """
        if self._settings.acknowledge is None:
            return
        template = self._settings.acknowledge.send
        known: dict[str, Scalar] = {
            name: point.value
            for name, point in reading.values.items()
            if point.value is not None and not isinstance(point.value, list)
        }
        if cycle_key is not None:
            known["cycle_key"] = cycle_key
        if not names_in(template) <= known.keys():
            return
        line = self._check_line()
        try:
            await line.write(render(template, known, as_text).encode(self._settings.message.encoding))
        except OSError as error:
            raise lost_error(error, self._machine, self._settings.connect) from error

    async def close(self) -> None:
        """End the reader and free the port. See Driver.close."""
        line, self._line = self._line, None
        self._changed.set()
        if line is not None:
            await line.close()

    def _check_line(self) -> Line:
        if self._lost is not None:
            raise lost_error(self._lost, self._machine, self._settings.connect) from self._lost
        if self._line is None:
            raise LinkError(f"machine {self._machine}: serial port {self._settings.connect.address} is not open")
        return self._line

    def _arrived(self, frame: Frame, at: datetime) -> None:
        if frame.problem is None:
            ended = self._gathering.take(frame.body, frame.data)
        else:
            ended = [*self._gathering.give_up(frame.problem), Gathered((), frame.data, frame.problem)]
        self._frames += [FrameEvent(at, payload=gathered.raw, gathered=gathered) for gathered in ended]
        self._changed.set()

    def _broke(self, error: Exception) -> None:
        at = datetime.now(UTC)
        for gathered in self._gathering.give_up("the link was lost in the middle of it"):
            self._frames.append(FrameEvent(at, payload=gathered.raw, gathered=gathered))
        self._lost = error
        self._changed.set()
