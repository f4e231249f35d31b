"""``/analytics``: figures of production and quality. Days are the site's; shares are percentages, null of nothing."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Query, Request

from central.api.current import CurrentService, Service, needs
from central.api.errors import ApiError, answers
from central.api.periods import End, Start, period
from central.api.routers import analytics_answers as told
from central.store import analytics
from central.store.analytics import Day, share
from central.store.users import Role

router = APIRouter(prefix="/analytics", tags=["analytics"], responses=answers())
ANYBODY, MANAGER = [needs(Role.OPERATOR)], [needs(Role.MANAGER)]

_LONGEST = timedelta(days=366)
Days = Annotated[int, Query(ge=1, le=366, description="Today and the days before it, so many in all")]


def _today(service: Service) -> Day:
    return _day(service, service.calendar.of(datetime.now(UTC)).date)


def _day(service: Service, day: date) -> Day:
    return Day(day, *service.calendar.day(day))


def _days(service: Service, first: date, last: date) -> list[Day]:
    return [_day(service, first + timedelta(days=number)) for number in range((last - first).days + 1)]


def _last_days(service: Service, days: int) -> list[Day]:
    today = service.calendar.of(datetime.now(UTC)).date
    return _days(service, today - timedelta(days=days - 1), today)


def _mean(seconds: Any) -> float | None:
    return None if seconds is None else round(float(seconds), 3)


@router.get("/dashboard", dependencies=ANYBODY)
def dashboard(request: Request, service: CurrentService) -> told.Dashboard:
    """What stands now, and what came of today. The older names of the same figures are answered too.

    Many screens ask for it again and again: the figures are at most ``FIGURES_AGE`` old (5s).
    """
    found: told.Dashboard = request.app.state.figures.get("dashboard", lambda: _dashboard(service))
    return found


def _dashboard(service: Service) -> told.Dashboard:
    today = _today(service)
    monday = today.date - timedelta(days=today.date.weekday())
    with service.store.reading() as connection:
        lots = analytics.lot_counts(connection, today, monday)
        completed_today = analytics.lots_completed(connection, today)
        units = analytics.unit_counts(connection, today)
        runs = analytics.run_counts(connection)
        runs_today = analytics.run_counts(connection, today)
    finished = units["passed"] + units["failed"]
    quality = {
        "overall_pass_rate": share(units["passed"], finished),
        "defect_rate": share(units["failed"], finished),
        "rework_rate": share(units["reworked"], units["total"]),
    }
    finished_today = units["passed_today"] + units["failed_today"]
    return told.Dashboard.model_validate(
        {
            "lot_statistics": {
                "total_lots": lots["total"],
                "lots_today": lots["today"],
                "lots_this_week": lots["this_week"],
                "active_lots": lots["active"],
            },
            "serial_statistics": {
                "total_serials": units["total"],
                "serials_today": units["today"],
                **{name: units[name] for name in ("in_progress", "passed", "failed")},
            },
            "quality_metrics": quality,
            "process_performance": {
                "total_executions": runs["total"],
                "avg_cycle_time_seconds": _mean(runs["seconds"]),
                "total_failures": runs["failures"],
            },
            "lots": {**lots, "completed_today": completed_today},
            "serials": units,
            "quality": {**quality, "today_pass_rate": share(units["passed_today"], finished_today)},
            "processes": {
                "total_executions_today": runs_today["total"],
                "average_cycle_time_seconds": _mean(runs_today["seconds"]),
                "failures_today": runs_today["failures"],
            },
        }
    )


@router.get("/production-stats", dependencies=MANAGER)
def production_stats(
    service: CurrentService, start_date: Start | None = None, end_date: End | None = None
) -> told.ProductionStats:
    """LOTs by production date and units by the day they began. Without dates: the last 30 days. At most 366 days."""
    last = _today(service).date if end_date is None else _site_day(service, end_date, "end_date")
    first = last - timedelta(days=29) if start_date is None else _site_day(service, start_date, "start_date")
    if first > last:
        raise _bad("end_date", "it lies before start_date")
    if last - first >= _LONGEST:
        raise _bad("end_date", f"more than {_LONGEST.days} days: ask for a shorter time")
    with service.store.reading() as connection:
        lots = analytics.lots_by_date(connection, first, last)
        units = analytics.units_by_date(connection, _days(service, first, last))
    return told.ProductionStats.model_validate(
        {
            "date_range": {"start": first, "end": last},
            "lots_by_date": [dict(row) for row in lots],
            "serials_by_date": [
                {**row, "pass_rate": share(row["passed"], row["passed"] + row["failed"])} for row in units
            ],
        }
    )


def _site_day(service: Service, text: str, name: str) -> date:
    """The site's day a word of the query means or lies in."""
    both = {"start_date": text, "end_date": text}
    try:
        begins = period(service, **both).since
        return service.calendar.of(begins).date
    except OverflowError as error:
        raise _bad(name, "it lies outside the calendar") from error


