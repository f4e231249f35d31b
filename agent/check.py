"""What ``neurohub-agent check`` says of a file, for people and for other programs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.settings import Issue, SettingsError, StationSettings, load
from agent.settings.machine import MachineKeys
from documents.document import MappingNode, ScalarNode
from documents.reading import read_document
from drivers.registry import OURS

_WARNING = "warning: "
_STATION = "docs/station.md#the-station"
_PAGES = {
    "criteria": "docs/criteria.md#rules",
    "interlock": "docs/interlock.md#the-second-way-http",
    "machines": "docs/station.md#a-machine",
    "outbox": "docs/outbox.md#keys-of-the-stations-file",
}


@dataclass(frozen=True)
class Checked:
    """One file: its settings where it is right, and every mistake or warning. ``protocols`` are its machines'."""

    file: Path
    settings: StationSettings | None
    issues: tuple[Issue, ...]
    protocols: Mapping[str, str]

    @property
    def summary(self) -> str:
        """What a right file holds."""
        assert self.settings is not None
        machines = ", ".join(f"{name} ({machine.protocol})" for name, machine in self.settings.machines.items())
        criteria = len(self.settings.criteria)
        return f"{self.file}: right; station {self.settings.station.id}, {machines}; {criteria} criteria"


def checked(file: Path, overrides: Sequence[str] = ()) -> Checked:
    """Check a file without connecting to anything. Never raises because of what it holds."""
    try:
        settings = load(file, overrides)
    except SettingsError as error:
        return Checked(file, None, error.issues, machines_of(file))
    return Checked(file, settings, settings.warnings, machines_of(file))


def page_of(issue: Issue, protocols: Mapping[str, str]) -> str:
    """The page of the documents, and the place in it, that tells more about this key."""
    first, _, rest = issue.path.partition(".")
    if first != "machines":
        return _PAGES.get(first, _STATION)
    machine, _, below = rest.partition(".")
    key, protocol = below.partition(".")[0], protocols.get(machine)
    if key == "interlock":
        return "docs/interlock.md#set-it-up"
    if key == "dialogue":
        return "docs/hand-stations.md#what-a-step-may-be"
    if key and key not in MachineKeys.model_fields and protocol in OURS:
        return f"drivers/{protocol}/README.md#keys"
    return _PAGES["machines"]


def as_text(one: Checked) -> Iterator[str]:
    """A line for each mistake and warning."""
    return (f"{issue} [{page_of(issue, one.protocols)}]" for issue in one.issues)


def in_json(found: Iterable[Checked]) -> str:
    """All of it as one JSON object; ``docs/station.md`` tells its form."""
    return json.dumps({"files": [_plain(one) for one in found]}, ensure_ascii=False, indent=1)


def _plain(one: Checked) -> Mapping[str, Any]:
    settings = one.settings
    return {
        "file": str(one.file),
        "right": settings is not None,
        "station": None if settings is None else settings.station.id,
        "machines": dict(one.protocols),
        "issues": [_plain_issue(issue, page_of(issue, one.protocols)) for issue in one.issues],
    }


def _plain_issue(issue: Issue, page: str) -> Mapping[str, Any]:
    shown = issue.shown
    severity = "warning" if shown.message.startswith(_WARNING) else "error"
    return {**vars(shown), "severity": severity, "message": shown.message.removeprefix(_WARNING), "docs": page}


def machines_of(file: Path) -> dict[str, str]:
    """Each machine of a file with the protocol it names, as far as the file can be read."""
    try:
        machines = read_document(file).root.get("machines")
    except SettingsError:
        return {}
    found: dict[str, str] = {}
    for name, entry in machines.entries.items() if isinstance(machines, MappingNode) else ():
        protocol = entry.value.get("protocol") if isinstance(entry.value, MappingNode) else None
        if isinstance(protocol, ScalarNode) and isinstance(protocol.value, str):
            found[name] = protocol.value
    return found
