"""What every driver promises (drivers/base.py), tried on every protocol and transport against a machine that speaks it.

A protocol joins by a bench in ``benches/``: a machine, and ways to make its life hard.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import LinkError
from contracts.measurement import Quality, Scalar
from drivers.base import (
    Acknowledging,
    Asking,
    Driver,
    MachineEvent,
    MachineRequest,
    Performing,
    Permitting,
    RawValue,
    Reading,
)
from tests.contract.bench import Bench, JobBench, ResultBench
from tests.contract.benches.label import label_bench, label_serial_bench, label_usb_bench
from tests.contract.benches.modbus import modbus_rtu_bench, modbus_tcp_bench
from tests.contract.benches.opcua import opcua_bench
from tests.contract.benches.seamcam import seamcam_bench
from tests.contract.benches.serial import serial_cable_bench, serial_on_demand_bench, serial_socket_bench

PATIENCE_S = 20.0
"""A test that hangs ends; nothing is measured by it."""

STANDING: Mapping[str, Callable[[Path], AbstractAsyncContextManager[ResultBench]]] = {
    "modbus-tcp": modbus_tcp_bench,
    "modbus-rtu": modbus_rtu_bench,
    "opcua": opcua_bench,
}
"""A result stands in the machine, to be read point by point."""
WHOLE: Mapping[str, Callable[[Path], AbstractAsyncContextManager[ResultBench]]] = {"seamcam": seamcam_bench}
"""A result stands in the machine, and one answer holds all of it."""
PUSHED: Mapping[str, Callable[[Path], AbstractAsyncContextManager[ResultBench]]] = {
    "serial-cable": serial_cable_bench,
    "serial-socket": serial_socket_bench,
}
"""A result is a message."""
RESULTS = {**STANDING, **WHOLE, **PUSHED}
ASKING = [*STANDING, *PUSHED]
"""Their machines may ask whether a unit may start."""
JOBS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[JobBench]]] = {
    "label-tcp": label_bench,
    "label-serial": label_serial_bench,
    "label-usb": label_usb_bench,
    "serial-on-demand": serial_on_demand_bench,
}
"""Work is done on request."""


@pytest.fixture(params=RESULTS)
async def machine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResultBench]:
    """Each machine that makes results."""
    async with RESULTS[request.param](tmp_path) as bench:
        yield bench


@pytest.fixture(params=STANDING)
async def standing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ResultBench]:
    """Each machine whose results stand in it."""
    async with STANDING[request.param](tmp_path) as bench:
        yield bench


@pytest.fixture(params=JOBS)
async def worker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[JobBench]:
    """Each machine that works on request."""
    async with JOBS[request.param](tmp_path) as bench:
        yield bench


@pytest.fixture(params=[*RESULTS, *JOBS])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Each machine."""
    async with {**RESULTS, **JOBS}[request.param](tmp_path) as any_bench:
        yield any_bench


@asynccontextmanager
async def opened(bench: Bench) -> AsyncIterator[Driver]:
    """An open driver, closed in the end."""
    driver = bench.driver()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await driver.open()
            yield driver
    finally:
        await driver.close()


@asynccontextmanager
async def listening(machine: ResultBench) -> AsyncIterator[Driver]:
    """An open driver that has seen the state its machine was found in."""
    async with opened(machine) as driver:
        if not machine.pushes:
            assert (await driver.next_event()).first
        yield driver


@asynccontextmanager
async def cycle(machine: ResultBench, number: int) -> AsyncIterator[asyncio.Task[None]]:
    """The machine holds a result meanwhile; the task ends when it was acknowledged."""
    values = {**machine.values, machine.cycle_key: number}
    task = asyncio.create_task(machine.simulator.cycle(values, number))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


async def take(driver: Driver, machine: ResultBench, number: int) -> tuple[MachineEvent, Reading]:
    """The result of this number; one that was seen before may come again before it."""
    while True:
        event = await driver.next_event()
        if isinstance(event, MachineRequest):
            continue
        reading = await driver.read(event)
        found = reading.values[machine.cycle_key].value
        if found == number:
            return event, reading
        assert found is None or (isinstance(found, int) and found < number)


