"""Protocol name -> settings model, driver, simulator. Others plug in by the entry point ``neurohub.drivers``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pkgutil import resolve_name
from typing import cast

from drivers.base import Driver, PointValue, ProtocolSettings, Reading, Simulator

Rereader = Callable[[ProtocolSettings, Reading], Mapping[str, PointValue]]
ENTRY_POINT_GROUP = "neurohub.drivers"


@dataclass(frozen=True)
class ProtocolFolder:
    """Where a protocol's parts are. Each is imported only when it is used: a client library costs memory."""

    name: str
    settings_at: str
    driver_at: str
    simulator_at: str
    rereader_at: str | None = None
    """Where what came for a result is understood once more; None: its values are all there is."""

    def settings(self) -> type[ProtocolSettings]:
        """The settings model. Importing it loads no client library."""
        return cast(type[ProtocolSettings], resolve_name(self.settings_at))

    def driver(self, machine: str, settings: ProtocolSettings) -> Driver:
        """A driver for this machine, not yet open."""
        make = cast(Callable[[str, ProtocolSettings], Driver], resolve_name(self.driver_at))
        return make(machine, settings)

    def simulator(self, machine: str, settings: ProtocolSettings) -> Simulator:
        """A simulator of this machine, not yet started."""
        make = cast(Callable[[str, ProtocolSettings], Simulator], resolve_name(self.simulator_at))
        return make(machine, settings)

    def rereader(self) -> "Rereader | None":
        """Understands what came for a result by other settings; None where that is not kept."""
        return None if self.rereader_at is None else cast(Rereader, resolve_name(self.rereader_at))


def _ours(name: str, prefix: str, driver: str | None = None, *, rereads: bool = False) -> ProtocolFolder:
    at = f"drivers.{name}"
    settings, simulator = f"{at}.settings:{prefix}Settings", f"{at}.simulator:{prefix}Simulator"
    rereader = f"{at}.rereading:reread" if rereads else None
    return ProtocolFolder(name, settings, f"{at}.driver:{driver or prefix + 'Driver'}", simulator, rereader)


OURS: dict[str, ProtocolFolder] = {
    "opcua": _ours("opcua", "OpcUa"),
    "modbus": _ours("modbus", "Modbus", rereads=True),
    "serial": _ours("serial", "Serial", driver="serial_driver", rereads=True),
    "label": _ours("label", "Label"),
    "process": _ours("process", "Process"),
}


@dataclass(frozen=True)
class Unloadable(ProtocolFolder):
    """A plug-in that is installed and of no use. Only the machine that wants it is told."""

    why: str = ""

    def settings(self) -> type[ProtocolSettings]:
        """Raises ImportError."""
        raise ImportError(self.why)


def protocols() -> dict[str, ProtocolFolder]:
    """Every protocol by name: ours first, then plug-ins (an entry point that loads to a ProtocolFolder)."""
    found = dict(OURS)
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name not in found:
            found[entry.name] = _plugin(entry)
    return found


def _plugin(entry: EntryPoint) -> ProtocolFolder:
    try:
        plugin = entry.load()
    except Exception as error:  # noqa: BLE001  # others' code: stations that do not use it have to start
        return Unloadable(entry.name, "", "", "", why=str(error) or type(error).__name__)
    if isinstance(plugin, ProtocolFolder):
        return plugin
    return Unloadable(entry.name, "", "", "", why=f"{entry.value} is no ProtocolFolder")
