"""``load()``: file -> tree -> each part validated -> the parts beside each other -> StationSettings."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from agent.dialogue.view import view_of
from agent.settings.criteria import check_criteria, check_golden, read_criteria
from agent.settings.dialogues import bare, check_dialogue, check_tools, filled, optional_points, with_tools
from agent.settings.kinds import check_rules, check_values
from agent.settings.machine import MachineKeys, MachineSettings, UnitPoints
from agent.settings.overrides import apply_overrides
from agent.settings.references import (
    check_companions,
    check_jobs,
    check_points,
    check_ports,
    point_references,
)
from agent.settings.scanners import check_scanners
from agent.settings.secrets import fill_in
from agent.settings.station import StationKeys, StationSettings
from agent.settings.warnings import warnings_of
from agent.told import MACHINE as RESERVED
from documents.document import Document, MappingNode, ScalarNode
from documents.explain import described, validated
from documents.issues import Issue, KeyPath, SettingsError, closest, did_you_mean, dotted, issue_at, one_of
from documents.reading import read_document
from documents.shapes import hint_at
from drivers.base import ProtocolSettings
from drivers.registry import protocols

MACHINE_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")
STATE_ROOT = Path("/var/lib/neurohub")
_COUNTER_MODULUS = {
    "uint16": 2**16,
    "uint32": 2**32,
    "uint64": 2**64,
    "bcd16": 10**4,
    "bcd32": 10**8,
    "bcd64": 10**16,
}
"""How many values a counter of each type has."""
_Machine = tuple[MachineKeys | None, MachineSettings | None]
"""A machine's own keys where they are right, and the whole where its protocol's and its points are right too."""
_MACHINE_KEYS = list(MachineKeys.model_fields)
_STATION_KEYS = [*StationKeys.model_fields, "machines", "criteria"]


def load(path: Path, overrides: Sequence[str] = ()) -> StationSettings:
    """The settings of one station. ``overrides`` are ``key.path=value`` texts that change the file's values.

    Raises SettingsError with every mistake at once; nothing has been connected to by then.
    """
    document = read_document(path)
    overridden = apply_overrides(document, overrides)
    document.issues += fill_in(document)
    issues = [*document.issues, *overridden]
    meant: set[str | None] = set()
    for key in document.root.entries:
        if key not in _STATION_KEYS:
            place = document.place((key,), key=True)
            meant.add(closest(key, _STATION_KEYS))
            hint = did_you_mean(key, _STATION_KEYS)
            issues.append(issue_at(place, (key,), "unknown key", expected=one_of(_STATION_KEYS), hint=hint))
    station = validated(StationKeys, document, (), issues, StationKeys.model_fields)
    machines = _machines(document, issues)
    criteria = read_criteria(document, issues)
    companions = check_companions(document, {name: keys for name, (keys, _) in machines.items() if keys is not None})
    issues.extend(companions)
    complete = {name: machine for name, (_, machine) in machines.items() if machine is not None}
    complete = {name: with_tools(machine, complete) for name, machine in complete.items()}
    issues.extend(check_tools(document, {name: keys for name, (keys, _) in machines.items() if keys}, complete))
    issues.extend(check_ports(document, complete))
    issues.extend(check_jobs(document, complete))
    issues.extend(check_scanners(document, {name: keys for name, (keys, _) in machines.items() if keys}, complete))
    doubtful = {name: keys for name, (keys, _) in machines.items() if name not in complete or companions}
    if doubtful:  # any that works for others may be a companion of theirs
        doubtful |= {name: keys for name, (keys, _) in machines.items() if keys is not None and not keys.records}
    unclear = _unclear(document, doubtful)
    if machines and unclear is not None:
        issues.extend(check_criteria(document, criteria, complete, unclear))
    issues.extend(check_rules(document, criteria, complete))
    issues.extend(check_golden(document, complete, unclear))
    issues = [issue for issue in issues if issue.message != "missing key" or issue.path not in meant]
    if issues or station is None:
        raise SettingsError(_without_echoes(issues, document))
    fields = dict(station)
    fields["state_dir"] = station.state_dir or STATE_ROOT / station.station.id
    fields["warnings"] = tuple(warnings_of(document, station, complete, criteria))
    samples = [
        one.pattern for machine in complete.values() if machine.golden for one in machine.golden.samples.values()
    ]
    form = station.serial_numbers.form(station.part_patterns, samples)
    complete = {name: machine.model_copy(update={"serial_form": form}) for name, machine in complete.items()}
    # Every part was validated above; validating the whole again would take durations for numbers.
    return StationSettings.model_construct(**fields, machines=complete, criteria=criteria)


def _machines(document: Document, issues: list[Issue]) -> dict[str, _Machine]:
    node = document.root.get("machines")
    if not isinstance(node, MappingNode):
        place = document.place(("machines",))
        if "machines" not in document.root.entries:
            issues.append(issue_at(place, ("machines",), "missing key"))
        else:
            issues.append(
                issue_at(place, ("machines",), "wrong type", expected="machines by name", found=described(node))
            )
        return {}
    if not node.entries:
        issues.append(issue_at(document.place(("machines",)), ("machines",), "a station has at least one machine"))
    return {name: _machine(document, name, issues) for name in node.entries}


def _machine(document: Document, name: str, issues: list[Issue]) -> _Machine:
    path: KeyPath = ("machines", name)
    before = len(issues)
    if not MACHINE_NAME.match(name):
        expected = "a name of letters, digits, _ - that begins with a letter (at most 32)"
        place = document.place(path, key=True)
        issues.append(issue_at(place, path, "not of the right form", expected=expected, found=f"the key {name}"))
    if name == RESERVED:
        message = f'"{RESERVED}" is no machine: {RESERVED}.firmware is what a permit says'
        issues.append(issue_at(document.place(path, key=True), path, message, hint="give it another name"))
    node = document.node(path)
    if not isinstance(node, MappingNode):
        place = document.place(path)
        issues.append(issue_at(place, path, "wrong type", expected="keys with values", found=described(node)))
        return None, None
    model = _protocol_model(document, path, node, issues)
    meant = {dotted(one) for one in _unknown_keys(document, path, node, model, issues)}
    own: list[Issue] = []
    keys = validated(MachineKeys, document, path, own, _MACHINE_KEYS)
    issues.extend(issue for issue in own if issue.path != f"machines.{name}.protocol")  # said by _protocol_model
    of_protocol: list[Issue] = []
    settings = None if model is None else validated(model, document, path, of_protocol, _protocol_keys(model))
    issues.extend(one for one in of_protocol if one.message != "missing key" or one.path not in meant)
    if keys is None or settings is None:
        return keys, None
    issues.extend(check_points(document, path, bare(keys), settings))
    issues.extend(check_dialogue(document, path, keys, settings))
    if keys.dialogue is not None:
        settings = view_of(keys.dialogue, settings, {})
        issues.extend(check_points(document, path, filled(keys), settings))
    complete = _complete(name, filled(keys), settings) if len(issues) == before else None
    issues.extend(check_values(document, path, keys, settings))
    return keys, complete


def _protocol_model(
    document: Document, path: KeyPath, node: MappingNode, issues: list[Issue]
) -> type[ProtocolSettings] | None:
    """The settings model of the machine's protocol. A key that was meant to be ``protocol`` is believed."""
    known = protocols()
    entry = node.entries.get("protocol")
    if entry is None:
        mistyped = next((key for key in node.entries if key not in _MACHINE_KEYS and _means_protocol(key)), None)
        entry = node.entries[mistyped] if mistyped is not None else None
        if entry is None:
            place = document.place(path)
            issues.append(issue_at(place, (*path, "protocol"), "missing key", expected=one_of(sorted(known))))
            return None
    protocol = entry.value.value if isinstance(entry.value, ScalarNode) else None
    if protocol in known:
        try:
            return known[str(protocol)].settings()
        except ImportError as error:  # a plug-in that is half installed
            message = f"protocol cannot be loaded: {error}"
            issues.append(issue_at(entry.place, (*path, "protocol"), message, hint="install it again"))
            return None
    if "protocol" in node.entries:
        hint = did_you_mean(protocol, known) if isinstance(protocol, str) else None
        found = described(entry.value)
        issues.append(
            issue_at(
                entry.place,
                (*path, "protocol"),
                "unknown protocol",
                expected=one_of(sorted(known)),
                found=found,
                hint=hint,
            )
        )
    return None


