"""``/statistics``: what measured values, first passes and defects say of a process."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query

from central.api.current import CurrentService, Service, needs
from central.api.errors import ApiError, answers, not_found
from central.api.periods import moment
from central.api.routers import statistics_answers as told
from central.statistics import chart, counted
from central.statistics.forms import LARGEST, Limits, Refusal
from central.store import criteria, processes
from central.store import statistics as found
from central.store.refusing import RefusedError
from central.store.statistics import MOST_RECORDS, Value, Which
from central.store.users import Role

router = APIRouter(prefix="/statistics", tags=["statistics"], responses=answers(), dependencies=[needs(Role.MANAGER)])

_BARS = 100
_USUAL, _LONGEST = timedelta(days=30), timedelta(days=366)
_NAME = r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$"
Word = Annotated[str | None, Query(min_length=1, max_length=100)]
Day = Annotated[str | None, Query(max_length=40, description="A day or a moment; the day of end_date counts")]
Process = Annotated[str, Query(min_length=1, max_length=50, description="Its code", examples=["P03_SENSOR_INSPECTION"])]
End = Annotated[float | None, Query(description="Instead of the criteria in force", allow_inf_nan=False)]
_WHY = {
    Refusal.TOO_FEW: "fewer than 30 values",
    Refusal.NO_LIMITS: "the criteria in force set no limits: give lower or upper",
    Refusal.LIMITS_DIFFER: "the criteria differ among these records: name product_model, station or machine",
    Refusal.LIMITS_IN_ANOTHER_UNIT: "the criteria in force are in another unit: give lower or upper",
    Refusal.NO_SPREAD: "all values are the same: there is no sigma",
    Refusal.NOT_NORMAL: "the values are not normally distributed (p below 0.01)",
}


class _Sample:
    """The records of a question, and the numbers in them."""

    def __init__(
        self,
        service: CurrentService,
        process: Process,
        measurement: Annotated[str, Query(pattern=_NAME, examples=["temperature"])],
        row: Annotated[int | None, Query(ge=0, le=9999, description="Of a table or list, from 0")] = None,
        column: Annotated[str | None, Query(pattern=_NAME, description="Of a table")] = None,
        product_model: Word = None,
        station: Word = None,
        machine: Word = None,
        start_date: Day = None,
        end_date: Day = None,
    ) -> None:
        since = None if start_date is None else moment(service, "start_date", start_date, end=False)
        until = None if end_date is None else moment(service, "end_date", end_date, end=True)
        with service.store.reading() as connection:
            which = Which(
                process_id=_process_id(connection, process),
                product_model=product_model,
                station=station,
                machine=machine,
                since=since,
                until=until,
            )
            self.looked_at, every = found.values(connection, which, measurement, row, column)
            numbers = [(one, number) for one in every if (number := _number(one.value)) is not None]
            self.kept = [one for one, _ in numbers]
            units = found.units_of(connection, self.kept, measurement)
            revision = criteria.in_force_at(connection, process, datetime.now(UTC))
        if len(units - {None}) > 1:
            raise RefusedError(
                "UNITS_DIFFER",
                f"the values are in different units ({', '.join(sorted(filter(None, units)))}):"
                " narrow by station, machine or time",
            )
        self.process, self.measurement = process, measurement
        self.values = [number for _, number in numbers]
        self.left_out = len(every) - len(numbers)
        self.unit = next(iter(units - {None}), None)
        self._whole = row is None and column is None
        self._revision = revision

    def out(self) -> dict[str, Any]:
        """As a ``SampleOut``."""
        return {
            "process": self.process,
            "measurement": self.measurement,
            "unit": self.unit,
            "n": len(self.values),
            "left_out": self.left_out,
            "cut": self.looked_at == MOST_RECORDS,
            "first_at": self.kept[0].started_at if self.kept else None,
            "last_at": self.kept[-1].started_at if self.kept else None,
        }

    def limits(self) -> Limits | Refusal:
        """Those of the criteria in force, where they are the same for all of these records."""
        if self._revision is None or not self._whole:
            return Refusal.NO_LIMITS
        revision = self._revision
        ends, units = set(), set()
        for model, station, machine in {(one.product_model, one.station, one.machine) for one in self.kept}:
            chosen = revision.criteria.chosen(revision.name, model, station, machine)
            criterion = chosen.criteria.get(self.measurement)
            span = None if criterion is None or criterion.formula is not None else criterion.span
            ends.add(Limits() if span is None else Limits(_float(span.lower), _float(span.upper)))
            units.add(None if criterion is None or span is None else criterion.unit)
        if len(ends) > 1 or len(units) > 1:
            return Refusal.LIMITS_DIFFER
        if self.unit is not None and units - {None, self.unit}:
            return Refusal.LIMITS_IN_ANOTHER_UNIT
        return next(iter(ends), Limits())


Sample = Annotated[_Sample, Depends()]


def _number(value: Any) -> float | None:
    """A number that statistics can be made of."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST else None


def _float(end: Any) -> float | None:
    return None if end is None else float(end)


def _process_id(connection: sa.Connection, code: str) -> int:
    row = processes.by_code(connection, code)
    if row is None:
        raise not_found("process", code)
    return int(row["id"])


