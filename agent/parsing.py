"""Reading -> typed measurements and who the unit is. Pure.

What cannot be parsed is a measurement with a problem, or a problem of the whole cycle: never an exception, never
a value made up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import TypeAdapter, ValidationError

from agent.cycles import CycleKey
from agent.settings.machine import MachineSettings, PointEquals, SettingScalar
from contracts.base import LotNumber, SerialNumber
from contracts.criteria import CriteriaSet, Criterion, MachineVerdict
from contracts.identity import lot_of_serial, lot_parts
from contracts.measurement import Measurement, Quality, Row, Value
from contracts.processes import BY_CODE
from contracts.quantity import parse_quantity
from contracts.record import ReworkRequest
from drivers.base import PointValue, RawValue, Reading

_serial_number: TypeAdapter[str] = TypeAdapter(SerialNumber)
_lot_number: TypeAdapter[str] = TypeAdapter(LotNumber)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Parsed:
    """What one cycle said. ``problems`` make the outcome ERROR; ``aborted`` makes it ABORTED."""

    serial_number: str | None
    lot_number: str | None
    product_model: str | None
    operator: str | None
    measurements: tuple[Measurement, ...]
    machine_verdict: MachineVerdict | None
    cycle_time_seconds: float | None
    rework: ReworkRequest | None
    reject_label: bool
    aborted: bool
    problems: tuple[str, ...]


def parse(
    machine: MachineSettings,
    reading: Reading,
    criteria: CriteriaSet | None = None,
    companions: Mapping[str, tuple[MachineSettings, Reading | str]] | None = None,
) -> Parsed:
    """Understand a reading by the machine's settings.

    ``criteria`` tell where a text must be a number. ``companions``: machine name -> its settings and its reading, or
    why there is none.
    """
    values = reading.values
    problems: list[str] = []
    rules = criteria.criteria if criteria is not None else {}
    serial_number = _identity(values, machine.unit.serial_number, _serial_number, "serial number", problems)
    lot_number = _identity(values, machine.unit.lot_number, _lot_number, "LOT number", problems)
    if lot_number is not None and lot_parts(lot_number) is None:
        problems.append(f"LOT number {lot_number!r} has no such date or number")
        lot_number = None
    if lot_number is None and serial_number is not None:
        in_number = lot_of_serial(serial_number)
        lot_number = in_number[0] if in_number is not None else None

    measurements = [_measurement(name, name, machine, values, rules.get(name)) for name in machine.measurements]
    measurements += [_table(name, columns, values) for name, columns in machine.tables.items()]
    for name, (settings, answer) in (companions or {}).items():
        for point in settings.measurements:
            full = f"{name}.{point}"
            if isinstance(answer, str):
                measurements.append(Measurement(name=full, quality=Quality.BAD, problem=answer))
            else:
                measurements.append(_measurement(full, point, settings, answer.values, rules.get(full)))

    return Parsed(
        serial_number=serial_number,
        lot_number=lot_number,
        product_model=_text(values, machine.unit.product_model),
        operator=_text(values, machine.unit.operator),
        measurements=tuple(measurements),
        machine_verdict=_machine_verdict(machine, values, problems),
        cycle_time_seconds=_cycle_time(machine, values, problems),
        rework=_rework(machine, values, problems),
        reject_label=_holds(machine.reject_label, values),
        aborted=_holds(machine.aborted, values),
        problems=tuple(problems),
    )


def cycle_key_of(machine: MachineSettings, reading: Reading) -> CycleKey | None:
    """The machine's own number for this result; None where it has none or it cannot be read."""
    if machine.cycle_key is None:
        return None
    point = reading.values.get(machine.cycle_key)
    value = point.value if point is not None else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _measurement(
    name: str, point: str, machine: MachineSettings, values: Mapping[str, PointValue], criterion: Criterion | None
) -> Measurement:
    found = values.get(point)
    unit = machine.unit_of(point)
    if found is None:
        return Measurement(name=name, unit=unit, problem="not in the machine's message")
    problem, value, original = found.problem, found.value, found.original
    if problem is None and isinstance(value, str) and _wants_number(unit, criterion):
        quantity = parse_quantity(value)
        original = value
        if quantity is None:
            value, problem = None, f"{original!r} is not a number"
        elif quantity[1] is not None and unit is not None and quantity[1] != unit:
            value, problem = None, f"{original!r} is not in {unit}"
        else:
            value, unit = quantity[0], quantity[1] or unit
    if problem is None and value is None:
        problem = f"not a usable value: {original}" if original else "no value"
    return Measurement(
        name=name,
        value=None if problem is not None else cast(Value, value),
        unit=unit,
        original=original,
        quality=found.quality,
        problem=problem,
        source_timestamp=found.source_timestamp,
    )


