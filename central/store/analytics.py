"""Figures of production and quality, computed by the database.

Golden samples, dry runs and calibration parts count nowhere, nor does what was deleted; of a corrected record the
correction counts. Shares are percentages, None where there is nothing to have a share of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from central.store.tables import UtcDateTime, lots, process_data, processes, serials, users
from contracts.record import Part
from contracts.route_model import LotStatus, UnitStatus

RECENT = 20
"""Executions and units shown as the latest."""
ACTIVE = (LotStatus.CREATED.value, LotStatus.IN_PROGRESS.value)
DONE = (LotStatus.COMPLETED.value, LotStatus.CLOSED.value)
FINISHED = (UnitStatus.PASSED.value, UnitStatus.FAILED.value)

_unit = serials.c
_run = process_data.c
_LOTS = lots.c.deleted_at.is_(None)
_UNITS = _unit.deleted_at.is_(None)
_RUNS = (_run.part == Part.PRODUCT.value) & _run.deleted_at.is_(None)
_BEGAN = sa.func.coalesce(_unit.started_at, _unit.created_at)
"""When a unit came into being: its first record, else when it was entered."""


@dataclass(frozen=True)
class Day:
    """A day of the site: from its first shift up to the next day's."""

    date: date
    begins_at: datetime
    ends_at: datetime


def share(part: int | None, whole: int | None) -> float | None:
    """In percent, to two decimals; None of nothing."""
    return round(100 * (part or 0) / whole, 2) if whole else None


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((condition, 1)))


def _within(column: sa.ColumnElement[Any], day: Day) -> sa.ColumnElement[bool]:
    return (column >= day.begins_at) & (column < day.ends_at)


def _seconds() -> sa.ColumnElement[float]:
    return sa.func.avg(_run.cycle_time_seconds)


def lot_counts(connection: sa.Connection, today: Day, monday: date) -> sa.RowMapping:
    """LOTs: total, today, this_week, active."""
    wanted = sa.select(
        sa.func.count().label("total"),
        _count(lots.c.production_date == today.date).label("today"),
        _count((lots.c.production_date >= monday) & (lots.c.production_date <= today.date)).label("this_week"),
        _count(lots.c.status.in_(ACTIVE)).label("active"),
    ).where(_LOTS)
    return connection.execute(wanted).mappings().one()


def lots_completed(connection: sa.Connection, day: Day) -> int:
    """LOTs that are complete, and whose last unit was finished on this day."""
    last = sa.select(_unit.lot_id).where(_UNITS, _within(_unit.completed_at, day)).distinct()
    later = sa.select(_unit.lot_id).where(_UNITS, _unit.completed_at >= day.ends_at)
    mine = lots.c.id.in_(last) & lots.c.id.not_in(later.where(_unit.lot_id.is_not(None)))
    wanted = sa.select(sa.func.count()).select_from(lots).where(_LOTS, lots.c.status.in_(DONE), mine)
    return int(connection.execute(wanted).scalar_one())


def unit_counts(connection: sa.Connection, today: Day) -> sa.RowMapping:
    """Units: total, today, in_progress, passed, failed, reworked, passed_today, failed_today."""
    passed, failed = (_unit.status == status for status in FINISHED)
    wanted = sa.select(
        sa.func.count().label("total"),
        _count(_within(_BEGAN, today)).label("today"),
        _count(_unit.status == UnitStatus.IN_PROGRESS.value).label("in_progress"),
        _count(passed).label("passed"),
        _count(failed).label("failed"),
        _count(_unit.rework_count > 0).label("reworked"),
        _count(passed & _within(_unit.completed_at, today)).label("passed_today"),
        _count(failed & _within(_unit.completed_at, today)).label("failed_today"),
    ).where(_UNITS)
    return connection.execute(wanted).mappings().one()


def run_counts(connection: sa.Connection, day: Day | None = None) -> sa.RowMapping:
    """Process records, of all time or of a day: total, seconds, failures."""
    wanted = sa.select(
        sa.func.count().label("total"), _seconds().label("seconds"), _count(_run.result == "FAIL").label("failures")
    ).where(_RUNS)
    if day is not None:
        wanted = wanted.where(_within(_run.completed_at, day))
    return connection.execute(wanted).mappings().one()


def lots_by_date(connection: sa.Connection, first: date, last: date) -> Sequence[sa.RowMapping]:
    """date, count: by production date, days without LOTs left out."""
    wanted = (
        sa.select(lots.c.production_date.label("date"), sa.func.count().label("count"))
        .where(_LOTS, lots.c.production_date >= first, lots.c.production_date <= last)
        .group_by(lots.c.production_date)
        .order_by(lots.c.production_date)
    )
    return connection.execute(wanted).mappings().all()


def units_by_date(connection: sa.Connection, days: Sequence[Day]) -> Sequence[sa.RowMapping]:
    """date, total, passed, failed: units by the day they began, each as it stands now."""
    return _by_day(connection, days, _BEGAN, _UNITS)


def finished_by_date(connection: sa.Connection, days: Sequence[Day]) -> Sequence[sa.RowMapping]:
    """date, total, passed, failed: units by the day they were finished."""
    return _by_day(connection, days, _unit.completed_at, _UNITS & _unit.status.in_(FINISHED))


