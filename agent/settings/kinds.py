"""What a file expects of a point against what its values can be: a rule for another kind gives ERROR for every unit.

Kinds are as the drivers' settings tell them; a point whose kind they do not tell is never refused.
"""

from collections.abc import Iterator, Mapping

from agent.settings.machine import MachineKeys, MachineSettings
from contracts.criteria import Criterion
from documents.document import Document
from documents.explain import described
from documents.issues import Issue, KeyPath, issue_at
from drivers.base import PointSettings, ProtocolSettings
from drivers.kinds import UNKNOWN, Kind, Kinds, kinds_of

_NUMBER, _TEXT = frozenset({Kind.NUMBER}), frozenset({Kind.TEXT})
_HINTS = {
    Kind.TRUTH: "judge it by equals: true or equals: false",
    Kind.NUMBER: "judge it by nominal and tolerance, lower and upper, equals or one_of",
    Kind.TEXT: "judge it by equals, one_of or pattern",
    Kind.LIST: "make it the column of a table, and judge the table",
}


def check_values(
    document: Document, path: KeyPath, machine: MachineKeys, settings: ProtocolSettings
) -> Iterator[Issue]:
    """The values that verdicts and conditions wait for, and the columns of tables, of one machine."""
    for key, value_keys in (
        ("machine_verdict", ("pass", "fail")),
        ("rework", ("value",)),
        ("reject_label", ("value",)),
        ("aborted", ("value",)),
    ):
        setting = getattr(machine, key)
        point = settings.points.get(setting.point) if setting is not None else None
        if point is not None:
            for value_key in value_keys:
                yield from _never(document, (*path, key, value_key), setting.point, point.kinds)
    for table, columns in machine.tables.items():
        for column, name in columns.items():
            kinds = settings.points[name].kinds if name in settings.points else UNKNOWN
            if kinds != UNKNOWN and Kind.LIST not in kinds:
                where = (*path, "tables", table, column)
                message = f'point "{name}" is {_told(kinds)}; a column is a list, one value per row'
                yield issue_at(document.place(where), where, message)


def check_rules(
    document: Document, criteria: Mapping[str, Criterion], machines: Mapping[str, MachineSettings]
) -> Iterator[Issue]:
    """Each criterion's rule against the kind of what it judges."""
    measured = _measured(machines)
    for name, criterion in criteria.items():
        kinds = measured.get(name, UNKNOWN)
        if kinds == UNKNOWN:
            continue
        path: KeyPath = ("criteria", name)
        if criterion.equals is not None:
            yield from _never(document, (*path, "equals"), name, kinds)
        for place in range(len(criterion.one_of or ())):
            yield from _never(document, (*path, "one_of", place), name, kinds)
        for key, wanted in (
            *((key, _NUMBER) for key in ("nominal", "lower", "upper", "above", "below")),
            ("pattern", _TEXT),
        ):
            if getattr(criterion, key) is not None and not kinds & wanted:
                where = (*path, key)
                message = f'a rule for {_told(wanted)}, and "{name}" is {_told(kinds)}'
                hint = _HINTS[min(kinds - {Kind.LIST} or kinds)]
                yield issue_at(document.place(where, key=True), where, message, hint=hint)
        other = measured.get(criterion.same_as or "", UNKNOWN)
        if other != UNKNOWN and not kinds & other - {Kind.LIST}:
            where = (*path, "same_as")
            message = (
                f'"{name}" is {_told(kinds)}, and "{criterion.same_as}" is {_told(other)}: they are never the same'
            )
            yield issue_at(document.place(where), where, message)


def _measured(machines: Mapping[str, MachineSettings]) -> dict[str, Kinds]:
    """What each measurement can be judged as: a text that is a number counts as one, with a unit it has to be one."""
    found: dict[str, Kinds] = {}
    for machine in machines.values():
        prefix = "" if machine.records else f"{machine.name}."
        for name in machine.measurements:
            found[prefix + name] = _judged(machine.protocol_settings.points[name])
    return found


def _judged(point: PointSettings) -> Kinds:
    if Kind.TEXT not in point.kinds:
        return point.kinds
    return point.kinds - (_TEXT if point.unit is not None else UNKNOWN) | _NUMBER


def _never(document: Document, where: KeyPath, name: str, kinds: Kinds) -> Iterator[Issue]:
    """The value at ``where``, if the point can never have it."""
    node = document.node(where)
    value = None if node is None else node.plain()
    if kinds == UNKNOWN or value is None or isinstance(value, list | dict) or kinds_of(value) & kinds:
        return
    message = f'"{name}" never has this value'
    yield issue_at(document.place(where), where, message, expected=_told(kinds), found=described(node))


def _told(kinds: Kinds) -> str:
    """The kinds in words; a list only where it can be nothing else."""
    return " or ".join(sorted(kinds - {Kind.LIST} or kinds))