def _bad(name: str, message: str) -> ApiError:
    return ApiError(422, "VALIDATION_ERROR", [{"loc": ["query", name], "msg": message, "type": "period"}])


@router.get("/process-performance", dependencies=MANAGER)
def process_performance(request: Request, service: CurrentService) -> told.ProcessPerformance:
    """Every process with how its records came out, as old as the dashboard's figures at most. Of a share, what has
    neither passed nor failed is no part."""
    found: told.ProcessPerformance = request.app.state.figures.get("processes", lambda: _performance(service))
    return found


def _performance(service: Service) -> told.ProcessPerformance:
    with service.store.reading() as connection:
        rows = analytics.by_process(connection)
    listed = [
        {
            **{name: row[name] for name in ("process_number", "process_code", "process_name_ko", "process_name_en")},
            "process_id": row["id"],
            "process_name": row["process_name_en"],
            **_executions(row, "total_executions", "success_count", "failure_count"),
            "avg_cycle_time_seconds": _mean(row["seconds"]),
        }
        for row in rows
    ]
    succeeded = sum(one["success_count"] for one in listed)
    judged = succeeded + sum(one["failure_count"] for one in listed)
    return told.ProcessPerformance.model_validate(
        {
            "processes": listed,
            "summary": {
                "total_processes": len(listed),
                "total_executions": sum(one["total_executions"] for one in listed),
                "overall_success_rate": share(succeeded, judged),
            },
        }
    )


def _executions(row: sa.RowMapping, total: str, succeeded: str, failed: str) -> dict[str, Any]:
    good, bad = row["succeeded"] or 0, row["failed"] or 0
    return {total: row["total"] or 0, succeeded: good, failed: bad, "success_rate": share(good, good + bad)}


@router.get("/quality-metrics", dependencies=MANAGER)
def quality_metrics(service: CurrentService, days: Days = 7) -> told.QualityMetrics:
    """Failures by process, reworks, and the pass rate day by day."""
    site_days = _last_days(service, days)
    with service.store.reading() as connection:
        defects = analytics.defects_by_process(connection, site_days[0].begins_at)
        reworks = analytics.rework_distribution(connection, site_days[0].begins_at)
        finished = analytics.finished_by_date(connection, site_days)
    return told.QualityMetrics.model_validate(
        {
            "analysis_period_days": days,
            "defects_by_process": [dict(row) for row in defects],
            "rework_distribution": [dict(row) for row in reworks],
            "quality_trend": [
                {
                    "date": row["date"],
                    "total_completed": row["total"],
                    "passed": row["passed"],
                    "pass_rate": share(row["passed"], row["total"]),
                }
                for row in finished
            ],
        }
    )


@router.get("/operator-performance", dependencies=MANAGER)
def operator_performance(service: CurrentService, days: Days = 7) -> told.OperatorPerformance:
    """How the records of each operator came out."""
    since = _last_days(service, days)[0].begins_at
    with service.store.reading() as connection:
        rows = analytics.by_operator(connection, since)
    return told.OperatorPerformance.model_validate(
        {
            "operators": [
                {
                    **{name: row[name] for name in ("operator_id", "full_name", "username")},
                    **_executions(row, "total_operations", "successful_operations", "failed_operations"),
                    "average_cycle_time_seconds": _mean(row["seconds"]),
                }
                for row in rows
            ]
        }
    )


@router.get("/realtime-status", dependencies=ANYBODY)
def realtime_status(service: CurrentService) -> told.RealtimeStatus:
    """What is worked on now, and what was done last."""
    shown: dict[str, Callable[[sa.Connection], Any]] = {
        "active_lots": analytics.active_lots,
        "in_progress_serials": analytics.units_in_progress,
        "recent_process_executions": analytics.latest_runs,
    }
    with service.store.reading() as connection:
        found = {name: [dict(row) for row in look(connection)] for name, look in shown.items()}
    return told.RealtimeStatus.model_validate({"timestamp": datetime.now(UTC), **found})
