"""What ``/statistics`` answers. Shares and yields are percentages, null of nothing."""

from datetime import datetime

from pydantic import BaseModel, Field

from central.statistics.forms import Bar, Bin, Capability, Limits, Normality, Refusal


class Refused(BaseModel):
    """Why nothing is said of capability."""

    code: Refusal
    detail: str


class SampleOut(BaseModel):
    """Of which records: the latest ones that meet the conditions, the oldest first."""

    process: str
    measurement: str
    unit: str | None
    n: int
    left_out: int = Field(description="Records whose value is no number statistics can be made of")
    cut: bool = Field(description="Whether there may be more such records, older than those looked at")
    first_at: datetime | None
    last_at: datetime | None


class MeasurementOut(SampleOut):
    """How the values spread, and how capable the process is of the limits, with 95 % intervals."""

    mean: float | None
    minimum: float | None
    maximum: float | None
    sigma_within: float | None
    sigma_overall: float | None
    histogram: tuple[Bin, ...]
    normality: Normality | None
    limits: Limits | None
    capability: Capability | None
    refused: Refused | None


class PointOut(BaseModel):
    """A value of the chart. ``rules``: the numbers of Nelson's rules that a run ending here breaks."""

    process_data_id: int
    serial_number: str | None
    station: str
    at: datetime
    value: float
    moving_range: float | None
    rules: tuple[int, ...]


class ChartOut(SampleOut):
    """Single values and moving range; null of fewer than two. ``points`` are the latest, ``broken`` counts over all."""

    center: float | None
    sigma: float | None
    lower: float | None
    upper: float | None
    range_center: float | None
    range_upper: float | None
    broken: dict[int, int] = Field(description="How many values break a rule, by its number")
    points: list[PointOut]


class FirstPass(BaseModel):
    """Units that were judged at a process for the first time, and those of them that passed."""

    process_number: int
    process_code: str
    process_name_ko: str
    process_name_en: str
    units: int
    passed: int
    first_pass_yield: float | None


class Yield(BaseModel):
    """Process by process, and through the line."""

    start: datetime
    end: datetime
    processes: list[FirstPass]
    rolled_throughput_yield: float | None = Field(description="Product of the first-pass yields")


class Pareto(BaseModel):
    """Defects, the most frequent first. A record counts once for each of its defects."""

    start: datetime
    end: datetime
    records: int
    defects: list[Bar]
    others: int = Field(description="Of kinds beyond the first hundred")