@router.get("/measurements", responses=answers(404, 409))
def measurements(sample: Sample, lower: End = None, upper: End = None) -> told.MeasurementOut:
    """How the latest values of a measurement spread (5,000 records at most), and Cp, Cpk, Pp and Ppk; ``refused`` says
    why there are none. Limits are those of the criteria in force, or ``lower`` and ``upper``."""
    if lower is not None and upper is not None and lower >= upper:
        raise _bad("upper", "it is not above lower")
    limits = sample.limits() if lower is None and upper is None else Limits(lower, upper)
    # scipy takes a second and 60 MB: who asks for no statistics does not pay for them.
    says = import_module("central.statistics.spread").spread(sample.values, limits)
    known = isinstance(limits, Limits) and limits != Limits()
    why = None if says.refused is None else told.Refused(code=says.refused, detail=_WHY[says.refused])
    of_sample = {name: getattr(says, name) for name in told.MeasurementOut.model_fields if hasattr(says, name)}
    more = {"limits": limits if known else None, "refused": why}
    return told.MeasurementOut.model_validate({**of_sample, **sample.out(), **more})


@router.get("/control-chart", responses=answers(404, 409))
def control_chart(
    sample: Sample,
    points: Annotated[int, Query(ge=1, le=1000, description="How many of the latest are answered")] = 200,
) -> told.ChartOut:
    """Single values and moving range with their limits, and which of Nelson's eight rules each value breaks."""
    made = chart.chart(sample.values)
    if made is None:
        nothing = dict.fromkeys(("center", "sigma", "lower", "upper", "range_center", "range_upper"))
        return told.ChartOut.model_validate({**sample.out(), **nothing, "broken": {}, "points": []})
    shown = list(zip(sample.kept, made.points, strict=True))[-points:]
    limits = {name: getattr(made, name) for name in told.ChartOut.model_fields if hasattr(made, name)}
    return told.ChartOut.model_validate(
        {
            **limits,
            **sample.out(),
            "broken": Counter(rule for point in made.points for rule in point.rules),
            "points": [_point(one, point.value, point.moving_range, point.rules) for one, point in shown],
        }
    )


def _point(one: Value, value: float, moving_range: float | None, rules: tuple[int, ...]) -> told.PointOut:
    return told.PointOut(
        process_data_id=one.process_data_id,
        serial_number=one.serial_number,
        station=one.station,
        at=one.started_at,
        value=value,
        moving_range=moving_range,
        rules=rules,
    )


def _period(service: Service, start_date: str | None, end_date: str | None) -> tuple[datetime, datetime]:
    """The last 30 days where nothing is said. Raises ApiError (422)."""
    now = datetime.now(UTC)
    until = now if end_date is None else moment(service, "end_date", end_date, end=True)
    since = _before(until, _USUAL) if start_date is None else moment(service, "start_date", start_date, end=False)
    if until < since:
        raise _bad("end_date", "it lies before start_date")
    if until - since > _LONGEST:
        raise _bad("end_date", f"more than {_LONGEST.days} days: ask for a shorter time")
    return since, until


def _before(moment: datetime, by: timedelta) -> datetime:
    return max(moment, datetime.min.replace(tzinfo=UTC) + by) - by


def _bad(name: str, message: str) -> ApiError:
    return ApiError(422, "VALIDATION_ERROR", [{"loc": ["query", name], "msg": message, "type": "value_error"}])


@router.get("/yield")
def first_pass_yield(
    service: CurrentService,
    product_model: Word = None,
    station: Word = None,
    start_date: Day = None,
    end_date: Day = None,
) -> told.Yield:
    """First-pass yield of each process: of the units judged there for the first time in this period, those that passed;
    and the rolled throughput yield, their product. The last 30 days where nothing is said, at most 366."""
    since, until = _period(service, start_date, end_date)
    which = Which(product_model=product_model, station=station, since=since, until=until)
    with service.store.reading() as connection:
        rows = found.first_passes(connection, which)
    listed = [
        {
            **{name: row[name] for name in told.FirstPass.model_fields if name != "first_pass_yield"},
            "first_pass_yield": counted.rolled([(row["units"], row["passed"])]),
        }
        for row in rows
    ]
    rolled = counted.rolled((row["units"], row["passed"]) for row in rows)
    return told.Yield.model_validate(
        {"start": since, "end": until, "processes": listed, "rolled_throughput_yield": rolled}
    )


@router.get("/defects", responses=answers(404))
def defects(
    service: CurrentService,
    process: Annotated[str | None, Query(min_length=1, max_length=50, description="Its code")] = None,
    product_model: Word = None,
    station: Word = None,
    start_date: Day = None,
    end_date: Day = None,
) -> told.Pareto:
    """Defects by how many records have them, with the share of all up to each. The last 30 days where nothing is said,
    at most 366."""
    since, until = _period(service, start_date, end_date)
    with service.store.reading() as connection:
        process_id = None if process is None else _process_id(connection, process)
        which = Which(process_id=process_id, product_model=product_model, station=station, since=since, until=until)
        rows = found.defects(connection, which)
    bars = counted.pareto([(row["code"], row["count"]) for row in rows])
    others = sum(bar.count for bar in bars[_BARS:])
    total = sum(bar.count for bar in bars)
    return told.Pareto.model_validate(
        {"start": since, "end": until, "records": total, "defects": bars[:_BARS], "others": others}
    )
