"""A machine on a serial line in every way of speaking, against a far end that says exactly what a test tells it to."""

import asyncio
import os
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Fault, LinkError, MachineEvent, Performing, Reading
from drivers.cable import PtyCable
from drivers.serial.driver import SerialDriver, serial_driver
from drivers.serial.far_end import FarEnd
from drivers.serial.settings import SerialSettings
from drivers.serial.simulator import SerialSimulator

PATIENCE_S = 10.0
WHOLE: Mapping[str, Any] = {"message": {"format": "whole"}, "points": {"v": {"whole": True, "type": "float"}}}


def settings(url: str, **keys: Any) -> SerialSettings:
    return SerialSettings.model_validate({"connect": {"url": url}, **WHOLE, **keys})


class Machine:
    """The far end: ``says`` and ``hears`` bytes."""

    def __init__(self) -> None:
        self.far_end = FarEnd(self._take, cable=False, link=None)
        self._heard = bytearray()
        self._changed = asyncio.Event()

    def _take(self, data: bytes) -> None:
        self._heard += data
        self._changed.set()

    async def hears(self, expected: bytes) -> None:
        """Wait for these bytes, and no others before them."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self._heard) < len(expected):
                self._changed.clear()
                await self._changed.wait()
        assert bytes(self._heard[: len(expected)]) == expected
        del self._heard[: len(expected)]

    async def says(self, data: bytes) -> None:
        """Put these bytes on the line, when somebody is there."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.far_end.stations:
                await asyncio.sleep(0.001)
        self.far_end.send(data)

    def heard_nothing(self) -> bool:
        """Whether everything the station said was expected."""
        return not self._heard


@asynccontextmanager
async def link(**keys: Any) -> AsyncIterator[tuple[Machine, SerialDriver]]:
    """A far end, and a driver that is opened while the block begins."""
    machine = Machine()
    url = str((await machine.far_end.start())["connect.url"])
    driver = serial_driver("gauge", settings(url, **keys))
    assert isinstance(driver, SerialDriver)
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield machine, driver
    finally:
        await driver.close()
        await machine.far_end.stop()


async def result(driver: SerialDriver) -> tuple[MachineEvent, Reading]:
    event = await driver.next_event()
    return event, await driver.read(event)


async def value(driver: SerialDriver) -> object:
    _, reading = await result(driver)
    return reading.values["v"].value if reading.values["v"].problem is None else reading.values["v"].problem


# -- machines that are asked -----------------------------------------------------------------------------------------


async def test_a_machine_is_asked_at_an_interval_and_only_while_a_result_is_wanted() -> None:
    async with link(request={"send": "?\r\n", "every": "10ms"}) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(value(driver))
        await machine.hears(b"?\r\n")
        await machine.says(b"1.5\r\n")
        assert await waiting == 1.5
        await asyncio.sleep(0.05)
        assert machine.heard_nothing(), "asked while the last result is still in hand"
        waiting = asyncio.create_task(value(driver))
        await machine.hears(b"?\r\n")
        await machine.says(b"2.5\r\n")
        assert await waiting == 2.5
        asked = asyncio.create_task(driver.next_event())
        await machine.hears(b"?\r\n")
        await machine.says(b"2.5\r\n")
        assert (await asked).maybe_again, "it was asked, and does not say that this is another result"


async def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    request = {"send": "?\r\n", "every": "1ms", "timeout": "50ms", "retries": 1}
    async with link(request=request) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(value(driver))
        await machine.hears(b"?\r\n")
        await asyncio.sleep(0.07)
        await machine.says(b"1.0\r\n")  # the station has stopped waiting, and waits for silence
        await machine.hears(b"?\r\n")
        await machine.says(b"2.0\r\n")
        assert await waiting == 2.0


