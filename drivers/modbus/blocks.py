"""Which registers to ask for together: adjacent points in one request, within the protocol's limits."""

from collections.abc import Iterable
from dataclasses import dataclass

from drivers.modbus.settings import ModbusPoint, Table

MAX_REGISTERS = 125
MAX_BITS = 2000
"""Most registers and bits in one answer (Modbus Application Protocol V1.1b3, 6.1 to 6.4)."""
_JOINED_GAP = 16
"""Registers nobody asked for are read along, up to here: cheaper than another request."""


@dataclass(frozen=True)
class Block:
    """One request: ``count`` registers or bits of a table, and the points inside."""

    table: Table
    start: int
    count: int
    points: tuple[str, ...]


def blocks_of(points: Iterable[tuple[str, ModbusPoint]]) -> list[Block]:
    """The requests that read all these points."""
    blocks: list[Block] = []
    for name, point in sorted(points, key=lambda item: (item[1].table, item[1].address)):
        most = MAX_BITS if point.is_bit else MAX_REGISTERS
        end = point.address + point.count
        last = blocks[-1] if blocks else None
        if (
            last is not None
            and last.table == point.table
            and point.address - (last.start + last.count) <= _JOINED_GAP
            and max(end, last.start + last.count) - last.start <= most
        ):
            count = max(end, last.start + last.count) - last.start
            blocks[-1] = Block(last.table, last.start, count, (*last.points, name))
        else:
            blocks.append(Block(point.table, point.address, point.count, (name,)))
    return blocks
