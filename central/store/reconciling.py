"""Machine counters against records, computed by the database: what the machines made, what central has of it.

A machine's counter shows what was made; a record says how many numbers before it the station never read
(``missed_before``). Numbers between two records of a stream that the station did read and central does not have are
on their way, in quarantine, or lost; the streams' ledgers say which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from central.store.listing import StreamStatus, stream_statuses
from central.store.rows import RECORD
from central.store.spans import Spans, count, minus, union
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
        facts.c.station, facts.c.machine, facts.c.stream_id, facts.c.seq, facts.c.completed_at, facts.c.cycle_epoch,
        facts.c.cycle_number, facts.c.missed_before,
    )  # fmt: skip
    same_run = (facts.c.station, facts.c.machine, facts.c.stream_id, facts.c.cycle_epoch)

    def of_the_one_before(column: sa.ColumnElement[Any]) -> sa.Over[Any]:
        return sa.func.lag(column, type_=column.type).over(partition_by=same_run, order_by=facts.c.seq)

    previous = of_the_one_before(facts.c.cycle_number).label("previous")
    previous_at = of_the_one_before(facts.c.completed_at).label("previous_at")
    mine: list[sa.ColumnElement[bool]] = [
        facts.c.kind == RECORD,
        facts.c.station.in_(stations),
        facts.c.machine.is_not(None),
        facts.c.digest.is_not(None),
    ]
    if begins is not None and ends is not None:
        mine += [facts.c.completed_at >= begins - LOOK_BACK, facts.c.completed_at < ends]
    return sa.select(*columns, previous, previous_at).where(*mine).cte("steps")


def _gap(steps: sa.CTE) -> sa.ColumnElement[Any]:
    """Numbers between a record and the one before it that the station has read."""
    between = steps.c.cycle_number - steps.c.previous - 1 - steps.c.missed_before
    return sa.case((between > 0, between), else_=0)


def _never_read(steps: sa.CTE, since: datetime) -> sa.ColumnElement[Any]:
    """Numbers that the station did not read before a record: an outbox that was restored from an older image has
    forgotten some that it read, and that are here in another stream."""
    missed, number = steps.c.missed_before, steps.c.cycle_number
    return sa.case((missed > 0, missed - _elsewhere(steps, since, number - missed, number - 1)), else_=0)


def _not_here(steps: sa.CTE, since: datetime) -> sa.ColumnElement[Any]:
    """Numbers that the station did read, and that are in no stream here."""
    gap = _gap(steps)
    return sa.case(
        (gap > 0, gap - _elsewhere(steps, since, steps.c.previous + 1, steps.c.previous + gap)),
        else_=0,
    )


def _elsewhere(
    steps: sa.CTE, since: datetime, first: sa.ColumnElement[Any], last: sa.ColumnElement[Any]
) -> sa.ScalarSelect[Any]:
    """How many of these numbers another stream has, made since the record before."""
    other = facts.alias("other")
    mine = _in_another_stream(
        other, steps.c, since=sa.func.coalesce(steps.c.previous_at, sa.literal(since, UtcDateTime))
    )
    counted = sa.select(sa.func.count(other.c.cycle_number.distinct())).where(
        *mine, other.c.cycle_number.between(first, last)
    )
    return counted.correlate(steps).scalar_subquery()


def _in_another_stream(
    other: sa.FromClause, record: Any, *, since: sa.ColumnElement[Any] | datetime
) -> list[sa.ColumnElement[bool]]:
    return [
        other.c.kind == RECORD,
        other.c.digest.is_not(None),
        other.c.station == record.station,
        other.c.machine == record.machine,
        other.c.cycle_epoch == record.cycle_epoch,
        other.c.stream_id != record.stream_id,
        other.c.completed_at >= since,
        other.c.completed_at <= record.completed_at,
    ]


def _machine_counts(connection: sa.Connection, steps: sa.CTE, periods: Sequence[Period]) -> Sequence[MachineCount]:
    shifts = _shifts(periods)
    since = min(period.begins_at for period in periods) - LOOK_BACK

    def at_end(value: sa.FunctionElement[Any]) -> sa.Over[Any]:
        in_time = (steps.c.completed_at, steps.c.stream_id, steps.c.seq)
        place = (steps.c.station, steps.c.machine, shifts.c.number)
        return value.over(partition_by=place, order_by=in_time, rows=(None, None))

    within = (steps.c.completed_at >= shifts.c.begins_at) & (steps.c.completed_at < shifts.c.ends_at)
    placed = (
        sa.select(
            steps,
            shifts.c.number,
            _not_here(steps, since).label("gap"),
            _never_read(steps, since).label("unread"),
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
        sa.func.coalesce(sa.func.sum(placed.c.unread), 0).label("never_read"),
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
    since = first - LOOK_BACK
    found = (
        sa.select(
            steps,
            _gap(steps).label("gap"),
            _not_here(steps, since).label("not_here"),
            _never_read(steps, since).label("unread"),
        )
        .where(
            steps.c.completed_at >= first,
            steps.c.completed_at < last,
            (steps.c.missed_before > 0) | steps.c.missed_before.is_(None) | (_gap(steps) > 0),
        )
        .order_by(steps.c.station, steps.c.machine, steps.c.completed_at, steps.c.stream_id, steps.c.seq)
    )
    rows = connection.execute(found).all()
    return [
        missing
        for row in rows
        for one in _missing_of(row._mapping)
        if (missing := _without(one, _numbers_elsewhere(connection, row, since))) is not None
    ]


def _numbers_elsewhere(connection: sa.Connection, row: sa.Row[Any], since: datetime) -> Spans:
    """Of the numbers a record shows as missing, those that another stream has."""
    if row.missed_before is None or (row.not_here, row.unread) == (row.gap, row.missed_before):
        return ()
    other = facts.alias("other")
    mine = _in_another_stream(other, row, since=row.previous_at or since)
    numbers = sa.select(other.c.cycle_number).where(*mine, other.c.cycle_number < row.cycle_number)
    return union((number, number) for number in connection.execute(numbers).scalars())


def _without(one: MissingNumbers, here: Spans) -> MissingNumbers | None:
    if not here:
        return one
    numbers = minus(one.numbers, here)
    return replace(one, numbers=numbers, count=count(numbers)) if numbers else None


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
