"""One owner of a line: a serial bus, a gateway, or the connection to a single device.

Machines on one line take turns, one request at a time, first come first served; each has one request under way at
most, so turns are fair. Every device is a fault domain of its own:

- A device that does not answer costs its own ``timeout`` once. From then on, while others on the line do answer, such
  devices are asked one at a time, and after each attempt the line belongs to the others for nine times as long as it
  took. So however many devices are dead, a request of a living one waits for one attempt at most, and dead devices
  take a tenth of the line's time at most.
- The connection is given up only when no machine on it gets answers.

An answer over a serial line carries no number, and a late one would be taken for the next request's. So a device that
owes an answer is not asked anything that answer could fit. It is first asked for something else, by another function
code; devices answer in order, so when that is answered nothing is owed any more.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol
from weakref import WeakValueDictionary

from contracts.errors import LinkError, NeuroHubError, SetupError
from drivers.modbus.addresses import TABLES
from drivers.modbus.connect import Connect, UdpConnect
from drivers.modbus.requests import Request, exception_in
from drivers.modbus.wire import Wire

LIVING_SHARE = 9
"""Seconds that belong to living devices for each second that a dead one took."""
SETTLING_S = 0.05
"""Silence that is waited for when a serial line is opened: an answer to another program's request passes."""
_DATAGRAM_TRIES = 3
_GATEWAY_SILENCE = (0x0A, 0x0B)
"""Exceptions by which a gateway says that the device behind it does not answer."""


class Member(Protocol):
    """A machine on a line."""

    device_id: int
    probes: Sequence[Request]
    """Small reads of things the device is known to have, by different function codes."""


class NoAnswerError(LinkError):
    """The device did not answer in time."""


@dataclass
class _Device:
    owed: set[int] = field(default_factory=set)
    """Function codes of requests whose answers may still come."""
    silent: bool = False
    free_at: float = 0.0


@dataclass
class _Abandoned:
    """A request whose asker was cancelled: it is heard out by whoever is next."""

    answer: asyncio.Future[bytes]
    device: _Device
    function: int
    until: float


