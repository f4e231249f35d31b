"""Old months: written, read back, taken out; and back again, row for row."""

import gzip
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from central.cli import app
from central.store import Store
from contracts.record import ProcessRecord
from tests.support.stores import MORNING, delivery, minutes, record, rows

OLD = MORNING.replace(year=2024, month=3)


def old(number: int) -> ProcessRecord:
    return record(serial_number=f"SN-{number:03d}", lot_number=None, completed_at=OLD, operator="a\tb\\")


@pytest.fixture
def store(postgres_url: str) -> Store:
    found = Store(postgres_url)
    found.migrate()
    items = [(n, old(n)) for n in (1, 2, 3)]
    found.ingest([delivery([*items, (4, record(completed_at=minutes(1)))])])
    found.seals.seal()
    return found


def typed(store: Store, *words: str) -> Result:
    url = store.database.url.render_as_string(hide_password=False)
    return CliRunner().invoke(app, ["partitions", *words], env={"DATABASE_URL": url, "USER": "park"})


def test_a_month_goes_to_a_file_and_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    before, facts = rows(store, "process_data"), rows(store, "facts")
    done = typed(store, "archive", "--before", "2026-01", "--to", str(tmp_path))
    assert (done.exit_code, done.stdout.split(" in ")[0]) == (0, "2024-03: 3 rows"), done.output
    [path] = tmp_path.iterdir()
    assert [row["seq"] for row in rows(store, "process_data")] == [4]
    assert "2024-03" not in typed(store, "list").stdout

    # What is sent again is known; what is new for that month has a place.
    again = store.ingest(
        [delivery([(1, record(serial_number="SN-001", lot_number=None, completed_at=OLD, operator="a\tb\\"))])]
    )
    assert (again.inserted, again.repeated, rows(store, "facts")) == (0, 1, facts)
    store.ingest([delivery([(5, old(5))])])

    store.seals.seal()
    assert typed(store, "restore", str(path)).stdout == "2024-03: 3 rows are back\n"
    assert [row for row in rows(store, "process_data") if row["seq"] != 5] == before
    assert typed(store, "restore", str(path)).exit_code == 2, "twice is once"
    months = [row for row in rows(store, "audit_logs") if row["entity_type"] == "process_data_months"]
    assert [(row["action"], row["author"], row["entity_id"]) for row in months] == [
        ("DELETE", "park", 202403),
        ("CREATE", "park", 202403),
    ]
    store.close()


def test_nothing_goes_that_is_not_over_sealed_or_written(store: Store, tmp_path: Path) -> None:
    before = rows(store, "process_data")
    store.ingest([delivery([(6, record(completed_at=minutes(6)))])])
    assert "not sealed yet" in typed(store, "archive", "--before", "2026-01", "--to", str(tmp_path)).output
    store.seals.seal()
    assert (
        "is not over" in typed(store, "archive", "--before", "2099-01", "--to", str(tmp_path / "no")).output
        or (tmp_path / "no").exists() is False
    )
    assert "no" in typed(store, "archive", "--before", "2026-01", "--to", str(tmp_path / "no")).output
    assert "a month such as" in typed(store, "archive", "--before", "soon", "--to", str(tmp_path)).output
    (tmp_path / "process_data_2024_03.copy.gz").write_bytes(b"an earlier one")
    assert "is there already" in typed(store, "archive", "--before", "2026-01", "--to", str(tmp_path)).output
    assert [row for row in rows(store, "process_data") if row["seq"] != 6] == before
    store.close()


def test_a_file_that_was_changed_is_refused(store: Store, tmp_path: Path) -> None:
    typed(store, "archive", "--before", "2026-01", "--to", str(tmp_path))
    [path] = tmp_path.iterdir()
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"PASS", b"FAIL")))
    said = typed(store, "restore", str(path))
    assert (said.exit_code, "was changed" in said.output) == (2, True)
    store.close()


def test_sqlite_says_that_it_has_none(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/central.db")
    store.migrate()
    assert "needs PostgreSQL" in typed(store, "list").output
    store.close()
