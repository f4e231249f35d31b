"""The four-phase handshake: never an ack that is not meant, never an ack left on, every failure named."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import LinkError
from drivers.base import Strict
from drivers.handshake import (
    Broken,
    Ended,
    FourPhase,
    Handshake,
    HandshakeError,
    Look,
    Signal,
    Step,
    StepLimits,
    WriteAck,
    WriteEcho,
    shake_hands,
    take_ack_back,
)

LIMITS = StepLimits.model_validate({"busy_off": "2s", "ready_off": "3s"})


class Coil(Strict):
    """An address of a protocol that there is not."""

    coil: int

    def __str__(self) -> str:
        return f"coil {self.coil}"


class Machine:
    """A machine's side: ``sees_ack`` may end ``ready``. Notes every write, in order."""

    def __init__(self, **on: bool) -> None:
        self.on = {Signal.READY: True, Signal.ACK: False, Signal.BUSY: False, Signal.ERROR: False}
        self.on |= {Signal(name): value for name, value in on.items()}
        self.written: list[tuple[str, bool]] = []
        self.takes_ready_back = True
        self.read_fails: Exception | None = None
        self.write_hangs: Callable[[bool], bool] = lambda on: False
        self.looked = asyncio.Event()

    async def read(self, signals: Sequence[Coil]) -> Sequence[bool]:
        self.looked.set()
        if self.read_fails is not None and self.written:
            raise self.read_fails
        found = [self.on[list(Signal)[signal.coil]] for signal in signals]
        if self.takes_ready_back and self.on[Signal.ACK]:
            self.on[Signal.READY] = False
        return found

    async def write(self, signal: Coil, on: bool) -> None:
        assert signal.coil == 1, "only ack is ours"
        if self.write_hangs(on):
            await asyncio.Event().wait()
        self.written.append(("ack", on))
        self.on[Signal.ACK] = on

    async def echo(self) -> None:
        self.written.append(("echo", True))


def four_phase(**limits: str) -> FourPhase[Coil]:
    signals = {signal.value: {"coil": place} for place, signal in enumerate(Signal)}
    return FourPhase[Coil].model_validate({**signals, "poll": "10ms", "limits": limits})


# -- the whole, with a machine -------------------------------------------------------------------------------------


async def test_ack_goes_on_and_is_taken_back_once_ready_is_off() -> None:
    machine = Machine()
    assert await shake_hands(four_phase(), "machine m", machine.read, machine.write)
    assert machine.written == [("ack", True), ("ack", False)]
    assert not machine.on[Signal.READY]


async def test_the_echo_is_written_before_ack() -> None:
    machine = Machine()
    await shake_hands(four_phase(), "machine m", machine.read, machine.write, machine.echo)
    assert machine.written == [("echo", True), ("ack", True), ("ack", False)]


async def test_a_machine_that_does_not_wait_is_not_acknowledged() -> None:
    """Its next result would be, before it is kept."""
    machine = Machine(ready=False)
    assert not await shake_hands(four_phase(), "machine m", machine.read, machine.write)
    assert machine.written == []


async def test_an_ack_left_on_is_taken_back_before_it_is_given_anew() -> None:
    machine = Machine(ack=True)
    machine.takes_ready_back = False

    async def write(signal: Coil, on: bool) -> None:
        await machine.write(signal, on)
        machine.takes_ready_back = True  # from the first edge on

    assert await shake_hands(four_phase(), "machine m", machine.read, write)
    assert machine.written == [("ack", False), ("ack", True), ("ack", False)]


async def test_an_ack_that_cannot_be_taken_back_is_told() -> None:
    """Somebody else writes it too: without an end the station would wait for ever and the machine with it."""
    machine = Machine(ack=True)
    machine.takes_ready_back = False

    async def write(signal: Coil, on: bool) -> None:
        machine.written.append(("ack", on))

    with pytest.raises(
        HandshakeError, match=r"step ack_off: ack \(coil 1\) was still on after 0\.05 s of taking it back"
    ):
        await shake_hands(four_phase(ack_off="50ms"), "machine m", machine.read, write)
    assert ("ack", True) not in machine.written


async def test_repeating_it_does_no_harm() -> None:
    machine = Machine()
    assert await shake_hands(four_phase(), "machine m", machine.read, machine.write)
    assert not await shake_hands(four_phase(), "machine m", machine.read, machine.write)
    assert machine.written == [("ack", True), ("ack", False)]


async def test_ready_that_stays_on_is_told_with_step_signal_and_limit_and_ack_is_taken_back() -> None:
    machine = Machine()
    machine.takes_ready_back = False
    with pytest.raises(HandshakeError) as told:
        await shake_hands(four_phase(ready_off="50ms"), "machine tester", machine.read, machine.write)
    assert str(told.value) == (
        "machine tester, acknowledge.four_phase, step ready_off: ready (coil 0) was still on after 0.05 s, with ack "
        "(coil 1) on; check that the machine's program looks at ack, or set a longer limits.ready_off"
    )
    assert (told.value.step, told.value.signal, told.value.limit_s) == (Step.READY_OFF, Signal.READY, 0.05)
    assert machine.written == [("ack", True), ("ack", False)]


