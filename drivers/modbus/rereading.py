"""A result's registers understood once more, by other settings. Pure; it imports no client."""

from collections.abc import Mapping

from drivers.base import PointValue, Reading
from drivers.modbus.codec import decode
from drivers.modbus.registers import ModbusPoint
from drivers.modbus.settings import ModbusSettings


def place_of(point: ModbusPoint) -> str:
    """What a point's registers are kept under."""
    return f"{point.table} {point.address}"


def reread(settings: ModbusSettings, reading: Reading) -> Mapping[str, PointValue]:
    """The points of these settings in what was read; one whose registers were not read then says so."""
    words: dict[tuple[str, int], int] = {}
    for place, registers in reading.words.items():
        table, _, start = place.partition(" ")
        words |= {(table, int(start) + offset): word for offset, word in enumerate(registers)}
    found: dict[str, PointValue] = {}
    for name, written in settings.result_points.items():
        point = settings.ordered(written)
        wanted = [(point.table, point.address + offset) for offset in range(point.count)]
        if all(one in words for one in wanted):
            found[name] = decode(point, [words[one] for one in wanted])
        elif name in reading.values and reading.values[name].problem is not None:
            found[name] = reading.values[name]
        else:
            found[name] = PointValue(None, problem=f"{written}: not among the registers that were read then")
    return found
