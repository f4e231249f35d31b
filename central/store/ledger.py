"""The ledger of the streams: whose each is, what of it has arrived, and the commit acknowledgement that says so.

Each station that writes in a stream has a ledger of its own, so that it settles there and cannot settle what another
has not delivered. A stream is one station's; the first one seen to write in it, by its birth or by something that can
be read, is its owner, and any other is told to begin a stream of its own; who only holds it owns nothing. That is all
an owner is: what becomes of a record is the same whoever was seen first (docs/decisions/0009).
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.arrivals import Claim, StationCommit
from central.store.spans import Spans, both, minus, union
from central.store.statements import insert_once
from central.store.tables import store_meta, streams
from contracts.envelope import COMMIT_RANGES, Commit, Range, has_gaps

REMEMBERED = 16
"""Instances of a stream that are remembered, and that are told to begin a new one."""


@dataclass(frozen=True)
class Place:
    """Where a station stands: the levels of its topic above its own."""

    site: str
    line: str


@dataclass(frozen=True)
class Opening:
    """What a commit is said by: the database, and the time it has been open since (``Store.begin_generation``).

    ``central_stream`` holds what people decided: no station writes in it.
    """

    epoch: str
    generation: str
    central_stream: str = ""


@dataclass(frozen=True)
class Gap:
    """Seqs that have not arrived although a higher one has, and when that was first seen."""

    first: int
    last: int
    since: datetime


@dataclass
class Ledger:
    """What has arrived of one stream from one station, as a record or in quarantine.

    ``asked`` has arrived and is asked for again: to the station it is as if it had not, until it comes. ``mint`` are
    the instances of the agent that have to begin a new stream.
    """

    claim: Claim
    place: Place
    owner: bool
    arrived: Spans
    missing: tuple[Gap, ...] = ()
    asked: Spans = ()
    asked_at: datetime | None = None
    revision: int = 0
    mint: tuple[str, ...] = ()
    last_seq: int | None = None
    clock_offset_seconds: float | None = None

    def has(self, seq: int) -> bool:
        """True when this seq has arrived."""
        place = bisect_right(self.arrived, seq, key=lambda span: span[0])
        return place > 0 and seq <= self.arrived[place - 1][1]

    @property
    def highest(self) -> int:
        """The highest seq that has arrived."""
        return self.arrived[-1][1] if self.arrived else 0

    def settle(self, ranges: Iterable[Range], now: datetime) -> None:
        """Add what has arrived."""
        new = tuple(ranges)
        self.arrived = union(self.arrived, new)
        self.asked = minus(self.asked, new)
        self.asked_at = self.asked_at if self.asked else None
        holes = (
            () if has_gaps(self.claim.stream_id) else minus([(1, self.highest)] if self.arrived else (), self.arrived)
        )
        self.missing = tuple(Gap(first, last, self._since(first) or now) for first, last in holes)

    def _since(self, seq: int) -> datetime | None:
        """Since when this seq is missed: what closes a gap leaves smaller ones as old as it was."""
        place = bisect_right(self.missing, seq, key=lambda gap: gap.first)
        known = self.missing[place - 1] if place else None
        return known.since if known is not None and seq <= known.last else None

    def ask(self, wanted: Range, now: datetime) -> Spans:
        """Ask for these again. What has not arrived is asked for anyway; answers what has, and is now wanted."""
        again = both(self.arrived, [wanted])
        self.asked = union(self.asked, again)
        self.asked_at = now if self.asked else None
        return again

    def withdraw(self, but: Iterable[Range] = ()) -> None:
        """Ask no more, or only for what lies in ``but``: the station does not hold the rest."""
        self.asked = both(self.asked, but)
        self.asked_at = self.asked_at if self.asked else None

    def tell_to_mint(self, instance: str) -> None:
        """This instance has to begin a new stream. It settles by what has arrived, whatever was asked for again."""
        if instance not in self.mint:
            self.mint = (*self.mint, instance)[-REMEMBERED:]
        self.withdraw()

    def commit(self, opening: Opening, at: datetime) -> StationCommit:
        """The acknowledgement of all that has arrived and is not asked for again."""
        committed_seq, ranges = floor_and_ranges(minus(self.arrived, self.asked))
        return StationCommit(
            site=self.place.site,
            line=self.place.line,
            station=self.claim.station,
            commit=Commit(
                stream_id=self.claim.stream_id,
                epoch=opening.epoch,
                generation=opening.generation,
                revision=self.revision,
                committed_seq=committed_seq,
                ranges=ranges[:COMMIT_RANGES],
                known_seq=self.highest,
                mint=self.mint,
                at=at,
            ),
        )


def floor_and_ranges(spans: Spans) -> tuple[int, Spans]:
    """The highest seq without a gap below it (0: none), and what lies above it."""
    if spans and spans[0][0] == 1:
        return spans[0][1], spans[1:]
    return 0, spans


def read_opening(connection: sa.Connection) -> Opening:
    """The database's names, as this transaction sees them."""
    names = {row.key: row.value for row in connection.execute(sa.select(store_meta.c.key, store_meta.c.value))}
    return Opening(names.get("epoch", ""), names.get("generation", ""), names.get("central_stream", ""))


