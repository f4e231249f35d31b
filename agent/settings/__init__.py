"""A station's YAML -> StationSettings. Every mistake at once, each with file:line:column, key, and what to do."""

from agent.settings.load import load
from agent.settings.machine import MachineSettings
from agent.settings.station import StationSettings
from documents.issues import Issue, SettingsError

__all__ = ["Issue", "MachineSettings", "SettingsError", "StationSettings", "load"]