def _means_protocol(key: str) -> bool:
    return closest(key, ["protocol"]) is not None


def _unknown_keys(
    document: Document,
    path: KeyPath,
    node: MappingNode,
    model: type[ProtocolSettings] | None,
    issues: list[Issue],
) -> set[KeyPath]:
    """Keys that neither the machine nor its protocol knows. With the protocol unknown, only its own name's. Returns
    the keys that are meant by them."""
    protocol_keys = None if model is None else _protocol_keys(model)
    known = ["protocol", *(protocol_keys or ()), *(key for key in _MACHINE_KEYS if key != "protocol")]
    meant: set[KeyPath] = set()
    for key in node.entries:
        if key in known or (protocol_keys is None and not _means_protocol(key)):
            continue
        where = (*path, key)
        hint = hint_at([] if model is None else [model], None, key, known)
        meant |= {(*path, one) for one in known if hint == f'did you mean "{one}"?'}
        place = document.place(where, key=True)
        issues.append(issue_at(place, where, "unknown key", expected=one_of(known), hint=hint))
    return meant


def _protocol_keys(model: type[ProtocolSettings]) -> list[str]:
    return [key for key in model.model_fields if key not in _MACHINE_KEYS]


def _complete(name: str, keys: MachineKeys, settings: ProtocolSettings) -> MachineSettings:
    """The machine with its defaults filled in from its points."""
    points = settings.points
    unit = _unit(keys, points)
    modulus = keys.counter_modulus
    if modulus is None and keys.cycle_key is not None:
        modulus = _COUNTER_MODULUS.get(str(getattr(points[keys.cycle_key], "type", "")))
    fields = dict(keys)
    fields |= {"unit": unit, "counter_modulus": modulus, "optional": optional_points(keys)}
    used = {
        point for key, point in settings.referenced_points().items() if key.split(".")[0] in ("trigger", "interlock")
    }
    fields["measurements"] = _measurements(keys, points, used)
    if keys.reprint is not None and keys.reprint.reason not in fields["measurements"]:
        fields["measurements"] += (keys.reprint.reason,)
    # The keys were validated, and the rest is made here.
    return MachineSettings.model_construct(**fields, name=name, protocol_settings=settings)


