"""One owner of a line: fair turns, each device its own fault domain, no late answer taken for the next one's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import drivers.modbus.line as line_module
from contracts.errors import LinkError, SetupError
from drivers.cable import PtyCable
from drivers.modbus.blocks import Block
from drivers.modbus.connect import RtuConnect, TcpConnect
from drivers.modbus.frames import Rtu, checksum
from drivers.modbus.line import LIVING_SHARE, Line, NoAnswerError
from drivers.modbus.link import ModbusLink, RefusedError
from drivers.modbus.requests import Request
from drivers.modbus.wire import Wire
from tests.support.clocks import in_no_time

TRIGGER = Block("holding_register", 0, 1, ("n",))
READ = Request.read("holding_register", 0, 1)
ANSWER = bytes([3, 2, 0, 7])


# -- turns, by a clock of their own --------------------------------------------------------------------------------


class FakeWire:
    """A line on which each device answers after its own time, or never."""

    numbered = True
    silence_s = 0.0
    heard_at = 0.0
    heard = 0
    answers_s: dict[int, float | None]
    """Device -> seconds until it answers; None: never. Set by a test."""
    opened = 0

    def __init__(self, connect: TcpConnect) -> None:
        self.lost: str | None = None

    async def open(self, timeout_s: float) -> None:
        type(self).opened += 1

    def ask(self, device_id: int, request: Request) -> asyncio.Future[bytes]:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        seconds = self.answers_s[device_id]
        if self.lost is not None:
            answer.set_exception(LinkError(self.lost))
        elif seconds is not None:
            asyncio.get_running_loop().call_later(seconds, lambda: answer.done() or answer.set_result(ANSWER))
        return answer

    def forget(self) -> None:
        return

    def strangers(self) -> frozenset[int]:
        return frozenset()

    def close(self, reason: str) -> None:
        self.lost = self.lost or reason


@dataclass
class Machine:
    """A machine on the line, and how long each of its requests took from asking to answer."""

    device_id: int
    timeout_s: float = 1.0
    probes: Sequence[Request] = ()
    waited: list[float] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)
    answered: int = 0
    line: Line | None = None

    async def live(self, connect: TcpConnect, poll_s: float) -> None:
        """As driver and supervisor do: poll, and open again with growing waits."""
        loop = asyncio.get_running_loop()
        self.line = line = Line.of(connect)
        pause_s = 1.0
        while True:
            wire = await line.join(self, connect)
            try:
                while True:
                    began = loop.time()
                    await line.ask(self, wire, READ, self.timeout_s, 0.0)
                    self.waited.append(loop.time() - began)
                    self.answered += 1
                    pause_s = 1.0
                    await asyncio.sleep(poll_s)
            except LinkError:
                self.failed_at.append(loop.time())
                await line.leave(self)
                await asyncio.sleep(pause_s)
                pause_s = min(30.0, pause_s * 2)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeWire]:
    """Lines open this instead of a connection."""
    monkeypatch.setattr(line_module, "Wire", FakeWire)
    FakeWire.opened = 0
    return FakeWire


async def run_for(seconds: float, *lives: Coroutine[Any, Any, None]) -> None:
    """Let these live for a while."""
    tasks = [asyncio.create_task(life) for life in lives]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, asyncio.CancelledError), repr(ended)


_ports = count(1)


def new_line() -> TcpConnect:
    """Settings of a line that no test had before."""
    return TcpConnect(transport="tcp", host="gateway", port=next(_ports))


@settings(max_examples=12)
@given(
    living=st.lists(st.floats(0.001, 0.05), min_size=1, max_size=5),
    dead=st.lists(st.floats(0.1, 2.0), max_size=6),
    poll_s=st.sampled_from([0.05, 0.2, 1.0]),
)
def test_dead_devices_slow_the_living_by_one_attempt_at_most_and_a_tenth_of_the_time(
    living: list[float], dead: list[float], poll_s: float
) -> None:
    """However many are dead. The bound of the README."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_module, "Wire", FakeWire)
        FakeWire.answers_s = dict(enumerate(living, 1)) | {100 + place: None for place in range(len(dead))}
        machines = [Machine(place) for place in range(1, len(living) + 1)]
        gone = [Machine(100 + place, timeout_s) for place, timeout_s in enumerate(dead)]
        begun_s, shown_s, here = 60.0, 200.0, new_line()

        async def scenario() -> None:
            lives = [machine.live(here, poll_s) for machine in machines + gone]

            async def count_from_here() -> None:
                await asyncio.sleep(begun_s)  # by then every dead one was found dead
                for machine in machines + gone:
                    machine.waited.clear()
                    machine.failed_at.clear()
                await asyncio.Event().wait()

            await run_for(begun_s + shown_s, *lives, count_from_here())

        in_no_time(scenario())
    one_attempt = max(dead, default=0.0)
    for machine in machines:
        assert not machine.failed_at
        assert max(machine.waited) <= one_attempt + sum(living) + 0.001
    taken = sum(timeout_s * len(machine.failed_at) for machine, timeout_s in zip(gone, dead, strict=True))
    assert taken <= shown_s / (1 + LIVING_SHARE) + one_attempt
    if dead:
        assert all(machine.failed_at for machine in gone), "each is tried again and again"


