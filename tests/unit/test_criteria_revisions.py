"""Which criteria hold for a unit, and which revision is in force when."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from central.criteria_file import not_measured, read_criteria
from contracts.criteria import (
    Criteria,
    Criterion,
    Outcome,
    Publication,
    Revision,
    Variant,
    in_force,
    judge,
    to_publish,
)
from contracts.measurement import Measurement
from documents.issues import SettingsError

P03 = "P03_SENSOR_INSPECTION"
NOON = datetime(2026, 11, 23, 3, tzinfo=UTC)


def upto(limit: int) -> dict[str, Criterion]:
    return {"temperature": Criterion(upper=limit)}


CRITERIA = Criteria(
    process=P03,
    criteria={**upto(1), "tof_i2c": Criterion(equals=True)},
    variants=(
        Variant(station="P03-B", criteria=upto(2)),
        Variant(machine="tester", criteria=upto(3)),
        Variant(station="P03-B", machine="tester", criteria=upto(4)),
        Variant(product_model="WR-2", criteria=upto(5)),
        Variant(product_model="WR-2", station="P03-B", criteria=upto(6)),
        Variant(product_model="WR-2", station="P03-B", machine="tester", criteria=upto(7)),
    ),
)


@pytest.mark.parametrize(
    ("model", "station", "machine", "limit"),
    [
        (None, "P03-A", "oven", 1),
        ("WR-1", "P03-A", "oven", 1),
        (None, "P03-B", "oven", 2),
        (None, "P03-A", "tester", 3),
        (None, "P03-B", "tester", 4),
        ("WR-2", "P03-A", "oven", 5),
        ("WR-2", "P03-A", "tester", 5),
        ("WR-2", "P03-B", "oven", 6),
        ("WR-2", "P03-B", "tester", 7),
    ],
)
def test_the_most_specific_criterion_is_chosen_in_whatever_order_they_stand(
    model: str | None, station: str, machine: str, limit: int
) -> None:
    for variants in (CRITERIA.variants, CRITERIA.variants[::-1]):
        chosen = CRITERIA.model_copy(update={"variants": variants}).chosen("3", model, station, machine)
        assert chosen.criteria["temperature"].upper == limit
        assert chosen.criteria["tof_i2c"].equals is True
        assert (chosen.process, chosen.revision) == (P03, "3")


def test_a_unit_whose_model_is_not_known_is_judged_by_nothing_that_is_for_a_model() -> None:
    criteria = Criteria(process=P03, variants=(Variant(product_model="WR-2", criteria=upto(5)),))
    unknown = criteria.chosen("1", None, "P03-A", "tester")
    assert not unknown.criteria
    assert judge([Measurement(name="temperature", value=1)], unknown).outcome is Outcome.ERROR
    known = criteria.chosen("1", "WR-2", "P03-A", "tester")
    assert judge([Measurement(name="temperature", value=1)], known).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"criteria": {}}, "nothing could pass"),
        ({"variants": [{"criteria": {"a": {"lower": 1}}}]}, "name a product_model"),
        ({"variants": [{"machine": "m", "criteria": {}}]}, "at least 1"),
        ({"variants": [{"machine": "m", "criteria": {"a": {"lower": 1}}}] * 2}, "variants.1"),
        ({"criteria": {"a": {"same_as": "a"}}}, "same as itself"),
    ],
)
def test_criteria_nobody_can_mean_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Criteria.model_validate({"process": P03, "criteria": {"a": {"lower": 1}}, **changes})


def revision(number: int, hours: float) -> Revision:
    return Revision(
        number=number,
        criteria=Criteria(process=P03, criteria=upto(number)),
        author="park",
        reason="r",
        effective_at=NOON + timedelta(hours=hours),
    )


@pytest.mark.parametrize(
    ("hours", "number", "told"),
    [(-1, None, [1, 3, 2]), (0, 1, [1, 3, 2]), (0.5, 1, [1, 3, 2]), (1, 3, [3, 2]), (2, 2, [2]), (99, 2, [2])],
)
def test_the_latest_that_has_taken_effect_is_in_force(hours: float, number: int | None, told: list[int]) -> None:
    at = NOON + timedelta(hours=hours)
    for revisions in permutations([revision(1, 0), revision(2, 2), revision(3, 1)]):
        found = in_force(revisions, at)
        assert (None if found is None else found.number) == number
        assert [one.number for one in to_publish(revisions, at)] == told


def test_of_two_for_the_same_moment_the_higher_number_is_in_force() -> None:
    found = in_force([revision(2, 0), revision(1, 0)], NOON)
    assert found is not None
    assert found.number == 2


@pytest.mark.parametrize(
    "changes",
    [{"issued": 1}, {"revisions": [revision(1, 0)] * 2}, {"process": "P04_FIRMWARE_UPLOAD"}, {"more": 1}],
    ids=str,
)
def test_a_publication_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    told = {"process": P03, "epoch": "e", "issued": 2, "revisions": (revision(1, 0), revision(2, 1))}
    whole = Publication.model_validate(told)
    assert Publication.model_validate_json(whole.encoded()) == whole
    with pytest.raises(ValidationError):
        Publication.model_validate(told | changes)


FILE = """process: P03_SENSOR_INSPECTION
criteria:
  temperature: {nominal: 60, tolerance: 1, unit: degC, defect: SENSOR_TEMP_FAIL}
variants:
- product_model: WR-2
  criteria:
    temperature: {nominal: 65, tolerance: 1, unit: %s}
"""


def test_a_file_of_criteria_is_read_and_its_mistakes_have_a_place(tmp_path: Path) -> None:
    file = tmp_path / "P03.yaml"
    file.write_text(FILE % "degC", encoding="utf-8")
    criteria = read_criteria(file)
    assert criteria.chosen("1", "WR-2", "P03-A", "tester").criteria["temperature"].nominal == 65
    assert not_measured(file, criteria, {"temperature", "tof_i2c"}) is None
    assert f"{file}:3:3 criteria.temperature: no record of" in str(not_measured(file, criteria, {"temperatures"}))

    file.write_text((FILE % "degX").replace("tolerance: 1, unit: degC", "tolerance: -1, unit: degC"), encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        read_criteria(file)
    assert f"{file}:3:41 criteria.temperature.tolerance: out of range" in str(refused.value)

    file.write_text(FILE % "degX", encoding="utf-8")
    with pytest.raises(SettingsError) as refused:
        read_criteria(file)
    assert str(refused.value) == f"{file}:7:52 variants.0.criteria.temperature.unit: unknown unit 'degX'"
