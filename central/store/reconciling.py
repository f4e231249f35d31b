"""Machine counters against records, computed by the database: what the machines made, what central has of it.

A machine's counter shows what was made; a record says how many numbers before it the station never read
(``missed_before``). Numbers between two records of a stream that the station did read and central does not have are
on their way, in quarantine, or lost; the streams' ledgers say which.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from central.store.listing import StreamStatus, stream_statuses
from central.store.rows import RECORD
from central.store.tables import UtcDateTime, facts, quarantine

LOOK_BACK = timedelta(days=2)
"""How far before the period a record's predecessor is looked for."""


class Period(Protocol):
    """A shift, or whatever else counts are wanted for."""

    @property
    def date(self) -> date:
        """The day it belongs to."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def begins_at(self) -> datetime:
        """Its first moment."""

    @property
    def ends_at(self) -> datetime:
        """The first moment after it."""


@dataclass(frozen=True)
class MachineCount:
    """One machine in one shift, by the time its results were completed (by a true clock).

    ``made`` is what its counter says: committed + not_here + never_read - doubled; None where the counter stepped back
    or there is none. ``stored`` were read and kept by the station, as far as the counter tells; ``committed`` are
    here; ``not_here`` are the others. ``never_read``: the station saw the counter pass them. ``doubled``: the same
    number of the same machine again. ``restarts``: how often the counter stepped back; what is missing there nobody
    knows.
    """

    station: str
    machine: str
    date: date
    shift: str
    first: int | None
    last: int | None
    made: int | None
    stored: int
    committed: int
    never_read: int
    not_here: int
    doubled: int
    restarts: int


@dataclass(frozen=True)
class MissingNumbers:
    """Numbers of a machine without a record, just before the record with ``number``.

    ``numbers`` are ranges, both ends included; empty where they cannot be known (``count`` is None then).
    ``never_read`` tells whether the station knows that it never read them; the others it has read.
    """

    station: str
    machine: str
    number: int | None
    at: datetime
    stream_id: str
    seq: int
    numbers: tuple[tuple[int, int], ...]
    count: int | None
    never_read: bool


@dataclass(frozen=True)
class StationCount:
    """A station's stream: what the station has stored, what is here, and what is not."""

    stream: StreamStatus
    quarantined: int


@dataclass(frozen=True)
class Reconciliation:
    """Counters against records for some shifts, and the ledgers as they stand."""

    machines: tuple[MachineCount, ...]
    missing: tuple[MissingNumbers, ...]
    stations: tuple[StationCount, ...]

    @property
    def agrees(self) -> bool:
        """True when everything the machines made is here, once."""
        return (
            not self.missing
            and not any(
                station.stream.backlog or station.stream.missing or station.stream.parked or station.quarantined
                for station in self.stations
            )
            and not any(row.doubled for row in self.machines)
        )


def reconcile(
    connection: sa.Connection, central_stream: str, periods: Sequence[Period], station: str | None = None
) -> Reconciliation:
    """Reconcile these shifts, of one station or of all."""
    statuses = stream_statuses(connection, central_stream, station)
    names = sorted({status.station for status in statuses})
    steps = _steps(names, periods)
    return Reconciliation(
        machines=tuple(_machine_counts(connection, steps, periods)) if periods else (),
        missing=tuple(_missing(connection, steps, periods)) if periods else (),
        stations=tuple(_station_counts(connection, statuses)),
    )


def _steps(stations: Sequence[str], periods: Sequence[Period]) -> sa.CTE:
    """Each record beside the one before it in its stream, of the same machine and the same run of its counter."""
    begins = min((period.begins_at for period in periods), default=None)
    ends = max((period.ends_at for period in periods), default=None)
    columns = (
        facts.c.station, facts.c.machine, facts.c.stream_id, facts.c.seq, facts.c.completed_at, facts.c.cycle_number,
        facts.c.missed_before,
    )  # fmt: skip
    same_run = (facts.c.station, facts.c.machine, facts.c.stream_id, facts.c.cycle_epoch)
    previous = sa.func.lag(facts.c.cycle_number).over(partition_by=same_run, order_by=facts.c.seq).label("previous")
    mine: list[sa.ColumnElement[bool]] = [
        facts.c.kind == RECORD,
        facts.c.station.in_(stations),
        facts.c.machine.is_not(None),
        facts.c.digest.is_not(None),
    ]
    if begins is not None and ends is not None:
        mine += [facts.c.completed_at >= begins - LOOK_BACK, facts.c.completed_at < ends]
    return sa.select(*columns, previous).where(*mine).cte("steps")


def _gap(steps: sa.CTE) -> sa.ColumnElement[Any]:
    """Numbers between a record and the one before it that the station has read."""
    between = steps.c.cycle_number - steps.c.previous - 1 - steps.c.missed_before
    return sa.case((between > 0, between), else_=0)


