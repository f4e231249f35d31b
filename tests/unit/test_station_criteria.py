"""What a station judges by: central's last valid word, its own file until then, and nothing that is broken or older."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.clock import CentralClock
from agent.criteria import FILE, StationCriteria
from agent.settings import StationSettings, load
from contracts.criteria import Criteria, Criterion, Publication, Revision, Variant

P03 = "P03_SENSOR_INSPECTION"
NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


@pytest.fixture
def settings(tmp_path: Path) -> StationSettings:
    return load(Path("config/stations/P03-A.yaml"), [f"state_dir={tmp_path}"])


def revision(number: int, at: datetime, upper: int | None = None, **changes: Any) -> Revision:
    criteria = Criteria(
        process=changes.get("process", P03),
        criteria={"temperature": Criterion(upper=upper or number, unit="degC")},
        variants=(Variant(product_model="WR-2", criteria={"temperature": Criterion(upper=99, unit="degC")}),),
    )
    return Revision(number=number, criteria=criteria, author="park", reason="r", effective_at=at)


def word(*revisions: Revision, epoch: str = "e", process: str = P03) -> bytes:
    issued = max(one.number for one in revisions)
    return Publication(process=process, epoch=epoch, issued=issued, revisions=revisions).encoded()


def limit(criteria: StationCriteria, settings: StationSettings, at: datetime = NOW, model: str | None = None) -> Any:
    found = criteria.for_unit(settings.machines["tester"], model, at)
    return found.revision, found.criteria["temperature"].upper


async def test_the_files_own_criteria_serve_until_central_has_spoken(settings: StationSettings) -> None:
    criteria = StationCriteria(settings, CentralClock())
    criteria.recall()
    own = criteria.for_unit(settings.machines["tester"], "WR-2", NOW)
    assert own.revision.startswith("yaml-")
    await criteria.heard(word(revision(2, NOW + HOUR)))
    assert criteria.for_unit(settings.machines["tester"], "WR-2", NOW) == own, "what is to come is not in force yet"
    assert limit(criteria, settings, NOW + HOUR) == ("2", 2)


async def test_a_revision_takes_effect_at_its_time_and_for_its_models(settings: StationSettings) -> None:
    criteria = StationCriteria(settings, CentralClock())
    await criteria.heard(word(revision(3, NOW - HOUR), revision(4, NOW + HOUR)))
    assert limit(criteria, settings) == ("3", 3)
    assert limit(criteria, settings, NOW + HOUR - timedelta(microseconds=1)) == ("3", 3)
    assert limit(criteria, settings, NOW + HOUR) == ("4", 4)
    assert limit(criteria, settings, model="WR-2") == ("3", 99)
    assert limit(criteria, settings, model="WR-1") == ("3", 3)


async def test_the_time_is_centrals_where_the_stations_clock_is_wrong(settings: StationSettings) -> None:
    clock = CentralClock(since_boot=lambda: 0.0, wall=lambda: NOW.timestamp() + 7200)
    clock.heard(0.0, NOW)
    assert clock.offset_s() == 7200
    criteria = StationCriteria(settings, clock)
    await criteria.heard(word(revision(3, NOW - HOUR), revision(4, NOW + HOUR)))
    assert limit(criteria, settings, NOW + 2 * HOUR) == ("3", 3), "by central's clock it is two hours earlier"
    assert limit(criteria, settings, NOW + 3 * HOUR) == ("4", 4)


async def test_a_result_from_before_a_revision_is_judged_by_the_one_before(settings: StationSettings) -> None:
    criteria = StationCriteria(settings, CentralClock())
    await criteria.heard(word(revision(1, NOW - 2 * HOUR)))
    await criteria.heard(word(revision(2, NOW - HOUR)))
    assert limit(criteria, settings, NOW - HOUR - timedelta(seconds=1)) == ("1", 1)
    assert limit(criteria, settings) == ("2", 2)


async def test_of_another_database_nothing_old_is_in_force(settings: StationSettings) -> None:
    """Not even what took effect later, nor under the number that the new one has given too."""
    criteria = StationCriteria(settings, CentralClock())
    await criteria.heard(word(revision(1, NOW - 9 * HOUR), epoch="old"))
    await criteria.heard(word(revision(2, NOW - HOUR, upper=99), epoch="old"))
    await criteria.heard(word(revision(1, NOW - 9 * HOUR), revision(2, NOW + HOUR, upper=5), epoch="new"))
    assert limit(criteria, settings) == ("1", 1)
    assert limit(criteria, settings, NOW - 10 * HOUR) == ("2", 99)
    assert limit(criteria, settings, NOW + HOUR) == ("2", 5)


async def test_a_computer_whose_clock_begins_years_ago_judges_by_centrals_last_word(settings: StationSettings) -> None:
    await StationCriteria(settings, CentralClock()).heard(word(revision(3, NOW - HOUR), revision(4, NOW + HOUR)))
    again = StationCriteria(settings, CentralClock())
    again.recall()
    assert limit(again, settings, datetime(2000, 1, 1, tzinfo=UTC)) == ("3", 3)
    assert limit(again, settings, NOW + HOUR) == ("4", 4)


async def test_the_last_word_outlives_the_process(settings: StationSettings) -> None:
    await StationCriteria(settings, CentralClock()).heard(word(revision(3, NOW - HOUR), revision(4, NOW + HOUR)))
    again = StationCriteria(settings, CentralClock())
    again.recall()
    assert limit(again, settings) == ("3", 3)
    assert limit(again, settings, NOW + HOUR) == ("4", 4)
    assert [path.name for path in settings.state_dir.iterdir()] == [FILE]


LATER = word(revision(5, NOW - HOUR))
BAD: dict[str, bytes] = {
    "nothing": b"",
    "no text": b"\xff\x00",
    "no object": b"[1]",
    "half of it": LATER[:-20],
    "an unknown key": LATER.replace(b'"issued"', b'"isued"'),
    "no revision": json.dumps({"process": P03, "epoch": "e", "issued": 9, "revisions": []}).encode(),
    "a limit that nothing can meet": LATER.replace(b'"upper":5', b'"lower":9,"upper":5'),
    "a formula that is none": LATER.replace(b'"upper":5', b'"upper":5,"formula":"a ** 9"'),
    "a revision never issued": LATER.replace(b'"issued":5', b'"issued":4'),
    "another process": word(revision(5, NOW, process="P04_FIRMWARE_UPLOAD"), process="P04_FIRMWARE_UPLOAD"),
    "an older word": word(revision(2, NOW - HOUR)),
    "other content": word(revision(3, NOW - HOUR, upper=7)),
    "other content beside a newer one": word(revision(3, NOW - HOUR, upper=7), revision(9, NOW)),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_broken_or_older_word_is_refused_told_once_and_counted(name: str, settings: StationSettings) -> None:
    criteria = StationCriteria(settings, CentralClock())
    await criteria.heard(word(revision(3, NOW - HOUR)))
    with capture_logs() as logs:
        await criteria.heard(BAD[name])
        await criteria.heard(BAD[name])
    assert limit(criteria, settings) == ("3", 3)
    assert criteria.refused == 2
    assert [entry["event"] for entry in logs] == ["criteria refused, the last good ones stay"]
    again = StationCriteria(settings, CentralClock())
    again.recall()
    assert limit(again, settings) == ("3", 3)


async def test_the_same_word_again_changes_nothing_and_is_not_told(settings: StationSettings) -> None:
    criteria = StationCriteria(settings, CentralClock())
    await criteria.heard(LATER)
    with capture_logs() as logs:
        await criteria.heard(LATER)
    assert logs == []
    assert criteria.refused == 0


async def test_central_with_another_database_begins_anew(settings: StationSettings) -> None:
    criteria = StationCriteria(settings, CentralClock())
    await criteria.heard(LATER)
    await criteria.heard(word(revision(1, NOW - timedelta(minutes=1)), epoch="another"))
    assert limit(criteria, settings) == ("1", 1)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
async def test_a_damaged_file_is_not_believed_and_stops_nothing(content: bytes, settings: StationSettings) -> None:
    (settings.state_dir / FILE).write_bytes(content)
    criteria = StationCriteria(settings, CentralClock())
    criteria.recall()
    assert criteria.refused == 1
    assert criteria.for_unit(settings.machines["tester"], None, NOW).revision.startswith("yaml-")
    await criteria.heard(LATER)
    assert limit(criteria, settings) == ("5", 5)


async def test_a_disk_that_takes_nothing_leaves_the_word_in_force(settings: StationSettings) -> None:
    criteria = StationCriteria(settings, CentralClock())
    (settings.state_dir / f"{FILE}.new").mkdir()
    with capture_logs() as logs:
        await criteria.heard(LATER)
    assert limit(criteria, settings) == ("5", 5)
    assert "criteria not kept on disk: they are lost when the station restarts" in [one["event"] for one in logs]


async def test_criteria_for_what_nobody_here_measures_are_told(settings: StationSettings) -> None:
    wrong = Criteria(process=P03, criteria={"temprature": Criterion(upper=1)})
    told = Revision(number=6, criteria=wrong, author="park", reason="r", effective_at=NOW)
    with capture_logs() as logs:
        await StationCriteria(settings, CentralClock()).heard(word(told))
    assert [entry["missing"] for entry in logs if "no machine here" in entry["event"]] == [["temprature"]]
