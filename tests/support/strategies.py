"""Hypothesis strategies of records and of what carries them: any content the contract allows."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from contracts.criteria import Criterion, MachineVerdict, MeasurementVerdict, Outcome, Verdict
from contracts.envelope import RecordsHeader
from contracts.measurement import Measurement, Quality
from contracts.record import Defect, Part, ProcessRecord, ReworkRequest
from tests.support.records import proof

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
moments = st.integers(0, 2**40).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds * 1000 + 7))
names = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_.-]{0,20}\Z")
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(st.booleans(), st.integers(), finite, texts)
values = st.one_of(
    st.none(),
    scalars,
    st.lists(scalars, max_size=3),
    st.lists(st.dictionaries(texts, st.one_of(st.none(), scalars), max_size=2), max_size=2),
)
measurements = st.builds(
    Measurement,
    name=names,
    value=values,
    unit=st.none() | texts,
    original=st.none() | texts,
    quality=st.sampled_from(Quality),
    problem=st.none() | texts,
    source_timestamp=st.none() | moments,
)
verdicts = st.builds(
    MeasurementVerdict,
    name=names,
    verdict=st.sampled_from(Verdict),
    limit=st.none() | st.builds(Criterion, lower=finite, unit=st.sampled_from([None, "mm"])),
    reason=st.none() | texts,
)


def _record(outcome: Outcome, **content: object) -> ProcessRecord:
    if outcome is Outcome.REWORK:
        content["rework"] = ReworkRequest(return_to="P02_LMA_ASSEMBLY", reason="loose screw")
    if outcome is Outcome.PASS:
        content |= {"machine_verdict": None, "problems": (), **proof()}
    return ProcessRecord.model_validate(
        {"station": "P03-A", "process": "P03_SENSOR_INSPECTION", "machine": "tester", "outcome": outcome, **content}
    )


record_contents = st.builds(
    _record,
    outcome=st.sampled_from(Outcome),
    serial_number=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{2,63}\Z"),
    lot_number=st.sampled_from([None, "WF-KR-241118D-001"]),
    part=st.sampled_from(Part),
    operator=st.none() | texts,
    measurements=st.lists(measurements, max_size=3).map(tuple),
    verdicts=st.lists(verdicts, max_size=2).map(tuple),
    defects=st.lists(st.builds(Defect, code=st.just("SENSOR_TEMP_FAIL"), detail=st.none() | texts), max_size=1).map(
        tuple
    ),
    machine_verdict=st.sampled_from([None, *MachineVerdict]),
    completed_at=moments,
    cycle_time_seconds=st.none() | st.floats(0, 1e6),
    cycle_key=st.none() | st.integers() | texts,
    missed_before=st.none() | st.integers(0, 10),
    problems=st.lists(texts, max_size=2).map(tuple),
    raw=st.none() | st.binary(max_size=40).map(b64encode),
)
records = st.lists(record_contents, min_size=1, max_size=3)
headers = st.builds(
    RecordsHeader,
    site=st.just("gimcheon"),
    line=st.just("KR01"),
    station=st.just("P03-A"),
    stream_id=st.just("a" * 32),
    sent_at=moments,
    last_seq=st.none() | st.integers(0, 10),
)
