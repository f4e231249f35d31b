"""A benchmark that does not start is found out when somebody needs its figures; these run each for a moment."""

import sys

import pytest

from tests.support.processes import Process


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("latency", "noticed to row / floor"),
        ("footprint", "RSS MiB"),
        ("cpu", "per 1,000 results"),
        ("fleet", "RSS MiB"),
        ("wide", "RSS MiB"),
        ("judge", "judge / validate"),
        ("outbox", "of sqlite3's"),
        ("drain", "batches before one, most"),
        ("interlock", "decided by central"),
        ("api", "p95 / floor"),
        ("audit", "audit trail of"),
        ("ingest", "processor time of a record"),
    ],
)
async def test_each_runs_and_prints_its_table(which: str, says: str) -> None:
    async with Process([sys.executable, "-m", "tests.bench", which, "--quick"]) as process:
        assert await process.ended(timeout_s=120) == 0, process.output
        assert any(says in line for line in process.output)
