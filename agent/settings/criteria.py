"""The criteria of a station's file: each by itself, and beside what its machines measure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from agent.settings.machine import MachineSettings
from agent.settings.references import companions_of, measured_by
from agent.told import NAMES
from contracts.criteria import Criterion, cannot_compute, fits, subjects, unknown_unit
from documents.document import Document, MappingNode, ScalarNode
from documents.explain import described, validated
from documents.issues import Issue, KeyPath, did_you_mean, issue_at, one_of


def read_criteria(document: Document, issues: list[Issue]) -> dict[str, Criterion]:
    """The criteria of the file that are right as such; what is wrong with the others is added to ``issues``."""
    node = document.root.get("criteria")
    if node is None or (isinstance(node, ScalarNode) and node.value is None):
        return {}
    path: KeyPath = ("criteria",)
    if not isinstance(node, MappingNode):
        place = document.place(path)
        expected = "criteria by measurement"
        issues.append(issue_at(place, path, "wrong type", expected=expected, found=described(node)))
        return {}
    found: dict[str, Criterion] = {}
    for name in node.entries:
        criterion = validated(Criterion, document, (*path, name), issues)
        if criterion is not None:
            found[name] = criterion
    return found


def check_criteria(
    document: Document,
    criteria: Mapping[str, Criterion],
    machines: Mapping[str, MachineSettings],
    unclear: frozenset[str],
    below: KeyPath = ("criteria",),
) -> list[Issue]:
    """Criteria against what is measured: names, units, ``same_as``, formulas, and the columns of tables.

    ``unclear`` are names that machines with mistakes of their own may measure: of these nothing more is known.
    ``below`` is where they stand.
    """
    issues: list[Issue] = []
    measured: dict[str, str | None] = {}
    records: list[set[str]] = []
    tables: dict[str, dict[str, str | None]] = {}
    for machine in machines.values():
        if not machine.records:
            continue
        found = measured_by(machine, machines)
        measured.update(found)
        records.append(set(found))
        for other, prefix in [(machine, ""), *((one, f"{one.name}.") for one in companions_of(machine, machines))]:
            for table, columns in other.tables.items():
                tables[prefix + table] = {column: other.unit_of(point) for column, point in columns.items()}
    is_permitted = any(machine.protocol_settings.asking() is not None for machine in machines.values())
    known = [*measured, *sorted(unclear - measured.keys())]
    written = document.node(below)
    for name in written.entries if isinstance(written, MappingNode) else ():
        path: KeyPath = (*below, name)
        criterion = criteria.get(name)
        wrong_unit = None if criterion is None else unknown_unit(criterion)
        if wrong_unit is not None:
            where = (*path, "unit")
            issues.append(issue_at(document.place(where), where, wrong_unit))
        across = any(key in _keys(document, path) for key in ("formula", "holds"))
        if criterion is not None and across:
            scalars = [one for one in known if one not in tables]
            issues.extend(_check_across(document, path, criterion, measured, scalars, records, unclear))
        elif name not in known and not across:
            issues.append(
                issue_at(
                    document.place(path, key=True),
                    path,
                    "unknown criteria name: no machine measures it",
                    expected=one_of(known) if known else None,
                    hint=did_you_mean(name, known) or _used_otherwise(name, machines),
                )
            )
        elif criterion is not None and wrong_unit is None and name in measured:
            rule = document, path, criterion, measured, known, tables.get(name)
            issues.extend(_check_rule(*rule, is_permitted=is_permitted))
    return issues


def check_golden(
    document: Document, machines: Mapping[str, MachineSettings], unclear: frozenset[str] | None
) -> Iterator[Issue]:
    """Golden samples: what a machine makes no record of, or never asks for, it can demand nothing of."""
    for name, machine in machines.items():
        if machine.golden is None:
            continue
        path: KeyPath = ("machines", name, "golden")
        asking = machine.protocol_settings.asking()
        if not machine.records:
            message = "this machine makes no records, so nothing becomes of a golden sample"
            hint = "move it to the machine that makes the records"
            yield issue_at(document.place(path), path, message, hint=hint)
        elif asking is not None and asking.numbers is not None:
            message = "a machine that gives units their number asks with a LOT: it could never ask for its sample"
            yield issue_at(document.place(path), path, message, hint="take golden away here")
        for sample, settings in machine.golden.samples.items():
            if settings.criteria and unclear is not None:
                where = (*path, "samples", sample, "criteria")
                near = {name: machine, **{one.name: one for one in companions_of(machine, machines)}}
                yield from check_criteria(document, settings.criteria, near, unclear, where)


def _keys(document: Document, path: KeyPath) -> Iterable[str]:
    node = document.node(path)
    return node.entries if isinstance(node, MappingNode) else ()


def _check_rule(
    document: Document,
    path: KeyPath,
    criterion: Criterion,
    measured: Mapping[str, str | None],
    known: Sequence[str],
    columns: Mapping[str, str | None] | None,
    *,
    is_permitted: bool,
) -> Iterator[Issue]:
    """A rule for one measurement: what it is about, and in which unit. ``is_permitted``: results have permits."""
    name = str(path[-1])
    if criterion.each is not None and (columns is not None or criterion.each.column is not None):
        yield from _check_each(document, path, criterion, columns)
        return
    if columns is not None and criterion.present is None:
        yield issue_at(document.place(path), path, "a table takes the rule each")
    elif criterion.present is None and not fits(measured[name], criterion.unit):
        where = (*path, "unit")
        found = criterion.unit or "no unit"
        message = f'unit does not fit that of point "{name}"'
        yield issue_at(document.place(where), where, message, expected=measured[name] or "no unit", found=found)
    other_name = criterion.same_as
    if other_name is not None:
        where = (*path, "same_as")
        if other_name in NAMES:
            if not is_permitted:
                message = f"{other_name} is told by a permit, and no machine here asks for one (interlock)"
                yield issue_at(document.place(where), where, message, hint="set interlock.enabled: true")
        elif other_name not in known:
            hint = did_you_mean(other_name, [*known, *NAMES])
            message = f'unknown measurement "{other_name}"'
            yield issue_at(document.place(where), where, message, expected=one_of(known), hint=hint)
        elif other_name == name:
            yield issue_at(document.place(where), where, "every value is the same as itself")


def _check_across(
    document: Document,
    path: KeyPath,
    criterion: Criterion,
    measured: Mapping[str, str | None],
    scalars: Sequence[str],
    records: Sequence[set[str]],
    unclear: frozenset[str],
) -> Iterator[Issue]:
    """A formula or comparison: it has a name of its own, and names what is measured, once and in units that fit."""
    name = str(path[-1])
    where = (*path, "formula" if criterion.formula is not None else "holds")
    if name in measured:
        message = "a measurement has this name: a formula is judged under a name of its own"
        yield issue_at(document.place(path, key=True), path, message)
    names = set(subjects(name, criterion))
    for other in (one for one in subjects(name, criterion) if one not in scalars):
        message = f'unknown measurement "{other}"'
        expected = one_of(scalars) if scalars else None
        yield issue_at(document.place(where), where, message, expected=expected, hint=did_you_mean(other, scalars))
    if names <= measured.keys() & set(scalars):
        problem = cannot_compute(criterion, measured)
        if not unclear and not any(names <= record for record in records):
            problem = "no machine's record holds all of these; make one a companion of the other"
        if problem is not None:
            yield issue_at(document.place(where), where, problem)


def _used_otherwise(name: str, machines: Mapping[str, MachineSettings]) -> str | None:
    """A hint for a point that exists, and is no measurement because it has another use."""
    for machine in machines.values():
        if machine.records and name in machine.protocol_settings.points:
            return f'point "{name}" has another use; list it in machines.{machine.name}.measurements to judge it too'
    return None


def _check_each(
    document: Document, path: KeyPath, criterion: Criterion, columns: Mapping[str, str | None] | None
) -> list[Issue]:
    if columns is None:
        return [issue_at(document.place((*path, "each")), (*path, "each"), "the rule each is for a table")]
    assert criterion.each is not None
    judged = criterion.each.column
    if judged is None:
        message = "a table needs to know which of its columns is judged"
        return [issue_at(document.place((*path, "each")), (*path, "each"), message, expected=one_of(columns))]
    issues: list[Issue] = []
    for key in ("column", "target", "tolerance", "lower", "upper"):
        column = getattr(criterion.each, key)
        if column in criterion.each.columns and column not in columns:
            where = (*path, "each", key)
            hint = did_you_mean(column, columns)
            message = f'unknown column "{column}"'
            issues.append(issue_at(document.place(where), where, message, expected=one_of(columns), hint=hint))
    unit = columns.get(judged)
    if judged in columns and criterion.unit != unit:
        where = (*path, "unit")
        message = f'unit is not that of column "{judged}"'
        found = criterion.unit or "no unit"
        issues.append(issue_at(document.place(where), where, message, expected=unit or "no unit", found=found))
    return issues