def plain(reading: Reading) -> dict[str, RawValue | None]:
    """The values alone."""
    return {name: point.value for name, point in reading.values.items()}


async def acknowledge(driver: Driver, reading: Reading, number: int) -> None:
    """As the supervisor does once the result is on disk."""
    assert isinstance(driver, Acknowledging)
    await driver.acknowledge(reading, number)


async def serves(driver: Driver, bench: Bench, number: int = 1) -> None:
    """An open driver does all it is for."""
    if isinstance(bench, ResultBench):
        async with cycle(bench, number) as held:
            _, reading = await take(driver, bench, number)
            assert plain(reading) == {**bench.values, bench.cycle_key: number}
            await acknowledge(driver, reading, number)
            await held
    elif isinstance(bench, JobBench):
        assert isinstance(driver, Performing)
        assert plain(await driver.perform(bench.job)) == bench.done


# -- opening and closing ---------------------------------------------------------------------------------------------


async def test_opening_an_open_driver_is_a_mistake_and_does_no_harm(bench: Bench) -> None:
    """A second connection would be left behind by the only close that follows."""
    async with opened(bench) as driver:
        with pytest.raises(RuntimeError):
            await driver.open()
        await serves(driver, bench)


async def test_close_may_be_called_at_any_time(bench: Bench) -> None:
    """The supervisor closes whatever happened before."""
    driver = bench.driver()
    await driver.close()
    await driver.open()
    await driver.close()
    await driver.close()
    absent = bench.unreachable()
    with pytest.raises(LinkError):
        await absent.open()
    await absent.close()
    await absent.close()


async def test_a_closed_driver_can_be_opened_again(bench: Bench) -> None:
    """Nothing of the life before is left in it."""
    driver = bench.driver()
    for number in (1, 2, 3):
        async with asyncio.timeout(PATIENCE_S):
            await driver.open()
            await serves(driver, bench, number)
            await driver.close()


async def test_a_machine_out_of_reach_is_a_lost_link_that_names_it(bench: Bench) -> None:
    """To be tried again; a technician reads which machine it is."""
    absent = bench.unreachable()
    with pytest.raises(LinkError, match="absent"):
        await absent.open()
    await absent.close()


async def test_a_machine_that_comes_into_reach_can_be_opened(bench: Bench) -> None:
    """A station is often switched on before its machines."""
    driver = bench.driver()
    await bench.cut()
    for _ in range(2):
        with pytest.raises(LinkError):
            await driver.open()
        await driver.close()
    await bench.restore()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await driver.open()
            await serves(driver, bench)
    finally:
        await driver.close()


async def test_an_open_that_is_given_up_leaves_nothing_behind(bench: Bench) -> None:
    """A station that stops while it connects; at whatever moment."""
    driver = bench.driver()
    for turns in (0, 1, 2, 4, 8, 16, 32):
        opening = asyncio.create_task(driver.open())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait({opening})
        await driver.close()
        assert opening.cancelled() or opening.exception() is None
    async with asyncio.timeout(PATIENCE_S):
        await driver.open()
        await serves(driver, bench)
        await driver.close()


async def test_closing_ends_a_wait(bench: Bench) -> None:
    """Whoever waits for an event is told; it would wait for ever."""
    async with opened(bench) as driver:
        if isinstance(bench, ResultBench) and not bench.pushes:
            await driver.next_event()
        waiting = asyncio.create_task(driver.next_event())
        await asyncio.sleep(0)
        await driver.close()
        with pytest.raises(LinkError):
            await waiting


# -- results ---------------------------------------------------------------------------------------------------------


