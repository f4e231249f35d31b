"""What only shows when the parts of a file are put beside each other: points, machines and measurements by name."""

from collections.abc import Iterator, Mapping

from pydantic import TypeAdapter, ValidationError

from agent.settings.dialogues import tools_of
from agent.settings.machine import MachineKeys, MachineSettings
from contracts.base import Name
from documents.document import Document, MappingNode, ScalarNode
from documents.issues import Issue, KeyPath, did_you_mean, issue_at, one_of
from drivers.base import ProtocolSettings, SharedLine
from drivers.template import names_in

CYCLE_KEY = "{cycle_key}"
_measurement_name: TypeAdapter[str] = TypeAdapter(Name)


def point_references(machine: MachineKeys) -> Iterator[tuple[KeyPath, str]]:
    """Key path (below the machine) and name of every point the protocol-independent keys refer to."""
    for key, point in machine.unit.by_key.items():
        if key not in machine.unit.scanned:
            yield ("unit", key), point
    for table, columns in machine.tables.items():
        for column, point in columns.items():
            yield ("tables", table, column), point
    for key in ("machine_verdict", "rework", "reject_label", "aborted"):
        setting = getattr(machine, key)
        if setting is not None:
            yield (key, "point"), setting.point
    if machine.rework is not None:
        yield ("rework", "return_to"), machine.rework.return_to
        yield ("rework", "reason"), machine.rework.reason
    if machine.reprint is not None:
        yield ("reprint", "reason"), machine.reprint.reason
    for key in ("cycle_key", "cycle_time"):
        point = getattr(machine, key)
        if point is not None:
            yield (key,), point
    for place, point in enumerate(machine.measurements or ()):
        yield ("measurements", place), point


def check_points(document: Document, path: KeyPath, machine: MachineKeys, settings: ProtocolSettings) -> list[Issue]:
    """The points of one machine, as its own keys and its protocol's refer to them."""
    issues: list[Issue] = []
    points = settings.points
    references = list(point_references(machine))
    references.extend((tuple(key.split(".")), point) for key, point in settings.referenced_points().items())
    for below, point in references:
        if point not in points:
            where = (*path, *below)
            issues.append(
                issue_at(
                    document.place(where),
                    where,
                    f'unknown point "{point}"',
                    expected=one_of(points) if points else None,
                    hint=did_you_mean(point, points),
                )
            )
    for below, point in point_references(machine):
        if point in points and point not in settings.result_points:
            where = (*path, *below)
            message = f'point "{point}" says what the machine asks about, and is no part of a result'
            hint = "give the result's point a name of its own; both may stand at one address"
            issues.append(issue_at(document.place(where), where, message, hint=hint))
    for name in points:
        if "." in name:
            where = (*path, "points", name)
            message = "a point's name holds no dot; machine.point names a companion's point"
            issues.append(issue_at(document.place(where, key=True), where, message))
        elif not _fits_in_a_record(name if machine.records else f"{path[-1]}.{name}"):
            where = (*path, "points", name)
            issues.append(
                issue_at(
                    document.place(where, key=True),
                    where,
                    "a point's name becomes a measurement's",
                    expected="letters, digits, _ and -, beginning with a letter; a companion's with its machine's name "
                    "before it; 64 characters at most",
                )
            )
    for table in machine.tables:
        if table in points:
            where = (*path, "tables", table)
            issues.append(issue_at(document.place(where), where, f'a point is named "{table}" too', hint="rename one"))
    seen: set[str] = set()
    for place, point in enumerate(machine.measurements or ()):
        if point in seen:
            where = (*path, "measurements", place)
            issues.append(issue_at(document.place(where), where, f'"{point}" is listed twice'))
        seen.add(point)
    if machine.cycle_time in points and points[str(machine.cycle_time)].unit != "s":
        where = (*path, "cycle_time")
        message = f'point "{machine.cycle_time}" needs unit: s'
        unit = points[str(machine.cycle_time)].unit
        issues.append(issue_at(document.place(where), where, message, found=unit or "no unit"))
    issues.extend(_check_cycle_key(document, path, machine))
    issues.extend(_check_acknowledge(document, path, points))
    return issues


def _fits_in_a_record(name: str) -> bool:
    try:
        _measurement_name.validate_python(name)
    except ValidationError:
        return False
    return True


def _check_acknowledge(document: Document, path: KeyPath, points: Mapping[str, object]) -> Iterator[Issue]:
    """Names an acknowledgement fills in; a name nobody knows would stop the machine at its first result."""
    known = ["cycle_key", *points]
    for where, text in _texts(document, (*path, "acknowledge")):
        try:
            names = names_in(text)
        except ValueError:  # braces of a text that is no template; whether it is one, the protocol has checked
            continue
        for name in sorted(names - set(known)):
            message = f'unknown point "{name}"'
            hint = did_you_mean(name, known)
            yield issue_at(document.place(where), where, message, expected=one_of(known), hint=hint)


def _check_cycle_key(document: Document, path: KeyPath, machine: MachineKeys) -> list[Issue]:
    if machine.cycle_key is not None:
        return []
    if machine.counter_modulus is not None:
        where = (*path, "counter_modulus")
        return [issue_at(document.place(where), where, "counts nothing without cycle_key", hint="add cycle_key")]
    return [
        issue_at(document.place(where), where, f"{CYCLE_KEY} has no value: the machine has no cycle_key")
        for where, text in _texts(document, (*path, "acknowledge"))
        if CYCLE_KEY in text
    ]


