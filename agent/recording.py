"""``neurohub-agent record``: what a machine says, by its own driver, into a file."""

import asyncio
from pathlib import Path

from agent.history import Line
from agent.settings import StationSettings
from contracts.errors import SetupError
from documents.issues import did_you_mean, one_of
from drivers.base import MachineRequest
from drivers.registry import protocols


async def record_machine(settings: StationSettings, name: str, into: Path, seconds: float, count: int | None) -> int:
    """How many results were written. Raises LinkError, or SetupError."""
    machine = settings.machines.get(name)
    if machine is None:
        raise SetupError(f"no machine {name}; {did_you_mean(name, settings.machines) or one_of(settings.machines)}")
    driver = protocols()[machine.protocol].driver(name, machine.wire)
    written = 0
    try:
        await driver.open()
        async with asyncio.timeout(seconds):
            while written != count:
                event = await driver.next_event()
                reading = await driver.read(event)
                if not isinstance(event, MachineRequest):
                    line = Line(machine=name, at=event.signalled_at, reading=reading)
                    _append(into, line.model_dump_json(exclude_defaults=True))
                    written += 1
    except TimeoutError:
        pass
    finally:
        await driver.close()
    return written


def _append(into: Path, line: str) -> None:
    try:
        with into.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
    except OSError as error:
        raise SetupError(f"{into} cannot be written: {error.strerror or error}") from error
