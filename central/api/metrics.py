"""``/metrics`` for Prometheus: the requests answered by every worker, and where the stations stand."""

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import Scope

from central.api.serving import SHARED_FOLDER
from central.store import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_NONE = "(none)"


class Metrics:
    """What this process counts. ``text`` tells it with what its sisters count and with what the database says."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "neurohub_http_requests", "Requests answered", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "neurohub_http_request_seconds",
            "Time until a request was answered",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request. Its route is the path beneath the prefix, with the names of its parameters."""
        route = getattr(scope.get("route"), "path", _NONE)
        self._requests.labels(scope["method"], route, str(status)).inc()
        self._seconds.labels(scope["method"], route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus's text format. Raises what the store raises."""
        registry = self._registry
        if os.environ.get(SHARED_FOLDER):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
        return bytes(generate_latest(registry) + generate_latest(_of_stations(self._store)))


class _Stations:
    def __init__(self, families: list[GaugeMetricFamily]) -> None:
        self._families = families

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Prometheus's own name for telling."""
        yield from self._families


def _of_stations(store: Store) -> CollectorRegistry:
    online = GaugeMetricFamily("neurohub_station_online", "1: the station says so", labels=["station"])
    backlog = GaugeMetricFamily("neurohub_station_backlog", "Records still to be delivered", labels=["station"])
    missing = GaugeMetricFamily("neurohub_station_missing", "Records missing below what arrived", labels=["station"])
    seen = GaugeMetricFamily("neurohub_station_last_seen_seconds", "When it was last heard", labels=["station"])
    for stream in store.streams():
        if stream.present:
            online.add_metric([stream.station], float(bool(stream.online)))
            backlog.add_metric([stream.station], stream.backlog)
            missing.add_metric([stream.station], sum(gap.last - gap.first + 1 for gap in stream.missing))
            seen.add_metric([stream.station], stream.last_seen_at.timestamp())
    quarantine = GaugeMetricFamily("neurohub_quarantine", "Things in quarantine", value=store.quarantined(limit=1)[1])
    alarms = GaugeMetricFamily("neurohub_alarms_open", "Alarms nobody has looked into", value=len(store.alarms()))
    registry = CollectorRegistry()
    registry.register(_Stations([online, backlog, missing, seen, quarantine, alarms]))
    return registry
