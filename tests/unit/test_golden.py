"""Golden samples at the station: due in time, remembered through restarts, and no unit starts after a failed one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.clock import CentralClock
from agent.golden import GOLDEN_NOTE, GoldenSamples
from agent.outbox import Outbox
from agent.settings import SettingsError, StationSettings, load
from contracts.record import GoldenCheck, Part, ProcessRecord
from contracts.refusals import RefusalCode
from tests.support.stores import record

DUE, FAILED = RefusalCode.GOLDEN_SAMPLE_DUE, RefusalCode.GOLDEN_SAMPLE_FAILED
SEOUL_8 = datetime(2026, 11, 24, 23, 0, tzinfo=UTC)
"""08:00 of the 25th in Seoul."""
GOLDEN = """    golden:
      shifts: ["08:00", "20:00"]
      timezone: Asia/Seoul
      cycles: 3
      samples:
        master: {pattern: "MASTER-.*", criteria: {temperature: {nominal: 60.2, tolerance: 0.1, unit: degC}}}
        faulty: {pattern: "GOLDEN-NG", must: fail}
"""


def settings_of(folder: Path, golden: str = GOLDEN, name: str = "P03-A", *, enabled: bool = True) -> StationSettings:
    text = Path(f"config/stations/{name}.yaml").read_text(encoding="utf-8")
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("    cycle_key:", golden + "    cycle_key:", 1), encoding="utf-8")
    machine = "tester" if name == "P03-A" else "marker"
    return load(file, [f"machines.{machine}.interlock.enabled={str(enabled).lower()}"])


@dataclass
class Machine:
    """A machine with samples, its outbox and its clock."""

    golden: GoldenSamples
    outbox: Outbox
    clock: CentralClock

    async def took(self, serial: str, outcome: str, at: datetime) -> ProcessRecord:
        part = Part.PRODUCT if serial.startswith("SN") else Part.GOLDEN_SAMPLE
        made = record(serial_number=serial, part=part, outcome=outcome, completed_at=at, lot_number=None)
        made, notes = await self.golden.checked(made)
        await self.outbox.append(made, notes=notes)
        return made

    async def all_good(self, at: datetime) -> None:
        await self.took("MASTER-1", "PASS", at)
        await self.took("GOLDEN-NG", "FAIL", at)

    async def code(self, at: datetime) -> RefusalCode | None:
        refusal = await self.golden.refusal(at)
        return None if refusal is None else refusal.code


@asynccontextmanager
async def machine_of(folder: Path) -> AsyncIterator[Machine]:
    """Made anew over the same disk, as after a power cut."""
    settings = settings_of(folder)
    machine = settings.machines["tester"]
    assert machine.golden is not None
    outbox, clock = Outbox(folder / "outbox.db"), CentralClock()
    outbox.open()
    try:
        yield Machine(GoldenSamples(machine, machine.golden, settings.station.process, outbox, clock), outbox, clock)
    finally:
        outbox.close()


async def test_no_unit_starts_before_every_sample_was_measured(tmp_path: Path) -> None:
    async with machine_of(tmp_path) as one:
        assert await one.code(SEOUL_8) is DUE
        made = await one.took("MASTER-1", "PASS", SEOUL_8)
        assert made.golden == GoldenCheck(sample="master", good=True)
        refusal = await one.golden.refusal(SEOUL_8)
        assert refusal is not None
        assert (refusal.code, refusal.detail) == (DUE, "golden sample faulty was not measured yet")
        made = await one.took("GOLDEN-NG", "FAIL", SEOUL_8)
        assert made.golden == GoldenCheck(sample="faulty", good=True), "it was found"
        assert await one.code(SEOUL_8) is None


@pytest.mark.parametrize(
    ("measured", "asked", "code"),
    [
        (0, 719, None),
        (0, 720, DUE),  # 20:00: the night shift has begun
        (-1, 0, DUE),
        (-1, -1, None),
        (719, 720, DUE),
        (720, 1439, None),
        (720, 1440, DUE),
        (10, 5, None),  # a clock a little ahead
        (10, 0, DUE),  # measured in the future: nobody knows when
    ],
)
async def test_they_are_due_in_every_shift(tmp_path: Path, measured: int, asked: int, code: RefusalCode | None) -> None:
    async with machine_of(tmp_path) as one:
        await one.all_good(SEOUL_8 + timedelta(minutes=measured))
        assert await one.code(SEOUL_8 + timedelta(minutes=asked)) is code


async def test_they_are_due_by_centrals_clock_where_it_is_known(tmp_path: Path) -> None:
    async with machine_of(tmp_path) as one:
        await one.all_good(SEOUL_8)
        one.clock.offset_s = lambda: 3600.0  # type: ignore[method-assign]  # this station is an hour ahead
        assert await one.code(SEOUL_8 + timedelta(hours=12, minutes=59)) is None
        assert await one.code(SEOUL_8 + timedelta(hours=13)) is DUE


async def test_they_are_due_after_so_many_results_whatever_became_of_them(tmp_path: Path) -> None:
    outcomes = ["PASS", "FAIL", "ERROR"]
    async with machine_of(tmp_path) as one:
        await one.all_good(SEOUL_8)
    for number, outcome in enumerate(outcomes):
        async with machine_of(tmp_path) as one:  # counted through restarts
            assert await one.code(SEOUL_8) is None
            await one.took(f"SN-{number}00", outcome, SEOUL_8)
    async with machine_of(tmp_path) as one:
        assert await one.code(SEOUL_8) is DUE
        await one.took("MASTER-1", "PASS", SEOUL_8)
        assert await one.code(SEOUL_8) is DUE, "the other sample is due too"
        await one.took("GOLDEN-NG", "FAIL", SEOUL_8)
        assert await one.code(SEOUL_8) is None


@pytest.mark.parametrize(("serial", "outcome"), [("MASTER-1", "FAIL"), ("GOLDEN-NG", "PASS")])
async def test_a_failed_sample_stops_the_machine_until_it_is_good_again(
    tmp_path: Path, serial: str, outcome: str
) -> None:
    async with machine_of(tmp_path) as one:
        await one.all_good(SEOUL_8)
        made = await one.took(serial, outcome, SEOUL_8)
        assert made.golden is not None
        assert not made.golden.good
    async with machine_of(tmp_path) as one:
        assert await one.code(SEOUL_8) is FAILED, "a restart forgives nothing"
        assert await one.code(SEOUL_8 + timedelta(days=1)) is FAILED
        await one.all_good(SEOUL_8)
        assert await one.code(SEOUL_8) is None


@pytest.mark.parametrize("outcome", ["ERROR", "ABORTED"])
async def test_a_sample_that_was_not_judged_says_nothing(tmp_path: Path, outcome: str) -> None:
    async with machine_of(tmp_path) as one:
        made = await one.took("GOLDEN-NG", outcome, SEOUL_8)
        assert made.golden is None
        assert await one.code(SEOUL_8) is DUE


async def test_a_note_nobody_understands_is_no_check(tmp_path: Path) -> None:
    async with machine_of(tmp_path) as one:
        await one.outbox.keep_note(GOLDEN_NOTE + "tester", '{"master": 1}')
        assert await one.code(SEOUL_8) is DUE


def test_a_number_of_a_sample_is_no_product(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert settings.part("MASTER-7") is Part.GOLDEN_SAMPLE
    assert settings.part("SN-261102-001") is Part.PRODUCT
    assert [warning.message for warning in settings.warnings if "golden" in str(warning.path)] == []


def test_samples_of_a_machine_that_asks_nobody_are_warned_of(tmp_path: Path) -> None:
    warnings = [str(warning) for warning in settings_of(tmp_path, enabled=False).warnings]
    assert any(
        "the machine asks nobody (interlock), so it starts units whatever its samples say" in w for w in warnings
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('      shifts: ["08:00", "20:00"]\n', '      shifts: ["8:00"]\n', "golden.shifts"),
        ('      shifts: ["08:00", "20:00"]\n', '      shifts: ["08:00", "08:00"]\n', "the same start twice"),
        (
            '      shifts: ["08:00", "20:00"]\n      timezone: Asia/Seoul\n      cycles: 3\n',
            "",
            "when are the samples due",
        ),
        ("Asia/Seoul", "Asia/Soul", "is no time zone of this computer"),
        ("cycles: 3", "cycles: 0", "golden.cycles"),
        ("must: fail", "must: error", "golden.samples.faulty.must"),
        ('"MASTER-.*"', '"MASTER-(.*"', "golden.samples.master.pattern"),
        ("temperature: {nominal: 60.2", "temperatur: {nominal: 60.2", 'did you mean "temperature"'),
        ("tolerance: 0.1, unit: degC", "tolerance: 0.1, unit: mm", "unit does not fit that of point"),
        ("tolerance: 0.1", "tolerance: -0.1", "golden.samples.master.criteria.temperature"),
        ("        master: {", "        the master: {", "is no name"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOLDEN
    with pytest.raises(SettingsError) as caught:
        settings_of(tmp_path, GOLDEN.replace(old, new, 1))
    assert told in str(caught.value)
    assert f"{tmp_path}/P03-A.yaml:" in str(caught.value)


def test_a_machine_that_gives_numbers_could_never_ask_for_its_sample(tmp_path: Path) -> None:
    golden = '    golden: {cycles: 9, samples: {a: {pattern: "G-.*"}}}\n'
    with pytest.raises(SettingsError, match="it could never ask for its sample"):
        settings_of(tmp_path, golden, "P01-A")