async def test_a_machine_that_does_not_answer_is_a_lost_link_and_its_answer_dies_with_it() -> None:
    request = {"send": "?\r\n", "every": "1ms", "timeout": "60ms", "retries": 0}
    async with link(request=request) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(driver.next_event())
        await machine.hears(b"?\r\n")
        with pytest.raises(LinkError, match=r"no answer within 0\.06 s"):
            await waiting
        await driver.close()
        opening = asyncio.create_task(driver.open())
        await machine.says(b"1.0\r\n")
        await opening
        waiting_value = asyncio.create_task(value(driver))
        await machine.hears(b"?\r\n")
        await machine.says(b"2.0\r\n")
        assert await waiting_value == 2.0


async def test_half_an_answer_is_none_and_its_other_half_is_none_either() -> None:
    request = {"send": "?\r\n", "every": "1ms", "timeout": "200ms", "retries": 2}
    async with link(request=request, frame={"timeout": "30ms"}) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(value(driver))
        await machine.hears(b"?\r\n")
        await machine.says(b"12")
        await asyncio.sleep(0.06)
        await machine.says(b"3.5\r\n")
        await machine.hears(b"?\r\n")
        await machine.says(b"9.5\r\n")
        assert await waiting == 9.5


async def test_a_refused_question_is_asked_again_and_then_told() -> None:
    request = {"send": "?\r\n", "every": "1ms", "answer": r"^\d", "retries": 1}
    async with link(request=request) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(driver.next_event())
        for _ in range(2):
            await machine.hears(b"?\r\n")
            await machine.says(b"ERR\r\n")
        with pytest.raises(LinkError, match="it answered 'ERR'"):
            await waiting


STEPS = {
    "steps": [
        {"send": "ARM\r\n", "answer": "^OK$", "example": "OK"},
        {"send": "STAT\r\n", "until": "^READY", "again": "10ms", "example": "READY"},
        {"send": "FETCH\r\n"},
    ],
    "every": "1ms",
}


async def test_a_machine_is_armed_awaited_and_fetched_from() -> None:
    async with link(request=STEPS) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(value(driver))
        for question, answer in (
            (b"ARM\r\n", b"OK\r\n"),
            (b"STAT\r\n", b"BUSY\r\n"),
            (b"STAT\r\n", b"BUSY\r\n"),
            (b"STAT\r\n", b"READY\r\n"),
            (b"FETCH\r\n", b"7.25\r\n"),
        ):
            await machine.hears(question)
            await machine.says(answer)
        assert await waiting == 7.25


async def test_what_is_said_right_behind_an_answer_belongs_to_the_step_that_waits_for_it() -> None:
    steps = [{"send": "LON\r\n", "answer": "^OK$"}, {"timeout": "5s"}]
    async with link(request={"steps": steps, "every": "1ms"}) as (machine, driver):
        await driver.open()
        for number in (b"1.5", b"2.5"):
            waiting = asyncio.create_task(value(driver))
            await machine.hears(b"LON\r\n")
            await machine.says(b"OK\r\n" + number + b"\r\n9.9\r\n")  # and what comes behind the result is none
            assert await waiting == float(number)


async def test_a_wait_for_readiness_that_takes_too_long_begins_anew() -> None:
    steps = [{"send": "STAT\r\n", "until": "^READY", "again": "5ms", "within": "40ms"}, {"send": "FETCH\r\n"}]
    async with link(request={"steps": steps, "every": "1ms"}) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(value(driver))

        async def busy() -> None:
            while True:
                await machine.hears(b"STAT\r\n")
                await machine.says(b"BUSY\r\n")

        answering = asyncio.create_task(busy())
        await asyncio.sleep(0.1)
        assert not waiting.done()
        answering.cancel()
        await asyncio.wait({answering, waiting}, timeout=0)
        waiting.cancel()
        await asyncio.wait({waiting})


KINDS = {
    "ready": {"match": "^READY", "role": "begin", "message": {"format": "fields", "example": "READY,X,0"}},
    "nothing": {"match": "^NONE$", "role": "empty", "message": {"format": "whole", "example": "NONE"}},
    "echo": {"match": r"^\?", "role": "ignore"},
    "value": {},
}
KIND_POINTS = {
    "serial_number": {"kind": "ready", "field": 2},
    "v": {"kind": "value", "whole": True, "type": "float"},
}


