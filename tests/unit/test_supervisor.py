"""The life of one machine: what is kept, what is acknowledged, and what ends a life of the link."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.clock import CentralClock
from agent.criteria import StationCriteria
from agent.cycles import Cursor
from agent.outbox import Outbox
from agent.scans import scans_of
from agent.settings import StationSettings, load
from agent.supervisor import Supervisor
from contracts.criteria import Outcome
from contracts.errors import LinkError, SetupError, StoreError
from contracts.measurement import Quality
from contracts.record import ProcessRecord
from drivers.base import PointValue, RawValue
from tests.support.drivers import ToldDriver, ToldPrinter, reading

CONFIG = Path("config/stations")


def result(number: int, **change: RawValue | PointValue | None) -> dict[str, RawValue | PointValue | None]:
    serial_number = f"WF-KR-261123D-001-{number:04d}"
    good = {"serial_number": serial_number, "temperature": 60.0, "tof_i2c": True, "judgement": 1}
    return {"result_counter": number, **good, **change}


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    box = Outbox(tmp_path / "outbox.db")
    box.open()
    yield box
    box.close()


async def records(outbox: Outbox) -> list[ProcessRecord]:
    rows = await outbox.unsettled(outbox.stream_id, 0, max_rows=1000, max_bytes=10**7)
    return [ProcessRecord.model_validate_json(row.body) for row in rows]


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while True:
            found = condition()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.002)


def station(name: str, tmp_path: Path, change: Mapping[str, str] | None = None) -> StationSettings:
    """A station's file with texts replaced; reconnecting is quick."""
    text = (CONFIG / f"{name}.yaml").read_text(encoding="utf-8")
    quick = "    cycle_key:"
    text = text.replace(quick, "    reconnect: {initial: 1ms, max: 5ms}\n" + quick, 1)
    for old, new in (change or {}).items():
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file)


@asynccontextmanager
async def supervised(
    settings: StationSettings, drivers: Mapping[str, ToldDriver], outbox: Outbox
) -> AsyncIterator[dict[str, Supervisor]]:
    built: dict[str, Supervisor] = {}
    clock = CentralClock()
    scans = scans_of(settings.machines, clock)
    for name in sorted(drivers, key=lambda name: bool(settings.machines[name].companions)):
        machine = settings.machines[name]
        companions = {wanted.machine: built[wanted.machine].companion for wanted in machine.companions}
        built[name] = Supervisor(
            machine,
            settings,
            StationCriteria(settings, clock),
            drivers[name],
            outbox,
            "test",
            companions,
            kept=lambda: None,
            clock=clock,
            scans=scans.get(name),
        )
    running = [asyncio.create_task(supervisor.run()) for supervisor in built.values()]
    try:
        yield built
    finally:
        for supervisor in built.values():
            supervisor.stop()
        async with asyncio.timeout(10):
            await asyncio.gather(*running)
        assert all(not driver.is_open for driver in drivers.values())


async def test_a_result_is_kept_then_acknowledged(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(1))
        await until(lambda: driver.acknowledged == [1])
        (record,) = await records(outbox)
        assert (record.cycle_key, record.outcome, record.possible_repeat) == (1, Outcome.PASS, False)
        assert await outbox.cursor("tester") == Cursor("tester", 1)


async def test_the_same_number_after_a_crash_is_acknowledged_and_not_recorded(tmp_path: Path, outbox: Outbox) -> None:
    await outbox.keep_cursor(Cursor("tester", 7))
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(7), first=True)
        driver.say(result(8))
        await until(lambda: driver.acknowledged == [7, 8])
        assert [record.cycle_key for record in await records(outbox)] == [8]


