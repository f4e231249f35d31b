"""The line: stations with their machines and agents, and units that move through them."""

import asyncio
import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.children import Child
from demo.scenario import NUMBER, Cycle, Unit

STATIONS: dict[int, tuple[str, ...]] = {
    1: ("P01-A",),
    2: ("P02-A",),
    3: ("P03-A", "P03-B"),
    4: ("P04-A",),
    5: ("P05-A",),
    6: ("P06-A",),
    7: ("P07-A",),
    8: ("P08-A",),
}
BY_HAND = (2, 5, 8)
"""Processes whose stations have no machine: an operator with a scanner is led through each unit."""
_BADGE = {"badge": "OP-1001"}
_MAKES_RESULTS = {1: "marker", 2: "scanner", 3: "tester", 4: "flasher", 5: "scanner", 6: "tester", 7: "scanner"}
CYCLE_TIMEOUT_S = 120.0
TRAVEL_S = 1.0
"""From one machine to the next. A real unit takes longer; in much less than this the stations' clocks, each of which
knows central's time within half of what an answer takes, could not tell which of two results was first."""


ASK_AGAIN_S = 0.3
"""An operator who is refused looks, and tries again: the result of the process before may be on its way."""
ASK_TIMES = 60


@dataclass(frozen=True)
class Answer:
    """What a machine was answered, as it stands in it. Silence is ``granted`` None."""

    station: str
    granted: bool | None
    code: str = ""
    serial_number: str = ""


class LineError(RuntimeError):
    """A machine's result that its station did not take."""


@dataclass(frozen=True)
class Made:
    """A result a machine made: the truth the database is compared with. Without a key it was never acknowledged."""

    station: str
    machine: str
    cycle_key: int | None
    serial_number: str
    process: int
    expected: str


def machine_of(station: str) -> str:
    """The machine of a station that makes its results."""
    return _MAKES_RESULTS.get(int(station[1:3]), "scanner")


class Station:
    """The machines of one station (one process of ``neurohub-agent simulate``) and its agent (another)."""

    def __init__(self, name: str, config: Path, folder: Path, broker_url: str) -> None:
        self.name = name
        self.file = config / f"{name}.yaml"
        self.state_dir = folder / name
        self.outbox = self.state_dir / "outbox.db"
        self._broker_url = broker_url
        self._folder = folder
        self._free = asyncio.Lock()
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._printed = asyncio.Event()
        self.answers: list[Answer] = []
        self._signs_in = _BADGE if int(name[1:3]) in BY_HAND else {}
        where = "dialogue.interlock" if self._signs_in else "interlock"
        self._asks = ["--set", f"machines.{machine_of(name)}.{where}.enabled=true"]
        self.machines = Child(
            f"{name} machines",
            ["agent", "simulate", str(self.file), *self._asks],
            folder / f"{name}-machines.log",
            said=self._heard,
        )
        self.agent: Child | None = None

    async def start_machines(self) -> None:
        """Start the machines; their addresses become the agent's --set values."""
        await self.machines.start()
        told = await self.machines.first_line()
        given = {"broker.url": self._broker_url, "state_dir": str(self.state_dir), **told["set"]}
        overrides = [part for key, value in given.items() for part in ("--set", f"{key}={value}")]
        arguments = ["agent", "run", str(self.file), *self._asks, *overrides]
        self.agent = Child(f"{self.name} agent", arguments, self._folder / f"{self.name}-agent.log")

    async def make(self, cycle: Cycle, serial_number: str) -> Made:
        """One cycle on this station's machine, until the agent has acknowledged it; a machine that is refused asks
        again for a while. Without a key when nothing comes of it."""
        machine = machine_of(self.name)
        key = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CYCLE_TIMEOUT_S):
                for _ in range(ASK_TIMES):
                    async with self._free:
                        done = await self._cycle(machine, cycle)
                    if cycle.asks:
                        serial_number = self._answered(done).serial_number or serial_number
                    if "done" in done:
                        key = int(done["cycle_key"])
                        break
                    await asyncio.sleep(ASK_AGAIN_S)
        return Made(self.name, machine, key, serial_number, cycle.process, cycle.expected)

    async def ask(self, **about: str) -> Answer:
        """The machine asks about a unit (``serial_number``) or a LOT (``lot_number``), and does nothing with it."""
        async with self._free, asyncio.timeout(CYCLE_TIMEOUT_S):
            return self._answered(
                await (await self._say(machine_of(self.name), self._signs_in, about=about, ask="only"))
            )

    async def _cycle(self, machine: str, cycle: Cycle) -> dict[str, Any]:
        self._printed.clear()
        result = await self._say(machine, {**cycle.values, **self._signs_in}, ask=cycle.asks)
        while cycle.also and not result.done():
            await self._read_back(cycle, result)
        done = await result
        if "error" in done:
            raise LineError(f"{self.name}: the simulated {machine} says: {done['error']}")
        return done

    def _answered(self, done: dict[str, Any]) -> Answer:
        """Note what the machine was answered."""
        held = done.get("answer") or {}
        granted = str(held["granted"]).lower() in ("1", "true") if "granted" in held else None
        code = str(held.get("code", held.get("code_number", "")))
        answer = Answer(self.name, granted, "" if code == "0" else code, str(held.get("serial_number", "")))
        self.answers.append(answer)
        return answer

    async def _read_back(self, cycle: Cycle, result: "asyncio.Future[dict[str, Any]]") -> None:
        """The verifier reads each label that comes out, also one printed anew after the agent was killed."""
        printed = asyncio.create_task(self._printed.wait())
        either: set[asyncio.Future[Any]] = {printed, result}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        printed.cancel()
        if not result.done():
            self._printed.clear()
            await self._say("verifier", cycle.also)

    async def _say(self, machine: str, values: dict[str, Any], **more: Any) -> "asyncio.Future[dict[str, Any]]":
        number = next(self._ids)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.machines.say({"machine": machine, "values": values, "id": number, **more})
        return self._waiting[number]

    def _heard(self, line: dict[str, Any]) -> None:
        if "printed" in line:
            self._printed.set()
        waiting = self._waiting.pop(line.get("id", 0), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(line)


async def move(started: list[Unit], turn: int, line: dict[str, Station], made: list[Made]) -> None:
    """Take a unit through its cycles; what each machine made is written into ``made``, and the unit of the number it
    was given into ``started``.

    Raises LineError when a station does not take a result.
    """
    for number in range(len(started[turn].cycles)):
        if number:
            await asyncio.sleep(TRAVEL_S)
        unit = started[turn]
        cycle = unit.cycles[number]
        names = STATIONS[cycle.process]
        station = line[names[turn % len(names)]]
        is_marking = cycle.process == 1
        one = await station.make(
            cycle.numbered(unit.serial_number, NUMBER) if is_marking else cycle, unit.serial_number
        )
        started[turn] = unit.numbered(one.serial_number)
        made.append(one)
        if one.cycle_key is None:
            assert station.agent is not None
            raise LineError(
                f"{one.station}: the {one.machine}'s work on {one.serial_number} was not permitted and acknowledged "
                f"within {CYCLE_TIMEOUT_S:.0f} s.\n{station.agent.last_words()}"
            )