async def test_a_machine_is_asked_when_it_says_so_for_the_unit_it_names() -> None:
    request = {"send": "?{serial_number}\r\n", "after": "ready"}
    async with link(request=request, kinds=KINDS, points=KIND_POINTS) as (machine, driver):
        await driver.open()
        for serial, force in (("SN-1", b"1.5"), ("SN-2", b"2.5")):
            waiting = asyncio.create_task(result(driver))
            await machine.says(f"READY,{serial}\r\n".encode())
            await machine.hears(f"?{serial}\r\n".encode())
            await machine.says(f"?{serial}\r\n".encode() + force + b"\r\n")  # it echoes what it hears
            event, reading = await waiting
            assert {name: point.value for name, point in reading.values.items()} == {
                "serial_number": serial,
                "v": float(force),
            }
            assert event.payload == f"READY,{serial}\r\n".encode() + force + b"\r\n"


async def test_an_answer_without_a_result_is_none() -> None:
    request = {"send": "?\r\n", "every": "1ms"}
    async with link(request=request, kinds=KINDS, points={"v": KIND_POINTS["v"]}) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(value(driver))
        for answer in (b"NONE\r\n", b"NONE\r\n", b"3.5\r\n"):
            await machine.hears(b"?\r\n")
            await machine.says(answer)
        assert await waiting == 3.5


async def test_a_state_is_a_result_when_it_changes() -> None:
    points = {"n": {"field": 1, "type": "int"}, "v": {"field": 2, "type": "float"}}
    request = {"send": "?\r\n", "every": "1ms"}
    keys = {"message": {"format": "fields"}, "points": points, "request": request, "trigger": {"point": "n"}}
    async with link(**keys) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(result(driver))
        await machine.hears(b"?\r\n")
        await machine.says(b"4,1.5\r\n")
        event, reading = await waiting
        assert (event.first, event.key, event.payload, reading.values["v"].value) == (True, 4, None, 1.5)
        waiting = asyncio.create_task(result(driver))
        for answer in (b"4,1.5\r\n", b"4,1.6\r\n", b"5,2.5\r\n"):
            await machine.hears(b"?\r\n")
            await machine.says(answer)
        event, reading = await waiting
        assert (event.first, event.key, reading.values["v"].value) == (False, 5, 2.5)


async def test_a_companion_is_asked_once_for_each_unit() -> None:
    async with link(request={"send": "D {serial_number}\r\n", "timeout": "50ms", "retries": 0}) as (machine, driver):
        assert isinstance(driver, Performing)
        await driver.open()
        listening = asyncio.create_task(driver.next_event())
        for serial, force in (("SN-1", 1.5), ("SN-2", 2.5)):
            working = asyncio.create_task(driver.perform({"serial_number": serial, "date": "2026-11-25"}))
            await machine.hears(f"D {serial}\r\n".encode())
            await machine.says(f"{force}\r\n".encode())
            assert (await working).values["v"].value == force
        nameless = await driver.perform({})
        assert "it names 'serial_number', which has no value" in str(nameless.values["v"].problem)
        assert not listening.done()
        with pytest.raises(LinkError, match="no answer"):
            await driver.perform({"serial_number": "SN-3"})
        with pytest.raises(LinkError, match="no answer"):
            await listening


async def test_a_companion_that_is_given_up_does_not_answer_the_next_unit() -> None:
    async with link(request={"send": "D\r\n", "timeout": "100ms"}) as (machine, driver):
        assert isinstance(driver, Performing)
        await driver.open()
        working = asyncio.create_task(driver.perform({}))
        await machine.hears(b"D\r\n")
        working.cancel()
        await asyncio.wait({working})
        again = asyncio.create_task(driver.perform({}))
        await machine.says(b"1.0\r\n")
        await machine.hears(b"D\r\n")
        await machine.says(b"2.0\r\n")
        assert (await again).values["v"].value == 2.0


# -- machines that speak by themselves, and are spoken to ------------------------------------------------------------


