"""A printer that behaves as real ones do: slow, out of paper, late, noisy, silent."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import pytest

from contracts.errors import LinkError, SetupError
from drivers.base import Fault, Reading
from drivers.label.answers import HOST_STATUS, LABEL_COUNT, HostStatus, host_status
from drivers.label.driver import LabelDriver
from drivers.label.settings import LabelSettings
from drivers.label.simulator import LabelSimulator

JOB = {"serial_number": "SN-1"}


def settings(port: int = 9100, *, timeout: str = "2s", **more: object) -> LabelSettings:
    return LabelSettings.model_validate(
        {
            "connect": {"transport": "tcp", "host": "127.0.0.1", "port": port, "timeout": timeout},
            "template": "^XA^LL160^FO20,20^FD{serial_number}^FS^XZ",
            "poll": "100ms",
            "points": {
                "printed": {"status": "printed"},
                "paper_out": {"status": "paper_out"},
                "labels": {"status": "labels_printed"},
                "length": {"status": "print_length", "unit": "cm"},
            },
            **more,
        }
    )


@asynccontextmanager
async def printer(print_s: float = 0.0, timeout: str = "2s", **more: object) -> AsyncIterator[tuple]:
    simulator = LabelSimulator("printer", settings(timeout=timeout, **more), print_s=print_s)
    port = int((await simulator.start())["connect.port"])
    driver = LabelDriver("printer", settings(port, timeout=timeout, **more))
    try:
        await driver.open()
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


@asynccontextmanager
async def answering(answers: Mapping[bytes, bytes]) -> AsyncIterator[int]:
    """A printer that answers each question always in the same way, and prints nothing. Its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(4096):
                for question, answer in answers.items():
                    writer.write(answer * data.count(question))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def said(reading: Reading, point: str = "printed") -> object:
    found = reading.values[point]
    return found.problem if found.problem is not None else found.value


async def test_a_label_counts_as_printed_when_the_printer_is_done_with_it() -> None:
    async with printer(print_s=0.2) as (driver, simulator):
        working = asyncio.create_task(driver.perform(JOB))
        while not simulator._waiting:
            await asyncio.sleep(0)
        assert not simulator.printed
        assert not working.done()
        reading = await working
        assert said(reading) is True
        assert len(simulator.printed) == 1
        assert "^FDSN-1^FS" in simulator.printed[0]


async def test_the_counter_and_the_odometer_are_told() -> None:
    async with printer() as (driver, _):
        for _ in range(3):
            reading = await driver.perform(JOB)
        assert said(reading, "labels") == 3
        assert said(reading, "length") == 6.0


async def test_a_condition_is_told_stops_the_label_and_is_over_when_it_is_put_right() -> None:
    async with printer() as (driver, simulator):
        told: list[Mapping[str, str]] = []
        driver.watch_conditions(told.append)
        watching = asyncio.create_task(driver.next_event())
        try:
            await simulator.cycle({"paper_out": True, "head_open": True}, None)
            reading = await driver.perform(JOB)
            assert (said(reading), said(reading, "paper_out")) == (False, True)
            assert set(told[-1]) == {"paper_out", "head_open"}
            await simulator.cycle({"paper_out": False, "head_open": False}, None)
            while told[-1]:  # nobody prints: the idle printer is asked by itself
                await asyncio.sleep(0.01)
            assert simulator.printed == []
            assert said(await driver.perform(JOB)) is True
            assert len(simulator.printed) == 1
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def test_a_label_that_meets_a_condition_half_way_never_comes_out_later() -> None:
    async with printer(print_s=0.2) as (driver, simulator):
        working = asyncio.create_task(driver.perform(JOB))
        while not simulator._waiting:
            await asyncio.sleep(0)
        await simulator.cycle({"ribbon_out": True}, None)
        assert said(await working) is False
        await simulator.cycle({"ribbon_out": False}, None)
        assert said(await driver.perform({"serial_number": "SN-2"})) is True
        assert ["SN-2" in label for label in simulator.printed] == [True]


async def test_a_label_that_is_given_up_never_comes_out_later() -> None:
    async with printer(print_s=0.3) as (driver, simulator):
        working = asyncio.create_task(driver.perform(JOB))
        while not simulator._waiting:
            await asyncio.sleep(0)
        working.cancel()
        await asyncio.wait({working})
        assert said(await driver.perform({"serial_number": "SN-2"})) is True
        assert ["SN-2" in label for label in simulator.printed] == [True]