async def test_a_result_that_waited_is_found_when_listening_begins(machine: ResultBench) -> None:
    """It was made while nobody listened; whether it is known already is decided by its number, above the driver."""
    async with cycle(machine, 41) as held, opened(machine) as driver:
        event, reading = await take(driver, machine, 41)
        if not machine.pushes:
            assert event.first
            assert event.key == 41
        assert plain(reading) == {**machine.values, machine.cycle_key: 41}
        await acknowledge(driver, reading, 41)
        await held
        await machine.present({**machine.other_values, machine.cycle_key: 42})
        event, _ = await take(driver, machine, 42)
        assert not event.first


async def test_the_state_found_is_told_even_where_there_is_no_result_yet(standing: ResultBench) -> None:
    """A counter that stands is the baseline: the first result after it is known to be new."""
    async with opened(standing) as driver:
        event = await driver.next_event()
        assert event.first
        assert event.key == 0
        await serves(driver, standing, 1)


async def test_a_reading_holds_every_point_as_the_machine_gave_it(machine: ResultBench) -> None:
    """A value that arrives as another type is judged otherwise."""
    async with listening(machine) as driver:
        for number, values in enumerate((machine.values, machine.other_values), start=1):
            await machine.present({**values, machine.cycle_key: number})
            event = await driver.next_event()
            reading = await driver.read(event)
            expected = {**values, machine.cycle_key: number}
            assert plain(reading) == expected
            for name, point in reading.values.items():
                assert type(point.value) is type(expected[name]), name
                assert point.quality is Quality.GOOD, name
                assert point.problem is None, name
            assert not event.first
            assert event.signalled_at <= reading.taken_at
            assert event.signalled_at.utcoffset() is not None
            if machine.pushes:
                assert event.payload
                assert reading.raw == event.payload
            else:
                assert event.key == number


async def test_a_point_that_fails_leaves_the_others_whole(machine: ResultBench) -> None:
    """One dead sensor is a result with a problem, told in words, and no lost link."""
    gone = machine.unreadable
    async with listening(machine) as driver:
        values = {**machine.values, machine.cycle_key: 1}
        held = asyncio.create_task(machine.simulator.cycle({**values, gone: None}, 1))
        _, reading = await take(driver, machine, 1)
        assert reading.values[gone].value is None
        assert reading.values[gone].problem
        del values[gone]
        assert {name: value for name, value in plain(reading).items() if name != gone} == values
        await acknowledge(driver, reading, 1)
        await held
        await serves(driver, machine, 2)


async def test_a_result_is_held_until_it_is_acknowledged(machine: ResultBench) -> None:
    """What makes law 1 worth anything."""
    async with listening(machine) as driver, cycle(machine, 1) as held:
        _, reading = await take(driver, machine, 1)
        assert not held.done()
        await acknowledge(driver, reading, 1)
        await held


async def test_acknowledging_again_does_no_harm(machine: ResultBench) -> None:
    """After a crash the last result may be acknowledged twice; the next one must not be released by it."""
    async with listening(machine) as driver:
        async with cycle(machine, 1) as held:
            _, first = await take(driver, machine, 1)
            for _ in range(3):
                await acknowledge(driver, first, 1)
            await held
        async with cycle(machine, 2) as held:
            _, second = await take(driver, machine, 2)
            await acknowledge(driver, first, 1)
            if machine.pushes:  # it is sent again, for the acknowledgement was not its own
                await take(driver, machine, 2)
            assert not held.done(), "released by the acknowledgement of another result"
            await acknowledge(driver, second, 2)
            await held


