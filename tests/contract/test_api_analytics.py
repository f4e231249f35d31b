"""Figures over the API: computed by the database, over days as the site counts them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from central.store.users import Role
from contracts.facts import UnitScrapped
from contracts.processes import PROCESSES
from contracts.record import Part
from tests.support.api import CALENDAR, Api
from tests.support.stores import delivery, record

NOW = datetime.now(UTC)
TODAY = CALENDAR.of(NOW).date
LOT_TODAY = f"WF-KR-{TODAY:%y%m%d}D-001"
LAST_WEEK = NOW - timedelta(days=9)
LOT_THEN = f"WF-KR-{LAST_WEEK:%y%m%d}D-001"


def ago(seconds: float) -> datetime:
    """So many seconds before now, and not before the site's day began."""
    begins, _ = CALENDAR.day(TODAY)
    return max(NOW - timedelta(seconds=seconds), begins + timedelta(milliseconds=100 - seconds))


def fill(api: Api) -> None:
    """A unit through the line, one that was scrapped, one begun; a dry run; a unit of last week."""
    records = [
        record(
            process=process.code,
            station=f"P0{process.number}-A",
            serial_number=f"{LOT_TODAY}-0001",
            lot_number=LOT_TODAY,
            completed_at=ago(60 - process.number),
            cycle_time_seconds=float(process.number),
            operator="kim",
        )
        for process in PROCESSES
    ]
    common: dict[str, Any] = {"lot_number": LOT_TODAY, "completed_at": ago(30)}
    first = {"process": PROCESSES[0].code, "station": "P01-A", "operator": "lee", "cycle_time_seconds": None}
    marked = record(**common, **first, serial_number=f"{LOT_TODAY}-0002", outcome="FAIL")
    begun = record(**common, **first, serial_number=f"{LOT_TODAY}-0003")
    golden = record(**common, **first, serial_number="GOLDEN-1", part=Part.DRY_RUN)
    week = NOW - timedelta(days=9)
    old = record(
        **first,
        serial_number=f"WF-KR-{week:%y%m%d}D-001-0001",
        lot_number=f"WF-KR-{week:%y%m%d}D-001",
        completed_at=week,
    )
    everything = [*records, marked, begun, golden, old]
    api.store.ingest([delivery(list(enumerate(everything, 1)), station="P01-A")])
    scrapped = f"{LOT_TODAY}-0002"
    api.store.add_decision(UnitScrapped(author="kim", decided_at=ago(20), reason="bad mark", serial_number=scrapped))


def test_the_dashboard_tells_the_same_figures_under_both_names(api: Api) -> None:
    fill(api)
    found = api.get("/analytics/dashboard", Role.OPERATOR)

    assert found["lot_statistics"]["total_lots"] == found["lots"]["total"] == 2
    assert found["lot_statistics"]["lots_today"] == found["lots"]["today"] == 1
    assert found["serial_statistics"] == {
        "total_serials": 4,
        "serials_today": 3,
        "in_progress": 2,
        "passed": 1,
        "failed": 1,
    }
    assert found["quality_metrics"] == {"overall_pass_rate": 50.0, "defect_rate": 50.0, "rework_rate": 0.0}
    assert found["process_performance"] == {
        "total_executions": 11,
        "avg_cycle_time_seconds": 4.5,
        "total_failures": 1,
    }
    assert (found["serials"]["passed_today"], found["serials"]["failed_today"]) == (1, 1)
    assert found["processes"]["total_executions_today"] == 10
    assert found["quality"]["today_pass_rate"] == 50.0


def test_of_nothing_there_is_no_share(shared_api: Api) -> None:
    found = shared_api.get("/analytics/dashboard")

    assert found["quality_metrics"] == {"overall_pass_rate": None, "defect_rate": None, "rework_rate": None}
    assert found["process_performance"]["avg_cycle_time_seconds"] is None
    assert shared_api.get("/analytics/production-stats")["serials_by_date"] == []
    assert shared_api.get("/analytics/quality-metrics")["quality_trend"] == []


