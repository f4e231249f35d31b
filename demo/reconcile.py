"""The end of the demo: what the machines made, what the agents kept, what central committed."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from central.store import Store
from contracts.record import ProcessRecord
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


def reconcile(made: Sequence[Made], outboxes: Iterable[Path], store: Store) -> Reconciliation:
    """Compare the truth with the outbox files and the database, cycle by cycle."""
    records = [ProcessRecord.model_validate_json(row["record"]) for row in store.canonical_rows()["process_data"]]
    seen = Counter((record.station, record.machine, record.cycle_key) for record in records)
    outcome = {(record.station, record.machine, record.cycle_key): record.outcome.value for record in records}
    keys = {item: (item.station, item.machine, item.cycle_key) for item in made}
    return Reconciliation(
        cycles=len(made),
        outbox_rows=sum(_rows(path) for path in outboxes),
        committed_rows=len(records),
        quarantined=store.counts().quarantined,
        lost=[item for item in made if seen[keys[item]] == 0],
        doubled=[item for item in made if seen[keys[item]] > 1],
        misjudged=[
            (item, outcome[keys[item]]) for item in made if outcome.get(keys[item], item.expected) != item.expected
        ],
    )


def _rows(outbox: Path) -> int:
    connection = sqlite3.connect(outbox)
    try:
        return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
    finally:
        connection.close()
