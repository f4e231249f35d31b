"""Golden samples: which checks decide about units, which units a check decides about, and what a person sees of it.

That a failed check holds the units since the last good one, and until the next, is derived by the fold
(contracts/route_golden.py); here is what the fold has to be given, and which units it has to be done for when a check
arrives, late or not.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from central.store.arrivals import Alarm, AlarmKind, Claim
from central.store.exceptions import holds
from central.store.rows import PERMIT, Fields, sample_check
from central.store.tables import facts
from contracts.record import Part
from contracts.route_golden import REACH
from contracts.route_model import ExceptionCode, FactKey, SampleCheck, hold_name

_OF_CHECK = tuple(
    facts.c[name] for name in ("stream_id", "seq", "station", "machine", "sample", "good", "completed_at")
)
_Series = tuple[str, str, str]
"""Station, machine and sample."""


@dataclass(frozen=True)
class GoldenRow:
    """A check of a machine: the last one of each sample, and every failed one that holds units still."""

    station: str
    machine: str
    sample: str
    good: bool
    checked_at: datetime
    hold_id: str | None
    on_hold: tuple[str, ...]


def checks_of(
    connection: sa.Connection, machines: Collection[tuple[str, str]], as_of: datetime | None = None
) -> list[SampleCheck]:
    """All checks of these machines (station and machine) with samples that failed there; none where none has.
    ``as_of``: those that were known at that moment."""
    failed = [series for series in _failed(connection, {station for station, _ in machines}) if series[:2] in machines]
    return [sample_check(row) for series in sorted(failed) for row in _checks(connection, series, as_of)]


def worked_on(connection: sa.Connection, rows: Iterable[Fields]) -> dict[str, FactKey]:
    """The units that these rows of ``facts`` decide about, those of them that are checks; each with one of them.

    A check stands between the one before it and the one after it: what lies there may be decided otherwise now. A
    machine that never failed a sample has held nothing.
    """
    checks = [row for row in rows if row["sample"] is not None]
    if not checks:
        return {}
    failed = _failed(connection, {row["station"] for row in checks})
    failed |= {_series(row) for row in checks if not row["good"]}
    found: dict[str, FactKey] = {}
    for row in checks:
        if _series(row) in failed:
            key = row["stream_id"], row["seq"]
            found.update(dict.fromkeys(_between(connection, row), key))
    return found


def failed_alarms(rows: Iterable[Fields]) -> list[Alarm]:
    """One alarm for each stream that a failed check came in."""
    failed: defaultdict[Claim, list[Fields]] = defaultdict(list)
    for row in rows:
        if row["sample"] is not None and not row["good"]:
            failed[Claim(row["stream_id"], row["station"])].append(row)
    return [Alarm(AlarmKind.GOLDEN_SAMPLE_FAILED, claim, _told(some[-1]), len(some)) for claim, some in failed.items()]


def golden_rows(connection: sa.Connection, station: str | None) -> list[GoldenRow]:
    """By station, machine and sample, the newest check first."""
    held: defaultdict[str, list[str]] = defaultdict(list)
    for row in connection.execute(holds(connection)).mappings():
        if row["serial_number"] is not None:
            held[row["one"]["hold_id"]].append(row["serial_number"])
    wanted = sa.select(*_OF_CHECK).where(facts.c.sample.is_not(None))
    if station is not None:
        wanted = wanted.where(facts.c.station == station)
    series = (facts.c.station, facts.c.machine, facts.c.sample)
    newest_first = (facts.c.completed_at.desc(), facts.c.stream_id, facts.c.seq.desc())
    found: list[GoldenRow] = []
    for row in connection.execute(wanted.order_by(*series, *newest_first)).mappings():
        check = sample_check(row)
        hold_id = None if check.good else hold_name(ExceptionCode.GOLDEN_SAMPLE_FAILED, check.key)
        units = tuple(held.get(hold_id or "", ()))
        is_last = not found or (found[-1].station, found[-1].machine, found[-1].sample) != _series(row)
        if is_last or units:
            found.append(GoldenRow(*_series(row), check.good, check.at, hold_id, units))
    return found


def held_by(connection: sa.Connection, hold_id: str) -> list[str]:
    """The units that this hold holds now."""
    rows = connection.execute(holds(connection, hold_id)).mappings()
    return [row["serial_number"] for row in rows if row["serial_number"] is not None]


def _series(row: Fields) -> _Series:
    return row["station"], row["machine"], row["sample"]


def _told(row: Fields) -> str:
    return (
        f"{row['machine']}: golden sample {row['sample']}; its units since the last good check, and until the next, "
        "are on hold (neurohub-central golden)"
    )


def _failed(connection: sa.Connection, stations: Collection[str]) -> set[_Series]:
    columns = (facts.c.station, facts.c.machine, facts.c.sample)
    mine = facts.c.station.in_(sorted(stations)) & facts.c.sample.is_not(None) & facts.c.good.is_(False)
    return {(row.station, row.machine, row.sample) for row in connection.execute(sa.select(*columns).where(mine))}


def _checks(
    connection: sa.Connection, series: _Series, as_of: datetime | None = None
) -> Sequence[Mapping[str, object]]:
    wanted = sa.select(*_OF_CHECK).where(_of(series))
    if as_of is not None:
        wanted = wanted.where(facts.c.received_at <= as_of)
    return [dict(row) for row in connection.execute(wanted).mappings()]


def _of(series: _Series) -> sa.ColumnElement[bool]:
    station, machine, sample = series
    return (facts.c.station == station) & (facts.c.machine == machine) & (facts.c.sample == sample)


def _between(connection: sa.Connection, check: Fields) -> Iterator[str]:
    """Units with a record between the check before this one in its stream and the one after it; and of other streams
    of the station, those that it may stand next to by time."""
    stream, seq, at = check["stream_id"], check["seq"], check["completed_at"]
    in_stream = _of(_series(check)) & (facts.c.stream_id == stream)
    before = sa.select(sa.func.max(facts.c.seq)).where(in_stream, facts.c.seq < seq)
    after = sa.select(sa.func.min(facts.c.seq)).where(in_stream, facts.c.seq > seq)
    first, last = connection.execute(before).scalar_one(), connection.execute(after).scalar_one()
    here = (facts.c.stream_id == stream) & (facts.c.seq > (first or 0))
    if last is not None:
        here &= facts.c.seq < last
    elsewhere = (facts.c.stream_id != stream) & facts.c.completed_at.between(at - REACH, at + REACH)
    for place in (here, elsewhere):
        worked = sa.select(facts.c.serial_number).distinct()
        mine = (facts.c.station == check["station"]) & (facts.c.machine == check["machine"])
        # A refusal may name a unit that does not exist; a permit alone is no work.
        units = (facts.c.kind != PERMIT) & (facts.c.part == Part.PRODUCT.value) & facts.c.serial_number.is_not(None)
        yield from connection.execute(worked.where(place, mine, units)).scalars()
