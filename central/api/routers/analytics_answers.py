"""What ``/analytics`` answers. ``*_rate`` are percentages, null of nothing."""

import datetime as dt

from pydantic import BaseModel

Rate = float | None
Seconds = float | None


class LotStatistics(BaseModel):
    """LOTs, by their production date."""

    total_lots: int
    lots_today: int
    lots_this_week: int
    active_lots: int


class SerialStatistics(BaseModel):
    """Units."""

    total_serials: int
    serials_today: int
    in_progress: int
    passed: int
    failed: int


class Quality(BaseModel):
    """Shares of the finished units that passed and failed, and of all units that were reworked."""

    overall_pass_rate: Rate
    defect_rate: Rate
    rework_rate: Rate


class Performance(BaseModel):
    """Process records of all time."""

    total_executions: int
    avg_cycle_time_seconds: Seconds
    total_failures: int


class Lots(BaseModel):
    """The same of LOTs, and how many were completed today."""

    total: int
    today: int
    this_week: int
    active: int
    completed_today: int


class Serials(BaseModel):
    """The same of units, and what came of today."""

    total: int
    today: int
    in_progress: int
    passed_today: int
    failed_today: int


class QualityToday(Quality):
    """With today's pass rate."""

    today_pass_rate: Rate


class ProcessesToday(BaseModel):
    """Process records of today."""

    total_executions_today: int
    average_cycle_time_seconds: Seconds
    failures_today: int


class Dashboard(BaseModel):
    """The figures under their present names, and (``lots`` and below) under those of earlier clients."""

    lot_statistics: LotStatistics
    serial_statistics: SerialStatistics
    quality_metrics: Quality
    process_performance: Performance
    lots: Lots
    serials: Serials
    quality: QualityToday
    processes: ProcessesToday


class DateRange(BaseModel):
    """The first day and the last one, by the site's calendar."""

    start: dt.date
    end: dt.date


class LotsOfDate(BaseModel):
    """LOTs of a production date."""

    date: dt.date
    count: int


class SerialsOfDate(BaseModel):
    """Units that began on a day, as they stand now."""

    date: dt.date
    total: int
    passed: int
    failed: int
    pass_rate: Rate


class ProductionStats(BaseModel):
    """Day by day; days without any are left out."""

    date_range: DateRange
    lots_by_date: list[LotsOfDate]
    serials_by_date: list[SerialsOfDate]


class OneProcess(BaseModel):
    """How a process's records came out."""

    process_id: int
    process_number: int
    process_code: str
    process_name: str
    process_name_ko: str
    process_name_en: str
    total_executions: int
    success_count: int
    failure_count: int
    avg_cycle_time_seconds: Seconds
    success_rate: Rate


class Summary(BaseModel):
    """Of all processes."""

    total_processes: int
    total_executions: int
    overall_success_rate: Rate


class ProcessPerformance(BaseModel):
    """Every process in the order of the line."""

    processes: list[OneProcess]
    summary: Summary


class DefectsOfProcess(BaseModel):
    """Failed records of a process."""

    process_name_ko: str
    process_name_en: str
    failure_count: int


class Reworked(BaseModel):
    """How many units were reworked so often."""

    rework_count: int
    serial_count: int


class QualityOfDate(BaseModel):
    """Units finished on a day."""

    date: dt.date
    total_completed: int
    passed: int
    pass_rate: Rate


class QualityMetrics(BaseModel):
    """Of the last days."""

    analysis_period_days: int
    defects_by_process: list[DefectsOfProcess]
    rework_distribution: list[Reworked]
    quality_trend: list[QualityOfDate]


class OneOperator(BaseModel):
    """How an operator's records came out."""

    operator_id: int
    full_name: str
    username: str
    total_operations: int
    successful_operations: int
    failed_operations: int
    success_rate: Rate
    average_cycle_time_seconds: Seconds


class OperatorPerformance(BaseModel):
    """Operators, the one with the most records first."""

    operators: list[OneOperator]


class ActiveLot(BaseModel):
    """A LOT that is worked on."""

    lot_number: str
    status: str
    target_quantity: int
    actual_quantity: int
    passed_quantity: int
    failed_quantity: int


class SerialInProgress(BaseModel):
    """A unit that is worked on."""

    serial_number: str
    lot_number: str | None
    status: str
    rework_count: int


class Execution(BaseModel):
    """A process record."""

    id: int
    serial_number: str | None
    lot_number: str | None
    process_number: int | None
    process_code: str | None
    process_name_ko: str | None
    process_name_en: str | None
    operator: str
    station: str
    result: str | None
    outcome: str
    cycle_time_seconds: Seconds
    completed_at: dt.datetime


class RealtimeStatus(BaseModel):
    """What is worked on now, and what was done last."""

    timestamp: dt.datetime
    active_lots: list[ActiveLot]
    in_progress_serials: list[SerialInProgress]
    recent_process_executions: list[Execution]