async def test_another_result_under_the_same_number_is_kept_named_and_counted(tmp_path: Path, outbox: Outbox) -> None:
    """A machine that was restarted, or counts units and not their tests: the second result must not pass for the first
    one read again, whichever point it differs in."""
    driver = ToldDriver()
    others = [result(7, temperature=60.5), result(7, serial_number="SN-1"), result(7, judgement=2)]
    with capture_logs() as logs:
        async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox) as supervisors:
            for one in (result(7), result(7), *others):
                driver.say(one)
            driver.say(result(8))
            await until(lambda: driver.acknowledged == [7, 7, 7, 7, 7, 8])
            count = supervisors["tester"].conditions.count
    found = [(record.cycle_key, record.cycle_epoch, record.missed_before) for record in await records(outbox)]
    assert found == [(7, 0, 0), (7, 1, None), (7, 2, None), (7, 3, None), (8, 3, 0)]
    told = [entry["text"] for entry in logs if entry["event"] == "machine condition"]
    assert len(told) == 1
    assert "result_counter 7" in told[0]
    assert count == {"cycle_key_reused": 3}


async def test_what_is_no_part_of_a_result_makes_no_other_one(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox) as supervisors:
        driver.say(result(7, request_number=1))
        driver.say(result(7, request_number=2, tof_i2c=PointValue(True, Quality.UNCERTAIN)))
        await until(lambda: driver.acknowledged == [7, 7])
        assert len(await records(outbox)) == 1
        assert not supervisors["tester"].conditions.count


async def test_values_of_the_next_unit_beside_the_last_number_are_no_result_and_are_told(
    tmp_path: Path, outbox: Outbox
) -> None:
    """A machine sets its counter last: as the link is opened again its next unit may stand there half."""
    driver = ToldDriver()
    with capture_logs() as logs:
        async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox) as supervisors:
            driver.say(result(7))
            driver.say(result(7, serial_number="SN-8"), first=True)
            driver.say(result(7, serial_number="SN-8", temperature=59.0), first=True)
            driver.say(result(8, serial_number="SN-8"))
            await until(lambda: driver.acknowledged == [7, 7, 7, 8])
            assert supervisors["tester"].conditions.count == {"standing_result_differs": 2}
    found = [(record.cycle_key, record.cycle_epoch, record.missed_before) for record in await records(outbox)]
    assert found == [(7, 0, 0), (8, 0, 0)]
    assert len([entry for entry in logs if entry["event"] == "machine condition"]) == 1


async def test_an_answer_to_a_machine_that_is_asked_at_an_interval_is_a_result_by_its_number_alone(
    tmp_path: Path, outbox: Outbox
) -> None:
    """It shows a value that is never still, and one number for as long as it has no new result."""
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox) as supervisors:
        for number in (7, 8):
            for temperature in (60.0, 60.5, 61.0):
                driver.say(result(number, temperature=temperature), raw=b"", maybe_again=True)
        await until(lambda: driver.acknowledged == [7, 7, 7, 8, 8, 8])
        assert supervisors["tester"].conditions.count == {"standing_result_differs": 4}
    assert [record.cycle_key for record in await records(outbox)] == [7, 8]


async def test_a_result_that_a_handshake_holds_is_told_from_the_last_one_of_its_number(
    tmp_path: Path, outbox: Outbox
) -> None:
    """The station was away: while ready is on the points are the waiting result's, also where its number is not new."""
    driver = ToldDriver()
    shaken = {
        "acknowledge: {write: {holding_register: 50, type: uint16, value": "acknowledge: {four_phase: {ready: "
        "{coil: 1}, ack: {coil: 2}, echo: {holding_register: 50, type: uint16, value",
        '{cycle_key}"}}': '{cycle_key}"}}}',
        "trigger: {point: result_counter, on: change": "trigger: {point: ready, on: rising",
        "    points:\n": "    points:\n      ready: {coil: 1}\n",
    }
    async with supervised(station("P03-A", tmp_path, shaken), {"tester": driver}, outbox):
        driver.say(result(7))
        driver.say(result(7), first=True)
        driver.say(result(7, serial_number="SN-8"), first=True)
        await until(lambda: driver.acknowledged == [7, 7, 7])
    assert [record.serial_number for record in await records(outbox)] == ["WF-KR-261123D-001-0007", "SN-8"]


async def test_what_a_driver_measures_of_its_link_can_be_asked_for(tmp_path: Path, outbox: Outbox) -> None:
    class Measured(ToldDriver):
        def figures(self) -> Mapping[str, float]:
            return {"poll_interval_seconds": 0.1}

    settings = station("P03-A", tmp_path)
    for driver, figures in ((Measured(), {"poll_interval_seconds": 0.1}), (ToldDriver(), {})):
        async with supervised(settings, {"tester": driver}, outbox) as supervisors:
            assert supervisors["tester"].figures == figures


