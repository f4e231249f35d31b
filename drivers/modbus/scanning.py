"""Who is on a Modbus line, and what can be read of them: asked with short waits, read only."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from contracts.errors import LinkError
from drivers.modbus.addresses import LAST_ADDRESS, Table
from drivers.modbus.blocks import Block
from drivers.modbus.connect import Connect
from drivers.modbus.link import ModbusLink, RefusedError

SHORT_WAIT_S = 0.3
"""What a device that is there needs no longer for, at any baudrate in use, to say one register."""
AT_ONCE = 64
"""Registers asked for together; where one of them is not there, each half is asked for."""


@dataclass(frozen=True)
class Found:
    """Registers or bits that a device gives, one after the other from ``start``."""

    table: Table
    start: int
    values: tuple[int, ...]


async def answering(connect: Connect, ids: Iterable[int], wait_s: float = SHORT_WAIT_S) -> AsyncIterator[int]:
    """The device ids that answer, also by refusing. Raises LinkError where there is no connection at all."""
    for device_id in ids:
        link = ModbusLink("scan", _asked(connect, device_id, wait_s), 0.0, ())
        try:
            await link.connect()
            try:
                await link.read(Block("holding_register", 0, 1, ()))
            except RefusedError:
                yield device_id
            except LinkError:
                continue
            else:
                yield device_id
        finally:
            await link.close()


async def readable(connect: Connect, table: Table, start: int, count: int, wait_s: float = 1.0) -> list[Found]:
    """What the device gives of ``count`` registers or bits of a table from ``start``. Raises LinkError."""
    link = ModbusLink("scan", _asked(connect, connect.device_id, wait_s), 0.0, ())
    await link.connect()
    try:
        found: list[Found] = []
        for at in range(start, min(start + count, LAST_ADDRESS + 1), AT_ONCE):
            for one in await _read(link, table, at, min(AT_ONCE, start + count - at)):
                last = found[-1] if found else None
                if last is not None and last.start + len(last.values) == one.start:
                    found[-1] = Found(table, last.start, (*last.values, *one.values))
                else:
                    found.append(one)
        return found
    finally:
        await link.close()


async def _read(link: ModbusLink, table: Table, start: int, count: int) -> list[Found]:
    try:
        return [Found(table, start, tuple(await link.read(Block(table, start, count, ())))[:count])]
    except RefusedError:
        if count == 1:
            return []
    half = count // 2
    return [*await _read(link, table, start, half), *await _read(link, table, start + half, count - half)]


def _asked(connect: Connect, device_id: int, wait_s: float) -> Connect:
    return connect.model_copy(update={"device_id": device_id, "timeout": wait_s})
