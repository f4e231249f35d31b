"""What requests and answers about process data hold."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from central.api.models import Body, Out
from central.api.routers.lots import Reason, RowId
from central.store.rows import STARTED
from central.store.users import Role
from contracts.base import UtcTime
from contracts.criteria import Outcome
from contracts.record import DataLevel, Defect

_LONGEST_S = 10 * 365 * 86400.0


def _plausible(moment: datetime) -> datetime:
    if not 2000 <= moment.year < 2100:
        raise ValueError("a moment from 2000 to 2099 is needed")
    return moment


Moment = Annotated[UtcTime, AfterValidator(_plausible)]


class ResultWord(StrEnum):
    """What became of it."""

    PASS = "PASS"
    FAIL = "FAIL"
    REWORK = "REWORK"


def _defect(given: Any) -> Any:
    return {"code": given} if isinstance(given, str) else given


AnyDefect = Annotated[Defect, BeforeValidator(_defect)]
"""A code alone, or an object with it."""
Seconds = Annotated[float, Field(ge=0, le=_LONGEST_S)]
Notes = Annotated[str, Field(max_length=1000)]
Order = Annotated[int, Field(ge=0, le=1000)]
Measured = Annotated[dict[str, Any], Field(examples=[{"temperature": 60.2, "tof_i2c": True}])]


class ProcessDataCreate(Body):
    """A result, or without ``result`` a start. ``started_at`` may be left out where ``cycle_time_seconds`` is given: it
    is now less that time then. ``return_process`` goes with REWORK."""

    lot_id: RowId
    serial_id: RowId | None = None
    process_id: RowId
    operator_id: RowId
    data_level: DataLevel
    result: ResultWord | None = None
    outcome: Outcome | None = None
    measurements: Measured = Field(default_factory=dict)
    defects: Annotated[list[AnyDefect], Field(max_length=100)] | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    cycle_time_seconds: Seconds | None = None
    process_order: Order | None = None
    notes: Notes | None = None
    return_process: int | str | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if (self.data_level is DataLevel.SERIAL) != (self.serial_id is not None):
            raise ValueError("serial_id is needed with data_level SERIAL, and absent with LOT")
        if self.started_at is None and self.cycle_time_seconds is None:
            raise ValueError("started_at is needed, or cycle_time_seconds")
        _fit(self.result, self.outcome, self.started_at, self.completed_at)
        if self.completed_at is not None and outcome_of(self.result, self.outcome) is None:
            raise ValueError("completed_at goes with a result")
        return self


class ProcessDataUpdate(Body):
    """What of it changes; what is left out stays. Of a start, its result; of a result, a correction beside it."""

    lot_id: RowId | None = None
    serial_id: RowId | None = None
    process_id: RowId | None = None
    operator_id: RowId | None = None
    data_level: DataLevel | None = None
    result: ResultWord | None = None
    outcome: Outcome | None = None
    measurements: Measured | None = None
    defects: Annotated[list[AnyDefect], Field(max_length=100)] | None = None
    started_at: Moment | None = None
    completed_at: Moment | None = None
    cycle_time_seconds: Seconds | None = None
    process_order: Order | None = None
    notes: Notes | None = None
    return_process: int | str | None = None
    reason: Reason = "corrected"

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        _fit(self.result, self.outcome, self.started_at, self.completed_at)
        return self


def _fit(
    result: ResultWord | None, outcome: Outcome | None, started_at: datetime | None, completed_at: datetime | None
) -> None:
    if result is not None and outcome is not None and result.value != outcome.value:
        raise ValueError(f"result {result.value} and outcome {outcome.value} say two things")
    if started_at is not None and completed_at is not None and completed_at < started_at:
        raise ValueError("completed_at lies before started_at")


def outcome_of(result: ResultWord | None, outcome: Outcome | None) -> Outcome | None:
    """What both say; None: it is not finished."""
    return outcome if result is None else Outcome(result.value)


class EntryProcess(BaseModel):
    """The process."""

    id: int
    process_number: int
    process_code: str
    process_name_en: str
    process_name_ko: str


class EntryOperator(BaseModel):
    """Who did it."""

    id: int
    username: str
    full_name: str
    role: Role


class ProcessDataOut(Out):
    """A result. ``origin`` says whether a station or a person gave it; ``corrected`` that a person's correction counts
    in place of what came. ``id`` is null of a unit that a station let start and of which nothing has come."""

    id: int | None
    lot_id: int | None
    lot_number: str | None
    serial_id: int | None
    serial_number: str | None
    process_id: int | None
    operator_id: int | None
    data_level: DataLevel
    part: str
    result: ResultWord | None
    outcome: Outcome | None
    measurements: dict[str, Any]
    defects: list[dict[str, Any]]
    started_at: datetime
    completed_at: datetime | None
    cycle_time_seconds: float | None
    duration_seconds: float | None
    process_order: int | None
    notes: str | None
    station: str
    machine: str
    origin: Literal["STATION", "PERSON"]
    entered_by: str | None
    corrected: bool
    criteria_revision: str | None
    disagreement: bool
    created_at: datetime
    process: EntryProcess | None
    operator: EntryOperator | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """From a row with the columns of its process and operator."""
        process = operator = duration = None
        if row["process_id"] is not None:
            names = EntryProcess.model_fields.keys() - {"id"}
            process = {"id": row["process_id"], **{name: row[name] for name in names}}
        if row["operator_id"] is not None:
            names = EntryOperator.model_fields.keys() - {"id"}
            operator = {"id": row["operator_id"], **{name: row[name] for name in names}}
        if row["completed_at"] is not None:
            duration = (row["completed_at"] - row["started_at"]).total_seconds()
        return cls.model_validate(
            {
                **row,
                "outcome": None if row["outcome"] == STARTED else row["outcome"],
                "origin": "STATION" if row["entered_by"] is None else "PERSON",
                "corrected": row["corrected_by_seq"] is not None,
                "duration_seconds": duration,
                "process": process,
                "operator": operator,
            }
        )