class Line:
    """``join()`` and ``leave()`` for each machine; ``ask()`` in between. The connection lives as long as a member."""

    _known: ClassVar[WeakValueDictionary[str, "Line"]] = WeakValueDictionary()

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._members: list[Member] = []
        self._devices: dict[int, _Device] = {}
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._attempts = 0
        self._refused: NeuroHubError | None = None
        self._turn = asyncio.Lock()
        self._silent_turn = asyncio.Lock()
        self._silent_from = 0.0
        """When a silent device may be asked again."""
        self._abandoned: _Abandoned | None = None

    @classmethod
    def of(cls, connect: Connect) -> "Line":
        """The line these settings lead to: one object for all who name it, while anybody holds it."""
        name = connect.line().name
        line = cls._known.get(name)
        if line is None:
            line = cls._known[name] = cls(connect)
        return line

    async def join(self, member: Member, connect: Connect) -> Wire:
        """Connect, if nobody has. Raises LinkError, or SetupError where it was joined with other settings."""
        if connect.line() != self._connect.line():
            if self._members:
                raise SetupError("another machine uses this line with other settings; they have to be the same")
            self._connect = connect
        seen = self._attempts
        async with self._connecting:
            if self._refused is not None and self._attempts != seen:
                # Somebody tried while we waited: one attempt serves all.
                raise type(self._refused)(str(self._refused)) from self._refused
            if self._wire is None or self._wire.lost is not None:
                await self._open(connect.timeout)
        assert self._wire is not None
        self._members.append(member)
        return self._wire

    async def leave(self, member: Member) -> None:
        """Give the connection back; the last one closes it. Never raises."""
        if member in self._members:
            self._members.remove(member)
        if not self._members:
            await self._drop("closed")

    async def ask(self, member: Member, wire: Wire, request: Request, timeout_s: float, pause_s: float) -> bytes:
        """The answer to one request, an exception's too. Raises NoAnswerError or LinkError."""
        device = self._device(member)
        loop = asyncio.get_running_loop()
        if (wait_s := device.free_at - loop.time()) > 0:
            await asyncio.sleep(wait_s)
        if device.silent and self._others_answer():
            async with self._silent_turn:
                if (wait_s := self._silent_from - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                answer = await self._ask_in_turn(member, wire, request, timeout_s)
        else:
            answer = await self._ask_in_turn(member, wire, request, timeout_s)
        device.free_at = loop.time() + pause_s if pause_s else 0.0
        return answer

    # -- turns -------------------------------------------------------------------------------------------------------

    async def _ask_in_turn(self, member: Member, wire: Wire, request: Request, timeout_s: float) -> bytes:
        device = self._device(member)
        async with self._turn:
            began = asyncio.get_running_loop().time()
            try:
                answer = await self._ask_until_heard(member, wire, request, timeout_s)
            except NoAnswerError:
                self._is_silent(device, began)
                if all(self._device(other).silent for other in self._members):
                    await self._drop("no machine on this line answers")
                raise
            if exception_in(answer) in _GATEWAY_SILENCE:
                self._is_silent(device, began)
            else:
                device.silent = False
            return answer

    def _is_silent(self, device: _Device, began: float) -> None:
        now = asyncio.get_running_loop().time()
        device.silent = True
        self._silent_from = now + LIVING_SHARE * (now - began)

    def _others_answer(self) -> bool:
        return any(not self._device(other).silent for other in self._members)

    def _device(self, member: Member) -> _Device:
        return self._devices.setdefault(member.device_id, _Device())

    # -- one request -------------------------------------------------------------------------------------------------

    async def _ask_until_heard(self, member: Member, wire: Wire, request: Request, timeout_s: float) -> bytes:
        """Datagrams are lost, and noise spoils answers: then a request is made again."""
        tries = _DATAGRAM_TRIES if isinstance(self._connect, UdpConnect) else 1 if wire.numbered else 2
        while True:
            tries -= 1
            try:
                return await self._ask_settled(member, wire, request, timeout_s)
            except NoAnswerError:
                if tries == 0 or not (wire.heard or isinstance(self._connect, UdpConnect)):
                    raise

    async def _ask_settled(self, member: Member, wire: Wire, request: Request, timeout_s: float) -> bytes:
        device = self._device(member)
        await self._hear_out()
        if not wire.numbered:
            if wire.strangers() & {member.device_id}:
                device.owed.add(request.function)  # it said something that nobody waited for; there may be more
            await self._silence(wire, timeout_s)
            if request.function in device.owed:
                await self._settle(member, wire, timeout_s)
        return await self._exchange(member, wire, request, timeout_s)

    async def _settle(self, member: Member, wire: Wire, timeout_s: float) -> None:
        """Until the device owes nothing: its answer to another kind of request comes after all that it owed."""
        device = self._device(member)
        reads = [*member.probes, *(Request.read(table, 0, 1) for table in TABLES)]
        probe = next((read for read in reads if read.function not in device.owed), None)
        if probe is not None:
            await self._exchange(member, wire, probe, timeout_s)
        else:  # it has not answered requests of four kinds one after the other
            await asyncio.sleep(timeout_s)
            device.owed.clear()
        await self._silence(wire, timeout_s)

    async def _exchange(self, member: Member, wire: Wire, request: Request, timeout_s: float) -> bytes:
        device = self._device(member)
        answer = wire.ask(member.device_id, request)
        until = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                pdu = await (answer if wire.numbered else asyncio.shield(answer))
        except TimeoutError:
            device.owed.add(request.function)
            wire.forget()
            heard = f" that can be read ({wire.heard} bytes came)" if wire.heard and not wire.numbered else ""
            raise NoAnswerError(f"device {member.device_id} gave no answer{heard} within {timeout_s:g} s") from None
        except LinkError:
            device.owed.add(request.function)
            wire.forget()
            raise
        except asyncio.CancelledError:
            if wire.numbered:
                wire.forget()
            else:
                self._abandoned = _Abandoned(answer, device, request.function, until)
            raise
        wire.forget()
        device.owed.clear()  # it answers in order, and this was no answer it owed
        if not request.is_answered_by(pdu):
            raise LinkError(f"device {member.device_id} answered {pdu[:8].hex(' ')}, which does not fit the request")
        return pdu

    async def _hear_out(self) -> None:
        """The line is free when the answer to a request that was given up has come, or had its time."""
        while (abandoned := self._abandoned) is not None:
            wait_s = abandoned.until - asyncio.get_running_loop().time()
            await asyncio.wait({abandoned.answer}, timeout=max(0.0, wait_s))
            if self._abandoned is abandoned:
                self._write_off(abandoned)

    def _write_off(self, abandoned: _Abandoned) -> None:
        self._abandoned = None
        if not abandoned.answer.done() or abandoned.answer.exception() is not None:
            abandoned.device.owed.add(abandoned.function)
        if self._wire is not None:
            self._wire.forget()

    async def _silence(self, wire: Wire, timeout_s: float) -> None:
        """Frames are kept apart by silence; a sender in the middle of one is left to finish."""
        loop = asyncio.get_running_loop()
        given_up_at = loop.time() + timeout_s
        while (wait_s := wire.heard_at + wire.silence_s - loop.time()) > 0:
            if loop.time() > given_up_at:
                raise LinkError("the line is never silent; does another device or program talk on it?")
            await asyncio.sleep(wait_s)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _open(self, timeout_s: float) -> None:
        await self._drop("closed")
        wire = Wire(self._connect)
        try:
            await wire.open(timeout_s)
        except NeuroHubError as error:
            self._refused = error
            raise
        finally:
            self._attempts += 1
        self._refused = None
        self._wire = wire
        if wire.silence_s:
            await asyncio.sleep(SETTLING_S)

    async def _drop(self, reason: str) -> None:
        wire, self._wire = self._wire, None
        if wire is None:
            return
        wire.close(reason)
        if self._abandoned is not None:
            self._write_off(self._abandoned)
        wire.forget()
        await asyncio.sleep(0)  # the transport lets go of its socket in the loop's next turn
