"""One machine's requests at its station: kept before they are answered, answered once, and each number given once."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.golden import GoldenSamples
from agent.interlock import Interlock
from agent.numbers import NUMBERS_NOTE
from agent.outbox import Outbox
from agent.permits import Permits
from agent.settings import StationSettings, load
from contracts.errors import LinkError, StoreError
from contracts.measurement import Scalar
from contracts.permit import PermitRecord
from drivers.base import Driver, MachineEvent, MachineRequest, PointValue, Reading
from tests.support.agents import kept
from tests.support.stores import record

LOT = "WF-KR-261102D-001"
NUMBERS = [f"{LOT}-{number:04d}" for number in range(1, 7)]


@dataclass
class AskedMachine:
    """A machine that asks what the test says, and remembers what it was answered."""

    number: int = 0
    values: Mapping[str, Scalar] = field(default_factory=dict)
    answers: list[Mapping[str, Scalar]] = field(default_factory=list)
    is_away: bool = False

    async def open(self) -> None:
        """Nothing to open."""

    async def next_event(self) -> MachineEvent:
        raise AssertionError("a test hands its requests over itself")

    async def read(self, event: MachineEvent) -> Reading:
        found = {name: PointValue(value) for name, value in {"request_number": self.number, **self.values}.items()}
        return Reading(event.signalled_at, found)

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        if self.is_away:
            raise LinkError("away")
        self.answers.append(values)

    async def close(self) -> None:
        """Nothing to close."""


def settings_of(station: str, machine: str) -> StationSettings:
    return load(Path(f"config/stations/{station}.yaml"), [f"machines.{machine}.interlock.enabled=true"])


@asynccontextmanager
async def station(
    folder: Path, driver: Driver, name: str = "P01-A", machine: str = "marker"
) -> AsyncIterator[tuple[Permits, Outbox]]:
    """A station that has no central; made anew over the same disk, as after a power cut."""
    settings = settings_of(name, machine)
    outbox = Outbox(folder / "outbox.db")
    outbox.open()
    try:
        interlock = Interlock(settings, outbox)
        await interlock.open()
        own = settings.machines[machine]
        asking = own.protocol_settings.asking()
        assert asking is not None
        clock = CentralClock()
        criteria = StationCriteria(settings, clock)
        yield Permits(own, asking, settings, criteria, driver, outbox, interlock, "test", clock), outbox
    finally:
        outbox.close()


async def reserve(folder: Path) -> None:
    """The station holds a block, as central once reserved it."""
    outbox = Outbox(folder / "outbox.db")
    outbox.open()
    await outbox.keep_note(NUMBERS_NOTE + LOT, str(NUMBERS).replace("'", '"'))
    outbox.close()


async def ask(permits: Permits, machine: AskedMachine, number: int, *, ago_s: float = 0.0, first: bool = False) -> None:
    machine.number = number
    machine.values = {"request_lot": LOT}
    await permits.handle(MachineRequest(datetime.now(UTC) - timedelta(seconds=ago_s), key=number, first=first))


def given(machine: AskedMachine) -> list[Any]:
    return [one["serial_number"] for one in machine.answers if one["granted"]]


async def test_each_number_is_given_once_through_restarts_and_lost_links(tmp_path: Path) -> None:
    await reserve(tmp_path)
    machine = AskedMachine()
    for number in range(1, 7):
        async with station(tmp_path, machine) as (permits, _):
            machine.is_away = number % 3 == 0
            if machine.is_away:
                with pytest.raises(LinkError):
                    await ask(permits, machine, number)
            else:
                await ask(permits, machine, number)
    named = [one["serial_number"] for one in kept(tmp_path)]
    assert named == NUMBERS, "what never reached the machine is not given again either: it may have"
    assert given(machine) == [one for place, one in enumerate(NUMBERS, start=1) if place % 3]
    machine.is_away = False
    async with station(tmp_path, machine) as (permits, _):
        await ask(permits, machine, 7)
    assert machine.answers[-1]["code"] == "NUMBERS_USED_UP"


async def test_a_request_that_is_seen_again_gets_the_same_answer(tmp_path: Path) -> None:
    """Also after a restart: the machine still waits, and must not get a second number."""
    await reserve(tmp_path)
    machine = AskedMachine()
    for _ in range(3):
        async with station(tmp_path, machine) as (permits, _):
            await ask(permits, machine, 9, first=True)
    assert given(machine) == [NUMBERS[0]] * 3
    assert len(kept(tmp_path)) == 1


async def test_a_machine_that_counts_from_one_again_gets_no_number_twice(tmp_path: Path) -> None:
    """Its request number says nothing then; the result of the first permit is there."""
    await reserve(tmp_path)
    machine = AskedMachine()
    async with station(tmp_path, machine) as (permits, _):
        await ask(permits, machine, 1)
        made, notes = await permits.permit_of(record(station="P01-A", serial_number=NUMBERS[0]))
        assert (made.serial_number, len(notes)) == (NUMBERS[0], 1)
        await ask(permits, machine, 1)
    assert given(machine) == NUMBERS[:2]


async def test_a_machine_that_was_restarted_before_its_result_marks_no_number_twice(tmp_path: Path) -> None:
    """It counted from 0 to 1 again while the station looked: its first part may bear the number already."""
    await reserve(tmp_path)
    machine = AskedMachine()
    async with station(tmp_path, machine) as (permits, _):
        await ask(permits, machine, 1)
        await ask(permits, machine, 1)
    assert given(machine) == NUMBERS[:2]


async def test_a_permit_of_long_ago_is_not_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit may be on hold by now, at another station, or the golden sample due: it is decided anew."""
    machine = AskedMachine(1, {"request_serial": "SN-261102-001"})
    async with station(tmp_path, machine, "P03-A", "tester") as (permits, _):
        object.__setattr__(permits._asking, "offline", "allow_and_flag")
        await permits.handle(MachineRequest(datetime.now(UTC), key=1, first=True))
    monkeypatch.setattr("agent.permits.AGAIN_S", -1.0)
    async with station(tmp_path, machine, "P03-A", "tester") as (permits, _):
        object.__setattr__(permits._asking, "offline", "block")
        await permits.handle(MachineRequest(datetime.now(UTC), key=1, first=True))
    assert [one["code"] for one in machine.answers] == ["", "CENTRAL_UNREACHABLE"]