def test_a_dead_device_that_comes_back_is_found(fake: type[FakeWire]) -> None:
    fake.answers_s = {1: 0.01, 2: None}
    machines, here = [Machine(1), Machine(2)], new_line()

    async def scenario() -> None:
        async def repair() -> None:
            await asyncio.sleep(100.0)
            fake.answers_s[2] = 0.01
            await asyncio.Event().wait()

        await run_for(200.0, *(machine.live(here, 0.1) for machine in machines), repair())

    in_no_time(scenario())
    assert machines[1].answered > 10 * 50, "it is polled as any other again"


def test_turns_are_fair(fake: type[FakeWire]) -> None:
    """A machine that asks as fast as it can gets no more turns than another."""
    fake.answers_s = {1: 0.01, 2: 0.01, 3: 0.01}
    machines, here = [Machine(1), Machine(2), Machine(3)], new_line()
    in_no_time(run_for(30.0, *(machine.live(here, 0.0) for machine in machines)))
    counts = [machine.answered for machine in machines]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) > 2900, "and the line is never idle"


def test_a_connection_on_which_nobody_answers_is_made_anew(fake: type[FakeWire]) -> None:
    """A gateway that was switched off and on: the old connection would never tell."""
    fake.answers_s = {1: 0.01, 2: 0.01}
    machines, here = [Machine(1), Machine(2)], new_line()

    async def scenario() -> None:
        async def outage() -> None:
            await asyncio.sleep(10.0)
            fake.answers_s.update({1: None, 2: None})
            await asyncio.Event().wait()

        await run_for(40.0, *(machine.live(here, 0.1) for machine in machines), outage())

    in_no_time(scenario())
    assert fake.opened > 2


def test_one_connection_serves_all_and_is_kept_while_one_is_there(fake: type[FakeWire]) -> None:
    fake.answers_s = {1: 0.01, 2: 0.01, 3: None}
    machines, here = [Machine(1), Machine(2), Machine(3)], new_line()
    in_no_time(run_for(60.0, *(machine.live(here, 0.1) for machine in machines)))
    assert fake.opened == 1
    assert machines[2].failed_at


async def test_other_settings_of_one_line_are_refused(fake: type[FakeWire]) -> None:
    """What ``check`` finds in a file; a line that two stations share would show it here."""
    here = new_line()
    line = Line.of(here)
    await line.join(Machine(1), here)
    other = RtuConnect(transport="rtu", port=str(here))
    with pytest.raises(SetupError, match="other settings"):
        await line.join(Machine(2), other)


# -- answers that are late, over a real serial line ----------------------------------------------------------------