def test_units_and_lots_are_told_by_the_sites_days(api: Api) -> None:
    fill(api)
    found = api.get("/analytics/production-stats", Role.MANAGER)
    today = api.get(f"/analytics/production-stats?start_date={TODAY}&end_date={TODAY}")

    assert sum(one["count"] for one in found["lots_by_date"]) == 2
    assert today["date_range"] == {"start": str(TODAY), "end": str(TODAY)}
    assert today["serials_by_date"] == [{"date": str(TODAY), "total": 3, "passed": 1, "failed": 1, "pass_rate": 50.0}]
    for query in ("start_date=2026-11-02&end_date=2026-11-01", "start_date=2020-01-01", "start_date=soon"):
        assert api.ask(Role.MANAGER, "GET", f"/analytics/production-stats?{query}").status_code == 422


def test_a_units_day_begins_with_the_sites_first_shift(api: Api) -> None:
    begins, _ = CALENDAR.day(TODAY)
    for number, moment in enumerate((begins - timedelta(seconds=1), begins), 1):
        one = record(serial_number=f"{LOT_TODAY}-{number:04d}", lot_number=LOT_TODAY, completed_at=moment)
        api.store.ingest([delivery([(number, one)])])
    found = api.get("/analytics/production-stats")["serials_by_date"]

    assert [(one["date"], one["total"]) for one in found] == [
        (str(TODAY - timedelta(days=1)), 1),
        (str(TODAY), 1),
    ]


def test_processes_and_operators_are_told_with_their_shares(api: Api) -> None:
    fill(api)
    performance = api.get("/analytics/process-performance", Role.MANAGER)
    marking = performance["processes"][0]
    operators = {one["username"]: one for one in api.get("/analytics/operator-performance?days=3")["operators"]}

    assert len(performance["processes"]) == performance["summary"]["total_processes"] == 8
    assert (marking["total_executions"], marking["success_count"], marking["failure_count"]) == (4, 3, 1)
    assert marking["success_rate"] == 75.0
    assert performance["summary"]["total_executions"] == 11
    assert (operators["kim"]["total_operations"], operators["kim"]["success_rate"]) == (8, 100.0)
    assert (operators["lee"]["total_operations"], operators["lee"]["failed_operations"]) == (2, 1)
    assert operators["kim"]["average_cycle_time_seconds"] == 4.5


def test_quality_is_told_for_the_days_asked_for(api: Api) -> None:
    fill(api)
    found = api.get("/analytics/quality-metrics?days=3", Role.MANAGER)

    assert found["analysis_period_days"] == 3
    assert [(one["process_name_en"], one["failure_count"]) for one in found["defects_by_process"]] == [
        ("Laser Marking", 1)
    ]
    assert found["rework_distribution"] == [{"rework_count": 0, "serial_count": 3}]
    assert found["quality_trend"] == [{"date": str(TODAY), "total_completed": 2, "passed": 1, "pass_rate": 50.0}]
    assert api.ask(Role.MANAGER, "GET", "/analytics/quality-metrics?days=0").status_code == 422


def test_what_is_worked_on_now_is_told_with_the_latest_records(api: Api) -> None:
    fill(api)
    found = api.get("/analytics/realtime-status", Role.OPERATOR)

    assert LOT_TODAY in [lot["lot_number"] for lot in found["active_lots"]]
    assert found["in_progress_serials"][0]["serial_number"] == f"{LOT_TODAY}-0003"
    latest = found["recent_process_executions"]
    assert [one["completed_at"] for one in latest] == sorted((one["completed_at"] for one in latest), reverse=True)
    assert "GOLDEN-1" not in str(latest)


def test_a_hold_stops_a_unit_until_it_is_released(api: Api) -> None:
    fill(api)
    unit = f"{LOT_TODAY}-0003"
    placed = api.post("/holds", {"serial_number": unit, "reason": "torque"}, Role.MANAGER)
    held = [one for one in api.get("/holds", Role.OPERATOR) if one["hold_id"] == placed["hold_id"]]

    assert [(one["serial_number"], one["reason"], one["code"]) for one in held] == [(unit, "torque", None)]
    assert api.store.units([unit])[unit].on_hold
    path = f"/holds/{placed['hold_id']}/release"
    assert api.post(path, {"reason": "checked"}, Role.MANAGER, status=200)["released"] == [unit]
    assert not api.store.units([unit])[unit].on_hold
    assert api.ask(Role.MANAGER, "POST", path, json={"reason": "again"}).status_code == 404
    nobody = api.ask(Role.MANAGER, "POST", "/holds", json={"serial_number": "SN-NONE-1", "reason": "x"})
    assert nobody.status_code == 404
    assert "SN-NONE-1" not in api.store.units(["SN-NONE-1"])
