r"""The four-phase handshake: ready, ack, ready off, ack off. One state machine for every protocol.

::

    machine   ready  ____/~~~~~~~~~~~~~~~\____________     a result stands; it may change once ready is off
    station   ack    ____________/~~~~~~~~~~~~~\______     the result is on disk
    machine   busy   ~~~~\____________________________     optional: while on, the result is not complete
    machine   error  _________________________________     optional: while on, nothing is acknowledged

Unlike a flag that is set and left, an ack is taken back before the next result: an ack that is left on would
acknowledge that one before it is kept. So it is taken back on every way out, and before the first result.

``Handshake`` is pure: it is told what was seen and when, and says what to do next. ``shake_hands()`` does it, with a
driver's ways to read and write a signal. A driver that lost its link in the middle calls ``take_ack_back()`` when it
opens the link again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from contracts.duration import Duration
from contracts.errors import LinkError
from drivers.base import Strict

__all__ = ["FourPhase", "Handshake", "HandshakeError", "Signal", "Step", "StepLimits", "shake_hands", "take_ack_back"]

Limit = Annotated[Duration, Field(gt=0)]
Address = TypeVar("Address", bound=Strict)
"""Where a signal is, in the protocol's own words. Its ``str()`` is what a technician reads."""


class Signal(StrEnum):
    """The signals of a handshake, by the names of their keys. ``ack`` is the station's, the others the machine's."""

    READY = "ready"
    ACK = "ack"
    BUSY = "busy"
    ERROR = "error"


class Step(StrEnum):
    """What is waited for, in this order, by the names of the keys of ``limits``."""

    BUSY_OFF = "busy_off"
    ECHO = "echo"
    ACK_ON = "ack_on"
    READY_OFF = "ready_off"
    ACK_OFF = "ack_off"


class StepLimits(Strict):
    """The longest wait for each step. One that is over ends the handshake, and the link is opened anew."""

    busy_off: Limit = 5.0
    """The machine completes its result."""
    echo: Limit = 5.0
    """The echo is written."""
    ack_on: Limit = 5.0
    """Ack is written."""
    ready_off: Limit = 5.0
    """The machine sees ack and takes ready back."""
    ack_off: Limit = 5.0
    """Ack is taken back."""


class FourPhase(Strict, Generic[Address]):
    """Which signals a machine shakes hands with."""

    ready: Address
    """On while a result stands and waits. The machine's."""
    ack: Address
    """On once the result is on disk, until the machine took ready back. The station's."""
    busy: Address | None = None
    """While on, the machine still works at its result. The machine's."""
    error: Address | None = None
    """While on, the machine cannot go on, and nothing is acknowledged. The machine's."""
    poll: Annotated[Duration, Field(ge=0.01)] = 0.02
    """How often the machine's signals are looked at during a handshake."""
    limits: StepLimits = StepLimits()

    def signals(self) -> Mapping[Signal, Address]:
        """Those the machine has."""
        found = {signal: getattr(self, signal.value) for signal in Signal}
        return {signal: address for signal, address in found.items() if address is not None}


class HandshakeError(LinkError):
    """A handshake broke: in which step, over which signal, and the step's limit where that was over."""

    def __init__(self, told: str, step: Step, signal: Signal, limit_s: float | None = None) -> None:
        super().__init__(told)
        self.step = step
        self.signal = signal
        self.limit_s = limit_s


@dataclass(frozen=True)
class Look:
    """Look at every signal, after a poll's wait, and tell with ``seen()``."""


@dataclass(frozen=True)
class WriteEcho:
    """Write the echo, then tell with ``written()``."""


@dataclass(frozen=True)
class WriteAck:
    """Write ack, then tell with ``written()``."""

    on: bool


@dataclass(frozen=True)
class Ended:
    """Over, with ack off. ``acknowledged`` is False where the machine did not wait for it (any more)."""

    acknowledged: bool