async def test_a_printer_that_stays_busy_is_told_and_the_label_is_cancelled() -> None:
    async with printer(print_s=5.0, timeout="300ms") as (driver, simulator):
        assert said(await driver.perform(JOB)) == "the printer was still busy after 0.3 s; label cancelled"
        while simulator._waiting:
            await asyncio.sleep(0)


async def test_a_printer_that_says_ready_and_counts_no_label_has_printed_none() -> None:
    """A print server that swallowed the label, or a status older than it."""
    answers = {HOST_STATUS.sent: host_status(HostStatus()), LABEL_COUNT.sent: b'"7"'}
    async with answering(answers) as port:
        driver = LabelDriver("printer", settings(port, timeout="300ms", done="counted"))
        await driver.open()
        try:
            reading = await driver.perform(JOB)
            assert said(reading) == "the printer was idle and had counted no label after 0.3 s; label cancelled"
        finally:
            await driver.close()


async def test_a_counted_label_is_printed() -> None:
    async with printer(done="counted") as (driver, _):
        assert said(await driver.perform(JOB)) is True


async def test_a_printer_that_counts_no_labels_is_set_up_wrongly() -> None:
    answers = {HOST_STATUS.sent: host_status(HostStatus()), LABEL_COUNT.sent: b'"?"'}
    async with answering(answers) as port:
        driver = LabelDriver("printer", settings(port, done="counted"))
        with pytest.raises(SetupError, match=r"does not tell odometer.total_label_count: .*write done: ready"):
            await driver.open()


async def test_an_odometer_that_fails_leaves_the_label_printed() -> None:
    answers = {HOST_STATUS.sent: host_status(HostStatus()), LABEL_COUNT.sent: b'"7"', b"~HQOD": b"\x02nothing\x03"}
    async with answering(answers) as port:
        driver = LabelDriver("printer", settings(port))
        await driver.open()
        try:
            reading = await driver.perform(JOB)
            assert said(reading) is True
            assert str(said(reading, "length")).startswith("odometer not understood")
        finally:
            await driver.close()


async def test_an_answer_that_comes_late_is_not_the_next_ones() -> None:
    async with printer(timeout="300ms") as (driver, simulator):
        await simulator.misbehave(Fault.ANSWER_LATE)
        with pytest.raises(LinkError, match="does not answer ~HS"):
            await driver.perform(JOB)
        await driver.close()
        await driver.open()
        assert said(await driver.perform(JOB)) is True


@asynccontextmanager
async def printer_on_a_cable(transport: str, key: str) -> AsyncIterator[tuple]:
    shape = settings().model_dump(mode="json") | {"poll": "100ms"}
    absent = {"connect": {"transport": transport, key: "/dev/null", "timeout": "300ms"}}
    simulator = LabelSimulator("printer", LabelSettings.model_validate(shape | absent))
    device = (await simulator.start())[f"connect.{key}"]
    here = {"connect": {"transport": transport, key: device, "timeout": "2s"}}
    driver = LabelDriver("printer", LabelSettings.model_validate(shape | here))
    try:
        yield driver, simulator
    finally:
        await driver.close()
        await simulator.stop()


@pytest.mark.parametrize(("transport", "key"), [("serial", "port"), ("usb", "device")])
async def test_what_a_device_still_held_for_somebody_else_is_thrown_away(transport: str, key: str) -> None:
    """A port keeps what comes for whoever opens it next."""
    async with printer_on_a_cable(transport, key) as (driver, simulator):
        for station in simulator._stations:
            station.answer(host_status(HostStatus(paper_out=True)))
        await driver.open()
        reading = await driver.perform(JOB)
        assert (said(reading), said(reading, "paper_out")) == (True, False)


async def test_an_answer_nobody_asked_for_ends_the_conversation() -> None:
    """Every answer after it would be the one before: no label may count as printed by such a status."""
    async with printer_on_a_cable("serial", "port") as (driver, simulator):
        await driver.open()
        watching = asyncio.create_task(driver.next_event())
        for station in simulator._stations:
            station.answer(host_status(HostStatus()))
        with pytest.raises(LinkError, match="says what it was not asked"):
            await watching
        await driver.close()
        await driver.open()
        assert said(await driver.perform(JOB)) is True
        assert len(simulator.printed) == 1


