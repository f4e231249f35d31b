"""One look at every point of a machine, judged: what ``neurohub-agent probe`` shows."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agent.diagnosis import likely_cause
from agent.judging import criteria_for
from agent.parsing import parse
from agent.plausible import better_setting
from agent.settings import MachineSettings, StationSettings
from contracts.criteria import Criterion, MeasurementVerdict, judge
from contracts.errors import LinkError, SetupError
from drivers.base import Driver, Reading
from drivers.looking import Looking, Sight
from drivers.registry import protocols


@dataclass(frozen=True)
class Probed:
    """What was seen of one machine. ``error`` says why there is nothing, ``cause`` what most likely is behind it.

    ``proposals`` are changes of a point's settings, each with the value it would have then.
    """

    machine: str
    sights: tuple[Sight, ...] = ()
    units: Mapping[str, str | None] = field(default_factory=dict)
    verdicts: Mapping[str, MeasurementVerdict] = field(default_factory=dict)
    proposals: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    cause: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every point could be read, and none looks misread."""
        return self.error is None and not self.proposals and all(one.value.problem is None for one in self.sights)


async def probe(settings: StationSettings, machine: MachineSettings, wait_s: float) -> Probed:
    """Connect with the machine's own driver and look at each point once. Never raises because of the machine."""
    driver = protocols()[machine.protocol].driver(machine.name, machine.wire)
    try:
        sights = tuple(await _seen(machine, driver, wait_s))
    except (LinkError, SetupError) as error:
        return Probed(machine.name, error=str(error), cause=likely_cause(error))
    reading = Reading(datetime.now(UTC), {sight.name: sight.value for sight in sights})
    criteria = criteria_for(machine, settings, settings.criteria_set())
    prefix = "" if machine.records else f"{machine.name}."
    measured = parse(machine, reading, criteria).measurements
    named = [one.model_copy(update={"name": prefix + one.name}) for one in measured]
    own = {one.name for one in named}
    rules = {name: rule for name, rule in settings.criteria.items() if name in own}
    judged = judge(named, criteria.model_copy(update={"criteria": rules}))
    verdicts = {one.name.removeprefix(prefix): one for one in judged.verdicts if one.limit is not None}
    return Probed(
        machine.name,
        sights,
        {sight.name: machine.unit_of(sight.name) for sight in sights},
        verdicts,
        _proposals(sights, {name.removeprefix(prefix): rule for name, rule in rules.items()}),
    )


async def _seen(machine: MachineSettings, driver: Driver, wait_s: float) -> list[Sight]:
    if isinstance(driver, Looking):
        return list(await driver.look(wait_s))
    program = getattr(getattr(machine.wire, "run", None), "program", None)
    if program is not None:
        return _tool(machine.name, str(program))
    return await _next_result(machine.name, driver, wait_s)


def _tool(machine: str, program: str) -> list[Sight]:
    """A tool is not run without a unit: whether it could be is all there is to see."""
    if not os.path.isfile(program):
        raise SetupError(f"machine {machine}: there is no program {program}; install the tool, or correct its name")
    if not os.access(program, os.X_OK):
        raise SetupError(f"machine {machine}: {program} may not be run by this user; check its rights (ls -l)")
    return []


async def _next_result(machine: str, driver: Driver, wait_s: float) -> list[Sight]:
    """Of a driver that only knows results: the next one, which is not acknowledged."""
    try:
        await driver.open()
        async with asyncio.timeout(wait_s):
            reading = await driver.read(await driver.next_event())
    except TimeoutError:
        raise LinkError(f"machine {machine}: connected, and no result came in {wait_s:g} s; let it make one") from None
    finally:
        await driver.close()
    raw = None if reading.raw is None else reading.raw.hex(" ")
    return [Sight(name, "", value, raw) for name, value in reading.values.items()]


def _proposals(sights: tuple[Sight, ...], rules: Mapping[str, Criterion]) -> dict[str, str]:
    found: dict[str, str] = {}
    for sight in sights:
        better = better_setting(sight, rules.get(sight.name))
        if better is not None:
            change, value = better
            found[sight.name] = f"{sight.value.value} is not plausible; with {change} it is {value.value}"
    return found