def _texts(document: Document, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Every text at or below ``path``, with where it stands."""
    node = document.node(path)
    if isinstance(node, ScalarNode) and isinstance(node.value, str):
        yield path, node.value
    elif isinstance(node, MappingNode):
        for key in node.entries:
            yield from _texts(document, (*path, key))


def check_companions(document: Document, machines: Mapping[str, MachineKeys]) -> list[Issue]:
    """Who works for whom: companions exist, make no records of their own, and have no companions themselves."""
    issues: list[Issue] = []
    written = document.node(("machines",))
    known = list(written.entries) if isinstance(written, MappingNode) else []
    # A machine with mistakes may be meant to use any other.
    helping = set(machines) if set(known) - set(machines) else set()
    for name, machine in machines.items():
        seen: set[str] = set()
        for place, companion in enumerate(machine.companions):
            where: KeyPath = ("machines", name, "companions", place, "machine")
            at = document.place(where)
            other = companion.machine
            if other not in known:
                hint = did_you_mean(other, known)
                issues.append(issue_at(at, where, f'unknown machine "{other}"', expected=one_of(known), hint=hint))
            elif other == name:
                issues.append(issue_at(at, where, "a machine is not its own companion"))
            elif other in seen:
                issues.append(issue_at(at, where, f'"{other}" is listed twice'))
            elif other in machines and machines[other].records:
                hint = f"write records: false at machines.{other}"
                message = f'"{other}" makes records of its own, so it cannot be a companion'
                issues.append(issue_at(at, where, message, hint=hint))
            seen.add(other)
        helping |= seen if seen <= set(known) else set(machines)  # an unknown one may be any of them
        if machine.companions and not machine.records:
            where = ("machines", name, "companions")
            issues.append(issue_at(document.place(where), where, "only a machine that makes records has companions"))
        helping |= {machine.unit.scanner} if machine.unit.scanner is not None else set()
    helping |= tools_of(machines)
    for name, machine in machines.items():
        if not machine.records and name not in helping:
            where = ("machines", name, "records")
            hint = (
                "list it as a companion of another machine, let a machine's unit or a step's from name its points, or"
            )
            hint += " take records: false away"
            issues.append(issue_at(document.place(where), where, "nothing would use this machine", hint=hint))
    return issues


def check_jobs(document: Document, machines: Mapping[str, MachineSettings]) -> list[Issue]:
    """Machines that work on request: somebody asks them, and waits long enough."""
    issues: list[Issue] = []
    where: KeyPath
    for name, machine in machines.items():
        if not machine.records and machine.protocol_settings.asking() is not None:
            where = ("machines", name, "interlock")
            hint = "move it to the machine that makes the records"
            issues.append(issue_at(document.place(where), where, "this machine makes no records to permit", hint=hint))
        if machine.records and machine.protocol_settings.longest_job_s is not None:
            where = ("machines", name)
            message = "it works on request, and makes no records of its own"
            hint = "write records: false here, and list it as a companion of the machine that asks it"
            issues.append(issue_at(document.place(where), where, message, hint=hint))
        for place, companion in enumerate(machine.companions):
            other = machines.get(companion.machine)
            longest_s = None if other is None else other.protocol_settings.longest_job_s
            if longest_s is not None and companion.timeout < longest_s:
                where = ("machines", name, "companions", place, "timeout")
                message = f"shorter than {companion.machine} may take by its own settings"
                expected, found = f"at least {longest_s:g}s", f"{companion.timeout:g}s"
                issues.append(issue_at(document.place(where), where, message, expected=expected, found=found))
    return issues


def check_ports(document: Document, machines: Mapping[str, MachineSettings]) -> list[Issue]:
    """Two machines on one port would take each other's bytes, if it is no line that both can share."""
    issues: list[Issue] = []
    taken: dict[str, tuple[str, SharedLine | None]] = {}
    for name, machine in machines.items():
        line = machine.protocol_settings.shared_line()
        where: KeyPath = ("machines", name, "connect", "port")
        node = document.node(where)
        port = line.name if line is not None else node.value if isinstance(node, ScalarNode) else None
        if not isinstance(port, str):
            continue
        owner, shared = taken.setdefault(port, (name, line))
        if owner == name:
            continue
        if line is None or shared is None:
            message = f"serial port {port} belongs to machine {owner} already"
            issues.append(issue_at(document.place(where), where, message, hint="one machine per port"))
        else:
            issues.extend(_disagreements(document, name, line, owner, shared))
    return issues


def _disagreements(document: Document, name: str, line: SharedLine, owner: str, shared: SharedLine) -> Iterator[Issue]:
    """What two machines on one line set differently. What only one transport has says nothing beside that."""
    keys = ["transport"] if line.agreed.get("transport") != shared.agreed.get("transport") else list(line.agreed)
    for key in keys:
        ours, theirs = line.agreed.get(key), shared.agreed.get(key)
        if ours != theirs:
            where: KeyPath = ("machines", name, "connect", key)
            message = f"machine {owner} sets another {key} on the same line {line.name}"
            hint = "machines on one line have its settings in common"
            issue = issue_at(document.place(where), where, message, expected=str(theirs), found=str(ours), hint=hint)
            yield issue


def companions_of(machine: MachineSettings, machines: Mapping[str, MachineSettings]) -> Iterator[MachineSettings]:
    """The machines that work for this one, but for those with mistakes of their own."""
    return (machines[wanted.machine] for wanted in machine.companions if wanted.machine in machines)


def measured_by(machine: MachineSettings, machines: Mapping[str, MachineSettings]) -> dict[str, str | None]:
    """Every measurement of this machine's records with its unit; companions' as ``machine.point``."""
    found = {point: machine.unit_of(point) for point in machine.measurements}
    found.update(dict.fromkeys(machine.tables, None))
    for other in companions_of(machine, machines):
        found.update({f"{other.name}.{point}": other.unit_of(point) for point in other.measurements})
        found.update({f"{other.name}.{table}": None for table in other.tables})
    return found