def claim_streams(
    connection: sa.Connection, claims: Mapping[Claim, Place], now: datetime, unproved: Collection[Claim] = ()
) -> dict[Claim, Ledger]:
    """The ledgers of these claims, made where they are new, locked until the transaction ends, in a fixed order.

    Ledgers of others in the same streams come with them. ``unproved`` claims own nothing.
    """
    known = lock(connection, claims)
    for claim in sorted(claims.keys() - known.keys()):
        owned = any(ledger.owner for ledger in known.values() if ledger.claim.stream_id == claim.stream_id)
        row = {
            "stream_id": claim.stream_id,
            "station": claim.station,
            "site": claims[claim].site,
            "line": claims[claim].line,
            "committed_seq": 0,
            **{column: [] for column in ("ranges", "missing", "asked", "instances", "mint", "troubles")},
            "revision": 0,
            "parked": 0,
            "first_seen_at": now,
            "last_seen_at": now,
        }
        # Another service may claim the same stream at this moment: its row stands, ours is not the owner's.
        for owner in (False,) if owned or claim in unproved else (True, False):
            insert_once(connection, streams, [{**row, "owner": owner}])
        known = lock(connection, claims)
    for claim in sorted(claims.keys() - set(unproved)):
        if not any(ledger.owner for ledger in known.values() if ledger.claim.stream_id == claim.stream_id):
            _own(connection, known[claim])
    return known


def _own(connection: sa.Connection, ledger: Ledger) -> None:
    """A station whose first word could not be read is the owner after all, unless another becomes it at this moment."""
    mine = (streams.c.stream_id == ledger.claim.stream_id) & (streams.c.station == ledger.claim.station)
    try:
        with connection.begin_nested():
            connection.execute(sa.update(streams).where(mine).values(owner=True))
    except sa.exc.IntegrityError:
        return
    ledger.owner = True


def lock(connection: sa.Connection, claims: Iterable[Claim]) -> dict[Claim, Ledger]:
    """Every ledger of these claims' streams, locked until the transaction ends, in a fixed order."""
    wanted = sorted({claim.stream_id for claim in claims})
    rows = connection.execute(
        sa.select(streams)
        .where(streams.c.stream_id.in_(wanted))
        .order_by(streams.c.stream_id, streams.c.station)
        .with_for_update()
    ).mappings()
    return {ledger.claim: ledger for ledger in map(ledger_of, rows)}


def ledger_of(row: sa.RowMapping) -> Ledger:
    """A row of ``streams``."""
    floor = [(1, row["committed_seq"])] if row["committed_seq"] else []
    return Ledger(
        claim=Claim(row["stream_id"], row["station"]),
        place=Place(row["site"], row["line"]),
        owner=row["owner"],
        arrived=union(floor, _spans(row["ranges"])),
        missing=tuple(Gap(first, last, datetime.fromisoformat(since)) for first, last, since in row["missing"]),
        asked=_spans(row["asked"]),
        asked_at=row["asked_at"],
        revision=row["revision"],
        mint=tuple(row["mint"]),
        last_seq=row["last_seq"],
        clock_offset_seconds=row["clock_offset_seconds"],
    )


def _spans(stored: Iterable[Iterable[int]]) -> Spans:
    return tuple((first, last) for first, last in stored)


def find(connection: sa.Connection, stream_id: str, station: str | None) -> Ledger | None:
    """One ledger: the owner's where no station is named."""
    who = streams.c.owner if station is None else streams.c.station == station
    row = connection.execute(sa.select(streams).where(streams.c.stream_id == stream_id, who)).mappings().one_or_none()
    return None if row is None else ledger_of(row)


def may_own(connection: sa.Connection, claim: Claim) -> bool:
    """True unless the stream belongs to another station."""
    owner = connection.execute(
        sa.select(streams.c.station).where(streams.c.stream_id == claim.stream_id, streams.c.owner)
    ).scalar_one_or_none()
    return owner in (None, claim.station)


def keep(connection: sa.Connection, ledgers: Iterable[Ledger], places: Mapping[Claim, Place], now: datetime) -> None:
    """Write the ledgers back, each a revision further. A station that moved to another line answers there from now
    on."""
    rows = []
    for ledger in sorted(ledgers, key=lambda one: one.claim):
        ledger.place = places.get(ledger.claim, ledger.place)
        ledger.revision += 1
        committed_seq, ranges = floor_and_ranges(ledger.arrived)
        rows.append(
            {
                "its_stream": ledger.claim.stream_id,
                "its_station": ledger.claim.station,
                "site": ledger.place.site,
                "line": ledger.place.line,
                "committed_seq": committed_seq,
                "ranges": [list(one) for one in ranges],
                "missing": [[gap.first, gap.last, gap.since.isoformat()] for gap in ledger.missing],
                "asked": [list(one) for one in ledger.asked],
                "asked_at": ledger.asked_at,
                "revision": ledger.revision,
                "mint": list(ledger.mint),
                "last_seq": ledger.last_seq,
                "clock_offset_seconds": ledger.clock_offset_seconds,
                "last_seen_at": now,
            }
        )
    if rows:
        mine = (streams.c.stream_id == sa.bindparam("its_stream")) & (streams.c.station == sa.bindparam("its_station"))
        connection.execute(sa.update(streams).where(mine), rows)
