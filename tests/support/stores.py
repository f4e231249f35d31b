"""Stores on both databases, and what stations deliver to them."""

import shutil
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
from tests.support.postgres import Cluster
from tests.support.records import proof

STREAM = "0" * 31 + "1"
LOT = "WF-KR-261102D-001"
MORNING = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)

NewDatabase = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    """The one kind and the other."""
    return str(request.param)


@pytest.fixture
def new_database(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes addresses of new, empty databases, of the one kind and of the other."""
    numbers = count()
    with ExitStack() as databases:
        if database_kind == "sqlite":
            yield lambda: f"sqlite:///{tmp_path}/store-{next(numbers)}.db"
        else:
            cluster = request.getfixturevalue("postgres_cluster")
            yield lambda: databases.enter_context(cluster.database())


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite database that nobody has open: to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "central.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_name(postgres_cluster: Cluster) -> Iterator[str]:
    """The name of a migrated PostgreSQL database that nobody has open: a template."""
    with postgres_cluster.database() as url:
        _migrate(url)
        yield url.rpartition("/")[2]


def _migrate(url: str) -> None:
    opened = Store(url)
    opened.migrate()
    opened.close()


@pytest.fixture
def store(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A migrated store: the copy of one, since migrating costs more than most tests."""
    with ExitStack() as stack:
        if database_kind == "sqlite":
            path = tmp_path / "central.db"
            shutil.copy(request.getfixturevalue("migrated_file"), path)
            url = f"sqlite:///{path}"
        else:
            cluster = request.getfixturevalue("postgres_cluster")
            url = stack.enter_context(cluster.database(template=request.getfixturevalue("migrated_name")))
        opened = Store(url)
        stack.callback(opened.close)
        yield opened


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
