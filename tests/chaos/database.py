"""What central has at the end: its records, and the whole of its determined content beside a database made anew."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from central.store import Arrival, Store
from central.store.quarantined import OTHER_CONTENT
from central.store.tables import facts, process_data, quarantine
from contracts.record import ProcessRecord, digest
from contracts.topics import parse

AT_ONCE = 200


@dataclass(frozen=True)
class OutboxRow:
    """A record as a station has it, or as central has it in quarantine. ``waits``: central has not committed it."""

    station: str
    stream_id: str
    seq: int
    body: bytes
    waits: bool = False


def arrived(store: Store, serial_numbers: Collection[str]) -> set[str]:
    """Which of these units have a record. Raises LinkError or StoreError while the database is away."""
    with store.database.reading() as connection:
        wanted = sa.select(facts.c.serial_number).where(facts.c.serial_number.in_(serial_numbers))
        return set(connection.execute(wanted).scalars())


def records_of(store: Store) -> list[ProcessRecord]:
    """Every record central has committed, in order of stream and number."""
    with store.database.reading() as connection:
        rows = sa.select(process_data.c.record).order_by(process_data.c.stream_id, process_data.c.seq)
        return [ProcessRecord.model_validate_json(text) for text in connection.execute(rows).scalars()]


def disputed_in(store: Store) -> tuple[list[OutboxRow], list[str]]:
    """What is in quarantine because a number was used twice, whole; and whatever else is in quarantine, in words."""
    disputed, others = [], []
    with store.database.reading() as connection:
        for row in connection.execute(sa.select(quarantine)).mappings():
            topic = parse(row["topic"])
            if row["reason"] == OTHER_CONTENT and topic is not None:
                body = bytes(row["payload"])
                disputed.append(OutboxRow(topic[0].station, row["stream_id"], row["first_seq"], body))
            else:
                others.append(f"{row['topic']} {row['first_seq']}: {row['reason']}")
    return disputed, others


def differences(store: Store, held: Sequence[OutboxRow], given_up: Mapping[str, int], file: Path) -> list[str]:
    """What would be different in central's database, had everything come in order, once, and nothing ever failed.

    What the stations hold (and what was disputed: a copied outbox may number its record anew afterwards) is put into a
    new database (``file``), and both are compared in canonical rows. Every row that is in one of them alone is told.

    A station whose disk is full gives up records that central has. ``given_up`` says how many of each stream: so many
    are taken from central itself.
    """
    clean = Store(f"sqlite:///{file}")
    try:
        clean.migrate()
        for arrivals in _arrivals([*held, *_given_up(store, held, given_up)]):
            clean.ingest(arrivals)
        ours, theirs = store.canonical_rows(), clean.canonical_rows()
        # A stream that a station announced, and had nothing to write into, is in nobody's outbox.
        ours["streams"] = [row for row in ours["streams"] if row["committed_seq"] or row["ranges"]]
    finally:
        clean.close()
    told = []
    for table in ours:
        here, there = _texts(ours[table]), _texts(theirs[table])
        told += [f"{table}: only in the database: {row}" for row in sorted(here - there)]
        told += [f"{table}: only with the stations: {row}" for row in sorted(there - here)]
    return told


def _given_up(store: Store, held: Sequence[OutboxRow], given_up: Mapping[str, int]) -> list[OutboxRow]:
    """What central has and no station holds any more; nothing of a stream that lacks more than it says."""
    known = {(row.stream_id, row.seq) for row in held}
    columns = process_data.c.station, process_data.c.stream_id, process_data.c.seq, process_data.c.record
    missing: defaultdict[str, list[OutboxRow]] = defaultdict(list)
    with store.database.reading() as connection:
        for station, stream_id, seq, text in connection.execute(sa.select(*columns)):
            if (stream_id, seq) not in known:
                missing[stream_id].append(OutboxRow(station, stream_id, seq, text.encode()))
    return [row for stream_id, rows in missing.items() if len(rows) <= given_up.get(stream_id, 0) for row in rows]


def _texts(rows: Iterable[dict[str, object]]) -> set[str]:
    # Databases keep the keys of JSON in orders of their own.
    return {json.dumps(row, sort_keys=True, default=str) for row in rows}


def _arrivals(rows: Sequence[OutboxRow]) -> Iterable[Sequence[Arrival]]:
    for first in range(0, len(rows), AT_ONCE):
        arrivals = []
        for row in rows[first : first + AT_ONCE]:
            record = ProcessRecord.model_validate_json(row.body)
            item = (row.seq, record, digest(record))
            arrivals.append(Arrival(row.stream_id, "gimcheon", "KR01", row.station, [item]))
        yield arrivals
