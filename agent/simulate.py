"""The machines of a station file, made of software: what ``neurohub-agent simulate`` runs."""

import asyncio
import itertools
import json
import selectors
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from agent.dialogue.operator import BADGE, Operator, UseTool
from agent.settings import MachineSettings, StationSettings
from contracts.errors import DataError, NeuroHubError, SetupError
from documents.issues import did_you_mean
from drivers.base import Asking, Fault, Settable, Simulator
from drivers.registry import protocols

log = structlog.get_logger()

MACHINE_MORE_S = 0.2
"""What a machine waits longer than its station may take: two of its looks."""
LONGEST_WAIT_S = 3600
NUMBER = "{serial_number}"
"""Stands in a result for the number that the permit gives the unit."""


class SimulatedMachine:
    """One machine: counts its results, hands them to its simulator one after the other, tells when each is done."""

    def __init__(self, settings: MachineSettings, simulator: Simulator) -> None:
        self._settings = settings
        self.simulator = simulator
        self.operator: Operator | None = None
        self.waiting: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self._count = 0
        self._requests = itertools.count(int(time.time()) % 30_000 + 1)

    async def misbehave(self, name: str) -> None:
        """Arrange for the fault of this name. Raises ValueError, with the names there are, for any other."""
        known = {Fault.REUSE_COUNTER, *self.simulator.faults}
        if name not in known:
            raise ValueError(f"{name} is no fault of this machine; it knows {', '.join(sorted(known))}")
        if name == Fault.REUSE_COUNTER:
            self._count = 0
        else:
            await self.simulator.misbehave(Fault(name))

    async def run(self) -> None:
        """Make every result that waits, until cancelled; ask for a permit before, where the settings say so."""
        while True:
            line = await self.waiting.get()
            try:
                await self._answered(line)
            finally:
                self.waiting.task_done()

    async def _answered(self, line: Mapping[str, Any]) -> None:
        answer = {"machine": self._settings.name, "id": line.get("id")}
        try:
            values = self._known(line.get("values", {}))
            await asyncio.sleep(_seconds(line.get("after", 0)))
            if "fault" in line:
                await self.misbehave(line["fault"])
            if self.operator is not None:
                say({**answer, **await self._operated(self.operator, values, line)})
                return
            if self._settings.protocol_settings.asking() is not None and line.get("ask", True):
                permit = await self._permit(values, line)
                answer["answer"] = dict(permit)
                if not is_granted(permit) or line.get("ask") == "only":
                    say(answer)
                    return
            key = await self._made(values)
        except (NeuroHubError, ValueError, KeyError, TypeError) as error:
            # Ours and a driver's ValueError are texts for a person; others are told by their class too.
            text = str(error) if isinstance(error, NeuroHubError | ValueError) else f"{type(error).__name__}: {error}"
            say({**answer, "error": text})
        else:
            say({**answer, "done": True, "cycle_key": key})

    async def _operated(self, operator: Operator, values: dict[str, Any], line: Mapping[str, Any]) -> dict[str, Any]:
        """Somebody works at this machine, step by step."""
        if "about" in line:
            values = {**values, **line["about"]}
        return await operator.work(values, only_ask=line.get("ask") == "only")

    async def said(self, values: Mapping[str, Any]) -> None:
        """Say these values at once, as a tool that is used."""
        await self._made(dict(values), counts=True)

    async def _permit(self, values: dict[str, Any], line: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask about the unit of these values; a number the unit gets is put into them. Empty: nobody answered in the
        machine's time, which is the station's and two looks more."""
        asking = self._settings.protocol_settings.asking()
        assert asking is not None
        assert isinstance(self.simulator, Asking)
        about = line.get("about", {})
        request: dict[str, Any] = {}
        for point, own in ((asking.serial_number, "serial_number"), (asking.lot_number, "lot_number")):
            named = getattr(self._settings.unit, own)
            if point is not None:
                request[point] = about.get(own, values.get(str(named) if named is not None else point, ""))
        number: Any = next(self._requests) if asking.request.on == "change" else True
        answer = await self.simulator.ask({**request, asking.request.point: number}, asking.limit + MACHINE_MORE_S)
        if answer is not None and asking.numbers is not None:
            its_number = answer.get("serial_number", "")
            values.update({name: its_number for name, value in values.items() if value == NUMBER})
        return answer or {}

    async def _made(self, values: dict[str, Any], *, counts: bool = False) -> int | None:
        """Make a result; its number. One that cannot be made uses no number up: ValueError, KeyError, TypeError."""
        if self._settings.cycle_key is None or not (self._settings.records or counts):
            await self.simulator.cycle(values, None)
            return None
        self._count += 1
        count, key = self._count, self._wrapped(self._count)
        values.setdefault(self._settings.cycle_key, key)
        try:
            await self.simulator.cycle(values, key)
        except (ValueError, KeyError, TypeError):
            if self._count == count:  # else it was told to begin anew meanwhile
                self._count -= 1
            raise
        return key

    def _known(self, given: Any) -> dict[str, Any]:
        """The values by name, each of something this machine has. Raises DataError."""
        if not isinstance(given, dict):
            raise DataError('values are given by name: {"values": {"temperature": 60.1}}')
        known = [*self._settings.protocol_settings.points]
        known += [BADGE] if self.operator is not None else []
        if isinstance(self.simulator, Settable):
            known += sorted(self.simulator.settable)
        for name in given:
            if name not in known:
                hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
                raise DataError(f'unknown point "{name}"; {hint}')
        return dict(given)

    def _wrapped(self, count: int) -> int:
        modulus = self._settings.counter_modulus
        return count if modulus is None else count % modulus


def is_granted(answer: Mapping[str, Any]) -> bool:
    """Whether an answer, as a machine holds it, says yes."""
    return str(answer.get("granted", "0")).lower() in ("1", "true")


def _seconds(given: Any) -> float:
    """How long to wait before a result. Raises DataError."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= LONGEST_WAIT_S:
        raise DataError(f"after: seconds from 0 to {LONGEST_WAIT_S} are needed, found {given}")
    return float(given)


async def run_simulation(settings: StationSettings, script: Path | None = None) -> None:
    """Start every machine, tell where they are, make results from lines: a script's, until all are made, or standard
    input's, until it ends. Raises SetupError, also for a script that cannot be read."""
    lines = None if script is None else _script(script)
    folders = protocols()
    machines = {
        name: SimulatedMachine(machine, folders[machine.protocol].simulator(name, machine.wire))
        for name, machine in settings.machines.items()
    }
    for name, simulated in machines.items():
        dialogue = settings.machines[name].dialogue
        if dialogue is not None:
            simulated.operator = Operator(name, dialogue, simulated.simulator, _tools(machines))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running: list[asyncio.Task[Any]] = []
    try:
        overrides: dict[str, str | int] = {}
        for name, machine in machines.items():
            for key, value in (await _started(name, machine.simulator)).items():
                overrides[f"machines.{name}.{key}"] = value
            if hasattr(machine.simulator, "on_printed"):
                machine.simulator.on_printed = _printed(name)
        say({"station": settings.station.id, "set": overrides})
        running = [asyncio.create_task(machine.run()) for machine in machines.values()]
        reading = asyncio.create_task(_read_lines(machines) if lines is None else _play(machines, lines))
        running.append(reading)
        stopping = asyncio.create_task(stop.wait())
        running.append(stopping)
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for machine in machines.values():
            await machine.simulator.stop()


def _tools(machines: Mapping[str, SimulatedMachine]) -> UseTool:
    async def use(machine: str, point: str, value: Any) -> None:
        await machines[machine].said({point: value})

    return use


async def _started(name: str, simulator: Simulator) -> Mapping[str, str | int]:
    """Raises SetupError for a machine that its simulator cannot become: a real one may be all the same."""
    try:
        return await simulator.start()
    except ValueError as error:
        told = str(error).removeprefix(f"machine {name}: ")
        raise SetupError(f"machine {name} cannot be simulated: {told}") from error


def _script(script: Path) -> list[bytes]:
    try:
        return script.read_bytes().splitlines()
    except OSError as error:
        raise SetupError(f"{script} cannot be read: {error.strerror or error}") from error


async def _play(machines: Mapping[str, SimulatedMachine], lines: list[bytes]) -> None:
    for line in lines:
        await _take(machines, line)
    for machine in machines.values():
        await machine.waiting.join()


async def _read_lines(machines: Mapping[str, SimulatedMachine]) -> None:
    async for line in _lines():
        await _take(machines, line)


async def _take(machines: Mapping[str, SimulatedMachine], line: bytes) -> None:
    """A fault alone happens at once; a result, with its fault or without, when those before it are made."""
    if not line.strip():
        return
    try:
        wanted = json.loads(line)
        machine = machines[wanted["machine"]]
    except (ValueError, KeyError, TypeError) as error:
        say({"error": f"a line names one of {', '.join(machines)} and its values: {error}"})
        return
    if "fault" in wanted and "values" not in wanted:
        await _misbehave(machine, wanted)
    else:
        machine.waiting.put_nowait(wanted)


async def _lines() -> AsyncIterator[bytes]:
    """Standard input's lines until it ends, whatever it is."""
    if not _comes_later():
        while line := sys.stdin.buffer.readline():
            yield line
        return
    reader = asyncio.StreamReader(limit=2**20)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            yield line
    finally:
        transport.close()


def _comes_later() -> bool:
    """Whether standard input has to be waited for: a file and /dev/null have all at once, and cannot be."""
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(sys.stdin, selectors.EVENT_READ)
        except PermissionError:
            return False
    return True


async def _misbehave(machine: SimulatedMachine, wanted: Mapping[str, Any]) -> None:
    answer = {"machine": wanted["machine"], "id": wanted.get("id")}
    try:
        await machine.misbehave(wanted["fault"])
    except (NeuroHubError, ValueError, TypeError) as error:
        say({**answer, "error": str(error)})
    else:
        say({**answer, "fault": wanted["fault"]})


def _printed(machine: str) -> Any:
    return lambda zpl: say({"machine": machine, "printed": zpl})


def say(line: Mapping[str, Any]) -> None:
    """One JSON line on standard output, at once."""
    print(json.dumps(line, ensure_ascii=False), flush=True)
