"""The MQTT topic tree: ``f2x/v1/{site}/{line}/{station}/...`` (design.md, Topics)."""

import re
from dataclasses import dataclass
from typing import Literal

ROOT = "f2x/v1"
_LEVEL = r"([A-Za-z0-9][A-Za-z0-9_-]{0,31})"
_STATION_TOPIC = re.compile(rf"{ROOT}/{_LEVEL}/{_LEVEL}/{_LEVEL}/(records|commits|state|interlock|permits)")
_ROUTE_TOPIC = re.compile(rf"{ROOT}/route/([^/+#]+)")

Leaf = Literal["records", "commits", "state", "interlock", "permits"]


@dataclass(frozen=True)
class StationTopics:
    """The topics of one station. A station writes only beneath its own name."""

    site: str
    line: str
    station: str

    @property
    def records(self) -> str:
        """Station -> central: batches of records."""
        return self._at("records")

    @property
    def commits(self) -> str:
        """Central -> station, retained: what central has committed."""
        return self._at("commits")

    @property
    def state(self) -> str:
        """Station -> central, retained: the birth message; the broker sends the last will here."""
        return self._at("state")

    @property
    def interlock(self) -> str:
        """Station -> central: may this unit run here?"""
        return self._at("interlock")

    @property
    def permits(self) -> str:
        """Central -> station: the answers."""
        return self._at("permits")

    def _at(self, leaf: Leaf) -> str:
        return f"{ROOT}/{self.site}/{self.line}/{self.station}/{leaf}"


def all_stations(leaf: Leaf) -> str:
    """The filter that matches this leaf of every station."""
    return f"{ROOT}/+/+/+/{leaf}"


def shared(topic_filter: str, group: str) -> str:
    """The filter by which the members of a group share its messages: each goes to one of them (MQTT 5, 4.8.2)."""
    return f"$share/{group}/{topic_filter}"


def parse(topic: str) -> tuple[StationTopics, Leaf] | None:
    """Whose topic this is, and which leaf; None when it is not a station's topic."""
    match = _STATION_TOPIC.fullmatch(topic)
    if match is None:
        return None
    leaf: Leaf = match[4]  # type: ignore[assignment]  # the pattern allows no other text
    return StationTopics(match[1], match[2], match[3]), leaf


def criteria(process_code: str) -> str:
    """Central -> all, retained: the criteria of a process, in force and to come."""
    return f"{ROOT}/criteria/{process_code}"


def audit(epoch: str) -> str:
    """Central -> whoever keeps it, retained: the newest anchor of the audit trail of the database of this epoch."""
    return f"{ROOT}/audit/{epoch}"


ALL_ROUTES = f"{ROOT}/route/+"
"""The filter that matches the route digest of every LOT."""


def route(lot_number: str) -> str:
    """Central -> all, retained: the route digest of a LOT."""
    return f"{ROOT}/route/{lot_number}"


def lot_of(topic: str) -> str | None:
    """The LOT whose route digest comes on this topic; None when it is another topic."""
    match = _ROUTE_TOPIC.fullmatch(topic)
    return None if match is None else match[1]