async def test_a_number_that_a_unit_bears_already_keeps_no_other_back(tmp_path: Path) -> None:
    """The block came back with an old image of the disk, or a person has given its number by hand."""
    await reserve(tmp_path)
    machine = AskedMachine()
    async with station(tmp_path, machine) as (permits, _):
        passed = record(station="P01-A", process="P01_LASER_MARKING", serial_number=NUMBERS[0], lot_number=LOT)
        permits._interlock.worked(passed)
        await ask(permits, machine, 1)
        await ask(permits, machine, 2)
    assert [one["code"] for one in machine.answers] == ["PROCESS_ALREADY_PASSED", ""]
    assert given(machine) == [NUMBERS[1]]


async def test_an_answer_is_on_disk_before_it_is_given(tmp_path: Path) -> None:
    await reserve(tmp_path)
    machine = AskedMachine()
    async with station(tmp_path, machine) as (permits, outbox):
        answer = machine.answer

        async def looking(values: Mapping[str, Scalar]) -> None:
            rows = await outbox.unsettled(outbox.stream_id, 0, max_rows=9, max_bytes=10**6)
            found = [PermitRecord.model_validate_json(row.body).serial_number for row in rows]
            assert found == [values["serial_number"]]
            await answer(values)

        machine.answer = looking  # type: ignore[method-assign]  # looks at the disk first
        await ask(permits, machine, 1)
    assert given(machine) == [NUMBERS[0]]