@pytest.mark.parametrize("fault", [Fault.NOISE, Fault.DROP_LINK])
async def test_a_link_that_breaks_or_talks_nonsense_is_lost_and_comes_back(fault: Fault) -> None:
    async with printer() as (driver, simulator):
        watching = asyncio.create_task(driver.next_event())
        await asyncio.sleep(0)
        await simulator.misbehave(fault)
        with pytest.raises(LinkError, match="link lost"):
            await watching
        await driver.close()
        await driver.open()
        assert said(await driver.perform(JOB)) is True


async def test_a_fault_it_does_not_know_and_a_state_that_cannot_be_set_are_refused() -> None:
    async with printer() as (_, simulator):
        with pytest.raises(ValueError, match="no fault of this machine"):
            await simulator.misbehave(Fault.TEAR)
        with pytest.raises(ValueError, match=r"labels cannot be set; what can is label_waiting, paper_out"):
            await simulator.cycle({"labels": 3}, None)


async def test_a_job_without_what_the_label_names_prints_nothing() -> None:
    async with printer() as (driver, simulator):
        reading = await driver.perform({"lot_number": "WF-KR-241118D-001"})
        assert said(reading) == "machine printer: not printed: the label names serial_number, and this job has none"
        assert simulator.printed == []


async def test_something_else_at_that_port_is_no_printer() -> None:
    async with answering({b"~HS": b"HTTP/1.1 400 Bad Request\r\n\r\n"}) as port:
        driver = LabelDriver("printer", settings(port, timeout="300ms"))
        with pytest.raises(LinkError, match="does not answer ~HS"):
            await driver.open()


@pytest.mark.parametrize(
    ("connect", "error", "told"),
    [
        ({"transport": "usb", "device": "/dev/usb/absent"}, LinkError, "cannot be opened: .*No such file"),
        ({"transport": "serial", "port": "/dev/null"}, SetupError, "is no such device, or cannot be set so"),
    ],
)
async def test_a_device_that_cannot_be_used_says_why(
    connect: Mapping[str, object], error: type[Exception], told: str
) -> None:
    here = {**settings().model_dump(mode="json"), "connect": {**connect, "timeout": "1s"}, "poll": "100ms"}
    driver = LabelDriver("printer", LabelSettings.model_validate(here))
    with pytest.raises(error, match=told):
        await driver.open()


REJECT = "^XA^LL160^FO20,20^FDREJECT {serial_number}^FS^XZ"
WHO = {
    "printed": {"status": "printed"},
    "who": {"status": "printer"},
    "job": {"status": "job"},
    "kind": {"status": "label"},
}


async def test_the_job_the_printer_and_which_label_it_was_are_told() -> None:
    async with printer(points=WHO, reject_template=REJECT) as (driver, simulator):
        first = (await driver.perform(JOB)).plain()
        second = (await driver.perform({**JOB, "reject_label": True})).plain()
        third = (await driver.perform({**JOB, "reject_label": False})).plain()
    assert [found["kind"] for found in (first, second, third)] == ["unit", "reject", "unit"]
    assert ["REJECT" in label for label in simulator.printed] == [False, True, False]
    assert len({found["job"] for found in (first, second, third)}) == 3
    assert first["who"] == "NEUROHUB-SIM-200dpi V1.0.0Z"


async def test_a_failed_unit_is_never_given_a_good_ones_label() -> None:
    async with printer(points=WHO) as (driver, simulator):
        found = await driver.perform({**JOB, "reject_label": True})
    assert simulator.printed == []
    assert "no reject_template" in str(found.values["printed"].problem)


async def test_a_label_that_was_not_sent_has_no_job() -> None:
    async with printer(points=WHO) as (driver, simulator):
        await simulator.cycle({"paper_out": True}, None)
        found = await driver.perform(JOB)
    assert found.values["printed"].value is False
    assert found.values["job"].problem == "no label was sent"


async def test_a_printer_that_does_not_say_who_it_is_has_printed_all_the_same() -> None:
    async with answering({HOST_STATUS.sent: host_status(HostStatus()), b"~HI": b"\x02?\x03\r\n"}) as port:
        driver = LabelDriver("printer", settings(port, points=WHO))
        await driver.open()
        found = await driver.perform(JOB)
        await driver.close()
    assert found.values["printed"].value is True
    assert "host identification not understood" in str(found.values["who"].problem)
