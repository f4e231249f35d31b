"""Stores on both databases, and what stations deliver to them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from central.store import Arrival, IngestResult, Rejected, Store
from contracts.envelope import Commit
from contracts.permit import PermitRecord, StationRecord
from contracts.record import GoldenCheck, ProcessRecord, digest
from contracts.topics import StationTopics
from tests.support.records import proof

STREAM = "0" * 31 + "1"
LOT = "WF-KR-261102D-001"
MORNING = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)

NewDatabase = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes addresses of new, empty databases, of the one kind and of the other."""
    numbers = count()
    with ExitStack() as databases:
        if request.param == "sqlite":
            yield lambda: f"sqlite:///{tmp_path}/store-{next(numbers)}.db"
        else:
            cluster = request.getfixturevalue("postgres_cluster")
            yield lambda: databases.enter_context(cluster.database())


@pytest.fixture
def store(new_database: NewDatabase) -> Iterator[Store]:
    """A migrated store."""
    opened = Store(new_database())
    opened.migrate()
    yield opened
    opened.close()


def record(**changes: Any) -> ProcessRecord:
    """A good record of the sensor inspection, with these changes."""
    values: dict[str, Any] = {
        "station": "P03-A",
        "process": "P03_SENSOR_INSPECTION",
        "machine": "tester",
        "serial_number": "SN-261102-001",
        "lot_number": LOT,
        "outcome": "PASS",
        "completed_at": MORNING,
        "cycle_time_seconds": 12.5,
        **proof(),
    }
    return ProcessRecord(**{**values, **changes})


def permit(**changes: Any) -> PermitRecord:
    """A permit that the sensor inspection gave without central, with these changes."""
    values: dict[str, Any] = {
        "kind": "permit",
        "station": "P03-A",
        "process": "P03_SENSOR_INSPECTION",
        "machine": "tester",
        "serial_number": "SN-261102-001",
        "lot_number": LOT,
        "request_id": "9" * 32,
        "granted": True,
        "decided_by": "DIGEST",
        "asked_at": MORNING,
        "answered_at": MORNING,
    }
    return PermitRecord(**{**values, **changes})


def sample(*, good: bool = True, name: str = "master", **changes: Any) -> ProcessRecord:
    """The record of a golden sample that has to pass."""
    outcome = {"outcome": "PASS"} if good else {"outcome": "FAIL"}
    check = GoldenCheck(sample=name, good=good)
    return record(part="GOLDEN_SAMPLE", serial_number="GOLDEN-1", lot_number=None, golden=check, **outcome, **changes)


def delivery(
    items: Sequence[tuple[int, StationRecord]],
    *,
    stream_id: str = STREAM,
    station: str = "P03-A",
    rejected: Sequence[Rejected] = (),
) -> Arrival:
    """One message of a station."""
    return Arrival(stream_id, "gimcheon", "KR01", station, [(n, r, digest(r)) for n, r in items], rejected)


def reject(
    payload: bytes, *, first: int | None = None, last: int | None = None, stream_id: str | None = STREAM
) -> Rejected:
    """Something the ingestor could not read."""
    topic = StationTopics("gimcheon", "KR01", "P03-A").records
    return Rejected(topic, stream_id, first, first if last is None else last, "not JSON", payload)


def only_commit(result: IngestResult) -> Commit:
    """The one commit of a result."""
    [told] = result.commits
    return told.commit


def minutes(number: float) -> datetime:
    """A moment of the morning."""
    return MORNING + timedelta(minutes=number)


def rows(store: Store, table: str) -> list[dict[str, Any]]:
    """A table as it stands, in order of its first column."""
    with store.database.reading() as connection:
        found = connection.execute(sa.text(f"SELECT * FROM {table} ORDER BY 1")).mappings()
        return [dict(row) for row in found]


def one(store: Store, table: str) -> dict[str, Any]:
    """The determined content of the one row of a table."""
    [row] = store.canonical_rows()[table]
    return row