def _by_day(
    connection: sa.Connection, days: Sequence[Day], moment: sa.ColumnElement[Any], which: sa.ColumnElement[bool]
) -> Sequence[sa.RowMapping]:
    """The site's days are joined, since their limits follow its calendar and no database's."""
    if not days:
        return []
    table = sa.values(
        sa.column("date", sa.Date), sa.column("begins_at", UtcDateTime), sa.column("ends_at", UtcDateTime), name="days"
    ).data([(day.date, day.begins_at, day.ends_at) for day in days])
    calendar = table.cte("calendar")
    passed, failed = (_unit.status == status for status in FINISHED)
    wanted = (
        sa.select(
            calendar.c.date,
            sa.func.count().label("total"),
            _count(passed).label("passed"),
            _count(failed).label("failed"),
        )
        .select_from(calendar.join(serials, (moment >= calendar.c.begins_at) & (moment < calendar.c.ends_at)))
        .where(which, moment >= days[0].begins_at, moment < days[-1].ends_at)
        .group_by(calendar.c.date)
        .order_by(calendar.c.date)
    )
    return connection.execute(wanted).mappings().all()


def by_process(connection: sa.Connection) -> Sequence[sa.RowMapping]:
    """Every process in its order, with total, succeeded, failed, seconds of its records."""
    runs = (
        sa.select(
            _run.process_id,
            sa.func.count().label("total"),
            _count(_run.result == "PASS").label("succeeded"),
            _count(_run.result == "FAIL").label("failed"),
            _seconds().label("seconds"),
        )
        .where(_RUNS)
        .group_by(_run.process_id)
        .subquery()
    )
    wanted = (
        sa.select(processes, *(runs.c[name] for name in ("total", "succeeded", "failed", "seconds")))
        .join_from(processes, runs, processes.c.id == runs.c.process_id, isouter=True)
        .order_by(processes.c.sort_order, processes.c.process_number)
    )
    return connection.execute(wanted).mappings().all()


def defects_by_process(connection: sa.Connection, since: datetime) -> Sequence[sa.RowMapping]:
    """process_name_ko, process_name_en, failure_count, the most failures first."""
    failures = sa.func.count().label("failure_count")
    wanted = (
        sa.select(processes.c.process_name_ko, processes.c.process_name_en, failures)
        .join_from(process_data, processes, _run.process_id == processes.c.id)
        .where(_RUNS, _run.result == "FAIL", _run.completed_at >= since)
        .group_by(processes.c.id, processes.c.process_name_ko, processes.c.process_name_en)
        .order_by(failures.desc(), processes.c.id)
    )
    return connection.execute(wanted).mappings().all()


def rework_distribution(connection: sa.Connection, since: datetime) -> Sequence[sa.RowMapping]:
    """rework_count, serial_count: of the units that were worked on since then."""
    wanted = (
        sa.select(_unit.rework_count, sa.func.count().label("serial_count"))
        .where(_UNITS, _unit.last_record_at >= since)
        .group_by(_unit.rework_count)
        .order_by(_unit.rework_count)
    )
    return connection.execute(wanted).mappings().all()


def by_operator(connection: sa.Connection, since: datetime) -> Sequence[sa.RowMapping]:
    """operator_id, full_name, username, total, succeeded, failed, seconds: the most records first."""
    total = sa.func.count().label("total")
    wanted = (
        sa.select(
            users.c.id.label("operator_id"),
            users.c.full_name,
            users.c.username,
            total,
            _count(_run.result == "PASS").label("succeeded"),
            _count(_run.result == "FAIL").label("failed"),
            _seconds().label("seconds"),
        )
        .join_from(process_data, users, _run.operator_id == users.c.id)
        .where(_RUNS, _run.completed_at >= since)
        .group_by(users.c.id, users.c.full_name, users.c.username)
        .order_by(total.desc(), users.c.id)
    )
    return connection.execute(wanted).mappings().all()


def active_lots(connection: sa.Connection) -> Sequence[sa.RowMapping]:
    """The LOTs that are worked on, the latest change first."""
    wanted = sa.select(lots).where(_LOTS, lots.c.status == LotStatus.IN_PROGRESS.value)
    latest = wanted.order_by(lots.c.updated_at.desc(), lots.c.id.desc()).limit(RECENT)
    return connection.execute(latest).mappings().all()


def units_in_progress(connection: sa.Connection) -> Sequence[sa.RowMapping]:
    """The units that are worked on, the latest record first, each with its LOT's number."""
    wanted = (
        sa.select(serials, lots.c.lot_number)
        .join_from(serials, lots, _unit.lot_id == lots.c.id, isouter=True)
        .where(_UNITS, _unit.status == UnitStatus.IN_PROGRESS.value)
        .order_by(_unit.last_record_at.desc().nulls_last(), _unit.id.desc())
        .limit(RECENT)
    )
    return connection.execute(wanted).mappings().all()


def latest_runs(connection: sa.Connection) -> Sequence[sa.RowMapping]:
    """The latest process records, with the unit, the LOT, the process and the operator."""
    latest = (
        sa.select(process_data)
        .where(_RUNS, _run.completed_at.is_not(None))
        .order_by(_run.completed_at.desc(), _run.id.desc())
        .limit(RECENT)
        .subquery()
    )
    wanted = (
        sa.select(
            latest,
            _unit.serial_number,
            lots.c.lot_number,
            processes.c.process_number,
            processes.c.process_code,
            processes.c.process_name_ko,
            processes.c.process_name_en,
            users.c.username.label("operator"),
        )
        .select_from(latest)
        .join(serials, latest.c.serial_id == _unit.id, isouter=True)
        .join(lots, latest.c.lot_id == lots.c.id, isouter=True)
        .join(processes, latest.c.process_id == processes.c.id, isouter=True)
        .join(users, latest.c.operator_id == users.c.id)
        .order_by(latest.c.completed_at.desc(), latest.c.id.desc())
    )
    return connection.execute(wanted).mappings().all()
