"""Reading -> typed measurements and who the unit is. Pure.

What cannot be parsed is a measurement with a problem, or a problem of the whole cycle: never an exception, never
a value made up.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from agent.cells import list_of, table_of
from agent.cycles import CycleKey
from agent.dialogue.view import defect_codes
from agent.machine_clock import cannot_be_right
from agent.settings.machine import MachineSettings, PointEquals, SettingScalar
from contracts.base import LotNumber, SerialNumber
from contracts.criteria import CriteriaSet, Criterion, MachineVerdict, fits
from contracts.identity import lot_of_serial, lot_parts
from contracts.measurement import Measurement, Quality, Value
from contracts.processes import BY_CODE
from contracts.quantity import parse_quantity
from contracts.record import ReworkRequest
from drivers.base import PointValue, RawValue, Reading

_serial_number: TypeAdapter[str] = TypeAdapter(SerialNumber)
_lot_number: TypeAdapter[str] = TypeAdapter(LotNumber)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PADDING = "\x00\t\n\v\f\r "
"""What fills up a string of fixed length, and what ends a line."""
_LONGEST_CYCLE_S = 366 * 86400
_LONGEST_NUMBER = 100
"""Characters of a number with its unit. Digits without end are no measurement."""


@dataclass(frozen=True)
class Parsed:
    """What one cycle said. ``problems`` make the outcome ERROR; ``aborted`` makes it ABORTED.

    ``defects`` are codes that a person found, by measurement. ``reprint_reason``: why a label is made again.
    """

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
    defects: Mapping[str, str] = field(default_factory=dict)
    reprint_reason: str | None = None


def parse(
    machine: MachineSettings,
    reading: Reading,
    criteria: CriteriaSet | None = None,
    companions: Mapping[str, tuple[MachineSettings, Reading | str]] | None = None,
    scanned: Reading | str | None = None,
) -> Parsed:
    """Understand a reading by the machine's settings.

    ``criteria`` tell where a text must be a number. ``companions``: machine name -> its settings and its reading, or
    why there is none. ``scanned``: what the machine's scanner read of the unit, or why there is nothing.
    """
    values = {name: _usable(point) for name, point in reading.values.items()}
    problems: list[str] = []
    if isinstance(scanned, str):
        problems.append(_printable(scanned))
    elif scanned is not None:
        values |= {f"{machine.unit.scanner}.{name}": _usable(point) for name, point in scanned.values.items()}
    rules = criteria.criteria if criteria is not None else {}
    if machine.cycle_key is not None and cycle_key_of(machine, reading) is None:
        problems.append(f"the machine's number for this result (point {machine.cycle_key}) cannot be read")
    serial_number = _identity(values, machine.unit.serial_number, _serial_number, "serial number", problems)
    if serial_number is not None and (refusal := machine.serial_form.refusal(serial_number)) is not None:
        problems.append(f"serial number (point {machine.unit.serial_number}): {refusal}")
        serial_number = None
    lot_number = _identity(values, machine.unit.lot_number, _lot_number, "LOT number", problems)
    if lot_number is not None and lot_parts(lot_number) is None:
        problems.append(f"LOT number {lot_number!r} has no such date or number")
        lot_number = None
    if lot_number is None and serial_number is not None:
        in_number = lot_of_serial(serial_number)
        lot_number = in_number[0] if in_number is not None else None

    measurements = _measurements("", machine, values, rules, reading.taken_at)
    for name, (settings, answer) in (companions or {}).items():
        measurements += _companion(name, settings, answer, rules)

    # A machine that sends messages leaves out what does not apply; a point that is polled is always there.
    polled = reading.raw is None
    aborted = _holds("aborted", machine.aborted, values, problems, polled=polled)
    rework = _rework(machine, values, problems, polled=polled)
    measured = not aborted and rework is None
    return Parsed(
        serial_number=serial_number,
        lot_number=lot_number,
        product_model=_name(values, machine.unit.product_model, "product model", problems),
        operator=_text(values, machine.unit.operator),
        measurements=tuple(measurements),
        machine_verdict=_machine_verdict(machine, values, problems) if measured else None,
        cycle_time_seconds=_cycle_time(machine, values, problems),
        rework=rework,
        reject_label=_holds("reject label", machine.reject_label, values, problems, polled=polled),
        aborted=aborted,
        problems=tuple(problems),
        reprint_reason=None if machine.reprint is None else _text(values, machine.reprint.reason),
        defects={} if machine.dialogue is None else defect_codes(machine.dialogue, _plain(values)),
    )


def cycle_key_of(machine: MachineSettings, reading: Reading) -> CycleKey | None:
    """The machine's own number for this result; None where it has none or it cannot be trusted."""
    point = reading.values.get(machine.cycle_key) if machine.cycle_key is not None else None
    if point is None or point.problem is not None or point.quality is not Quality.GOOD:
        return None
    value = point.value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _usable(point: PointValue) -> PointValue:
    """What no record can hold becomes a problem with its text kept: a driver may be somebody else's."""
    present = [] if point.value is None else point.value if isinstance(point.value, list) else [point.value]
    wrong = [item for item in present if not _is_kept(item)]
    original = point.original if point.original is None else _printable(point.original)
    problem = point.problem if point.problem is None else _printable(point.problem)
    if not wrong:
        unchanged = (original, problem) == (point.original, point.problem)
        return point if unchanged else replace(point, original=original, problem=problem)
    return replace(
        point,
        value=None,
        original=original or _printable(str(point.value)),
        problem=problem or f"{_printable(str(wrong[0]))!r} ({type(wrong[0]).__name__}) is not a usable value",
    )