SLOW_S = 0.06
"""A timeout that a busy computer may miss too: for tests that hold either way."""
PATIENT_S = 0.5
"""A timeout that is missed only by a device that is told to be late."""


class Device:
    """A device on the far end of a cable that takes its time: ``delays`` are those of its next answers.

    Its register holds how many requests it has got: an answer that is late holds a number that is too small. Other
    tables hold the same, so that every kind of request has an answer.
    """

    def __init__(self, far: str) -> None:
        self.got = 0
        self.delays: list[float | None] = []
        self.noise = b""
        self.silent_functions: set[int] = set()
        self._far = open(far, "r+b", buffering=0)  # noqa: SIM115  # closed by close()
        self._buffer = b""
        self._free_at = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        asyncio.get_running_loop().add_reader(self._far, self._heard)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._far)
        for timer in self._timers:
            timer.cancel()
        self._far.close()

    def _heard(self) -> None:
        self._buffer += self._far.read(256) or b""
        while len(self._buffer) >= 8:
            frame, self._buffer = self._buffer[:8], self._buffer[8:]
            assert checksum(frame[:6]) == frame[6:], "requests are never spoilt here"
            self._asked(frame[1], int.from_bytes(frame[4:6], "big"))

    def _asked(self, function: int, count: int) -> None:
        self.got += 1
        delay = self.delays.pop(0) if self.delays else 0.0
        if function in self.silent_functions or delay is None:
            return
        if function in (3, 4):
            pdu = bytes([function, 2 * count]) + self.got.to_bytes(2, "big") * count
        elif function in (1, 2):
            pdu = bytes([function, 1, self.got & 0xFF])
        else:
            pdu = bytes([function | 0x80, 1])
        frame = self.noise + Rtu().frame(1, pdu, 0)
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time()) + delay  # one after the other, as devices work
        self._timers.append(loop.call_at(self._free_at, lambda: self._far.write(frame)))


@asynccontextmanager
async def on_a_line(timeout_s: float = PATIENT_S) -> AsyncIterator[tuple[Device, Callable[[], ModbusLink]]]:
    """A device, and a way to make a link to it."""
    async with PtyCable() as cable:
        device = Device(cable.b)
        here = RtuConnect.model_validate({"transport": "rtu", "port": cable.a, "timeout": f"{timeout_s}s"})
        links: list[ModbusLink] = []

        def link() -> ModbusLink:
            links.append(ModbusLink("tester", here, 0.0, [TRIGGER]))
            return links[-1]

        try:
            yield device, link
        finally:
            for one in links:
                await one.close()
            device.close()


async def read_again_and_again(device: Device, link: ModbusLink, times: int) -> int:
    """As a supervisor does; returns how many reads were answered. Fails when an answer is an earlier one's."""
    answered = 0
    await link.connect()
    for _ in range(times):
        before = device.got
        try:
            (number,) = await link.read(TRIGGER)
        except LinkError:
            await link.close()
            await link.connect()
        else:
            assert number > before, f"the answer to request {number} was taken for that to request {before + 1}"
            answered += 1
    return answered


delays = st.lists(
    st.sampled_from([0.0, 0.0, 0.0, SLOW_S * 0.7, SLOW_S * 1.4, SLOW_S * 3.2, None]), min_size=1, max_size=10
)


@settings(max_examples=12)
@given(delays)
def test_an_answer_that_comes_late_is_never_taken_for_the_next_ones(script: list[float | None]) -> None:
    """RTU answers carry no number. The measured failing of a plain client: a wrong value, and no error."""

    async def scenario() -> None:
        async with on_a_line(SLOW_S) as (device, link):
            device.delays = script
            await read_again_and_again(device, link(), 8)

    asyncio.run(scenario())


async def test_a_device_that_was_late_is_served_again_at_once() -> None:
    """The wait for a late answer is no longer than needed: the device shows by another answer that it owes nothing."""
    async with on_a_line() as (device, link):
        device.delays = [0.0, PATIENT_S * 1.5]
        assert await read_again_and_again(device, link(), 6) == 5


