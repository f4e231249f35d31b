"""Asking a station to send again what central has of it already (a replay), and how far that has come."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.arrivals import Claim, StationCommit
from central.store.ledger import keep, lock, read_opening
from central.store.listing import StreamStatus, stream_statuses
from central.store.quarantined import OTHER_CONTENT
from central.store.spans import Spans, both, told
from central.store.tables import facts, quarantine
from contracts.errors import SetupError


@dataclass(frozen=True)
class Asked:
    """What was asked for, of whom, and the acknowledgement that asks: what it leaves out is sent again."""

    claim: Claim
    spans: Spans
    told: StationCommit
    records: int
    disputed: int


@dataclass(frozen=True)
class Standing:
    """How far a replay has come: what has not come yet, and what central holds in its range."""

    open: Spans
    online: bool
    records: int
    disputed: int


def ask_again(
    connection: sa.Connection,
    central_stream: str,
    station: str,
    first: int | None,
    last: int | None,
    now: datetime,
    stream: str | None = None,
) -> Asked:
    """Ask a station for its present stream again, from ``first`` (the oldest it keeps) to ``last`` (all it has sent);
    or for an earlier one that it still holds: ``stream`` is how its name begins.

    Raises SetupError when that is not possible: the station is not known or offline, or does not hold that far back.
    """
    status = _asked_for(connection, central_stream, station, stream)
    oldest = status.oldest_available or 1
    start = first if first is not None else oldest
    if start < oldest:
        raise SetupError(
            f"station {station} keeps its records from seq {oldest} on: seq {start} is past its retention;"
            f" ask for what it has with --from {oldest}"
        )
    claim = Claim(status.stream_id, station)
    ledger = lock(connection, [claim])[claim]
    spans = ledger.ask((start, last if last is not None else max(ledger.highest, start)), now)
    if not spans:
        has = told(ledger.arrived) or "nothing"
        raise SetupError(
            f"central has no record of station {station} from seq {start} on (it has {has}):"
            " what it lacks, the station sends by itself"
        )
    keep(connection, [ledger], {}, now)
    return Asked(claim, spans, ledger.commit(read_opening(connection), now), *_held(connection, claim, spans))


def withdraw(connection: sa.Connection, claim: Claim, now: datetime) -> StationCommit:
    """Ask no more; answers the acknowledgement that says so."""
    ledger = lock(connection, [claim])[claim]
    ledger.withdraw()
    keep(connection, [ledger], {}, now)
    return ledger.commit(read_opening(connection), now)


def standing(connection: sa.Connection, central_stream: str, asked: Asked) -> Standing:
    """How far it has come."""
    of_station = stream_statuses(connection, central_stream, asked.claim.station)
    status = next(one for one in of_station if one.stream_id == asked.claim.stream_id)
    online = any(one.online for one in of_station if one.present)
    still_open = both(status.asked, asked.spans)
    return Standing(still_open, online, *_held(connection, asked.claim, asked.spans))


def _asked_for(connection: sa.Connection, central_stream: str, station: str, stream: str | None) -> StreamStatus:
    """The stream the station writes now, or the one named."""
    everyone = stream_statuses(connection, central_stream)
    mine = [status for status in everyone if status.station == station]
    if not mine:
        known = ", ".join(sorted({status.station for status in everyone})) or "none"
        raise SetupError(f"station {station} has never been heard of; known stations: {known}")
    status = next(one for one in mine if one.present)
    if not status.online:
        since = f"last heard of at {status.last_seen_at:%Y-%m-%d %H:%M:%SZ}"
        raise SetupError(f"station {station} is offline ({since}): ask again when it is back")
    if stream is not None:
        named = [one for one in mine if one.stream_id.startswith(stream)]
        if len(named) != 1:
            of_it = ", ".join(one.stream_id[:8] for one in mine)
            what = "no stream" if not named else "more than one stream"
            raise SetupError(f"station {station} has {what} whose name begins with {stream}; its streams: {of_it}")
        [status] = named
    if (status.oldest_available or 1) > status.last_seq:
        raise SetupError(f"station {station} holds no records of stream {status.stream_id}")
    return status


def _held(connection: sa.Connection, claim: Claim, spans: Spans) -> tuple[int, int]:
    """Records that count, and contents in dispute, within these seqs."""
    records = disputed = 0
    for first, last in spans:
        mine = (facts.c.stream_id == claim.stream_id) & facts.c.seq.between(first, last) & facts.c.digest.is_not(None)
        records += connection.execute(sa.select(sa.func.count()).select_from(facts).where(mine)).scalar_one()
        others = (
            (quarantine.c.stream_id == claim.stream_id)
            & quarantine.c.first_seq.between(first, last)
            & (quarantine.c.reason == OTHER_CONTENT)
        )
        disputed += connection.execute(sa.select(sa.func.count()).select_from(quarantine).where(others)).scalar_one()
    return records, disputed
