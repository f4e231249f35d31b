"""The benchmarks' history is one that stations could have made: nothing of it contradicts anything else."""

from collections import Counter
from pathlib import Path

from central.store import Store, exceptions
from tests.bench.seed import seed
from tests.support.stores import rows


def test_a_seeded_database_holds_finished_lots_without_an_exception(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/central.db"
    done = seed(url, 1500)
    store = Store(url)
    try:
        units, lots = rows(store, "serials"), rows(store, "lots")
        assert (len(units), len(lots)) == (200, 2)
        assert Counter(unit["status"] for unit in units) == {"PASSED": 200}
        assert {lot["status"] for lot in lots} == {"COMPLETED"}
        with store.reading() as connection:
            assert list(exceptions.rows(connection)) == []
        counts = store.counts()
        assert counts.records == done == sum(stream.committed_seq for stream in counts.streams if stream.owner)
        kinds = Counter((row["entity_type"], row["action"]) for row in rows(store, "audit_logs"))
        assert kinds["process_data", "CREATE"] == done, "the trail is what the triggers write"
    finally:
        store.close()
