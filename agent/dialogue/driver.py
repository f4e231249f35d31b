"""The dialogue as a driver: it stands around the scanner's own, and its results are answers instead of scans.

Its state is on disk before the operator is told that a scan was understood. A station that is killed goes on where it
stood: the operator sees the same question again. A result that was made and not kept yet is presented again, with its
number, so that it becomes one record.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from agent.dialogue.settings import DialogueSettings
from agent.dialogue.state import (
    Event,
    Input,
    Kept,
    NoAnswer,
    PermitAnswer,
    Phase,
    Said,
    Scan,
    State,
    TimePassed,
    ToolValue,
)
from agent.dialogue.steps import Dialogue
from agent.dialogue.texts import display
from agent.outbox import Outbox
from contracts.errors import LinkError, StoreError
from contracts.measurement import Quality, Scalar
from contracts.serial_form import SerialForm
from drivers.base import Acknowledging, Displaying, Driver, MachineEvent, MachineRequest, PointValue, RawValue, Reading

NOTE = "dialogue:"
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True)
class _Result(MachineEvent):
    """A dialogue that is done."""

    values: Mapping[str, RawValue] | None = None


class DialogueDriver:
    """Implements Driver, Acknowledging, Permitting and Outcomes around the driver of the scanner."""

    def __init__(
        self, machine: str, settings: DialogueSettings, form: SerialForm, scanner: Driver, outbox: Outbox
    ) -> None:
        self._dialogue = Dialogue(settings, form)
        self._settings = settings
        self._scanner = scanner
        self._outbox = outbox
        self._machine = machine
        self._note = NOTE + machine
        self._log = structlog.get_logger().bind(machine=machine)
        self._known: State | None = None
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._heard: asyncio.Task[MachineEvent] | None = None
        self._presented: tuple[Phase, int] | None = None
        self._stood: int | None = None
        self._outcome: str | None = None

    # -- Driver ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the scanner, and ask again for what was asked for last. See Driver.open."""
        await self._scanner.open()
        self._presented = None
        async with self._turn:
            if self._known is None:
                try:
                    known = self._dialogue.resumed(await self._recalled(), datetime.now(UTC))
                    await self._keep(known)
                except StoreError as error:
                    raise LinkError(f"{self._machine}: the disk refuses the dialogue: {error}") from error
                self._known = known
                if self._known.phase is not Phase.IDLE:
                    self._log.info("dialogue goes on", serial_number=self._known.serial_number, step=self._known.step)
            self._stood = self._known.request if self._known.phase is Phase.ASKED else None
            await self._tell()

    async def next_event(self) -> MachineEvent:
        """Wait for a result, or for a unit that is to be asked about. Raises LinkError once the scanner is lost."""
        while True:
            event = self._present()
            if event is not None:
                return event
            state = self._state
            if state.phase is Phase.ASKED:  # asked in this life, and never answered
                await self._take(NoAnswer(datetime.now(UTC)))
                continue
            self._changed.clear()
            if self._heard is None:
                self._heard = asyncio.create_task(self._scanner.next_event())
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait(
                    {self._heard, changed}, timeout=self._wait_s(state), return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                changed.cancel()
            if self._heard.done():
                heard, self._heard = self._heard, None
                await self._scan(heard.result())
            else:
                await self._take(TimePassed(datetime.now(UTC)))

    async def read(self, event: MachineEvent) -> Reading:
        """What was answered. See Driver.read."""
        state = self._state
        values: dict[str, PointValue]
        if isinstance(event, MachineRequest):
            values = {"request": PointValue(state.request), "serial_number": PointValue(state.serial_number)}
            return Reading(event.signalled_at, values)
        assert isinstance(event, _Result)
        assert event.values is not None
        values = {name: PointValue(value) for name, value in event.values.items()}
        return Reading(event.signalled_at, values, raw=event.payload)

    async def close(self) -> None:
        """Close the scanner; the dialogue stays where it is. See Driver.close."""
        heard, self._heard = self._heard, None
        if heard is not None:
            heard.cancel()
            await asyncio.gather(heard, return_exceptions=True)
        await self._scanner.close()

    # -- what the supervisor says ------------------------------------------------------------------------------------

    def outcome(self, outcome: str) -> None:
        """See Outcomes."""
        self._outcome = outcome

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:  # noqa: ARG002 - the number says it
        """The result is on disk. See Acknowledging."""
        if self._state.phase is Phase.DONE and cycle_key == self._state.number:
            outcome, self._outcome = self._outcome, None
            await self._take(Kept(outcome, datetime.now(UTC)))

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        """Whether the unit may start. See Permitting."""
        await self._take(PermitAnswer(values, datetime.now(UTC)))

    async def heard(self, machine: str, event: MachineEvent, reading: Reading) -> None:
        """A tool of the station said something: once this returns, it is on disk, or it was refused."""
        if event.first:
            return  # what stands there when listening begins was measured before
        for source in self._sources(machine):
            point = reading.values.get(source.partition(".")[2])
            if point is None:
                continue
            try:
                await self._take(_tool_value(source, point, event.signalled_at.astimezone(UTC)))
            except LinkError as error:  # it is kept: the scanner's own life notices that its display is gone
                self._log.warning("operator not told", error=str(error))

    # -- inside ------------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> State:
        assert self._known is not None, "open() first"
        return self._known

    def _present(self) -> MachineEvent | None:
        """The event that this state is, once in each life of the link."""
        state = self._state
        phase = (state.phase, state.request if state.phase is Phase.ASKED else state.number)
        if state.phase not in (Phase.ASKED, Phase.DONE) or phase == self._presented:
            return None
        self._presented = phase
        if state.phase is Phase.ASKED:
            return MachineRequest(datetime.now(UTC), key=state.request, first=state.request == self._stood)
        assert state.finished_at is not None
        values = state.values()
        payload = json.dumps(values, ensure_ascii=False).encode()
        return _Result(state.finished_at, key=state.number, payload=payload, values=values)

    def _wait_s(self, state: State) -> float:
        due = self._dialogue.due(state)
        rest_s = _LONGEST_WAIT_S if due is None else (due - datetime.now(UTC)).total_seconds()
        return min(max(rest_s, 0.0), _LONGEST_WAIT_S)

    async def _scan(self, event: MachineEvent) -> None:
        reading = await self._scanner.read(event)
        if event.first:
            return
        point = reading.values.get(self._settings.scan)
        value = None if point is None or point.problem is not None else point.value
        is_read = value is not None and not isinstance(value, list | bool)
        await self._take(Scan(str(value) if is_read else "", event.signalled_at.astimezone(UTC)))
        if isinstance(self._scanner, Acknowledging):
            await self._scanner.acknowledge(reading, None)

    async def _take(self, happened: Input) -> None:
        async with self._turn:
            before = self._state
            state, told = self._dialogue.turn(before, happened)
            if state != before:
                try:
                    await self._keep(state)
                except StoreError as error:
                    self._log.error("disk refuses, scan not accepted", error=str(error))
                    if not isinstance(happened, Kept | PermitAnswer):
                        said = Said(event=Event.REFUSED, message="NOT_STORED")
                        self._known = before.model_copy(update={"said": said})
                        await self._tell()
                        return
                    # The record is on disk, and presents nothing twice; without the note it does so after a restart.
                self._known = state
                self._changed.set()
            if told:
                await self._tell()

    async def _tell(self) -> None:
        shown = display(self._dialogue, self._state)
        told = {name: value for name, value in shown.items() if value not in ("", 0) and name != "text_ko"}
        self._log.info(
            "operator told", **{("said" if name == "event" else name): value for name, value in told.items()}
        )
        if isinstance(self._scanner, Displaying):
            await self._scanner.display(shown)

    async def _keep(self, state: State) -> None:
        await self._outbox.keep_note(self._note, state.model_dump_json(exclude_defaults=True))

    async def _recalled(self) -> State:
        note = await self._outbox.note(self._note)
        if note is None:
            return self._dialogue.begin()
        try:
            return State.model_validate_json(note)
        except ValidationError as error:
            self._log.error("dialogue on disk not understood, given up", error=str(error)[:300])
            return self._dialogue.begin()

    def _sources(self, machine: str) -> list[str]:
        """The points of this machine that steps wait for: first the one that is waited for now."""
        sources = {step.source for step in self._settings.steps.values() if step.source is not None}
        step = self._settings.steps.get(self._state.step or "") if self._known is not None else None
        own = sorted(source for source in sources if source.partition(".")[0] == machine)
        if self._known is None:
            return []
        return [step.source] if step is not None and step.source in own else own[:1]


def _tool_value(source: str, point: PointValue, at: datetime) -> ToolValue:
    problem = point.problem
    if problem is None and point.quality is not Quality.GOOD:
        problem = f"quality {point.quality}"
    if problem is None and isinstance(point.value, list):
        problem = "a list"
    if problem is not None or point.value is None or isinstance(point.value, list):
        return ToolValue(source, None, problem or point.original or "no value", at)
    return ToolValue(source, point.value, None, at)
