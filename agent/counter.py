"""Where a machine's own counter stands, on disk: what each reading's number means beside the last one."""

from agent.conditions import Conditions
from agent.content import Contents
from agent.cycles import Cursor, CycleKey, Relation, Step, step
from agent.disk import PatientDisk
from agent.outbox import Outbox
from agent.parsing import cycle_key_of
from agent.settings import MachineSettings
from drivers.base import MachineEvent, Reading


class Counter:
    """The numbers of one machine's results. A disk that does not take them is waited for. ``conditions`` hear of
    numbers that do not tell results apart."""

    def __init__(self, machine: MachineSettings, outbox: Outbox, disk: PatientDisk, conditions: Conditions) -> None:
        self._machine = machine
        self._outbox = outbox
        self._disk = disk
        self._conditions = conditions
        self._contents = Contents(machine)

    async def look(self, event: MachineEvent, reading: Reading) -> tuple[CycleKey | None, Step | None]:
        """The number of this reading, and the step from the last one that was kept; None where it has none."""
        key = cycle_key_of(self._machine, reading)
        if key is None:
            return None, None
        last = await self._disk.keep(lambda: self._outbox.cursor(self._machine.name))
        found = step(
            last,
            self._machine.name,
            key,
            self._machine.counter_modulus,
            content=self._contents.of(reading),
            presented=self._is_presented(event),
        )
        self._tell(key, found)
        return key, found

    async def keep(self, cursor: Cursor) -> None:
        """Go on from here."""
        await self._disk.keep(lambda: self._outbox.keep_cursor(cursor))

    def _is_presented(self, event: MachineEvent) -> bool:
        """Whether the machine says that this is a result. What stands there as listening begins says nothing, but
        beside the ready signal of a handshake: the machine may be at its next unit, its number still the last one's."""
        if event.maybe_again:
            return False
        return event.payload is not None or not event.first or self._machine.protocol_settings.holds_results

    def _tell(self, key: CycleKey, found: Step) -> None:
        point = self._machine.cycle_key
        if found.relation is Relation.REUSED:
            self._conditions.happened(
                "cycle_key_reused",
                f"another result has the number of the one before, {point} {key}; both are kept; see that the machine "
                "counts every result, or name another point in cycle_key",
            )
        elif found.differs:
            self._conditions.happened(
                "standing_result_differs",
                f"beside the number of the last result ({point}) stand other values, and the machine has signalled no "
                "other result: they are not recorded, it may be at its next unit. Let measurements name no point that "
                "changes between results. Of a machine that was restarted and counted up to the same number meanwhile, "
                "a result is missing",
            )