def _plain(values: Mapping[str, PointValue]) -> Mapping[str, object]:
    return {name: point.value for name, point in values.items()}


def _is_kept(item: object) -> bool:
    if isinstance(item, float):
        return math.isfinite(item)
    if isinstance(item, str):
        return item == _printable(item)
    return isinstance(item, bool | int)


def _printable(text: str) -> str:
    """The text, with half characters (a driver's way to pass on bytes that are no text) written out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _companion(
    name: str, settings: MachineSettings, answer: Reading | str, rules: Mapping[str, Criterion]
) -> list[Measurement]:
    """What another machine measured, as ``machine.point``; without an answer each says why there is none."""
    if isinstance(answer, str):
        why = _printable(answer)
        return [
            Measurement(name=f"{name}.{measured}", quality=Quality.BAD, problem=why)
            for measured in settings.measurement_names
        ]
    values = {point: _usable(value) for point, value in answer.values.items()}
    return _measurements(f"{name}.", settings, values, rules, answer.taken_at)


def _measurements(
    prefix: str,
    machine: MachineSettings,
    values: Mapping[str, PointValue],
    rules: Mapping[str, Criterion],
    taken_at: datetime,
) -> list[Measurement]:
    """Everything a machine measures, each under its own name behind ``prefix``."""

    def stamps(points: Iterable[str]) -> dict[str, Any]:
        return _stamps([values[point] for point in points if point in values], taken_at, machine.clock_tolerance)

    found = [
        _measurement(prefix + point, point, machine, values, rules.get(prefix + point), stamps([point]))
        for point in machine.measurements
        if point not in machine.optional or (point in values and values[point].value not in (None, ""))
    ]
    found += [
        table_of(prefix + table, columns, machine, values, rules.get(prefix + table), stamps(columns.values()))
        for table, columns in machine.tables.items()
    ]
    return found


def _stamps(points: list[PointValue], taken_at: datetime, tolerance_s: float) -> dict[str, Any]:
    """The machine's own times and status: of several points the latest times, and the first status there is."""
    source = max((point.source_timestamp for point in points if point.source_timestamp is not None), default=None)
    server = max((point.server_timestamp for point in points if point.server_timestamp is not None), default=None)
    code = next((point.status_code for point in points if point.status_code is not None), None)
    return {
        "source_timestamp": source,
        "server_timestamp": server,
        "status_code": None if code is None else _printable(code),
        "clock_off": any(cannot_be_right(moment, taken_at, tolerance_s) for moment in (source, server)),
    }


def _measurement(
    name: str,
    point: str,
    machine: MachineSettings,
    values: Mapping[str, PointValue],
    criterion: Criterion | None,
    stamps: Mapping[str, Any],
) -> Measurement:
    found = values.get(point)
    unit = machine.unit_of(point)
    if found is None:
        return Measurement(name=name, unit=unit, problem="not in the machine's message")
    problem, value, original = found.problem, found.value, found.original
    if problem is None and isinstance(value, str) and _wants_number(unit, criterion):
        quantity = _quantity(value)
        original = value
        if quantity is None:
            value, problem = None, f"{original!r} is not a number"
        elif quantity[1] is not None and unit is not None and not fits(quantity[1], unit):
            value, problem = None, f"{original!r} is not in {unit}"
        else:
            value, unit = quantity[0], quantity[1] or unit
    if problem is None and isinstance(value, list):
        read = list_of(value, unit, criterion)
        value, original = read, original if read == value else ", ".join(map(str, value))
    if problem is None and value is None:
        problem = f"not a usable value: {original}" if original else "no value"
    return Measurement(
        name=name,
        value=None if problem is not None else cast(Value, value),
        unit=unit,
        original=original,
        quality=found.quality,
        problem=problem,
        **stamps,
    )


