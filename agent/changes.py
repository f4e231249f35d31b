"""What a new file would change of a running station: which machines, and what only a restart can. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.settings import MachineSettings, StationSettings
from agent.settings.dialogues import tools_of
from agent.settings.secrets import is_secret

_AT_START = ("station", "broker", "state_dir", "retention", "resend_after", "outbox", "interlock")
"""Keys that are used once, as the station starts."""
_OF_RECORDS = ("operator", "product_model", "part_patterns", "serial_numbers")
"""Keys of the station that every machine's records depend on."""
_ABSENT = "(not there)"


@dataclass(frozen=True)
class Changes:
    """``touched`` are the machines that are stopped, started, or both; the others never notice. ``restart`` are keys
    that a running station cannot change."""

    touched: frozenset[str]
    criteria: bool
    restart: tuple[str, ...]

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.touched) or self.criteria or bool(self.restart)


def changes_between(old: StationSettings, new: StationSettings) -> Changes:
    """What has to happen for ``old`` to become ``new``."""
    restart = [key for key in _AT_START if getattr(old, key) != getattr(new, key)]
    restart += [
        f"machines.{name}.interlock"
        for name in sorted(old.machines.keys() | new.machines.keys())
        if _asking(old.machines.get(name)) != _asking(new.machines.get(name))
    ]
    changed = {
        name for name in old.machines.keys() | new.machines.keys() if old.machines.get(name) != new.machines.get(name)
    }
    if any(getattr(old, key) != getattr(new, key) for key in _OF_RECORDS):
        changed |= old.machines.keys() | new.machines.keys()
    groups = [*_groups(old.machines), *_groups(new.machines)]
    while spread := {name for group in groups if group & changed for name in group} - changed:
        changed |= spread
    return Changes(frozenset(changed), dict(old.criteria) != dict(new.criteria), tuple(restart))


def differences(old: StationSettings, new: StationSettings) -> list[str]:
    """Every key that differs, with both values, one line each."""
    before, after = dict(_flat(_plain(old))), dict(_flat(_plain(new)))
    return [
        f"{key}: {before.get(key, _ABSENT)} -> {after.get(key, _ABSENT)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _asking(machine: MachineSettings | None) -> object:
    return None if machine is None else machine.protocol_settings.asking()


def _groups(machines: Mapping[str, MachineSettings]) -> Iterator[set[str]]:
    """Machines that hold on to each other: companions, scanners, and the tools of a dialogue."""
    for name, machine in machines.items():
        used = {wanted.machine for wanted in machine.companions} | set(tools_of({name: machine}))
        if machine.unit.scanner is not None:
            used.add(machine.unit.scanner)
        yield {name, *used}


def _plain(settings: StationSettings) -> dict[str, Any]:
    return settings.model_dump(
        mode="json", by_alias=True, serialize_as_any=True, warnings=False, exclude={"warnings"}, exclude_none=True
    )


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            if key != "serial_form":
                yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{path}.{place}")
    else:
        key = path.replace(".protocol_settings.", ".")
        yield key, "***" if is_secret(tuple(key.split("."))) else str(value)