async def test_a_machine_is_started_when_the_line_is_open_and_kept_alive() -> None:
    keys = {
        "on_open": [{"send": "HELLO\r\n", "answer": "^WELCOME"}, {"send": "AUTO ON\r\n", "expect": "nothing"}],
        "keep_alive": {"send": "PING\r\n", "answer": "^PONG", "every": "30ms", "timeout": "200ms", "retries": 0},
    }
    async with link(**keys) as (machine, driver):
        opening = asyncio.create_task(driver.open())
        await machine.hears(b"HELLO\r\n")
        await machine.says(b"WELCOME\r\n")
        await opening
        await machine.hears(b"AUTO ON\r\n")
        await machine.hears(b"PING\r\n")
        await machine.says(b"1.5\r\nPONG\r\n2.5\r\n")  # a result that comes while an answer is awaited is a result
        assert [await value(driver), await value(driver)] == [1.5, 2.5]
        await machine.hears(b"PING\r\n")
        with pytest.raises(LinkError, match="PING"):
            await driver.next_event()


async def test_a_machine_that_does_not_greet_is_no_open_link() -> None:
    hello = [{"send": "HELLO\r\n", "answer": "^WELCOME", "timeout": "20ms", "retries": 1}]
    async with link(on_open=hello) as (machine, driver):
        with pytest.raises(LinkError, match=r"HELLO.*no answer within 0.02 s"):
            await driver.open()
        await machine.hears(b"HELLO\r\nHELLO\r\n")


async def test_a_broken_frame_is_a_record_of_its_own_where_nobody_sends_it_again() -> None:
    async with link(frame={"start": "\x02", "end": "\x03", "timeout": "30ms"}) as (machine, driver):
        await driver.open()
        await machine.says(b"??\x021.5\x03??\x022.")
        assert await value(driver) == 1.5
        assert "frame not finished" in str(await value(driver))


async def test_a_broken_frame_is_awaited_again_where_the_machine_waits_for_an_acknowledgement() -> None:
    keys = {"frame": {"start": "\x02", "end": "\x03"}, "acknowledge": {"send": "OK {v}"}}
    async with link(**keys) as (machine, driver):
        await driver.open()
        await machine.says(b"\x021.\x021.5\x03")
        _, reading = await result(driver)
        assert reading.values["v"].value == 1.5
        await driver.acknowledge(reading, None)
        await machine.hears(b"OK 1.5")
        await machine.says(b"1\x03" * 3)  # for ever: that is worth a record
        assert "frame.start" in str(await value(driver))