def _quantity(text: str) -> tuple[int | float, str | None] | None:
    return parse_quantity(text) if len(text) <= _LONGEST_NUMBER else None


def _wants_number(unit: str | None, criterion: Criterion | None) -> bool:
    if unit is not None:
        return True
    if criterion is None:
        return False
    limits = (criterion.equals, *(criterion.one_of or ()))
    return criterion.span is not None or any(
        isinstance(limit, int | float) and not isinstance(limit, bool) for limit in limits
    )


def _text(values: Mapping[str, PointValue], point: str | None) -> str | None:
    """A trusted point's text for people; None where there is none. A control character inside is shown as U+FFFD."""
    found = values.get(point) if point is not None else None
    if found is None or found.problem is not None or found.quality is not Quality.GOOD:
        return None
    if found.value is None or isinstance(found.value, list):
        return None
    return _CONTROL.sub("\ufffd", str(found.value).strip(_PADDING)) or None


def _name(values: Mapping[str, PointValue], point: str | None, what: str, problems: list[str]) -> str | None:
    """What a point names, exactly as the machine says it; None where it names nothing.

    Only a whole number is made a text of, and only the padding of a fixed length is taken off its ends: a name that
    had to be mended might be another unit's.
    """
    found = values.get(point) if point is not None else None
    if found is None or (found.value is None and found.original is None):
        return None
    value = found.value
    wrong: str | None = None
    if found.problem is not None or value is None:
        wrong = f"cannot be read: {found.problem or found.original}"
    elif found.quality is not Quality.GOOD:
        wrong = f"has quality {found.quality}"
    elif isinstance(value, bool | float | list):
        kind = "list" if isinstance(value, list) else "boolean" if isinstance(value, bool) else "number with a fraction"
        wrong = f"is {str(value)[:100]}, a {kind}: a text or a whole number is needed"
    elif isinstance(value, str) and _CONTROL.search(value.strip(_PADDING)):
        wrong = f"{value[:100]!r} has a control character inside"
    if wrong is not None:
        problems.append(f"{what} (point {point}) {wrong}")
        return None
    return str(value).strip(_PADDING) or None


def _identity(
    values: Mapping[str, PointValue], point: str | None, form: TypeAdapter[str], what: str, problems: list[str]
) -> str | None:
    text = _name(values, point, what, problems)
    if text is None:
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
        quantity = _quantity(value)
        value = quantity[0] if quantity is not None and quantity[1] in (None, "s") else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_CYCLE_S:
        if found is not None and (value is not None or found.problem is not None):
            problems.append(f"cycle time (point {machine.cycle_time}) is not a number of seconds")
        return None
    return float(value)


def _rework(
    machine: MachineSettings, values: Mapping[str, PointValue], problems: list[str], *, polled: bool
) -> ReworkRequest | None:
    settings = machine.rework
    if settings is None or not _holds("rework", settings, values, problems, polled=polled):
        return None
    return_to, reason = _text(values, settings.return_to), _text(values, settings.reason)
    if return_to is None or return_to not in BY_CODE or reason is None:
        problems.append(f"a rework names a process of the line and a reason, not {return_to!r} and {reason!r}")
        return None
    return ReworkRequest(return_to=return_to, reason=reason[:1000])


def _holds(
    what: str, condition: PointEquals | None, values: Mapping[str, PointValue], problems: list[str], *, polled: bool
) -> bool:
    """Whether the point has the value. Where that cannot be known the cycle cannot be judged."""
    if condition is None:
        return False
    found = values.get(condition.point)
    unreadable = found is None or found.value is None or found.problem is not None
    doubtful = found is not None and found.value is not None and found.quality is not Quality.GOOD
    if doubtful or (unreadable and polled):
        problems.append(f"whether this is {what} (point {condition.point}) cannot be read")
    if found is None or found.value is None or unreadable or doubtful:
        return False
    return _same(found.value, condition.value)


def _same(value: RawValue, expected: SettingScalar) -> bool:
    return isinstance(value, bool) == isinstance(expected, bool) and value == expected
