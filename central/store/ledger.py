"""The ledger of the streams: whose each is, what of it has arrived, and the commit acknowledgement that says so.

A stream belongs to the station that is first seen with it, by birth or by message. Another station that writes in it
gets a ledger of its own, so that it settles there and cannot settle what the owner has not delivered.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.arrivals import StationCommit
from central.store.statements import insert_once
from central.store.tables import streams
from contracts.envelope import Commit, Range


@dataclass(frozen=True, order=True)
class Claim:
    """A station's claim to a stream."""

    stream_id: str
    station: str


@dataclass(frozen=True)
class Place:
    """Where a station stands: the levels of its topic above its own."""

    site: str
    line: str


@dataclass
class Ledger:
    """What has arrived of one stream from one station."""

    claim: Claim
    place: Place
    owner: bool
    committed_seq: int
    ranges: tuple[Range, ...]

    def has(self, seq: int) -> bool:
        """True when this seq has arrived, as a record or in quarantine."""
        return seq <= self.committed_seq or any(first <= seq <= last for first, last in self.ranges)

    def settle(self, arrived: Iterable[Range]) -> None:
        """Add what has arrived."""
        self.committed_seq, self.ranges = merged(self.committed_seq, [*self.ranges, *arrived])

    def commit(self, epoch: str, at: datetime) -> StationCommit:
        """The acknowledgement of all that has arrived."""
        return StationCommit(
            site=self.place.site,
            line=self.place.line,
            station=self.claim.station,
            commit=Commit(
                stream_id=self.claim.stream_id,
                epoch=epoch,
                committed_seq=self.committed_seq,
                ranges=self.ranges,
                at=at,
            ),
        )


def merged(committed_seq: int, ranges: Iterable[Range]) -> tuple[int, tuple[Range, ...]]:
    """The highest seq without a gap below it, and what lies above it as rising ranges that do not touch."""
    above: list[Range] = []
    for first, last in sorted(ranges):
        if first <= committed_seq + 1:
            committed_seq = max(committed_seq, last)
        elif above and first <= above[-1][1] + 1:
            above[-1] = (above[-1][0], max(above[-1][1], last))
        else:
            above.append((first, last))
    return committed_seq, tuple(above)


def claim_streams(connection: sa.Connection, claims: Mapping[Claim, Place], now: datetime) -> dict[Claim, Ledger]:
    """The ledgers of these claims, made where they are new, locked until the transaction ends, in a fixed order.

    Ledgers of the streams' owners come with them.
    """
    known = _locked(connection, claims)
    for claim in sorted(claims.keys() - known.keys()):
        owned = any(ledger.owner for ledger in known.values() if ledger.claim.stream_id == claim.stream_id)
        row = {
            "stream_id": claim.stream_id,
            "station": claim.station,
            "site": claims[claim].site,
            "line": claims[claim].line,
            "committed_seq": 0,
            "ranges": [],
            "first_seen_at": now,
            "last_seen_at": now,
        }
        # Another service may claim the same stream at this moment: its row stands, ours is not the owner's.
        for owner in (False,) if owned else (True, False):
            insert_once(connection, streams, [{**row, "owner": owner}])
        known = _locked(connection, claims)
    return known


def _locked(connection: sa.Connection, claims: Iterable[Claim]) -> dict[Claim, Ledger]:
    wanted = sorted({claim.stream_id for claim in claims})
    rows = connection.execute(
        sa.select(streams)
        .where(streams.c.stream_id.in_(wanted))
        .order_by(streams.c.stream_id, streams.c.station)
        .with_for_update()
    ).mappings()
    return {ledger.claim: ledger for ledger in map(_ledger, rows)}


def _ledger(row: sa.RowMapping) -> Ledger:
    return Ledger(
        claim=Claim(row["stream_id"], row["station"]),
        place=Place(row["site"], row["line"]),
        owner=row["owner"],
        committed_seq=row["committed_seq"],
        ranges=tuple((first, last) for first, last in row["ranges"]),
    )


def find(connection: sa.Connection, stream_id: str, station: str | None) -> Ledger | None:
    """One ledger: the owner's where no station is named."""
    who = streams.c.owner if station is None else streams.c.station == station
    row = connection.execute(sa.select(streams).where(streams.c.stream_id == stream_id, who)).mappings().one_or_none()
    return None if row is None else _ledger(row)


def keep(connection: sa.Connection, ledgers: Iterable[Ledger], places: Mapping[Claim, Place], now: datetime) -> None:
    """Write the ledgers back. A station that moved to another line answers there from now on."""
    rows = []
    for ledger in sorted(ledgers, key=lambda one: one.claim):
        ledger.place = places.get(ledger.claim, ledger.place)
        rows.append(
            {
                "its_stream": ledger.claim.stream_id,
                "its_station": ledger.claim.station,
                "site": ledger.place.site,
                "line": ledger.place.line,
                "committed_seq": ledger.committed_seq,
                "ranges": [list(one) for one in ledger.ranges],
                "last_seen_at": now,
            }
        )
    if rows:
        mine = (streams.c.stream_id == sa.bindparam("its_stream")) & (streams.c.station == sa.bindparam("its_station"))
        connection.execute(sa.update(streams).where(mine), rows)