async def test_a_message_that_began_before_the_port_was_open_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a number looks like a number."""
    monkeypatch.setattr("drivers.serial.line._MIDWAY_S", PATIENCE_S)
    async with link() as (machine, driver):
        await driver.open()
        await machine.says(b"2.5\r\n7.5\r\n")
        assert "not heard" in str(await value(driver))
        assert await value(driver) == 7.5


# -- ENQ, ACK, NAK, EOT ----------------------------------------------------------------------------------------------

ENQ, ACK, NAK, EOT = b"\x05", b"\x06", b"\x15", b"\x04"
BCC = {"start": "\x02", "end": "\x03", "checksum": {"type": "xor", "place": "after_end"}, "timeout": "50ms"}
GOOD = b"\x021.5\x03\x29"
BAD = b"\x021.6\x03\x29"
HANDSHAKE = {"timeout": "100ms", "retries": 2}


async def test_a_result_is_accepted_when_it_is_kept_and_a_broken_one_refused_at_once() -> None:
    async with link(frame=BCC, handshake=HANDSHAKE) as (machine, driver):
        await driver.open()
        await machine.says(ENQ)
        await machine.hears(ACK)
        await machine.says(BAD)
        await machine.hears(NAK)
        await machine.says(GOOD)
        _, reading = await result(driver)
        assert reading.values["v"].value == 1.5
        assert machine.heard_nothing(), "accepted before it was kept"
        for _ in range(2):
            await driver.acknowledge(reading, None)
        await machine.hears(ACK)
        await machine.says(EOT + ENQ)
        await machine.hears(ACK)
        assert machine.heard_nothing(), "accepted twice"


async def test_a_frame_that_stays_broken_is_told_after_the_retries() -> None:
    async with link(frame=BCC, handshake=HANDSHAKE) as (machine, driver):
        await driver.open()
        for _ in range(3):
            await machine.says(BAD)
            await machine.hears(NAK)
        assert "checksum wrong" in str(await value(driver))


async def test_a_request_is_handed_over_with_enquiry_accept_and_end() -> None:
    request = {"send": "?", "framed": True, "every": "1ms"}
    async with link(frame=BCC, handshake=HANDSHAKE, request=request) as (machine, driver):
        await driver.open()
        waiting = asyncio.create_task(result(driver))
        await machine.hears(ENQ)
        await machine.says(ACK)
        asked = b"\x02?\x03\x3c"
        await machine.hears(asked)
        await machine.says(NAK)  # it did not understand: all of it again
        await machine.hears(ENQ)
        await machine.says(ACK)
        await machine.hears(asked)
        await machine.says(ACK)
        await machine.hears(EOT)
        await machine.says(ENQ)
        await machine.hears(ACK)
        await machine.says(BAD)
        await machine.hears(NAK)
        await machine.says(GOOD)
        _, reading = await waiting
        assert reading.values["v"].value == 1.5
        assert machine.heard_nothing(), "accepted before it was kept"
        await driver.acknowledge(reading, None)
        await machine.hears(ACK)


# -- serial servers --------------------------------------------------------------------------------------------------


async def test_the_words_of_a_serial_server_become_the_reason_of_the_lost_link() -> None:
    async with link(points={"code": {"whole": True}}) as (machine, driver):
        await driver.open()
        await machine.says(b"Port already in use\r\n")
        await asyncio.sleep(0)
        machine.far_end.drop()
        with pytest.raises(LinkError, match="Port already in use"):
            await driver.next_event()


# -- simulated machines ----------------------------------------------------------------------------------------------

COUNTED = {
    "message": {"format": "fields"},
    "points": {"n": {"field": 1, "type": "int"}, "v": {"field": 2, "type": "float"}},
}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "pushed and acknowledged": {**COUNTED, "acknowledge": {"send": "ACK {cycle_key}\r\n"}},
    "handshake": {**COUNTED, "frame": BCC, "handshake": HANDSHAKE},
    "polled and acknowledged": {
        **COUNTED,
        "request": {"send": "?\r\n", "every": "5ms", "timeout": "60ms"},
        "trigger": {"point": "n"},
        "acknowledge": {"send": "ACK {cycle_key}\r\n"},
        "frame": {"timeout": "30ms"},
    },
    "armed and fetched": {
        **COUNTED,
        "request": {
            "steps": [
                {"send": "ARM", "framed": True, "answer": "^OK$", "example": "OK", "timeout": "60ms"},
                {"send": "STAT", "framed": True, "until": "^READY", "again": "5ms", "example": "READY"},
                {"send": "FETCH", "framed": True, "timeout": "60ms"},
            ],
            "every": "5ms",
        },
        "acknowledge": {"send": "ACK {cycle_key}", "framed": True},
        "frame": {
            "start": "\x02",
            "end": "\r",
            "checksum": {"type": "crc16-modbus", "notation": "HEX"},
            "timeout": "30ms",
        },
    },
    "asked after a trigger": {
        "message": {"format": "whole"},
        "kinds": KINDS,
        "points": {
            "n": {"kind": "ready", "field": 3, "type": "int"},
            "code": {"kind": "ready", "field": 2},
            "v": KIND_POINTS["v"],
        },
        "request": {"send": "?{code}\r\n", "after": "ready", "timeout": "60ms"},
        "frame": {"timeout": "30ms"},
    },
}


@asynccontextmanager
async def simulated(way: str) -> AsyncIterator[tuple[SerialSimulator, SerialDriver]]:
    here = SerialSettings.model_validate({"connect": {"url": "socket://127.0.0.1:1"}, **WAYS[way]})
    simulator = SerialSimulator("gauge", here, resend=0.1)
    url = (await simulator.start())["connect.url"]
    driver = serial_driver("gauge", here.model_copy(update={"connect": here.connect.model_copy(update={"url": url})}))
    assert isinstance(driver, SerialDriver)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await driver.open()
            yield simulator, driver
    finally:
        await driver.close()
        await simulator.stop()


async def keeps(driver: SerialDriver, kept: list[int | None]) -> None:
    """As a supervisor: whatever happens to the link, read, keep and acknowledge. None: a result with a problem."""
    while True:
        try:
            _, reading = await result(driver)
            found = reading.values["n"].value
            assert found is None or isinstance(found, int)
            if found is not None:
                assert reading.values["v"].value == found * 1.5, "a wrong value"
            kept.append(found)
            await driver.acknowledge(reading, found)
        except LinkError:
            await driver.close()
            while True:
                try:
                    await driver.open()
                    break
                except LinkError:
                    await driver.close()


def cycle_of(way: str, number: int) -> dict[str, Any]:
    return {"n": number, "v": number * 1.5, **({"code": f"SN-{number}"} if "trigger" in way else {})}


@pytest.mark.parametrize("fault", [None, Fault.DROP_LINK, Fault.NOISE, Fault.TEAR, Fault.ANSWER_LATE])
@pytest.mark.parametrize("way", WAYS)
async def test_a_simulated_machine_speaks_every_way_and_its_faults_make_no_wrong_value(
    way: str, fault: Fault | None
) -> None:
    async with simulated(way) as (simulator, driver):
        if fault is not None and fault not in simulator.faults:
            with pytest.raises(ValueError, match="no fault of this machine"):
                await simulator.misbehave(fault)
            return
        kept: list[int | None] = []
        keeping = asyncio.create_task(keeps(driver, kept))
        try:
            for number in range(1, 4):
                if fault is not None and number == 2:
                    await simulator.misbehave(fault)
                await simulator.cycle(cycle_of(way, number), number)
                while number not in kept and None not in kept:
                    assert not keeping.done()
                    await asyncio.sleep(0.001)
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
        numbers = [number for number in kept if number]
        assert numbers == sorted(numbers), "an old result came again"
        if fault is None:
            assert set(kept) - {0} == {1, 2, 3}


def is_there(port: str) -> bool:
    return Path(port).is_char_device()


async def test_a_simulated_port_comes_back_under_its_name_when_its_link_was_dropped() -> None:
    """A station opens the name it knows again: one that is new each time would never be found."""
    settings = SerialSettings.model_validate(
        {
            "connect": {"port": "/dev/serial/by-id/gauge"},
            "message": {"format": "whole"},
            "points": {"v": {"whole": True}},
        }
    )
    simulator = SerialSimulator("gauge", settings)
    port = str((await simulator.start())["connect.port"])
    simulator.unplug()
    assert not is_there(port)
    simulator.plug()
    await simulator.misbehave(Fault.DROP_LINK)
    assert is_there(port)
    await simulator.stop()
    assert not is_there(port)


async def test_a_port_with_parity_checks_it_and_reads_every_byte_as_it_was_sent() -> None:
    """A pseudo terminal makes no parity errors; but its line discipline marks, and doubles FF, as a UART's does."""
    async with PtyCable() as cable:
        keys = {**WHOLE, "message": {"format": "whole", "encoding": "latin-1"}, "points": {"v": {"whole": True}}}
        driver = serial_driver(
            "gauge", SerialSettings.model_validate({"connect": {"port": cable.a, "parity": "E"}, **keys})
        )
        end = os.open(cable.b, os.O_RDWR | os.O_NOCTTY)
        line = os.open(cable.a, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await driver.open()
                flags = termios.tcgetattr(line)[0]
                assert flags & termios.INPCK
                assert flags & termios.PARMRK
                os.write(end, b"rest\r\n")  # of a message whose begin nobody heard, as far as the station knows
                os.write(end, b"\xff1\xff\r\n")
                found: object = None
                while found != "\xff1\xff":
                    found = (await driver.read(await driver.next_event())).values["v"].value
        finally:
            os.close(line)
            os.close(end)
            await driver.close()