def _wants_number(unit: str | None, criterion: Criterion | None) -> bool:
    if unit is not None:
        return True
    return criterion is not None and any(
        limit is not None for limit in (criterion.nominal, criterion.lower, criterion.upper)
    )


def _table(name: str, columns: Mapping[str, str], values: Mapping[str, PointValue]) -> Measurement:
    """Array points side by side: one row per place. Arrays of different length are no table."""
    arrays: dict[str, list[RawValue]] = {}
    quality = Quality.GOOD
    for column, point in columns.items():
        found = values.get(point)
        if found is None or found.problem is not None or not isinstance(found.value, list):
            why = found.problem if found is not None and found.problem else "no list"
            return Measurement(name=name, problem=f"column {column}: {why}")
        if found.quality is not Quality.GOOD:
            quality = found.quality
        arrays[column] = list(found.value)
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        told = ", ".join(f"{column} {len(array)}" for column, array in arrays.items())
        return Measurement(name=name, problem=f"columns of different length: {told}")
    rows = [cast(Row, dict(zip(arrays, row, strict=True))) for row in zip(*arrays.values(), strict=True)]
    return Measurement(name=name, value=rows, quality=quality)


def _text(values: Mapping[str, PointValue], point: str | None) -> str | None:
    found = values.get(point) if point is not None else None
    if found is None or found.problem is not None or found.value is None or isinstance(found.value, list):
        return None
    return _CONTROL.sub("", str(found.value)).strip() or None


def _identity(
    values: Mapping[str, PointValue], point: str | None, form: TypeAdapter[str], what: str, problems: list[str]
) -> str | None:
    text = _text(values, point)
    if text is None:
        return None
    found = values[cast(str, point)]
    if found.quality is not Quality.GOOD:
        problems.append(f"{what} (point {point}) has quality {found.quality}")
        return None
    try:
        return form.validate_python(text)
    except ValidationError:
        problems.append(f"{what} {text!r} (point {point}) has an impossible form")
        return None


def _machine_verdict(
    machine: MachineSettings, values: Mapping[str, PointValue], problems: list[str]
) -> MachineVerdict | None:
    settings = machine.machine_verdict
    if settings is None:
        return None
    found = values.get(settings.point)
    if found is None or found.problem is not None or found.value is None or found.quality is not Quality.GOOD:
        problems.append(f"the machine's verdict (point {settings.point}) cannot be read")
        return None
    if _same(found.value, settings.passed):
        return MachineVerdict.PASS
    if _same(found.value, settings.failed):
        return MachineVerdict.FAIL
    problems.append(f"the machine's verdict (point {settings.point}) is {found.value!r}: neither pass nor fail")
    return None


def _cycle_time(machine: MachineSettings, values: Mapping[str, PointValue], problems: list[str]) -> float | None:
    if machine.cycle_time is None:
        return None
    found = values.get(machine.cycle_time)
    value = found.value if found is not None else None
    if isinstance(value, str):
        quantity = parse_quantity(value)
        value = quantity[0] if quantity is not None and quantity[1] in (None, "s") else value
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        if found is not None and (value is not None or found.problem is not None):
            problems.append(f"cycle time (point {machine.cycle_time}) is not a number of seconds")
        return None
    return float(value)


def _rework(machine: MachineSettings, values: Mapping[str, PointValue], problems: list[str]) -> ReworkRequest | None:
    settings = machine.rework
    if settings is None or not _holds(settings, values):
        return None
    return_to, reason = _text(values, settings.return_to), _text(values, settings.reason)
    if return_to is None or return_to not in BY_CODE or reason is None:
        problems.append(f"a rework names a process of the line and a reason, not {return_to!r} and {reason!r}")
        return None
    return ReworkRequest(return_to=return_to, reason=reason[:1000])


def _holds(condition: PointEquals | None, values: Mapping[str, PointValue]) -> bool:
    found = values.get(condition.point) if condition is not None else None
    return (
        condition is not None
        and found is not None
        and found.problem is None
        and found.value is not None
        and _same(found.value, condition.value)
    )


def _same(value: RawValue, expected: SettingScalar) -> bool:
    return isinstance(value, bool) == isinstance(expected, bool) and value == expected
