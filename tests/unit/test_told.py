"""What a permit said of a unit: the result is judged against it, and without it is an ERROR, never a PASS."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.outbox import Outbox
from agent.permits import PERMIT_NOTE, Last
from agent.settings import SettingsError, StationSettings, load
from agent.supervisor import Supervisor
from contracts.criteria import JUDGE_VERSION, CriteriaSet, Outcome, judge
from contracts.firmware import Firmware
from contracts.record import ProcessRecord
from tests.support.drivers import ToldDriver

UNIT, OTHER = "WF-KR-261102D-001-0001", "WF-KR-261102D-001-0002"
WANTED = {"firmware": "v1.2.3", "firmware_checksum": "9f86d081", "product_model": "WR-1"}
RULES = """criteria:
  firmware_version: {same_as: permit.firmware, defect: FIRMWARE_UPLOAD_FAIL}
  checksum: {same_as: permit.firmware_checksum, defect: FIRMWARE_UPLOAD_FAIL}
"""


def settings_of(folder: Path, name: str, rules: str = "", *, enabled: bool = True) -> StationSettings:
    text = Path(f"config/stations/{name}.yaml").read_text(encoding="utf-8")
    if rules:
        text = text[: text.index("\ncriteria:")] + "\n" + rules
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("enabled: false", f"enabled: {str(enabled).lower()}"), encoding="utf-8")
    return load(file)


@asynccontextmanager
async def machine(
    folder: Path, settings: StationSettings, permit: Mapping[str, Any] | None
) -> AsyncIterator[tuple[ToldDriver, Outbox]]:
    """The station's machine after this permit, as its note says; the unit is ``serial_number``."""
    [(name, own)] = settings.machines.items()
    outbox, clock, driver = Outbox(folder / "outbox.db"), CentralClock(), ToldDriver()
    outbox.open()
    if permit is not None:
        last = Last(1, "x", permit, str(permit["serial_number"]), 7)
        await outbox.keep_note(PERMIT_NOTE + name, last.as_note())
    criteria = StationCriteria(settings, clock)
    supervisor = Supervisor(own, settings, criteria, driver, outbox, "test", {}, kept=lambda: None, clock=clock)
    running = asyncio.create_task(supervisor.run())
    try:
        yield driver, outbox
    finally:
        supervisor.stop()
        async with asyncio.timeout(10):
            await running
        outbox.close()


async def result(driver: ToldDriver, outbox: Outbox, values: Mapping[str, Any]) -> ProcessRecord:
    before = outbox.last_seq
    driver.say(values)
    async with asyncio.timeout(10):
        while not driver.said.empty() or outbox.last_seq == before:
            await asyncio.sleep(0.002)
    rows = await outbox.unsettled(outbox.stream_id, before, max_rows=9, max_bytes=10**6)
    [row] = [row for row in rows if row.seq > before]
    return ProcessRecord.model_validate_json(row.body)


def flashed(n: int = 1, **changes: Any) -> dict[str, Any]:
    good = {"n": n, "serial_number": UNIT, "firmware_version": "v1.2.3", "checksum": "9f86d081"}
    return {**good, "upload_result": "OK", "attempts": 1, "duration": 40.0, **changes}


def by_name(record: ProcessRecord) -> dict[str, str]:
    return {one.name: one.verdict.value for one in record.verdicts if one.verdict.value != "NOT_JUDGED"}


@pytest.mark.parametrize(
    ("wanted", "reported", "outcome", "verdicts"),
    [
        (WANTED, {}, "PASS", ("PASS", "PASS")),
        (WANTED, {"firmware_version": "v1.2.4"}, "FAIL", ("FAIL", "PASS")),
        (WANTED, {"checksum": "9F86D081"}, "FAIL", ("PASS", "FAIL")),
        ({**WANTED, "firmware": "", "firmware_checksum": ""}, {}, "ERROR", ("ERROR", "ERROR")),  # no specification
        ({**WANTED, "firmware_checksum": ""}, {}, "ERROR", ("PASS", "ERROR")),
        ({**WANTED, "firmware": ""}, {"firmware_version": ""}, "ERROR", ("ERROR", "PASS")),  # nothing is not nothing
        (WANTED, {"serial_number": OTHER}, "ERROR", ("ERROR", "ERROR")),  # the permit was another unit's
        (None, {}, "ERROR", ("ERROR", "ERROR")),
    ],
)
async def test_a_flasher_is_judged_by_what_the_product_model_wants(
    tmp_path: Path,
    wanted: Mapping[str, str] | None,
    reported: Mapping[str, Any],
    outcome: str,
    verdicts: tuple[str, str],
) -> None:
    settings = settings_of(tmp_path, "P04-A", RULES)
    permit = None if wanted is None else {"serial_number": UNIT, **wanted}
    async with machine(tmp_path, settings, permit) as (driver, outbox):
        made = await result(driver, outbox, flashed(**reported))
        assert (made.outcome.value, tuple(by_name(made).values())) == (outcome, verdicts)
        if outcome == "PASS":
            assert (made.permit, made.product_model) == (7, "WR-1")
            again = await result(driver, outbox, flashed(2))
            assert again.outcome is Outcome.ERROR, "a permit is for one result"
            assert again.permit is None


