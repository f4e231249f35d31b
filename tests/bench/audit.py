"""Sealing and verifying a long audit trail in PostgreSQL, beside reading the same rows by COPY and doing nothing.

The rows are those that central's trigger wrote of real records, again and again under numbers of their own.
"""

import time
from collections.abc import Callable
from contextlib import closing

import sqlalchemy as sa

from central.store import Anchor, Store
from central.store.trail_rows import lines
from tests.bench.figures import table, times
from tests.bench.history import records
from tests.bench.seed import arrivals
from tests.support.postgres import running_cluster

_MORE = sa.text(
    "INSERT INTO audit_logs (entity_type, entity_id, action, old_values, new_values, user_id, author, stream_id, seq,"
    " ip_address, user_agent, recorded_at) SELECT entity_type, entity_id + n, action, old_values, new_values, user_id,"
    " author, stream_id, seq + n, ip_address, user_agent, recorded_at FROM audit_logs, generate_series(1, :times) n"
    " ORDER BY n, id LIMIT :rows"
)


def run(rows: int) -> None:
    """Measure and print."""
    with running_cluster() as cluster, cluster.database() as url, closing(Store(url)) as store:
        store.migrate()
        store.ingest(arrivals(list(records("bench", 0, 20, {}))))
        with store.database.writing() as connection:
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(_MORE, {"times": rows // 100 + 1, "rows": rows})
        _read(store)  # the first reading of new rows writes hints beside them: it is nobody's cost here
        found = {"COPY alone": _timed(lambda: _read(store)), "sealed": _timed(store.seals.seal)}
        newest = store.seals.anchor()
        assert newest is not None
        anchors: dict[int, Anchor] = {newest.number: newest}
        found["verified"] = _timed(lambda: _verified(store, anchors))
    print(f"audit trail of {newest.total} rows in {newest.number} seals")
    floor = found["COPY alone"]
    shown = [[what, f"{took:.1f}", f"{newest.total / took:.0f}", times(took, floor)] for what, took in found.items()]
    print(table(["", "seconds", "rows/s", "/ COPY"], shown))


def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _read(store: Store) -> None:
    with store.reading() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        for _ in lines(connection, None):
            pass


def _verified(store: Store, anchors: dict[int, Anchor]) -> None:
    assert store.seals.check(anchors, lambda *_: None).wrong == 0
