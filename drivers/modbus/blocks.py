"""Which registers to ask for together: neighbours in one request, within the protocol's limits and the device's."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from drivers.modbus.addresses import Table, number_of
from drivers.modbus.settings import Requests


class Placed(Protocol):
    """What takes registers or bits of a table."""

    @property
    def table(self) -> Table: ...

    @property
    def address(self) -> int: ...

    @property
    def count(self) -> int: ...


@dataclass(frozen=True)
class Block:
    """One request: ``count`` registers or bits of a table from ``start``, and what is wanted of them, by name."""

    table: Table
    start: int
    count: int
    names: tuple[str, ...]

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.count

    @property
    def is_bits(self) -> bool:
        """True for coils and discrete inputs."""
        return self.table in ("coil", "discrete_input")

    def __str__(self) -> str:
        first, last = number_of(self.table, self.start), number_of(self.table, self.end - 1)
        if self.count == 1:
            return f"{self.table} {self.start} ({first})"
        return f"{self.table} {self.start} to {self.end - 1} ({first} to {last})"


def block_of(name: str, placed: Placed) -> Block:
    """The request for this one alone."""
    return Block(placed.table, placed.address, placed.count, (name,))


def blocks_of(
    wanted: Mapping[str, Placed], first: str | None, requests: Requests, alone: Container[str] = ()
) -> list[Block]:
    """The requests that read all these; the one with ``first`` comes first.

    Those in ``alone`` are joined with nothing.
    """
    blocks: list[Block] = []
    singles: list[Block] = []
    for name, placed in sorted(wanted.items(), key=lambda item: (item[1].table, item[1].address)):
        single = block_of(name, placed)
        joined = _joined(blocks[-1], single, requests) if blocks and name not in alone else None
        if name in alone:
            singles.append(single)
        elif joined is not None:
            blocks[-1] = joined
        else:
            blocks.append(single)
    return sorted(blocks + singles, key=lambda block: first not in block.names)


def without_gaps(requests: Requests) -> Requests:
    """For a device that refuses registers nobody named."""
    return requests.model_copy(update={"max_gap": 0})


def _joined(block: Block, single: Block, requests: Requests) -> Block | None:
    """Both in one request; None where that is not possible."""
    most = requests.max_bits if block.is_bits else requests.max_registers
    end = max(block.end, single.end)
    if block.table != single.table or single.start - block.end > requests.max_gap or end - block.start > most:
        return None
    return replace(block, count=end - block.start, names=(*block.names, *single.names))