async def test_a_machine_that_stays_busy_is_told_and_not_acknowledged() -> None:
    machine = Machine(busy=True)
    with pytest.raises(HandshakeError, match=r"step busy_off: busy \(coil 2\) was still on after 0\.05 s"):
        await shake_hands(four_phase(busy_off="50ms"), "machine m", machine.read, machine.write)
    assert machine.written == []


async def test_a_machine_in_error_is_told_and_not_acknowledged() -> None:
    machine = Machine(error=True)
    with pytest.raises(HandshakeError, match=r"error \(coil 3\) is on: the machine cannot go on") as told:
        await shake_hands(four_phase(), "machine m", machine.read, machine.write)
    assert told.value.limit_s is None
    assert machine.written == []


async def test_a_write_that_takes_too_long_is_told() -> None:
    machine = Machine()
    machine.write_hangs = lambda on: on
    with pytest.raises(HandshakeError, match=r"step ack_on: ack \(coil 1\) could not be written within 0\.05 s"):
        await shake_hands(four_phase(ack_on="50ms"), "machine m", machine.read, machine.write)
    assert machine.written == [("ack", False)], "it may have arrived"


async def test_a_link_lost_in_the_middle_stays_the_reason_although_ack_cannot_be_taken_back() -> None:
    machine = Machine()
    machine.read_fails = LinkError("cable out")

    async def write(signal: Coil, on: bool) -> None:
        if not on:
            raise LinkError("cable still out")
        await machine.write(signal, on)

    with pytest.raises(LinkError, match="cable out"):
        await shake_hands(four_phase(), "machine m", machine.read, write)


async def test_ack_is_taken_back_when_the_station_stops_in_the_middle() -> None:
    machine = Machine()
    machine.takes_ready_back = False
    shaking = asyncio.create_task(shake_hands(four_phase(), "machine m", machine.read, machine.write))
    while not machine.on[Signal.ACK]:
        await asyncio.sleep(0)
    shaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shaking
    assert not machine.on[Signal.ACK]


async def test_an_ack_of_an_earlier_life_is_taken_back() -> None:
    machine = Machine(ack=True)
    assert await take_ack_back(four_phase(), machine.read, machine.write)
    assert not await take_ack_back(four_phase(), machine.read, machine.write)
    assert machine.written == [("ack", False)]


# -- the state machine alone ---------------------------------------------------------------------------------------

looks = st.fixed_dictionaries({signal: st.booleans() for signal in Signal})


@given(st.lists(st.tuples(looks, st.floats(0, 2)), max_size=40), st.booleans())
def test_whatever_a_machine_does_ack_is_given_only_to_a_machine_that_waits_and_never_left_on(
    script: list[tuple[dict[Signal, bool], float]], echo: bool
) -> None:
    """The machine's signals are random at every look; ack alone follows what was written."""
    now, ack = 0.0, script[0][0][Signal.ACK] if script else False
    handshake = Handshake(LIMITS, echo=echo)
    action = handshake.begin(now)
    given_at: float | None = None
    echoed = False
    last: dict[Signal, bool] = {}
    for signals, wait_s in script:
        now += wait_s
        last = {**signals, Signal.ACK: ack}
        assert isinstance(action, Look)
        action = handshake.seen(last, now)
        while isinstance(action, WriteAck | WriteEcho):
            if isinstance(action, WriteEcho):
                echoed = True
            elif action.on:
                assert last[Signal.READY]
                assert not last[Signal.BUSY]
                assert not last[Signal.ERROR]
                assert not ack, "an ack is an edge"
                assert given_at is None, "one ack in a handshake"
                assert echoed == echo
                given_at = now
            ack = action.on if isinstance(action, WriteAck) else ack
            action = handshake.written(now)
        if isinstance(action, Ended | Broken):
            break
    if isinstance(action, Ended):
        assert not ack
        assert action.acknowledged == (given_at is not None)
        assert not last[Signal.READY]
    elif isinstance(action, Broken):
        assert not ack or (action.signal is Signal.ACK and given_at is None)
        assert last[action.signal], "what is blamed was seen"
        if action.limit_s is not None:
            assert now - (given_at or 0.0) >= action.limit_s
    elif given_at is not None:
        assert now - given_at < LIMITS.ready_off, "no step waits beyond its limit"


@given(st.floats(0, 1.9), st.floats(0, 2.9), st.booleans())
def test_a_machine_that_keeps_the_limits_is_acknowledged(busy_s: float, takes_s: float, left_on: bool) -> None:
    """It works for a while with ready on, and needs a while to see ack."""
    now, ack, given_at = 0.0, left_on, None
    handshake = Handshake(LIMITS)
    action = handshake.begin(now)
    for _ in range(1000):
        if isinstance(action, Look):
            now += 0.01
            ready = given_at is None or now - given_at < takes_s
            on = {Signal.READY: ready, Signal.ACK: ack, Signal.BUSY: now < busy_s}
            action = handshake.seen(on, now)
        elif isinstance(action, WriteAck):
            ack, given_at = action.on, now if action.on else given_at
            action = handshake.written(now)
        else:
            break
    assert action == Ended(acknowledged=True)
    assert not ack