async def test_the_record_alone_repeats_the_verdict(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "P04-A", RULES)
    async with machine(tmp_path, settings, {"serial_number": UNIT, **WANTED}) as (driver, outbox):
        made = await result(driver, outbox, flashed(checksum="00000000"))
    limits = {one.name: one.limit for one in made.verdicts if one.limit is not None}
    again = judge(made.measurements, CriteriaSet(process=made.process, revision="x", criteria=limits))
    assert (again.outcome, made.judge_version) == (made.outcome, JUDGE_VERSION)
    assert set(again.verdicts) == set(made.verdicts)


@pytest.mark.parametrize("reported", [OTHER, None])
async def test_a_marker_s_result_is_the_unit_s_that_it_was_told_to_mark(tmp_path: Path, reported: str | None) -> None:
    settings = settings_of(tmp_path, "P01-A")
    values = {
        "result_counter": 1, "ordered_number": reported, "engraved_number": reported, "lot_number": None,
        "product_model": "WR-1", "marking_quality": "A", "marking_depth": 0.05, "position_x": 10.2, "position_y": 5.1,
        "readability": 0.9,
    }  # fmt: skip
    async with machine(tmp_path, settings, {"serial_number": UNIT}) as (driver, outbox):
        made = await result(driver, outbox, values)
        assert (made.serial_number, made.lot_number, made.permit) == (UNIT, UNIT[:-5], 7)
        assert made.outcome is Outcome.ERROR
        if reported is not None:
            told = f"the machine was told to give the unit the number {UNIT}, and reports {OTHER}"
            assert made.problems == (told,)
        read_again = {**values, "result_counter": 2, "ordered_number": UNIT, "engraved_number": UNIT}
        made = await result(driver, outbox, read_again)
        assert (made.serial_number, made.outcome) == (UNIT, Outcome.PASS), "its code was read again"


def test_what_a_permit_says_needs_a_permit(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"permit\.firmware is told by a permit, and no machine here asks for one"):
        settings_of(tmp_path, "P04-A", RULES, enabled=False)
    with pytest.raises(SettingsError, match=r'unknown measurement "permit\.firmwar"'):
        settings_of(tmp_path, "P04-A", RULES.replace("permit.firmware,", "permit.firmwar,"))


def test_no_machine_is_named_as_a_permit_is(tmp_path: Path) -> None:
    text = Path("config/stations/P04-A.yaml").read_text(encoding="utf-8").replace("  flasher:", "  permit:")
    file = tmp_path / "named.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match='"permit" is no machine'):
        load(file)


@pytest.mark.parametrize(
    ("specifications", "wanted"),
    [
        ({"firmware": {"version": "v1", "checksum": "aa"}}, Firmware(version="v1", checksum="aa")),
        ({"firmware": {"version": "v1"}}, Firmware(version="v1")),
        ({"firmware": "v1"}, Firmware(version="v1")),
        ({"firmware": {"version": 1}}, None),
        ({"firmware": {"version": "v1", "checksum": 5}}, None),
        ({"firmware": {"checksum": "aa"}}, None),
        ({"firmware": ["v1"]}, None),
        ({"firmware": ""}, None),
        ({}, None),
        (None, None),
    ],
)
def test_what_specifications_say_of_firmware(specifications: Mapping[str, Any] | None, wanted: Firmware | None) -> None:
    assert Firmware.of(specifications) == wanted
