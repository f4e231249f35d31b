"""Where a machine's own counter stands, on disk: what each reading's number means beside the last one."""

from agent.cycles import Cursor, CycleKey, Step, step
from agent.disk import PatientDisk
from agent.outbox import Outbox
from agent.parsing import cycle_key_of
from agent.settings import MachineSettings
from drivers.base import Reading


class Counter:
    """The numbers of one machine's results. A disk that does not take them is waited for."""

    def __init__(self, machine: MachineSettings, outbox: Outbox, disk: PatientDisk) -> None:
        self._machine = machine
        self._outbox = outbox
        self._disk = disk

    async def look(self, reading: Reading) -> tuple[CycleKey | None, Step | None]:
        """The number of this reading, and the step from the last one that was kept; None where it has none."""
        key = cycle_key_of(self._machine, reading)
        if key is None:
            return None, None
        last = await self._disk.keep(lambda: self._outbox.cursor(self._machine.name))
        return key, step(last, self._machine.name, key, self._machine.counter_modulus)

    async def keep(self, cursor: Cursor) -> None:
        """Go on from here."""
        await self._disk.keep(lambda: self._outbox.keep_cursor(cursor))