@dataclass(frozen=True)
class Broken:
    """Over, and the machine not (known to be) acknowledged. Ack is off, if it is not ``signal`` itself."""

    step: Step
    signal: Signal
    limit_s: float | None
    """Seconds that were over; None where ``signal`` itself forbade to go on."""


Action = Look | WriteEcho | WriteAck | Ended | Broken


class Handshake:
    """One handshake. ``begin()`` says what to do first; each thing done is told, and the answer is what comes next.

    ``now`` is seconds of any one clock.
    """

    def __init__(self, limits: StepLimits, *, echo: bool = False) -> None:
        self._limits = limits
        self._echo = echo
        self._step = Step.BUSY_OFF
        self._begun_at = 0.0
        self._then: Action | None = None
        """How it ends once ack is off; None: it goes on."""

    def begin(self, now: float) -> Action:
        """The first thing to do."""
        self._begun_at = now
        return Look()

    def seen(self, on: Mapping[Signal, bool], now: float) -> Action:
        """These signals are on or off. One that the machine does not have is left out."""
        if self._step is Step.READY_OFF:
            return self._awaiting_ready_off(on, now)
        return self._before_ack(on, now)

    def written(self, now: float) -> Action:
        """What was to be written is written."""
        if self._step is Step.ECHO:
            self._step = Step.ACK_ON
            return WriteAck(on=True)
        if self._step is Step.ACK_ON:
            self._step, self._begun_at = Step.READY_OFF, now
            return Look()
        return Look() if self._then is None else self._then

    def _before_ack(self, on: Mapping[Signal, bool], now: float) -> Action:
        if not on[Signal.READY]:
            # Nobody waits: an ack now would be taken for the next result's.
            return self._end(Ended(acknowledged=False), on)
        if on.get(Signal.ERROR):
            return self._end(Broken(Step.BUSY_OFF, Signal.ERROR, None), on)
        if on.get(Signal.BUSY) and self._is_over(now):
            return self._end(Broken(Step.BUSY_OFF, Signal.BUSY, self._limits.busy_off), on)
        if on[Signal.ACK]:  # left on by a handshake that did not end
            if now - self._begun_at >= self._limits.ack_off:
                return Broken(Step.ACK_OFF, Signal.ACK, self._limits.ack_off)
            return WriteAck(on=False)
        if on.get(Signal.BUSY):
            return Look()
        self._step = Step.ECHO if self._echo else Step.ACK_ON
        return WriteEcho() if self._echo else WriteAck(on=True)

    def _awaiting_ready_off(self, on: Mapping[Signal, bool], now: float) -> Action:
        if not on[Signal.READY]:
            return self._end(Ended(acknowledged=True))
        if on.get(Signal.ERROR):
            return self._end(Broken(Step.READY_OFF, Signal.ERROR, None))
        if self._is_over(now):
            return self._end(Broken(Step.READY_OFF, Signal.READY, self._limits.ready_off))
        return Look()

    def _end(self, how: Action, on: Mapping[Signal, bool] | None = None) -> Action:
        if on is not None and not on[Signal.ACK]:
            return how
        self._step, self._then = Step.ACK_OFF, how
        return WriteAck(on=False)

    def _is_over(self, now: float) -> bool:
        return now - self._begun_at >= _limit(self._limits, self._step)


Read = Callable[[Sequence[Address]], Awaitable[Sequence[bool]]]
"""Which of these signals are on, looked at as nearly at once as the protocol can. Raises LinkError."""
Write = Callable[[Address, bool], Awaitable[None]]
"""Set a signal. Raises LinkError or SetupError."""


