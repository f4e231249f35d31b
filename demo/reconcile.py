"""The end of the demo: what the machines made, what the agents kept, what central committed."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from central.store import Counts, Store
from demo.line import Made


@dataclass(frozen=True)
class Reconciliation:
    """The figures. ``lost`` and ``doubled`` count cycles, ``misjudged`` counts wrong outcomes."""

    cycles: int
    outbox_rows: int
    committed_rows: int
    quarantined: int
    lost: list[Made]
    doubled: list[Made]
    misjudged: list[tuple[Made, str]]

    @property
    def right(self) -> bool:
        """True when every figure agrees."""
        equal = self.cycles == self.outbox_rows == self.committed_rows
        return equal and not (self.quarantined or self.lost or self.doubled or self.misjudged)


def reconcile(made: Sequence[Made], outboxes: Sequence[Path], store: Store, before: Counts) -> Reconciliation:
    """Compare the truth with the outbox files and the database, cycle by cycle.

    ``before``: what the database held already; streams of other runs are left out.
    """
    streams = {stream_id for path in outboxes for stream_id in _column(path, "SELECT stream_id FROM streams")}
    records = store.records(streams)
    seen = Counter((record.station, record.machine, record.cycle_key) for record in records)
    outcome = {(record.station, record.machine, record.cycle_key): record.outcome.value for record in records}
    keys = {item: (item.station, item.machine, item.cycle_key) for item in made}
    return Reconciliation(
        cycles=len(made),
        outbox_rows=sum(sum(_column(path, "SELECT count(*) FROM records")) for path in outboxes),
        committed_rows=len(records),
        quarantined=store.counts().quarantined - before.quarantined,
        lost=[item for item in made if seen[keys[item]] == 0],
        doubled=[item for item in made if seen[keys[item]] > 1],
        misjudged=[
            (item, outcome[keys[item]]) for item in made if outcome.get(keys[item], item.expected) != item.expected
        ],
    )


def _column(outbox: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(outbox)
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()