async def test_a_wait_that_is_given_up_loses_no_signal(machine: ResultBench) -> None:
    """At whatever moment, also when the signal is under way."""
    async with listening(machine) as driver:
        for number in range(1, 41):
            waiting = asyncio.create_task(driver.next_event())
            await asyncio.sleep(0)
            await machine.present({**machine.values, machine.cycle_key: number})
            for _ in range(number // 2):
                await asyncio.sleep(0.001 if number % 2 else 0)
            waiting.cancel()
            await asyncio.wait({waiting})
            event = await driver.next_event() if waiting.cancelled() else waiting.result()
            assert (await driver.read(event)).values[machine.cycle_key].value == number


async def test_a_torn_reading_is_taken_again(standing: ResultBench) -> None:
    """Half of one unit and half of the next would be judged as one."""
    assert standing.tear is not None
    async with listening(standing) as driver:
        await standing.present({**standing.values, standing.cycle_key: 1})
        event = await driver.next_event()
        following = {**standing.other_values, standing.cycle_key: 2}
        await standing.tear(following)
        assert plain(await driver.read(event)) == following


# -- a link that is lost ---------------------------------------------------------------------------------------------


async def comes_back(driver: Driver, machine: ResultBench, held: asyncio.Task[None], number: int) -> None:
    """After the link is lost: close, open, and the result that was presented is there to be kept."""
    await driver.close()
    await machine.restore()
    await driver.open()
    assert not held.done(), "released without an acknowledgement"
    _, reading = await take(driver, machine, number)
    assert plain(reading) == {**machine.values, machine.cycle_key: number}
    await acknowledge(driver, reading, number)
    await held


async def lost(driver: Driver) -> bool:
    """Whether waiting for an event tells that the link is gone; a frame that had come before is told first."""
    try:
        await driver.next_event()
    except LinkError:
        return True
    return False


async def test_a_link_lost_while_waiting_ends_the_wait(bench: Bench) -> None:
    """And goes on doing so until it is opened again: no call answers from a link that is gone."""
    async with opened(bench) as driver:
        if isinstance(bench, ResultBench) and not bench.pushes:
            await driver.next_event()
        waiting = asyncio.create_task(driver.next_event())
        await asyncio.sleep(0.02)  # let it wait; at whatever place
        assert not waiting.done()
        await bench.cut()
        with pytest.raises(LinkError):
            await waiting
        with pytest.raises(LinkError):
            await driver.next_event()
        await driver.close()
        await bench.restore()
        await driver.open()
        await serves(driver, bench)


async def test_a_result_made_while_the_link_was_away_is_not_lost(machine: ResultBench) -> None:
    """The machine holds it."""
    async with listening(machine) as driver:
        await serves(driver, machine, 1)
        await machine.cut()
        async with cycle(machine, 2) as held:
            with pytest.raises(LinkError):
                await take(driver, machine, 2)
            await comes_back(driver, machine, held, 2)


async def test_a_link_lost_while_reading_loses_no_result(machine: ResultBench) -> None:
    """Where the result was not in the message it is read when the link is back."""
    async with listening(machine) as driver, cycle(machine, 1) as held:
        event = await driver.next_event()
        reading = asyncio.create_task(driver.read(event))
        await asyncio.sleep(0)  # the first request is sent
        await machine.cut()
        if machine.pushes:
            assert plain(await reading) == {**machine.values, machine.cycle_key: 1}
        else:
            with pytest.raises(LinkError):
                await reading
        await comes_back(driver, machine, held, 1)


async def test_a_link_lost_while_acknowledging_is_told_where_the_protocol_can_know(machine: ResultBench) -> None:
    """A machine that pushes hears no answer: it sends its result again, and that is acknowledged."""
    async with listening(machine) as driver, cycle(machine, 1) as held:
        _, reading = await take(driver, machine, 1)
        acknowledging = asyncio.create_task(acknowledge(driver, reading, 1))
        await asyncio.sleep(0)  # it is sent
        await machine.cut()
        try:
            await acknowledging
        except LinkError:
            pass
        else:
            assert machine.pushes, "acknowledged over a link that was cut"
        await comes_back(driver, machine, held, 1)


async def test_acknowledging_over_a_lost_link_is_told(machine: ResultBench) -> None:
    """The supervisor has to know that the machine still waits."""
    async with listening(machine) as driver, cycle(machine, 1) as held:
        _, reading = await take(driver, machine, 1)
        await machine.cut()
        while not await lost(driver):
            pass
        with pytest.raises(LinkError):
            await acknowledge(driver, reading, 1)
        await comes_back(driver, machine, held, 1)


# -- work on request -------------------------------------------------------------------------------------------------


async def test_a_job_says_how_it_went(worker: JobBench) -> None:
    """Every time it is asked."""
    async with opened(worker) as driver:
        for _ in range(3):
            await serves(driver, worker)


async def test_a_link_lost_in_a_job_is_told(worker: JobBench) -> None:
    """Whether the work was done is not known: nobody may be told that it was."""
    async with opened(worker) as driver:
        assert isinstance(driver, Performing)
        working = asyncio.create_task(driver.perform(worker.job))
        await asyncio.sleep(0)
        await worker.cut()
        with pytest.raises(LinkError):
            await working
        await driver.close()
        await worker.restore()
        await driver.open()
        await serves(driver, worker)


async def test_a_job_that_is_given_up_does_not_answer_the_next_one(worker: JobBench) -> None:
    """Its answer may still be on its way."""
    async with opened(worker) as driver:
        assert isinstance(driver, Performing)
        for turns in range(12):
            working = asyncio.create_task(driver.perform(worker.job))
            for _ in range(turns):
                await asyncio.sleep(0)
            working.cancel()
            await asyncio.wait({working})
        await serves(driver, worker)


# -- nothing is left -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make_bench", [*RESULTS.values(), *JOBS.values()], ids=[*RESULTS, *JOBS])
async def test_no_life_of_a_link_leaves_anything_open(
    make_bench: Callable[[Path], AbstractAsyncContextManager[Bench]], tmp_path: Path
) -> None:
    """A station reconnects for years: every file, socket and task it opened has to be closed again."""
    async with asyncio.timeout(3 * PATIENCE_S):
        async with make_bench(tmp_path) as bench:
            await lives(bench, 1)  # what is made once and kept is made now
        before = held_open()
        async with make_bench(tmp_path) as bench:
            await lives(bench, 3)
        assert await still_open(before) <= before


async def lives(bench: Bench, number: int) -> None:
    """An end in order, an end by a lost link, and an end before there was a link; as often as that."""
    driver = bench.driver()
    for _ in range(number):
        await driver.open()
        await serves(driver, bench, 1)
        await driver.close()
        await driver.open()
        waiting = asyncio.create_task(driver.next_event())
        await asyncio.sleep(0)
        waiting.cancel()
        await bench.cut()
        await asyncio.wait({waiting})
        await driver.close()
        with pytest.raises(LinkError):
            await driver.open()
        await driver.close()
        await bench.restore()


async def still_open(most: int) -> int:
    """What is open when both ends have had time to notice that the other is closed."""
    loop = asyncio.get_running_loop()
    until = loop.time() + 2.0
    while held_open() > most and loop.time() < until:
        await asyncio.sleep(0.01)
    return held_open()


def held_open() -> int:
    """Files, sockets and tasks of this process."""
    return len(os.listdir("/proc/self/fd")) + len(asyncio.all_tasks())


# -- requests --------------------------------------------------------------------------------------------------------


ANSWER: Mapping[str, Scalar] = {
    "granted": True,
    "serial_number": "SN-241118-007",
    "lot_number": "WF-KR-241118D-001",
    "product_model": "WR-100",
    "permit": 7,
    "attempt": 2,
    "reject_label": False,
    "criteria_revision": "yaml-1",
    "firmware": "v1.2.3",
    "code": "",
    "code_number": 0,
    "text_ko": "",
    "text_en": "",
}
REFUSAL: Mapping[str, Scalar] = {
    **ANSWER,
    "granted": False,
    "attempt": 0,
    "reject_label": True,
    "code": "ON_HOLD",
    "text_ko": "보류된 제품입니다. 작업하지 마세요.",
}


@asynccontextmanager
async def asking(machine: ResultBench, number: int, timeout_s: float = 10.0) -> AsyncIterator[asyncio.Task[Any]]:
    """The machine asks meanwhile, and the task tells what it was answered."""
    assert isinstance(machine.simulator, Asking)
    if machine.pushes and hasattr(machine.simulator, "heard_by_a_station"):
        await machine.simulator.heard_by_a_station()
    values = {machine.asks_about: f"SN-241118-{number:03d}", "ask": number}
    task = asyncio.create_task(machine.simulator.ask(values, timeout_s))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def asked(driver: Driver, machine: ResultBench, number: int) -> MachineRequest:
    """The request of this number; what stood there when listening began may come before it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            event = await driver.next_event()
            if isinstance(event, MachineRequest) and event.key == number:
                reading = await driver.read(event)
                assert reading.values["ask"].value == number
                assert reading.values[machine.asks_about].value == f"SN-241118-{number:03d}"
                return event
            if isinstance(event, MachineRequest):
                assert event.first


async def answer(driver: Driver, number: int, values: Mapping[str, Scalar] = ANSWER) -> None:
    """As the supervisor does once the answer is on disk."""
    assert isinstance(driver, Permitting)
    await driver.answer({**values, "request": number})


@pytest.mark.parametrize("machine", ASKING, indirect=True)
async def test_a_machine_that_asks_is_told_all_there_is_to_know(machine: ResultBench) -> None:
    async with listening(machine) as driver:
        for number, values in ((1, ANSWER), (2, REFUSAL)):
            async with asking(machine, number) as told:
                await asked(driver, machine, number)
                await answer(driver, number, values)
                found = await told
                assert found is not None
                assert found["serial_number"] == "SN-241118-007"
                assert str(found["granted"]).lower() in (("true", "1") if values["granted"] else ("false", "0"))
                assert str(found["reject_label"]).lower() == str(values["reject_label"]).lower()
                assert (str(found["attempt"]), found["code"]) == (str(values["attempt"]), values["code"])
                assert str(values["text_ko"]).startswith(str(found["text_ko"])), "what does not fit is cut off"


@pytest.mark.parametrize("machine", ASKING, indirect=True)
async def test_a_late_answer_is_not_taken_for_the_next_ones(machine: ResultBench) -> None:
    """The machine gave up; it asks again, and takes the answer of its new request only."""
    async with listening(machine) as driver:
        async with asking(machine, 1, timeout_s=0.05) as told:
            await asked(driver, machine, 1)
            assert await told is None
        async with asking(machine, 2) as told:
            await asked(driver, machine, 2)
            await answer(driver, 1, REFUSAL)
            await answer(driver, 2)
            found = await told
            assert found is not None
            assert found["code"] == ""


@pytest.mark.parametrize("machine", ASKING, indirect=True)
async def test_requests_and_results_come_in_turns(machine: ResultBench) -> None:
    async with listening(machine) as driver:
        for number in (1, 2, 3):
            async with asking(machine, number) as told:
                await asked(driver, machine, number)
                await answer(driver, number)
                assert await told is not None
            async with cycle(machine, number) as held:
                _, reading = await take(driver, machine, number)
                assert plain(reading) == {**machine.values, machine.cycle_key: number}
                await acknowledge(driver, reading, number)
                await held


@pytest.mark.parametrize("machine", ASKING, indirect=True)
async def test_a_request_is_not_lost_to_a_cancelled_wait(machine: ResultBench) -> None:
    async with listening(machine) as driver:
        waiting = asyncio.create_task(driver.next_event())
        async with asking(machine, 1) as told:
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
            if waiting.cancelled():
                await asked(driver, machine, 1)
            await answer(driver, 1)
            assert await told is not None


async def test_a_request_that_stands_when_the_link_comes_back_is_told(standing: ResultBench) -> None:
    """The machine waits still; whether it was answered is for the station to know."""
    async with asking(standing, 5) as told, opened(standing) as driver:
        event = await asked(driver, standing, 5)
        assert event.first
        await answer(driver, 5)
        assert await told is not None