async def shake_hands(
    settings: FourPhase[Address],
    where: str,
    read: Read[Address],
    write: Write[Address],
    echo: Callable[[], Awaitable[None]] | None = None,
) -> bool:
    """Acknowledge a result that is on disk. False: the machine does not wait (any more), nothing was done.

    ``where`` begins every error (``machine tester``); ``echo`` writes what tells the machine which result is meant,
    before ack. When it fails or is cancelled ack is taken back as far as the link allows. Raises HandshakeError, and
    what ``read`` and ``write`` raise.
    """
    loop = asyncio.get_running_loop()
    signals = settings.signals()
    handshake = Handshake(settings.limits, echo=echo is not None)
    may_be_on = False
    looked = False
    action = handshake.begin(loop.time())
    try:
        while True:
            match action:
                case Look():
                    if looked:
                        await asyncio.sleep(settings.poll)
                    looked = True
                    on = await read(list(signals.values()))
                    action = handshake.seen(dict(zip(signals, on, strict=True)), loop.time())
                case WriteEcho():
                    assert echo is not None
                    await _in_time(echo(), settings, where, Step.ECHO)
                    action = handshake.written(loop.time())
                case WriteAck(on=True):
                    may_be_on = True
                    await _in_time(write(settings.ack, True), settings, where, Step.ACK_ON)
                    action = handshake.written(loop.time())
                case WriteAck():
                    may_be_on = True
                    await _in_time(write(settings.ack, False), settings, where, Step.ACK_OFF)
                    may_be_on = False
                    action = handshake.written(loop.time())
                case Ended(acknowledged):
                    return acknowledged
                case Broken():
                    break
    except BaseException:
        if may_be_on:
            await _taken_back(settings, write)
        raise
    raise _error(action, settings, where)


async def take_ack_back(settings: FourPhase[Address], read: Read[Address], write: Write[Address]) -> bool:
    """Before the first result: an ack that is still on from an earlier life is taken back. True: there was one."""
    (is_on,) = await read([settings.ack])
    if is_on:
        await write(settings.ack, False)
    return is_on


async def _taken_back(settings: FourPhase[Address], write: Write[Address]) -> None:
    """As far as the link allows: what cannot be done now is done by take_ack_back() in the link's next life."""
    try:
        async with asyncio.timeout(settings.limits.ack_off):
            await write(settings.ack, False)
    except (LinkError, TimeoutError):
        return


async def _in_time(doing: Awaitable[None], settings: FourPhase[Address], where: str, step: Step) -> None:
    limit_s = _limit(settings.limits, step)
    try:
        async with asyncio.timeout(limit_s):
            await doing
    except TimeoutError as error:
        raise HandshakeError(
            f"{_place(where, step)}: {_named(settings, Signal.ACK)} could not be written within {limit_s:g} s; "
            f"check the link, or set a longer limits.{step}",
            step,
            Signal.ACK,
            limit_s,
        ) from error


def _error(broken: Broken, settings: FourPhase[Address], where: str) -> HandshakeError:
    named = _named(settings, broken.signal)
    if broken.limit_s is None:
        told = f"{named} is on: the machine cannot go on; see the machine's own message"
    elif broken.signal is Signal.BUSY:
        told = (
            f"{named} was still on after {broken.limit_s:g} s; ready comes on before the machine is done, or set a "
            "longer limits.busy_off"
        )
    elif broken.signal is Signal.ACK:
        told = f"{named} was still on after {broken.limit_s:g} s of taking it back; does another program write it?"
    else:
        told = (
            f"{named} was still on after {broken.limit_s:g} s, with {_named(settings, Signal.ACK)} on; check that the "
            "machine's program looks at ack, or set a longer limits.ready_off"
        )
    return HandshakeError(f"{_place(where, broken.step)}: {told}", broken.step, broken.signal, broken.limit_s)


def _limit(limits: StepLimits, step: Step) -> float:
    limit: float = getattr(limits, step.value)
    return limit


def _place(where: str, step: Step) -> str:
    return f"{where}, acknowledge.four_phase, step {step}"


def _named(settings: FourPhase[Address], signal: Signal) -> str:
    return f"{signal} ({settings.signals()[signal]})"