async def test_a_gap_and_a_restart_of_the_machine_are_told_in_the_record(tmp_path: Path, outbox: Outbox) -> None:
    await outbox.keep_cursor(Cursor("tester", 7))
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(10))
        driver.say(result(2))
        await until(lambda: driver.acknowledged == [10, 2])
        found = [(record.cycle_key, record.missed_before, record.cycle_epoch) for record in await records(outbox)]
        assert found == [(10, 2, 0), (2, None, 1)]


async def test_a_record_says_how_well_its_time_is_known(tmp_path: Path, outbox: Outbox) -> None:
    """What stood there when listening began came to be nobody knows when: it is not before or after others."""
    await outbox.keep_cursor(Cursor("tester", 7))
    driver = ToldDriver()
    settings = station("P03-A", tmp_path)
    async with supervised(settings, {"tester": driver}, outbox) as built:
        clock = built["tester"]._clock
        driver.say(result(8))
        await until(lambda: driver.acknowledged == [8])
        clock.heard(clock.since_boot() - 0.02, datetime.now(UTC))
        driver.say(result(9))
        driver.say(result(10), first=True)
        await until(lambda: driver.acknowledged == [8, 9, 10])
    never, measured, waited = await records(outbox)
    assert (never.clock_offset_seconds, never.completed_within_seconds) == (None, None)
    assert measured.completed_within_seconds is not None
    assert 0.01 <= measured.completed_within_seconds < 1
    assert waited.completed_within_seconds is None


async def test_a_counter_at_zero_is_no_result(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(0), first=True)
        driver.say(result(1))
        driver.say(result(0))  # switched off and on
        driver.say(result(1))
        await until(lambda: driver.acknowledged == [1, 1])
        found = [(record.cycle_key, record.cycle_epoch) for record in await records(outbox)]
        assert found == [(1, 0), (1, 1)]


async def test_what_stood_there_first_may_be_a_repeat_where_the_machine_waits_for_an_answer(
    tmp_path: Path, outbox: Outbox
) -> None:
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(41), first=True)
        await until(lambda: driver.acknowledged == [41])
        (record,) = await records(outbox)
        assert record.possible_repeat


NO_HANDSHAKE = {'acknowledge: {write: {holding_register: 50, type: uint16, value: "{cycle_key}"}}': ""}


async def test_what_stood_there_first_is_the_baseline_where_nobody_waits(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path, NO_HANDSHAKE), {"tester": driver}, outbox):
        driver.say(result(41), first=True)
        driver.say(result(42))
        await until(lambda: driver.acknowledged == [42])
        assert [record.cycle_key for record in await records(outbox)] == [42]


async def test_without_number_and_handshake_every_record_may_be_a_repeat(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    settings = station("P03-A", tmp_path, {**NO_HANDSHAKE, "    cycle_key: result_counter\n": ""})
    async with supervised(settings, {"tester": driver}, outbox):
        driver.say(result(1), first=True)
        driver.say(result(2))
        await until(lambda: driver.acknowledged == [None])
        (record,) = await records(outbox)
        assert (record.possible_repeat, record.serial_number) == (True, "WF-KR-261123D-001-0002")


async def test_a_machine_that_does_not_count_leaves_its_gaps_to_its_driver(tmp_path: Path, outbox: Outbox) -> None:
    """A queue that ran over, a link that was down: what was lost then cannot be counted, and is not silent."""
    settings = station("P03-A", tmp_path, {**NO_HANDSHAKE, "    cycle_key: result_counter\n": ""})
    driver = ToldDriver()
    async with supervised(settings, {"tester": driver}, outbox):
        driver.say(result(1))
        driver.say(result(2), gap=True)
        await until(lambda: driver.acknowledged == [None, None])
    assert [record.missed_before for record in await records(outbox)] == [0, None]


async def test_a_machines_clock_that_is_off_is_kept_and_flagged(tmp_path: Path, outbox: Outbox) -> None:
    """In the year 2000, an hour behind, right; and what was found waiting may have been there for an hour."""
    now = datetime.now(UTC)
    driver = ToldDriver()
    moments = [datetime(2000, 1, 1, tzinfo=UTC), now - timedelta(hours=1), now]
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(1, result_counter=PointValue(1, source_timestamp=now - timedelta(hours=1))), first=True)
        for number, moment in enumerate(moments, start=2):
            driver.say(result(number, result_counter=PointValue(number, source_timestamp=moment)))
        await until(lambda: driver.acknowledged == [1, 2, 3, 4])
    found = await records(outbox)
    assert [record.source_timestamp for record in found] == [now - timedelta(hours=1), *moments]
    assert [record.source_clock_off for record in found] == [False, True, True, False]
    assert [record.outcome for record in found] == [Outcome.PASS] * 4


