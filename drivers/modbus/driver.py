"""A machine that speaks Modbus TCP or RTU: the trigger is polled, and each result read as one snapshot."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import structlog
from pymodbus.constants import ExcCodes

from contracts.measurement import Scalar
from drivers.base import LinkError, MachineEvent, PointValue, Reading, SetupError
from drivers.modbus.blocks import Block, block_of, blocks_of
from drivers.modbus.codec import decode, encode_acknowledgement
from drivers.modbus.link import ModbusLink, RefusedError
from drivers.modbus.settings import ModbusPoint, ModbusSettings, RtuConnect

TORN_READS = 5
_SHORT_POLL = 8
"""Registers that are polled over a serial line although only the trigger is wanted: they take few milliseconds."""

log = structlog.get_logger()

Raw = Sequence[int] | RefusedError
"""What came for one point: its registers, or why there are none."""


class ModbusDriver:
    """Implements Driver and Acknowledging.

    A snapshot is consistent when the trigger's registers were the same before and after everything else was read; one
    answer that holds all points is consistent in itself. That holds for a machine that sets its trigger last.
    """

    def __init__(self, machine: str, settings: ModbusSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._points = settings.points
        self._trigger = settings.trigger.point
        self._link = ModbusLink(machine, settings.connect)
        self._is_open = False
        self._blocks = blocks_of(self._points, self._trigger)
        self._alone: set[str] = set()
        self._seen: tuple[Raw, Scalar] | None = None
        self._polled: tuple[MachineEvent, dict[str, Raw]] | None = None
        self._next_poll_at = 0.0

    async def open(self) -> None:
        """See Driver.open. SetupError also where the device does not have a point's register."""
        if self._is_open:
            raise RuntimeError(f"machine {self._machine}: open() on a driver that is open")
        self._alone.clear()
        self._blocks = blocks_of(self._points, self._trigger)
        self._seen = self._polled = None
        self._next_poll_at = 0.0
        await self._link.connect()
        try:
            await self._check_points()
        except BaseException:
            await self._link.close()
            raise
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        await self._link.close()

    async def next_event(self) -> MachineEvent:
        """Poll until the trigger signals. Raises LinkError, also where the trigger cannot be read any more."""
        while True:
            await self._poll_is_due()
            raw = await self._read_block(self._poll_block)
            found = raw[self._trigger]
            before = self._seen
            if before is not None and found == before[0]:
                continue
            value = self._trigger_value(found)
            self._seen = (found, value)
            if self._settings.trigger.on == "rising":
                signalled = bool(value) and not (before is not None and before[1])
            else:
                signalled = before is None or value != before[1]
            if signalled:
                event = MachineEvent(datetime.now(UTC), key=value, first=before is None)
                self._polled = (event, raw)
                return event

    async def read(self, event: MachineEvent) -> Reading:
        """The result that stands now: the event's, or a newer one. Raises LinkError where results come too fast."""
        polled, self._polled = self._polled, None
        raw = polled[1] if polled is not None and polled[0] is event else await self._read_block(self._poll_block)
        for _ in range(TORN_READS):
            before = raw[self._trigger]
            value = self._trigger_value(before)
            others = [block for block in self._blocks if not raw.keys() >= set(block.points)]
            for block in others:
                raw |= await self._read_block(block)
            after = await self._read_block(self._poll_block) if others else raw
            if after[self._trigger] == before:
                self._seen = (before, value)
                return self._reading(raw)
            raw = after
        raise LinkError(
            f"machine {self._machine}: trigger point {self._trigger} changed {TORN_READS} times while one result was "
            "read; the machine has to hold a result until it is read (see acknowledge)"
        )

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        """See Acknowledging. SetupError where the device refuses the value.

        Where a point that it names has no value nothing is written: a machine that hears nothing tells its people.
        """
        if self._settings.acknowledge is None:
            return
        write = self._settings.acknowledge.write
        where = f"machine {self._machine}, acknowledge.write ({write})"
        values = {name: point.value for name, point in reading.values.items()}
        try:
            await self._link.write(write, encode_acknowledgement(write, values, cycle_key))
        except KeyError as missing:
            log.warning("machine not acknowledged", machine=self._machine, missing=missing.args[0])
        except ValueError as error:
            raise SetupError(f"{where}: {error}; choose a type that holds every value") from error
        except RefusedError as error:
            raise SetupError(f"{where}: {error}; check the register in the machine's manual") from error

    # -- polling -----------------------------------------------------------------------------------------------------

    async def _poll_is_due(self) -> None:
        """Keep the poll's rhythm; polls that were missed are not made up for."""
        now = asyncio.get_running_loop().time()
        if self._next_poll_at > now:
            await asyncio.sleep(self._next_poll_at - now)
        self._next_poll_at = max(self._next_poll_at, now) + self._settings.trigger.poll

    @property
    def _poll_block(self) -> Block:
        """What is read to see the trigger: with its neighbours, so that a result often needs no further request."""
        block = self._blocks[0]
        if isinstance(self._settings.connect, RtuConnect) and block.count > _SHORT_POLL:
            return block_of(self._trigger, self._points[self._trigger])
        return block

    def _trigger_value(self, raw: Raw) -> Scalar:
        if isinstance(raw, RefusedError):
            raise LinkError(f"machine {self._machine}, trigger point {self._trigger}: {raw}") from raw
        found = decode(self._points[self._trigger], raw)
        if found.value is None or isinstance(found.value, list):
            raise LinkError(f"machine {self._machine}, trigger point {self._trigger}: {found.problem}")
        return found.value

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _check_points(self) -> None:
        """Read everything once: what the device does not have is a mistake in the settings, not in a result."""
        raw: dict[str, Raw] = {}
        for block in list(self._blocks):
            raw |= await self._read_block(block)
        absent = {
            name: found
            for name, found in raw.items()
            if isinstance(found, RefusedError) and found.code in (ExcCodes.ILLEGAL_FUNCTION, ExcCodes.ILLEGAL_ADDRESS)
        }
        if absent:
            told = ", ".join(f"point {name} ({found})" for name, found in absent.items())
            raise SetupError(
                f"machine {self._machine}: {told}; check the register in the machine's manual "
                "(addresses count from 0: register 40001 is holding_register 0)"
            ) from next(iter(absent.values()))

    async def _read_block(self, block: Block) -> dict[str, Raw]:
        """What came for each point of a block. A block that is refused is read point by point."""
        try:
            words = await self._link.read(block)
        except RefusedError as refused:
            if len(block.points) == 1:
                return {block.points[0]: refused}
            raw: dict[str, Raw] = {}
            for name in block.points:
                raw |= await self._read_block(block_of(name, self._points[name]))
            self._learn_from(block, raw)
            return raw
        points = ((name, self._points[name]) for name in block.points)
        return {name: words[point.address - block.start :][: point.count] for name, point in points}

    def _learn_from(self, refused: Block, raw: Mapping[str, Raw]) -> None:
        """Ask differently from now on: over no gap, and apart for what is refused by itself.

        A block without a gap whose points all are there is more than the device gives at once.
        """
        apart = {name for name, found in raw.items() if isinstance(found, RefusedError)}
        if not apart and refused in blocks_of(self._points, self._trigger, gap=0, alone=self._alone):
            apart = set(refused.points)
        self._alone |= apart
        self._blocks = blocks_of(self._points, self._trigger, gap=0, alone=self._alone)

    def _reading(self, raw: Mapping[str, Raw]) -> Reading:
        return Reading(datetime.now(UTC), {name: _value(point, raw[name]) for name, point in self._points.items()})


def _value(point: ModbusPoint, raw: Raw) -> PointValue:
    return PointValue(None, problem=str(raw)) if isinstance(raw, RefusedError) else decode(point, raw)
