"""What makes another result of one machine, and what does not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.content import Contents
from agent.settings import MachineSettings, load
from contracts.measurement import Quality
from drivers.base import PointValue, RawValue
from tests.support.drivers import reading

SAID: dict[str, RawValue | PointValue | None] = {"n": 17, "code": "SN-1", "label": None, "result": None, "reason": None}


@pytest.fixture(scope="module")
def scanner() -> MachineSettings:
    return load(Path("config/stations/P07-A.yaml")).machines["scanner"]


@pytest.mark.parametrize(
    ("change", "is_another"),
    [
        ({"code": "SN-2"}, True),
        ({"label": "REJECT"}, True),
        ({"result": "REWORK", "reason": "torn off"}, True),
        ({"code": PointValue(None, Quality.BAD)}, True),
        ({"code": PointValue("SN-1", Quality.UNCERTAIN, source_timestamp=datetime.now(UTC))}, False),
        ({"n": 18}, False),  # that is another number
        ({"ask": 3}, False),
    ],
)
def test_another_unit_or_meaning_is_another_result_and_time_and_quality_are_none(
    change: dict[str, RawValue | PointValue | None], is_another: bool, scanner: MachineSettings
) -> None:
    contents = Contents(scanner)
    assert (contents.of(reading(SAID)) != contents.of(reading(SAID | change))) is is_another


def test_true_is_no_one_and_a_text_no_number(scanner: MachineSettings) -> None:
    contents = Contents(scanner)
    found = {contents.of(reading(SAID | {"code": code})) for code in (1, True, "1", 1.0, "True")}
    assert len(found) == 5


def test_other_settings_make_digests_that_are_not_comparable(scanner: MachineSettings) -> None:
    settings = scanner.protocol_settings
    points = {name: point for name, point in settings.points.items() if name != "ask"}
    changed = scanner.model_copy(update={"protocol_settings": settings.model_copy(update={"points": points})})
    before, now = (Contents(one).of(reading(SAID)).partition(".") for one in (scanner, changed))
    assert before[0] != now[0]
    assert before[2] == now[2]
    assert Contents(load(Path("config/stations/P07-A.yaml")).machines["scanner"]).of(reading(SAID)) == "".join(before)