async def test_a_device_that_is_silent_about_what_it_does_not_know_is_served_too() -> None:
    """Some answer unknown requests with nothing; a device that owes an answer is then left alone for a while."""
    async with on_a_line() as (device, link):
        device.silent_functions = {1, 2, 4}
        device.delays = [0.0, None]
        one = link()
        await read_again_and_again(device, one, 6)
        assert await read_again_and_again(device, one, 3) == 3


async def test_a_request_that_was_given_up_is_heard_to_its_end() -> None:
    async with on_a_line() as (device, link):
        one = link()
        await one.connect()
        device.delays = [PATIENT_S * 0.1]
        asking = asyncio.create_task(one.read(TRIGGER))
        while device.got == 0:
            await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
        assert await one.read(TRIGGER) == [2]


async def test_noise_around_answers_is_no_part_of_them() -> None:
    async with on_a_line() as (device, link):
        one = link()
        await one.connect()
        for noise in (b"\x00", b"\x01\x03", b"\x01\x03\x02", b"\x01\x83\x02\x00\x00", bytes(range(200))):
            device.noise = noise
            before = device.got
            assert await one.read(TRIGGER) == [before + 1]


async def test_an_answer_that_noise_spoilt_is_asked_for_again() -> None:
    async with on_a_line() as (device, link):
        one = link()
        await one.connect()
        device.silent_functions = {3}
        asking = asyncio.create_task(one.read(TRIGGER))
        while device.got == 0:
            await asyncio.sleep(0)
        device._far.write(b"\x01\x03\x02\x00")  # the rest of it is lost
        device.silent_functions = set()
        assert await asking == [3], "after another request that shows that nothing is owed"


async def test_a_device_that_answers_nothing_is_told_with_its_register_and_a_remedy() -> None:
    async with on_a_line() as (device, link):
        device.delays = [None]
        one = link()
        await one.connect()
        with pytest.raises(LinkError) as told:
            await one.read(TRIGGER)
        assert str(told.value).endswith(
            "device 1 gave no answer within 0.5 s to holding_register 0 (40001); check its power, the cable and "
            "device_id"
        )
        assert isinstance(told.value.__cause__, NoAnswerError)
        with pytest.raises(LinkError, match="gave no answer"):
            await one.read(TRIGGER)
        assert device.got == 1, "a link that is lost asks nothing more"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (1, "the device does not know this kind of request (Modbus exception 1)"),
        (2, "the device has no such register (Modbus exception 2)"),
        (3, "the device refuses this value or number of registers (Modbus exception 3)"),
        (4, "the device failed to do it (Modbus exception 4)"),
        (5, "still working on an earlier request (Modbus exception 5)"),
        (6, "busy (Modbus exception 6)"),
        (7, "the device cannot do it (Modbus exception 7)"),
        (8, "the device's memory has an error (Modbus exception 8)"),
        (10, "the gateway has no path to the device; check device_id (Modbus exception 10)"),
        (11, "the device does not answer its gateway; check its power, the cable and device_id (Modbus exception 11)"),
        (99, "see the device's manual (Modbus exception 99)"),
    ],
)
async def test_every_exception_is_told_with_its_register(code: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both ways a manual may write it. What passes by itself is a lost link, the rest is the device's last word."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    answer.set_result(bytes([0x83, code]))

    async def opened(wire: Wire, timeout_s: float) -> None:
        return

    monkeypatch.setattr(Wire, "open", opened)
    monkeypatch.setattr(Wire, "ask", lambda wire, device_id, request: answer)
    link = ModbusLink("tester", new_line(), 0.0, [TRIGGER])
    await link.connect()
    kind = LinkError if code in (5, 6, 10, 11) else RefusedError
    with pytest.raises(kind) as refused:
        await link.read(Block("holding_register", 30, 2, ("temperature",)))
    assert f"holding_register 30 to 31 (40031 to 40032): {told}" in str(refused.value)
    await link.close()
