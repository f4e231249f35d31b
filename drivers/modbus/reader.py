"""Reads a machine's points in as few requests as it allows, and learns what it allows."""

from collections.abc import Mapping, Sequence

from contracts.errors import SetupError
from drivers.base import PointValue
from drivers.modbus.blocks import Block, block_of, blocks_of, without_gaps
from drivers.modbus.codec import decode
from drivers.modbus.link import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION, ModbusLink, RefusedError
from drivers.modbus.settings import ModbusPoint, Requests

Raw = Sequence[int] | RefusedError
"""What came for one point: its registers, or why there are none."""


class PointReader:
    """``first`` is the point whose request is the first."""

    def __init__(self, machine: str, points: Mapping[str, ModbusPoint], first: str, requests: Requests) -> None:
        self._machine = machine
        self._points = points
        self._places = {name: (point.address, point.count) for name, point in points.items()}
        self._first = first
        self._requests = requests
        self._alone: set[str] = set()
        self.blocks: list[Block] = []
        """Every request of a snapshot."""
        self.forget()

    def forget(self) -> None:
        """What was learned: another device may be there now."""
        self._alone.clear()
        self.blocks = blocks_of(self._points, self._first, self._requests)

    def block_with(self, point: str) -> Block:
        """The request that brings this point."""
        return next(block for block in self.blocks if point in block.names)

    async def check(self, link: ModbusLink) -> None:
        """Read everything once: what the device does not have is a mistake in the settings, not in a result.

        Raises SetupError or LinkError.
        """
        raw: dict[str, Raw] = {}
        for block in list(self.blocks):
            raw |= await self.read(link, block)
        absent = {
            name: found
            for name, found in raw.items()
            if isinstance(found, RefusedError) and found.code in (ILLEGAL_FUNCTION, ILLEGAL_ADDRESS)
        }
        if absent:
            told = ", ".join(f"point {name} ({found})" for name, found in absent.items())
            raise SetupError(
                f"machine {self._machine}: {told}; check the register in the machine's manual. A number that counts "
                "from 1 with the table before it, as 40001, is written register: 40001; holding_register counts from 0"
            ) from next(iter(absent.values()))

    async def read(self, link: ModbusLink, block: Block) -> dict[str, Raw]:
        """What came for each point of a block. A block that is refused is read point by point. Raises LinkError."""
        try:
            words = await link.read(block)
        except RefusedError as refused:
            if len(block.names) == 1:
                return {block.names[0]: refused}
            raw: dict[str, Raw] = {}
            for name in block.names:
                raw |= await self.read(link, block_of(name, self._points[name]))
            self._learn_from(block, raw)
            return raw
        places = ((name, *self._places[name]) for name in block.names)
        return {name: words[address - block.start : address - block.start + count] for name, address, count in places}

    def value(self, name: str, raw: Raw) -> PointValue:
        """The value in what came for a point."""
        if isinstance(raw, RefusedError):
            return PointValue(None, problem=str(raw))
        return decode(self._points[name], raw)

    def _learn_from(self, refused: Block, raw: Mapping[str, Raw]) -> None:
        """Ask differently from now on: over no gap, and apart for what is refused by itself.

        A block without a gap whose points all are there is more than the device gives at once.
        """
        close = without_gaps(self._requests)
        apart = {name for name, found in raw.items() if isinstance(found, RefusedError)}
        if not apart and refused in blocks_of(self._points, self._first, close, self._alone):
            apart = set(refused.names)
        self._alone |= apart
        self.blocks = blocks_of(self._points, self._first, close, self._alone)