async def test_a_disk_that_refuses_means_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await reserve(tmp_path)
    machine = AskedMachine()
    async with station(tmp_path, machine) as (permits, outbox):

        async def full(*_: object, **__: object) -> int:
            raise StoreError("no space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(outbox, "append", full)
            await ask(permits, machine, 1)
        assert machine.answers == []
        await ask(permits, machine, 2)
    assert given(machine) == [NUMBERS[0]], "the number of the answer that was not kept was not used"


async def test_an_answer_that_comes_too_late_is_not_written(tmp_path: Path) -> None:
    await reserve(tmp_path)
    machine = AskedMachine()
    async with station(tmp_path, machine) as (permits, _):
        await ask(permits, machine, 1, ago_s=5.0)
        assert (machine.answers, permits.late) == ([], 1)


@pytest.mark.parametrize("serial", ["", "no spaces", "\x00", "x" * 80])
async def test_a_number_nobody_can_read_is_refused_and_kept(tmp_path: Path, serial: str) -> None:
    machine = AskedMachine(1, {"request_serial": serial})
    async with station(tmp_path, machine, "P03-A", "tester") as (permits, _):
        await permits.handle(MachineRequest(datetime.now(UTC), key=1))
    assert machine.answers[0]["code"] == "REQUEST_NOT_UNDERSTOOD"
    [answer] = kept(tmp_path)
    assert (answer["granted"], answer.get("serial_number")) == (False, None)


async def test_a_golden_sample_needs_no_permit_of_central(tmp_path: Path) -> None:
    machine = AskedMachine(1, {"request_serial": "GOLDEN-7"})
    async with station(tmp_path, machine, "P03-A", "tester") as (permits, _):
        await permits.handle(MachineRequest(datetime.now(UTC), key=1))
    assert machine.answers[0]["granted"] is True
    [answer] = kept(tmp_path)
    assert (answer["part"], answer["decided_by"]) == ("GOLDEN_SAMPLE", "STATION")


async def test_two_requests_at_once_get_two_numbers(tmp_path: Path) -> None:
    """Two markers of one station share its block."""
    await reserve(tmp_path)
    machines = [AskedMachine(), AskedMachine()]
    async with station(tmp_path, machines[0]) as (first, outbox):
        second = Permits(
            first._machine,
            first._asking,
            first._settings,
            first._criteria,
            machines[1],
            outbox,
            first._interlock,
            "test",
            CentralClock(),
        )
        second._note = "permit:other"
        await asyncio.gather(ask(first, machines[0], 1), ask(second, machines[1], 1))
    assert sorted(given(machines[0]) + given(machines[1])) == NUMBERS[:2]


def with_golden_samples(folder: Path) -> StationSettings:
    file = folder / "P03-A.yaml"
    text = Path("config/stations/P03-A.yaml").read_text(encoding="utf-8").replace("enabled: false", "enabled: true")
    golden = '    golden: {cycles: 50, samples: {master: {pattern: "GOLDEN-.*"}}}\n'
    file.write_text(text.replace("    cycle_key:", golden + "    cycle_key:", 1), encoding="utf-8")
    return load(file)


async def test_a_golden_sample_that_is_due_or_failed_stops_units_and_not_itself(tmp_path: Path) -> None:
    """Refused by the station alone: central is not asked, and is not there."""
    settings = with_golden_samples(tmp_path)
    tester = settings.machines["tester"]
    asking = tester.protocol_settings.asking()
    assert asking is not None
    assert tester.golden is not None
    outbox, clock, machine = Outbox(tmp_path / "outbox.db"), CentralClock(), AskedMachine()
    outbox.open()
    try:
        samples = GoldenSamples(tester, tester.golden, settings.station.process, outbox, clock)
        criteria = StationCriteria(settings, clock)
        interlock = Interlock(settings, outbox)
        permits = Permits(tester, asking, settings, criteria, machine, outbox, interlock, "test", clock, samples)

        async def answered(number: int, serial: str) -> object:
            machine.number, machine.values = number, {"request_serial": serial}
            await permits.handle(MachineRequest(datetime.now(UTC), key=number))
            return machine.answers[-1]["code"]

        async def measured(outcome: str) -> None:
            made = record(
                serial_number="GOLDEN-7", part="GOLDEN_SAMPLE", outcome=outcome, completed_at=datetime.now(UTC)
            )
            await samples.checked(made)

        unit = "SN-261102-001"
        assert [await answered(1, unit), await answered(2, "GOLDEN-7")] == ["GOLDEN_SAMPLE_DUE", ""]
        await measured("FAIL")
        assert [await answered(3, unit), await answered(4, "GOLDEN-7")] == ["GOLDEN_SAMPLE_FAILED", ""]
        assert str(machine.answers[2]["text_ko"]).startswith("기준 샘플")
        await measured("PASS")
        assert await answered(5, unit) == ""
    finally:
        outbox.close()
    refused = [one["refusal"] for one in kept(tmp_path) if not one["granted"]]
    assert refused == ["GOLDEN_SAMPLE_DUE", "GOLDEN_SAMPLE_FAILED"]