def _machine_counts(connection: sa.Connection, steps: sa.CTE, periods: Sequence[Period]) -> Sequence[MachineCount]:
    shifts = _shifts(periods)

    def at_end(value: sa.FunctionElement[Any]) -> sa.Over[Any]:
        in_time = (steps.c.completed_at, steps.c.stream_id, steps.c.seq)
        place = (steps.c.station, steps.c.machine, shifts.c.number)
        return value.over(partition_by=place, order_by=in_time, rows=(None, None))

    within = (steps.c.completed_at >= shifts.c.begins_at) & (steps.c.completed_at < shifts.c.ends_at)
    placed = (
        sa.select(
            steps,
            shifts.c.number,
            _gap(steps).label("gap"),
            at_end(sa.func.first_value(steps.c.cycle_number)).label("first"),
            at_end(sa.func.last_value(steps.c.cycle_number)).label("last"),
        )
        .select_from(steps.join(shifts, within))
        .cte("placed")
    )
    counted = sa.select(
        placed.c.station,
        placed.c.machine,
        placed.c.number,
        sa.func.max(placed.c.first).label("first"),
        sa.func.max(placed.c.last).label("last"),
        sa.func.count().label("committed"),
        sa.func.count(placed.c.cycle_number).label("numbered"),
        sa.func.coalesce(sa.func.sum(placed.c.missed_before), 0).label("never_read"),
        sa.func.coalesce(sa.func.sum(placed.c.gap), 0).label("not_here"),
        sa.func.count(sa.case((placed.c.cycle_number == placed.c.previous, 1))).label("doubled"),
        sa.func.count(sa.case((placed.c.missed_before.is_(None), 1))).label("restarts"),
    ).group_by(placed.c.station, placed.c.machine, placed.c.number)
    rows = connection.execute(counted.order_by(placed.c.station, placed.c.number, placed.c.machine)).mappings()
    return [_machine_count(row, periods[row["number"]]) for row in rows]


def _machine_count(row: sa.RowMapping, period: Period) -> MachineCount:
    committed, never_read, not_here, doubled = (
        int(row[name]) for name in ("committed", "never_read", "not_here", "doubled")
    )
    counts = row["numbered"] == committed and not row["restarts"]
    return MachineCount(
        station=row["station"],
        machine=row["machine"],
        date=period.date,
        shift=period.name,
        first=row["first"],
        last=row["last"],
        made=committed + never_read + not_here - doubled if counts else None,
        stored=committed + not_here,
        committed=committed,
        never_read=never_read,
        not_here=not_here,
        doubled=doubled,
        restarts=row["restarts"],
    )


def _missing(connection: sa.Connection, steps: sa.CTE, periods: Sequence[Period]) -> Sequence[MissingNumbers]:
    first, last = min(period.begins_at for period in periods), max(period.ends_at for period in periods)
    found = (
        sa.select(steps, _gap(steps).label("gap"))
        .where(
            steps.c.completed_at >= first,
            steps.c.completed_at < last,
            (steps.c.missed_before > 0) | steps.c.missed_before.is_(None) | (_gap(steps) > 0),
        )
        .order_by(steps.c.station, steps.c.machine, steps.c.completed_at, steps.c.stream_id, steps.c.seq)
    )
    return [one for row in connection.execute(found).mappings() for one in _missing_of(row)]


def _missing_of(row: sa.RowMapping) -> Sequence[MissingNumbers]:
    """The numbers a record shows as missing: those never read are told apart by how many they are, and the station
    read the earlier ones before it lost sight."""
    number, missed, previous, gap = row["cycle_number"], row["missed_before"], row["previous"], row["gap"]

    def missing(numbers: Sequence[tuple[int, int]], count: int | None, *, never_read: bool) -> MissingNumbers:
        return MissingNumbers(
            station=row["station"],
            machine=row["machine"],
            number=number,
            at=row["completed_at"],
            stream_id=row["stream_id"],
            seq=row["seq"],
            numbers=tuple(numbers),
            count=count,
            never_read=never_read,
        )

    if missed is None:
        return [missing((), None, never_read=True)]
    found = []
    if gap:
        found.append(missing([(previous + 1, previous + gap)], gap, never_read=False))
    if missed:
        found.append(missing(_before(number, missed, previous), missed, never_read=True))
    return found


def _before(number: int | None, missed: int, previous: int | None) -> Sequence[tuple[int, int]]:
    """The ``missed`` numbers before ``number``; of a counter that wrapped, those after ``previous`` and from 0 on."""
    if number is None:
        return ()
    if number >= missed:
        return [(number - missed, number - 1)]
    low = [(0, number - 1)] if number else []
    return low if previous is None else [(previous + 1, previous + missed - number), *low]


def _station_counts(connection: sa.Connection, statuses: Sequence[StreamStatus]) -> Sequence[StationCount]:
    per_stream = sa.select(quarantine.c.stream_id, sa.func.count()).group_by(quarantine.c.stream_id)
    counts = {row[0]: row[1] for row in connection.execute(per_stream)}
    return [StationCount(status, counts.get(status.stream_id, 0)) for status in statuses]


def _shifts(periods: Sequence[Period]) -> sa.CTE:
    """The shifts as rows, each with its place in ``periods``."""
    return sa.union_all(
        *(
            sa.select(
                sa.literal(number).label("number"),
                sa.literal(period.begins_at, UtcDateTime).label("begins_at"),
                sa.literal(period.ends_at, UtcDateTime).label("ends_at"),
            )
            for number, period in enumerate(periods)
        )
    ).cte("shifts")