@pytest.mark.parametrize(
    "number", [None, PointValue(None, problem="illegal address"), PointValue(5, quality=Quality.BAD), 1.5], ids=str
)
async def test_a_polled_result_without_its_number_is_not_recorded_again_at_every_look(
    tmp_path: Path, outbox: Outbox, number: PointValue | None
) -> None:
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(1, result_counter=number))
        await until(lambda: driver.closed == 1)
        driver.say(result(2))
        await until(lambda: driver.acknowledged == [2])
        assert [record.cycle_key for record in await records(outbox)] == [2]


async def test_a_message_without_its_number_is_kept_as_an_error(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(1, result_counter=None), raw=b"garbled")
        await until(lambda: driver.acknowledged == [None])
        (record,) = await records(outbox)
        assert (record.outcome, record.raw, record.possible_repeat) == (Outcome.ERROR, b"garbled", True)


async def test_a_link_lost_before_the_acknowledgement_costs_nothing(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    driver.refuse_acknowledge = [LinkError("cable pulled")]
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(1))
        await until(lambda: driver.closed == 1)
        driver.say(result(1), first=True)
        await until(lambda: driver.acknowledged == [1])
        assert len(await records(outbox)) == 1


async def test_a_lost_link_is_told_once_and_its_return_once(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    driver.refuse_open = [LinkError("no route") for _ in range(4)]
    with capture_logs() as logs:
        async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
            driver.say(result(1))
            await until(lambda: driver.acknowledged == [1])
    told = [(line["event"], line.get("error", line.get("again"))) for line in logs if line["event"] != "result kept"]
    assert told == [("machine link lost", "no route"), ("machine connected", True)]


async def test_a_machine_set_up_wrongly_is_tried_again_and_does_not_hold_the_stop(
    tmp_path: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.supervisor.SETUP_RETRY_S", 0.01)
    driver = ToldDriver()
    driver.refuse_open = [SetupError("no such register")] * 2
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        driver.say(result(1))
        await until(lambda: driver.acknowledged == [1])
    assert driver.opened == 3


async def test_a_mistake_of_our_own_is_told_with_its_place_counted_and_survived(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    driver.refuse_read = [ZeroDivisionError("a bug")] * 3
    with capture_logs() as logs:
        async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox) as supervisors:
            driver.say(result(1))
            await until(lambda: driver.acknowledged == [1])
            assert supervisors["tester"].faults.count == 3
    told = [line for line in logs if line["event"] == "unexpected error, please report it"]
    assert len(told) == 1, "the same again is not told again"
    assert told[0]["exc_info"].__traceback__ is not None
    assert (driver.opened, len(await records(outbox))) == (4, 1)


@pytest.mark.parametrize("raw", [None, b"n=1;code=?"], ids=["polled", "message"])
async def test_a_result_our_own_program_fails_on_is_kept_as_an_error(
    tmp_path: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, raw: bytes | None
) -> None:
    def failing(*_: object) -> ProcessRecord:
        raise ZeroDivisionError("a bug \udc80")

    monkeypatch.setattr("agent.making.judged", failing)
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox) as supervisors:
        driver.say(result(1), raw=raw)
        driver.say(result(2), raw=raw)
        await until(lambda: driver.acknowledged == [1, 2])
        assert (supervisors["tester"].faults.count, driver.opened) == (2, 1)
    first, second = await records(outbox)
    assert [(first.outcome, first.cycle_key), (second.outcome, second.cycle_key)] == [
        (Outcome.ERROR, 1),
        (Outcome.ERROR, 2),
    ]
    assert first.problems[0].startswith("unexpected error: ZeroDivisionError")
    assert first.raw is not None
    assert first.raw == raw or b"WF-KR-261123D-001-0001" in first.raw


async def test_a_machine_that_is_slow_to_be_absent_does_not_hold_the_stop(tmp_path: Path, outbox: Outbox) -> None:
    driver = ToldDriver()
    driver.open_takes_for_ever = True
    async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
        await until(lambda: driver.opened == 1)
    assert driver.closed == 1


async def test_a_disk_that_refuses_is_told_once_and_holds_the_acknowledgement(
    tmp_path: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.disk.DISK_RETRY_S", 0.005)
    attempts = 0
    append = outbox.append

    async def refusing(record: ProcessRecord, *cursors: Cursor, notes: Mapping[str, str], can_wait: bool) -> int:
        nonlocal attempts
        attempts += 1
        if attempts <= 5:
            assert not driver.acknowledged
            raise StoreError("no space left on device")
        return await append(record, *cursors, notes=notes, can_wait=can_wait)

    monkeypatch.setattr(outbox, "append", refusing)
    driver = ToldDriver()
    with capture_logs() as logs:
        async with supervised(station("P03-A", tmp_path), {"tester": driver}, outbox):
            driver.say(result(1))
            await until(lambda: driver.acknowledged == [1])
    told = [line["event"] for line in logs if "disk" in line["event"]]
    assert told == ["disk refuses, machine not acknowledged", "disk keeps results again"]
    assert len(await records(outbox)) == 1


# -- companions --------------------------------------------------------------------------------------------------------


def scan(number: int) -> dict[str, RawValue | PointValue | None]:
    return {"n": number, "code": f"WF-KR-261123D-001-{number:04d}"}


def verified(number: int) -> dict[str, RawValue | PointValue | None]:
    return {"code": f"WF-KR-261123D-001-{number:04d}", "grade": "A"}


def label_station(tmp_path: Path, change: Mapping[str, str] | None = None) -> StationSettings:
    quick = {"timeout: 10s": "timeout: 300ms", "port: 9100": "port: 9100, timeout: 150ms"}
    return station("P07-A", tmp_path, {**quick, **(change or {})})


def label_machines() -> dict[str, ToldDriver]:
    return {"scanner": ToldDriver(), "printer": ToldPrinter(reading({"printed": True})), "verifier": ToldDriver()}


async def test_a_unit_is_made_of_what_all_its_machines_say(tmp_path: Path, outbox: Outbox) -> None:
    machines = label_machines()
    async with supervised(label_station(tmp_path), machines, outbox):
        machines["scanner"].say(scan(1), raw=b"1")
        printer = machines["printer"]
        assert isinstance(printer, ToldPrinter)
        await until(lambda: bool(printer.jobs))
        machines["verifier"].say(verified(1), raw=b"v")
        await until(lambda: machines["scanner"].acknowledged == [1])
        (record,) = await records(outbox)
        assert record.outcome is Outcome.PASS
        today = datetime.now(UTC).astimezone().date().isoformat()
        assert printer.jobs[0] == {
            "date": today,
            "serial_number": "WF-KR-261123D-001-0001",
            "lot_number": "WF-KR-261123D-001",
            "product_model": "WR-100",
            "reject_label": False,
        }


async def test_a_scan_from_before_belongs_to_no_unit(tmp_path: Path, outbox: Outbox) -> None:
    machines = label_machines()
    with capture_logs() as logs:
        async with supervised(label_station(tmp_path), machines, outbox):
            machines["verifier"].say(verified(1), raw=b"v")  # too late for the last unit
            await until(lambda: any(line["event"] == "companion spoke unasked" for line in logs))
            early = datetime.now(UTC)
            machines["scanner"].say(scan(1), raw=b"1")
            printer = machines["printer"]
            assert isinstance(printer, ToldPrinter)
            await until(lambda: bool(printer.jobs))
            machines["verifier"].say(verified(1), raw=b"v", at=early)  # came in before the unit, read only now
            await until(lambda: machines["scanner"].acknowledged == [1])
    (record,) = await records(outbox)
    assert record.outcome is Outcome.ERROR
    silent = next(m for m in record.measurements if m.name == "verifier.code")
    assert silent.problem == "verifier said nothing within 0.3 s"
    assert sum(line["event"] == "companion spoke unasked" for line in logs) == 2


@pytest.mark.parametrize(
    ("prints", "said"),
    [
        (LinkError("out of reach"), "printer: out of reach"),
        (SetupError("no such label"), "printer: no such label"),
        (KeyError("bug"), "printer: unexpected error: KeyError: 'bug'"),
        (None, "printer said nothing within 0.3 s"),
    ],
    ids=str,
)
async def test_a_companion_in_trouble_makes_an_error_and_no_second_label(
    tmp_path: Path, outbox: Outbox, prints: Exception | None, said: str
) -> None:
    machines = {**label_machines(), "printer": ToldPrinter(prints)}
    async with supervised(label_station(tmp_path), machines, outbox):
        machines["scanner"].say(scan(1), raw=b"1")
        await until(lambda: machines["scanner"].acknowledged == [1])
        (record,) = await records(outbox)
        assert record.outcome is Outcome.ERROR
        assert said in {measurement.problem for measurement in record.measurements}
        printer = machines["printer"]
        assert isinstance(printer, ToldPrinter)
        assert len(printer.jobs) == 1


async def test_an_absent_companion_is_named(tmp_path: Path, outbox: Outbox) -> None:
    machines = label_machines()
    machines["printer"].refuse_open = [LinkError("no paper, no printer")] * 1000
    async with supervised(label_station(tmp_path), machines, outbox):
        machines["scanner"].say(scan(1), raw=b"1")
        await until(lambda: machines["scanner"].acknowledged == [1])
        (record,) = await records(outbox)
    problems = {measurement.problem for measurement in record.measurements}
    assert "printer was not connected (no paper, no printer) within 0.3 s" in problems


NUMBERED = {
    "      code:  {key: code}\n      grade:": "      n: {key: n, type: int}\n      code: {key: code}\n      grade:"
}


async def test_a_companion_that_waits_is_answered_when_the_record_is_kept_and_its_repeats_are_nobodys(
    tmp_path: Path, outbox: Outbox
) -> None:
    change = {
        **NUMBERED,
        "      grade: {key: grade}\n": "      grade: {key: grade}\n    cycle_key: n\n    "
        'measurements: [code, grade]\n    acknowledge: {send: "ACK {cycle_key}"}\n',
    }
    machines = label_machines()
    verifier = machines["verifier"]
    async with supervised(label_station(tmp_path, change), machines, outbox):
        for number in (1, 2):
            machines["scanner"].say(scan(number), raw=b"s")
            printer = machines["printer"]
            assert isinstance(printer, ToldPrinter)
            await until(lambda number=number, printer=printer: len(printer.jobs) == number)
            if number == 2:
                verifier.say({"n": 1, **verified(1)}, raw=b"v")  # its answer was lost: it repeats itself
            verifier.say({"n": number, **verified(number)}, raw=b"v")
            await until(lambda number=number: machines["scanner"].acknowledged[-1:] == [number])
    assert [record.outcome for record in await records(outbox)] == [Outcome.PASS, Outcome.PASS]
    assert verifier.acknowledged == [1, 1, 2]
    assert await outbox.cursor("verifier") == Cursor("verifier", 2)


SECOND_SCANNER = {
    "  printer:\n": """  bench:
    protocol: serial
    connect: {port: /dev/ttyS9}
    points:
      n: {key: n, type: int}
      code: {key: code}
    unit: {serial_number: code}
    measurements: [code]
    cycle_key: n
    companions: [{machine: printer, timeout: 5s}, {machine: verifier, timeout: 5s}]

  printer:
"""
}


async def test_two_machines_that_share_companions_wait_for_each_other(tmp_path: Path, outbox: Outbox) -> None:
    machines = {**label_machines(), "bench": ToldDriver()}
    quick = {"timeout: 10s": "timeout: 5s", "port: 9100": "port: 9100, timeout: 1s"}
    settings = station("P07-A", tmp_path, {**quick, **SECOND_SCANNER})
    printer = machines["printer"]
    assert isinstance(printer, ToldPrinter)
    async with supervised(settings, machines, outbox):
        machines["scanner"].say(scan(1), raw=b"s")
        machines["bench"].say(scan(2), raw=b"s")
        for done in (1, 2):
            await until(lambda done=done: len(printer.jobs) == done)
            printed = int(str(printer.jobs[-1]["serial_number"])[-4:])
            machines["verifier"].say(verified(printed), raw=b"v")
            await until(
                lambda done=done: len(machines["scanner"].acknowledged + machines["bench"].acknowledged) == done
            )
    found = await records(outbox)
    assert {record.machine: (record.serial_number, record.outcome) for record in found} == {
        "scanner": ("WF-KR-261123D-001-0001", Outcome.PASS),
        "bench": ("WF-KR-261123D-001-0002", Outcome.PASS),
    }


async def test_the_unit_in_hand_is_finished_soon_when_the_station_stops(tmp_path: Path, outbox: Outbox) -> None:
    machines = label_machines()
    settings = station("P07-A", tmp_path)  # a companion has 10 s
    async with supervised(settings, machines, outbox) as supervisors:
        machines["scanner"].say(scan(1), raw=b"1")
        printer = machines["printer"]
        assert isinstance(printer, ToldPrinter)
        await until(lambda: bool(printer.jobs))
        begun = time.monotonic()
        supervisors["scanner"].stop()
        await until(lambda: machines["scanner"].acknowledged == [1])
        assert time.monotonic() - begun < 4
    (record,) = await records(outbox)
    assert record.outcome is Outcome.ERROR
    problems = {measurement.problem for measurement in record.measurements}
    assert "verifier said nothing before the station was stopped" in problems


class ConditionedPrinter(ToldPrinter):
    """Says what keeps it from printing whenever ``hear`` is called."""

    def watch_conditions(self, told: Callable[[Mapping[str, str]], None]) -> None:
        self.hear = told


async def test_what_keeps_a_machine_from_working_stands_at_its_supervisor(tmp_path: Path, outbox: Outbox) -> None:
    printer = ConditionedPrinter(reading({"printed": True}))
    async with supervised(label_station(tmp_path), {**label_machines(), "printer": printer}, outbox) as supervisors:
        with capture_logs() as logs:
            for _ in range(2):
                printer.hear({"paper_out": "paper out: load labels"})
        assert [(line["event"], line["machine"]) for line in logs] == [("machine condition", "printer")]
        assert supervisors["printer"].conditions.standing["paper_out"].text == "paper out: load labels"
        assert supervisors["scanner"].conditions.standing == {}


# -- a scanner that says which unit the next result is of ------------------------------------------------------------

SCANNED = {
    "      serial_number:  {holding_register: 10, type: string, length: 24}\n": "",
    "    machine_verdict:": "    unit: {serial_number: scanner.code, within: 5m}\n    machine_verdict:",
    "criteria:\n": """  scanner:
    protocol: serial
    connect: {port: /dev/serial/by-id/scanner}
    reconnect: {initial: 1ms, max: 5ms}
    records: false
    message: {format: key_value}
    points: {n: {key: n, type: int}, code: {key: code}}
    cycle_key: n
    acknowledge: {send: "ACK {cycle_key}"}

criteria:
""",
}


def measured(number: int) -> dict[str, RawValue | PointValue | None]:
    """A result of a tester that does not know what it tests."""
    return {name: value for name, value in result(number).items() if name != "serial_number"}


async def test_a_result_is_of_the_unit_that_was_scanned_before_it_and_of_no_other(
    tmp_path: Path, outbox: Outbox
) -> None:
    tester, scanner = ToldDriver(), ToldDriver()
    async with supervised(station("P03-A", tmp_path, SCANNED), {"tester": tester, "scanner": scanner}, outbox):
        scanner.say({"n": 1, "code": "SN-001"}, raw=b"1")
        await until(lambda: scanner.acknowledged == [1])
        tester.say(measured(1))
        tester.say(measured(2))
        await until(lambda: tester.acknowledged == [1, 2])
        scanner.say({"n": 2, "code": "SN-002"}, raw=b"2")
        await until(lambda: scanner.acknowledged == [1, 2])
        tester.say(measured(3))
        tester.say(measured(3))  # its answer did not arrive
        await until(lambda: tester.acknowledged == [1, 2, 3, 3])
    found = [(record.outcome, record.serial_number) for record in await records(outbox)]
    assert found == [(Outcome.PASS, "SN-001"), (Outcome.ERROR, None), (Outcome.PASS, "SN-002")]


async def test_a_scan_before_a_restart_or_a_lost_link_is_nobodys(tmp_path: Path, outbox: Outbox) -> None:
    """What was scanned while nobody listened is not known, and the scan before it would be taken for it."""
    settings = station("P03-A", tmp_path, SCANNED)
    tester, scanner = ToldDriver(), ToldDriver()
    async with supervised(settings, {"tester": tester, "scanner": scanner}, outbox):
        scanner.say({"n": 1, "code": "SN-001"}, raw=b"1")
        await until(lambda: scanner.acknowledged == [1])
    tester, scanner = ToldDriver(), ToldDriver()
    async with supervised(settings, {"tester": tester, "scanner": scanner}, outbox):
        scanner.say({"n": 1, "code": "SN-001"}, raw=b"1")  # the scanner did not hear the answer, and says it again
        await until(lambda: scanner.acknowledged == [1])
        tester.say(measured(1))
        await until(lambda: tester.acknowledged == [1])
        scanner.say({"n": 2, "code": "SN-002"}, raw=b"2")
        await until(lambda: scanner.acknowledged == [1, 2])
        scanner.refuse_read.append(LinkError("scanner: unplugged"))
        scanner.say({"n": 3, "code": "SN-003"}, first=True, raw=b"3")  # stands there when it is plugged in again
        await until(lambda: scanner.acknowledged == [1, 2, 3])
        assert scanner.opened == 2
        tester.say(measured(2))
        await until(lambda: tester.acknowledged == [1, 2])
    assert [record.serial_number for record in await records(outbox)] == [None, None]


async def test_a_result_after_one_that_was_missed_takes_no_scan(tmp_path: Path, outbox: Outbox) -> None:
    """The unit that was scanned is the one whose result was missed."""
    await outbox.keep_cursor(Cursor("tester", 7))
    tester, scanner = ToldDriver(), ToldDriver()
    async with supervised(station("P03-A", tmp_path, SCANNED), {"tester": tester, "scanner": scanner}, outbox):
        scanner.say({"n": 1, "code": "SN-001"}, raw=b"1")
        await until(lambda: scanner.acknowledged == [1])
        tester.say(measured(9))
        await until(lambda: tester.acknowledged == [9])
    (record,) = await records(outbox)
    assert (record.outcome, record.serial_number) == (Outcome.ERROR, None)
    assert "maybe for a result that was missed; scan the unit again" in record.problems[0]


async def test_a_golden_sample_is_judged_by_its_own_criteria_and_says_so(tmp_path: Path, outbox: Outbox) -> None:
    golden = "    golden: {cycles: 9, samples: {master: {pattern: 'GOLDEN-.*', criteria: {temperature: {nominal: 60.2,"
    golden += " tolerance: 0.1, unit: degC}}}}}\n    cycle_key:"
    driver = ToldDriver()
    async with supervised(station("P03-A", tmp_path, {"    cycle_key:": golden}), {"tester": driver}, outbox):
        driver.say(result(1, serial_number="GOLDEN-1", temperature=60.2, tof_i2c=False))
        driver.say(result(2, serial_number="GOLDEN-1"))
        driver.say(result(3))
        await until(lambda: driver.acknowledged == [1, 2, 3])
        first, second, product = await records(outbox)
    assert first.golden is not None
    assert second.golden is not None
    assert (first.outcome, first.golden.good, first.part) == (Outcome.PASS, True, "GOLDEN_SAMPLE")
    assert (second.outcome, second.golden.good) == (Outcome.FAIL, False)
    assert (first.criteria_revision or "").startswith("golden-")
    assert (product.outcome, product.golden) == (Outcome.PASS, None)
    assert (product.criteria_revision or "").startswith("yaml-")
