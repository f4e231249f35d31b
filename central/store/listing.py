"""Every station's ledger, for a person: what central has of each stream, what is missing, what is still to come."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.ledger import Gap, Ledger, ledger_of
from central.store.spans import Spans, both, count
from central.store.tables import streams
from contracts.envelope import has_gaps


@dataclass(frozen=True)
class StreamStatus:
    """One stream of one station.

    ``owner`` is False where the stream belongs to another station, or to nobody yet: ``owned`` tells which.
    ``present`` is the stream the station writes now.
    ``missing`` has not arrived although a higher seq has; ``gone`` is the part of it that the station no longer
    keeps. ``asked`` has arrived and is asked for again. ``backlog`` is what the station still has to deliver, as far
    as it has said: its birth and its messages tell ``last_seq``; of a stream with gaps nobody knows.
    ``clock_offset_seconds``: how far its clock runs ahead of central's.
    """

    station: str
    site: str
    line: str
    stream_id: str
    owner: bool
    owned: bool
    present: bool
    online: bool | None
    host: str | None
    software: str | None
    committed_seq: int
    arrived: int
    missing: tuple[Gap, ...]
    gone: Spans
    asked: Spans
    asked_at: datetime | None
    last_seq: int
    oldest_available: int | None
    backlog: int
    parked: int
    troubles: tuple[str, ...]
    copies: int
    clock_offset_seconds: float | None
    born_at: datetime | None
    last_seen_at: datetime


def stream_statuses(connection: sa.Connection, central_stream: str, station: str | None = None) -> list[StreamStatus]:
    """Every stream but central's own, a station's present one first."""
    statement = sa.select(streams).where(streams.c.stream_id != central_stream)
    if station is not None:
        statement = statement.where(streams.c.station == station)
    rows = list(connection.execute(statement).mappings())
    rows.sort(key=lambda row: (row["born_at"] is not None, row["born_at"] or row["last_seen_at"]), reverse=True)
    owned = set(connection.execute(sa.select(streams.c.stream_id).where(streams.c.owner)).scalars())
    seen: set[str] = set()
    found: list[StreamStatus] = []
    for row in sorted(rows, key=lambda row: row["station"]):  # sorting is stable: the latest born stays first
        found.append(_status(row, present=row["station"] not in seen, owned=row["stream_id"] in owned))
        seen.add(row["station"])
    return found


def _status(row: sa.RowMapping, *, present: bool, owned: bool) -> StreamStatus:
    ledger = ledger_of(row)
    gone = _gone(ledger, row["oldest_available"])
    last_seq = max(ledger.last_seq or 0, ledger.highest)
    same = {
        name: row[name]
        for name in (
            "station", "site", "line", "stream_id", "owner", "host", "software", "committed_seq", "asked_at",
            "oldest_available", "parked", "clock_offset_seconds", "born_at", "last_seen_at",
        )
    }  # fmt: skip
    return StreamStatus(
        **same,
        present=present,
        owned=owned,
        online=row["online"] if present else None,
        arrived=count(ledger.arrived),
        missing=ledger.missing,
        gone=gone,
        asked=ledger.asked,
        last_seq=last_seq,
        backlog=0 if has_gaps(row["stream_id"]) else max(0, last_seq - count(ledger.arrived) - count(gone)),
        troubles=tuple(row["troubles"]),
        copies=len(ledger.mint),
    )


def _gone(ledger: Ledger, oldest_available: int | None) -> Spans:
    if not oldest_available or oldest_available == 1:
        return ()
    return both([(gap.first, gap.last) for gap in ledger.missing], [(1, oldest_available - 1)])
