"""``python -m tests.bench.seed URL --records N``: fill a database with a plausible history, as fast as is honest.

The records go through the store's own ingest, so that rows, ledgers, indexes and audit trail are what stations would
have made of them; what makes it fast is that a transaction takes whole LOTs, each unit and LOT is folded once, commits
are not waited for, and several processes work on LOTs and streams of their own. The history ends yesterday.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from os import cpu_count
from typing import Annotated

import psycopg
import sqlalchemy as sa
import typer

from central.store import Arrival, Store
from contracts.facts import LotCreated
from contracts.record import digest
from tests.bench.history import RECORDS_PER_UNIT, UNITS_PER_DAY, UNITS_PER_LOT, Sent, records, serial_number

LOTS_AT_ONCE = 10
SITE, LINE = "gimcheon", "KR01"


def first_day(units: int) -> date:
    """So that the last of so many units is made yesterday."""
    return datetime.now(UTC).date() - timedelta(days=2 + units // UNITS_PER_DAY)


def arrivals(sent: Sequence[Sent]) -> list[Arrival]:
    """What was sent, as the ingestor hands it to the store."""
    found: defaultdict[tuple[str, str], list[Sent]] = defaultdict(list)
    for one in sent:
        found[one.stream_id, one.station].append(one)
    return [
        Arrival(stream, SITE, LINE, station, [(one.seq, one.record, digest(one.record)) for one in own])
        for (stream, station), own in found.items()
    ]


def fill(url: str, name: str, first_unit: int, units: int, begin: date) -> int:
    """Put these units into the database; answers how many records that were. ``name`` names the streams."""
    seqs: dict[int, int] = {}
    done, began = 0, time.monotonic()
    with closing(Store(url)) as store:
        if not store.database.sqlite:
            sa.event.listen(store.database.engine, "connect", _hasty)
        for start in range(first_unit, first_unit + units, LOTS_AT_ONCE * UNITS_PER_LOT):
            some = min(LOTS_AT_ONCE * UNITS_PER_LOT, first_unit + units - start)
            part = list(records(name, start, some, seqs, begin))
            result = store.ingest(arrivals(part))
            assert result.inserted == len(part), "a history is stored once"
            done += result.inserted
            print(f"{name}: {done} records, {done / (time.monotonic() - began):.0f} a second", flush=True)
    return done


def _hasty(connection: object, _: object) -> None:
    connection.execute("SET synchronous_commit = off")  # type: ignore[attr-defined]  # psycopg's


def seed(url: str, wanted: int, workers: int | None = None) -> int:
    """Migrate the database and put about so many records into it; answers how many."""
    with closing(Store(url)) as store:
        store.migrate()
        alone = store.database.sqlite
        units = max(UNITS_PER_LOT, round(wanted / RECORDS_PER_UNIT / UNITS_PER_LOT) * UNITS_PER_LOT)
        begin = first_day(units)
        store.provide_months(
            datetime.combine(begin, datetime.min.time(), UTC) + timedelta(days=day)
            for day in range(0, units // UNITS_PER_DAY + 3, 10)
        )
        # One LOT that somebody opened; the others are known by their records alone.
        lot = serial_number(0, begin)[1]
        store.add_decision(LotCreated(author="seed", decided_at=datetime.now(UTC), reason="seed", lot_number=lot))
    count = 1 if alone else workers or cpu_count() or 1
    share = -(-units // count // UNITS_PER_LOT) * UNITS_PER_LOT
    with ProcessPoolExecutor(count) as pool:
        parts = [
            pool.submit(fill, url, f"seed {start}", start, min(share, units - start), begin)
            for start in range(0, units, share)
        ]
        done = sum(part.result() for part in as_completed(parts))
    if not alone:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")  # as a database that grew in years would have been
    return done


def main(
    url: Annotated[str, typer.Argument(metavar="URL", help="postgresql://... or sqlite:///...; it is migrated.")],
    wanted: Annotated[int, typer.Option("--records", metavar="NUMBER", min=1, help="About so many.")] = 2_000_000,
    workers: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, help="Processes; without it, one for each processor.")
    ] = None,
) -> None:
    """Fill a database with a plausible history of about so many records, which ends yesterday."""
    began = time.monotonic()
    done = seed(url, wanted, workers)
    print(f"{done} records in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    typer.run(main)
