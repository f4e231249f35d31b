"""Which registers to ask for together: neighbours in one request, within the protocol's limits."""

from collections.abc import Container, Mapping
from dataclasses import dataclass

from drivers.modbus.settings import ModbusPoint, Table

MAX_REGISTERS = 125
MAX_BITS = 2000
"""Most registers and bits in one answer (Modbus Application Protocol V1.1b3, 6.1 to 6.4)."""
JOINED_GAP = 16
"""Registers nobody asked for are read along, up to so many: cheaper than another request."""


@dataclass(frozen=True)
class Block:
    """One request: ``count`` registers or bits of a table from ``start``, and the points inside."""

    table: Table
    start: int
    count: int
    points: tuple[str, ...]

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.count

    def __str__(self) -> str:
        return f"{self.table} {self.start}" + (f" to {self.end - 1}" if self.count > 1 else "")


def block_of(name: str, point: ModbusPoint) -> Block:
    """The request for this point alone."""
    return Block(point.table, point.address, point.count, (name,))


def blocks_of(
    points: Mapping[str, ModbusPoint], first: str, gap: int = JOINED_GAP, alone: Container[str] = ()
) -> list[Block]:
    """The requests that read all these points; the one with the point ``first`` comes first.

    Points further apart than ``gap`` registers are not joined; those in ``alone`` are joined with nothing.
    """
    blocks: list[Block] = []
    singles: list[Block] = []
    for name, point in sorted(points.items(), key=lambda item: (item[1].table, item[1].address)):
        single = block_of(name, point)
        joined = _joined(blocks[-1], single, gap) if blocks and name not in alone else None
        if name in alone:
            singles.append(single)
        elif joined is not None:
            blocks[-1] = joined
        else:
            blocks.append(single)
    return sorted(blocks + singles, key=lambda block: first not in block.points)


def _joined(block: Block, single: Block, gap: int) -> Block | None:
    """Both in one request; None where that is not possible."""
    most = MAX_REGISTERS if block.table in ("holding_register", "input_register") else MAX_BITS
    end = max(block.end, single.end)
    if block.table != single.table or single.start - block.end > gap or end - block.start > most:
        return None
    return Block(block.table, block.start, end - block.start, (*block.points, *single.points))
