"""What a right file allows and somebody is likely to regret: no mistake, told with its remedy."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from agent.settings.dialogues import told_from
from agent.settings.machine import MachineSettings
from agent.settings.references import measured_by
from agent.settings.station import CentralApi, StationKeys
from contracts.criteria import Criterion
from documents.document import Document, MappingNode, Node, ScalarNode, SequenceNode
from documents.issues import Issue, KeyPath, issue_at

_THIS_COMPUTER = ("127.0.0.1", "localhost", "::1")
_WORD = re.compile(r"[^\s{}.,:=]+")


def warnings_of(
    document: Document,
    station: StationKeys,
    machines: Mapping[str, MachineSettings],
    criteria: Mapping[str, Criterion],
) -> Iterator[Issue]:
    """Every warning about a file without mistakes."""
    yield from _missing_files(document, station)
    for machine in machines.values():
        yield from _of_machine(document, machine)
        yield from _unused_points(document, machine, machines)
    yield from _without_unit(document, machines, criteria)


def _warning(document: Document, path: KeyPath, message: str, *, key: bool = False) -> Issue:
    return issue_at(document.place(path, key=key), path, f"warning: {message}")


def _missing_files(document: Document, station: StationKeys) -> Iterator[Issue]:
    """What the file names and this computer has not: no mistake where a file is checked at a desk."""
    for key in ("ca", "cert", "key", "password_file"):
        file = getattr(station.broker, key)
        if file is not None and not file.is_file():
            message = f"there is no file {file} on this computer; without it the station reaches no broker"
            yield _warning(document, ("broker", key), message)
    if station.interlock.http is not None:
        yield from _of_api(document, station.interlock.http)
    if station.state_dir is not None and station.state_dir.exists() and not station.state_dir.is_dir():
        message = f"{station.state_dir} is no folder on this computer; let state_dir name a folder"
        yield _warning(document, ("state_dir",), message)


def _of_api(document: Document, api: CentralApi) -> Iterator[Issue]:
    """Central's API, the interlock's second way."""
    if api.ca is not None and not api.ca.is_file():
        message = f"there is no file {api.ca} on this computer; without it the station asks central over MQTT alone"
        yield _warning(document, ("interlock", "http", "ca"), message)
    if api.url.startswith("http:") and urlsplit(api.url).hostname not in _THIS_COMPUTER:
        message = "over http:// the password can be read on the way; give the API a certificate and write https://"
        yield _warning(document, ("interlock", "http", "url"), message)


def _of_machine(document: Document, machine: MachineSettings) -> Iterator[Issue]:
    above: KeyPath = ("machines", machine.name)
    for key, needed in machine.protocol_settings.needed_files().items():
        if _is_missing(needed.path):
            path = (*above, *key.split("."))
            yield _warning(document, path, f"there is no {needed.path} on this computer; {needed.remedy}")
    if machine.golden is not None and machine.protocol_settings.asking() is None:
        message = "the machine asks nobody (interlock), so it starts units whatever its samples say"
        yield _warning(document, (*above, "golden"), message)
    for key, message in machine.protocol_settings.warnings().items():
        yield _warning(document, (*above, *key.split(".")), message)
    acknowledged = document.node((*above, "acknowledge")) is not None
    if machine.records and machine.cycle_key is None and acknowledged:
        message = (
            "without cycle_key a result that is read again after the station was interrupted before it "
            "was acknowledged is recorded twice, marked possible_repeat; let cycle_key name the point that the "
            "machine counts its results by, if it has one"
        )
        yield _warning(document, (*above, "acknowledge"), message)


def _unused_points(
    document: Document, machine: MachineSettings, machines: Mapping[str, MachineSettings]
) -> Iterator[Issue]:
    """Points that are read and that nothing in the file has a use for."""
    node = document.node(("machines", machine.name))
    assert isinstance(node, MappingNode)
    works_for_records = machine.records or any(
        companion.machine == machine.name for other in machines.values() for companion in other.companions
    )
    used = set(machine.measurements) if works_for_records else set()
    used |= {point for point in machine.unit.by_key.values() if "." not in point}
    for key, entry in node.entries.items():
        if key != "points":
            used |= set(_words(entry.value))
    for other in machines.values():
        used |= {point for point in other.unit.scanned.values() if other.unit.scanner == machine.name}
        used |= told_from(other.dialogue, machine.name)
    for name in machine.wire.points:
        if name not in used:
            why = (
                "it is not among measurements"
                if works_for_records
                else "no unit key or step of another machine names it"
            )
            message = f"the point is read and used for nothing: {why}; use it or take it out"
            yield _warning(document, ("machines", machine.name, "points", name), message, key=True)


def _words(node: Node) -> Iterator[str]:
    """Every word of every text below, those inside of templates among them."""
    if isinstance(node, ScalarNode):
        if isinstance(node.value, str):
            yield from _WORD.findall(node.value)
    elif isinstance(node, SequenceNode):
        for item in node.items:
            yield from _words(item)
    else:
        for entry in node.entries.values():
            yield from _words(entry.value)


def _without_unit(
    document: Document, machines: Mapping[str, MachineSettings], criteria: Mapping[str, Criterion]
) -> Iterator[Issue]:
    """Limits for decimals of nobody knows what: 60 in degrees Celsius, or in Fahrenheit?"""
    units: dict[str, str | None] = {}
    for machine in machines.values():
        units.update(measured_by(machine, machines))
    for name, criterion in criteria.items():
        around = criterion.nominal is not None and criterion.formula is None
        if around and criterion.unit is None and name in units and units[name] is None:
            message = "a nominal value without unit: write unit here and at the point, for whoever reads it later"
            yield _warning(document, ("criteria", name), message, key=True)


def _is_missing(path: Path) -> bool:
    """Whether it is surely not there: what stands in a folder that this user may not enter may be."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