def _unit(keys: MachineKeys, points: Collection[str]) -> UnitPoints:
    """Which point says what: as written, or the point of that name."""
    named = {*keys.unit.by_key, "within"}
    return keys.unit.model_copy(
        update={key: key for key in UnitPoints.model_fields if key in points and key not in named}
    )


def _measurements(keys: MachineKeys, points: Collection[str], triggers: Collection[str]) -> tuple[str, ...]:
    """The points that are measurements: as written, or all that have no other use."""
    if keys.measurements is not None:
        return keys.measurements
    used = {point for _, point in point_references(keys.model_copy(update={"unit": _unit(keys, points)}))}
    return tuple(point for point in points if point not in used and point not in triggers)


def _unclear(document: Document, machines: Mapping[str, MachineKeys | None]) -> frozenset[str] | None:
    """What machines with mistakes may measure once these are mended; None: it may be anything."""
    found: set[str] = set()
    for name, keys in machines.items():
        points, tables = document.node(("machines", name, "points")), document.node(("machines", name, "tables"))
        if not isinstance(points, MappingNode):
            return None
        names = list(points.entries)
        if keys is not None and keys.measurements is None:
            names = list(_measurements(keys, points.entries, ()))
        names = [*names, *(tables.entries if isinstance(tables, MappingNode) else ())]
        found |= {prefix + one for one in names for prefix in ("", f"{name}.")}
    return frozenset(found)


def _without_echoes(issues: list[Issue], document: Document) -> list[Issue]:
    """Each mistake once: what follows from a value that was refused as such is left out."""
    refused = {".".join(map(str, path)) for path in document.unusable}
    kept = list(document.issues)
    for issue in issues[len(document.issues) :]:
        if issue.path not in refused and issue not in kept:
            kept.append(issue)
    return kept
