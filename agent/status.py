"""How a running station is: what ``neurohub-agent status`` asks for."""

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.machines import Machines
from agent.outbox import Outbox
from agent.reload import Reloading
from agent.results import Results
from agent.supervisor import Supervisor
from agent.uplink import Uplink
from contracts.masking import masked


class StationStatus:
    """Puts together what the parts know. Asks no machine and writes nothing."""

    def __init__(
        self,
        machines: Machines,
        outbox: Outbox,
        uplink: Uplink,
        reloading: Reloading,
        results: Results,
        software: str,
    ) -> None:
        self._machines = machines
        self._outbox = outbox
        self._uplink = uplink
        self._reloading = reloading
        self._results = results
        self._software = software

    async def __call__(self) -> Mapping[str, Any]:
        """One JSON object. Raises StoreError."""
        settings = self._reloading.settings
        held = await self._outbox.state()
        disk = shutil.disk_usage(settings.state_dir)
        return {
            "station": settings.station.id,
            "process": settings.station.process,
            "software": self._software,
            "since": self._results.began_at.isoformat(timespec="seconds"),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machines": {
                name: self._of(name, supervisor) for name, supervisor in sorted(self._machines.supervisors.items())
            },
            "outbox": {
                "waiting": held.unsettled,
                "parked": held.parked,
                "disputed": held.disputed,
                "last_seq": held.last_seq,
                "stream_id": held.stream_id,
                "troubles": list(self._outbox.troubles()),
            },
            "broker": {"connected": self._uplink.broker is not None, "address": self._uplink.broker},
            "central": {"heard": self._uplink.central_is_heard},
            "last_error": masked(self._uplink.trouble) or None,
            "disk": {"free_bytes": disk.free, "total_bytes": disk.total},
        }

    def _of(self, name: str, supervisor: Supervisor) -> Mapping[str, Any]:
        last = self._results.last.get(name)
        since = supervisor.connected_at
        return {
            "protocol": self._reloading.settings.machines[name].protocol,
            "connected": since is not None,
            "since": None if since is None else since.isoformat(timespec="seconds"),
            "error": masked(supervisor.trouble) or None,
            "conditions": {key: one.text for key, one in supervisor.conditions.standing.items()},
            "happened": {
                key: {"times": supervisor.conditions.count[key], "last": text}
                for key, text in supervisor.conditions.happened_last.items()
            },
            "figures": supervisor.figures,
            "results": self._results.counts.get(name, 0),
            "last_outcome": None if last is None else last.outcome.value,
            "last_at": None if last is None else last.completed_at.isoformat(timespec="seconds"),
        }
