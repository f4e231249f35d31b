"""A machine made of software on a serial line: it speaks, or answers, as its settings say, and can misbehave."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.fields.build import built
from drivers.fields.messages import kind_of
from drivers.serial.building import frame_of
from drivers.serial.far_end import FarEnd
from drivers.serial.recognizing import Heard, Recognizer
from drivers.serial.settings import SerialSettings
from drivers.serial.talk_settings import Exchange
from drivers.template import as_text, render

_LATE = 1.5
"""Times of what the station waits."""
_NOISE = bytes([0x00, 0xFF, 0x00, 0xF5, 0x7F, 0xFE])
"""Bytes that are no text in any usual encoding."""
_NOT_READY = b"-"


class SerialSimulator:
    """Sits at the far end of a cable of its own, or listens as a serial server where the settings give a url.

    ``resend`` is in seconds. ``link`` is a lasting name for the station's end of the cable, as
    ``/dev/serial/by-id/...`` is.
    """

    def __init__(self, machine: str, settings: SerialSettings, resend: float = 1.0, link: Path | None = None) -> None:
        self._machine = machine
        self._settings = settings
        self._resend_s = resend
        self.far_end = FarEnd(self._take, cable=settings.connect.url is None, link=link)
        self._recognizer = Recognizer(settings)
        self._values: dict[str, RawValue | None] = {}
        self._has_result = False
        self._heard = bytearray()
        self._display = _display_pattern(settings)
        self._on_display = b""
        self._shown: asyncio.Queue[Mapping[str, str]] = asyncio.Queue()
        self._controls: asyncio.Queue[str] = asyncio.Queue()
        self._asked: asyncio.Queue[Exchange] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._answered = asyncio.Event()
        self._answering: asyncio.Task[None] | None = None
        self._coming: set[Fault] = set()
        self._sending = asyncio.Lock()
        faults = {Fault.DROP_LINK, Fault.NOISE, Fault.TEAR}
        self.faults = frozenset(faults | {Fault.ANSWER_LATE} if settings.request is not None else faults)

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start. Raises ValueError where the settings do not say what such a machine answers."""
        request = self._settings.request
        said = [*self._settings.on_open, *(request.exchanges[:-1] if request is not None else ())]
        said += [self._settings.keep_alive] if self._settings.keep_alive is not None else []
        for exchange in said:
            if exchange.expect == "message" and exchange.example is None:
                raise ValueError(
                    f"machine {self._machine}: {exchange.send!r}: what the machine answers is not known; give example"
                )
        if self._settings.trigger is not None:
            self._values = {name: _nothing(point.type) for name, point in self._settings.points.items()}
            self._has_result = True
        self._answering = asyncio.create_task(self._answer())
        return await self.far_end.start()

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:
        """Make one result. One that is asked for is kept until it is; one that is acknowledged is sent until then.

        Raises ValueError for values the message cannot carry.
        """
        self._values.update(values)
        frames = self.frames(self._values)
        awaited = self._awaited(cycle_key)
        self._heard.clear()
        self._has_result = True
        self._answered = asyncio.Event()
        request = self._settings.request
        if request is None and self._settings.handshake is not None:
            await self._hand_over(frames)
        elif request is None:
            await self._transmit(frames)
        while awaited is not None and awaited not in self._heard:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), self._resend_s)
            except TimeoutError:
                if request is None:
                    await self._transmit(frames)
        if request is not None and awaited is None:
            await self._fetched(request.after)
        if self._settings.trigger is None:
            self._has_result = False

    async def ask(self, values: Mapping[str, RawValue | None], timeout_s: float) -> Mapping[str, Scalar] | None:
        """See Asking. The request is said once; the answer is what is heard after it."""
        interlock = self._settings.interlock
        assert interlock is not None, "the settings have no interlock"
        asked = values[interlock.request.point]
        pattern = answer_pattern(interlock.answer.send, str(asked), self._settings.encoding)
        self._heard.clear()
        if self._settings.handshake is not None:
            await self._hand_over(self.frames(values))
        else:
            await self._transmit(self.frames(values))
        try:
            async with asyncio.timeout(timeout_s):
                while (found := pattern.search(bytes(self._heard))) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return {name: text.decode(self._settings.encoding) for name, text in found.groupdict().items()}

    async def shown(self, timeout_s: float) -> Mapping[str, str] | None:
        """See Shown."""
        try:
            return await asyncio.wait_for(self._shown.get(), timeout_s)
        except TimeoutError:
            return None

    def frames(self, values: Mapping[str, RawValue | None]) -> list[bytes]:
        """What the machine sends for these values: one frame, or those of one result in their order.

        A list in a part comes one value in each. Raises ValueError for what a message cannot carry.
        """
        if not self._settings.kinds:
            return [self._frame(values, None)]
        frames: list[bytes] = []
        request = self._settings.request
        for kind, rule in self._settings.kinds.items():
            if rule.role in ("ignore", "empty") or (request is not None and kind == request.after):
                continue
            own = {n: values.get(n) for n, p in self._settings.points.items() if kind in self._settings.kinds_of(p)}
            if rule.role == "result" and own and all(value is None for value in own.values()):
                continue
            rows = max((len(v) for v in own.values() if isinstance(v, list)), default=1) if rule.role == "part" else 1
            for row in range(rows):
                frames.append(
                    self._frame({n: _row(v, row) if rule.role == "part" else v for n, v in own.items()}, kind)
                )
            if rule.role == "result":
                break
        return frames

    def send(self, data: bytes) -> None:
        """Put bytes on the line as they are."""
        self.far_end.send(data)

    def plug(self) -> None:
        """Put the cable in (again)."""
        self.far_end.plug()

    def unplug(self) -> None:
        """Pull the cable out: the station's port vanishes."""
        self.far_end.unplug()

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        if fault not in self.faults:
            raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")
        if fault is Fault.DROP_LINK:
            self.far_end.drop()
        else:
            self._coming.add(fault)

    async def stop(self) -> None:
        """See Simulator.stop."""
        if self._answering is not None:
            self._answering.cancel()
            await asyncio.gather(self._answering, return_exceptions=True)
        await self.far_end.stop()

    # -- sending -----------------------------------------------------------------------------------------------------

    def _frame(self, values: Mapping[str, RawValue | None], kind: str | None) -> bytes:
        message = built(values, self._settings, kind)
        if kind is not None and kind_of(message, self._settings) != kind:
            raise ValueError(f"kind {kind}: {message!r} does not match it; give kinds.{kind}.message.example")
        return frame_of(message, self._settings.frame)

    async def _transmit(self, frames: Sequence[bytes]) -> None:
        frame_settings = self._settings.frame
        async with self._sending:
            for frame in frames:
                if Fault.NOISE in self._coming:
                    self._coming.discard(Fault.NOISE)
                    self.send(_noise(self._settings))
                    if not frame_settings.start and not frame_settings.is_marked:
                        await asyncio.sleep(_LATE * (frame_settings.idle or frame_settings.timeout))
                if Fault.TEAR in self._coming:
                    self._coming.discard(Fault.TEAR)
                    self.send(frame[: len(frame) // 2])
                    await asyncio.sleep(_LATE * (frame_settings.idle or frame_settings.timeout))
                    self.send(frame[len(frame) // 2 :])
                else:
                    self.send(frame)
                if frame_settings.idle is not None:
                    await asyncio.sleep(_LATE * frame_settings.idle)

    async def _fetched(self, trigger: str | None) -> None:
        """Until the result was asked for; saying again and again that it is there, where the machine does that."""
        while not self._answered.is_set():
            if trigger is not None:
                await self._transmit([self._frame(self._values, trigger)])
            try:
                await asyncio.wait_for(self._answered.wait(), self._resend_s if trigger is not None else None)
            except TimeoutError:
                continue

    async def _hand_over(self, frames: Sequence[bytes]) -> None:
        """Every frame until it is accepted, asking first where the handshake does."""
        handshake = self._settings.handshake
        assert handshake is not None
        while not self._controls.empty():
            self._controls.get_nowait()
        for frame in frames:
            while True:
                if handshake.enquiry is not None:
                    self.send(handshake.enquiry.encode("latin-1"))
                    if await self._control() != handshake.accept:
                        continue
                await self._transmit([frame])
                if await self._control() == handshake.accept:
                    break
        if handshake.end is not None:
            self.send(handshake.end.encode("latin-1"))

    async def _control(self) -> str | None:
        try:
            return await asyncio.wait_for(self._controls.get(), self._resend_s)
        except TimeoutError:
            return None

    # -- hearing -----------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        self._heard += data
        self._changed.set()
        self._show(data)
        for heard in self._recognizer.take(data):
            self._obey(heard)

    def _show(self, data: bytes) -> None:
        """Every text for the display in what is heard, whole ones alone."""
        if self._display is None:
            return
        self._on_display += data
        while (found := self._display.search(self._on_display)) is not None:
            self._on_display = self._on_display[found.end() :]
            encoding = self._settings.encoding
            self._shown.put_nowait({name: text.decode(encoding) for name, text in found.groupdict().items()})

    def _obey(self, heard: Heard) -> None:
        handshake = self._settings.handshake
        if heard.exchange is not None:
            if handshake is not None:
                self.send(handshake.accept.encode("latin-1"))
            if self._is_meant(heard):
                self._asked.put_nowait(heard.exchange)
        elif handshake is not None and heard.control == handshake.enquiry:
            self.send(handshake.accept.encode("latin-1"))
        elif handshake is not None and heard.control in (handshake.accept, handshake.refuse):
            self._controls.put_nowait(str(heard.control))

    def _is_meant(self, heard: Heard) -> bool:
        """Whether its own values were named: it has no answer for another unit."""
        known = {n: as_text(v) for n, v in self._values.items() if v is not None and not isinstance(v, list)}
        return all(known.get(name, text.decode()) == text.decode() for name, text in heard.names.items())

    async def _answer(self) -> None:
        """Answer what is asked, one after the other."""
        request = self._settings.request
        while True:
            exchange = await self._asked.get()
            if exchange.expect != "message":
                continue
            is_last = request is not None and exchange is request.exchanges[-1]
            frames = self._result() if is_last else [frame_of(self._example(exchange), self._settings.frame)]
            is_late = Fault.ANSWER_LATE in self._coming
            if is_late:
                self._coming.discard(Fault.ANSWER_LATE)
                await asyncio.sleep(_LATE * exchange.timeout)
            await self._transmit(frames)
            if is_last and self._has_result and not is_late:
                self._answered.set()

    def _example(self, exchange: Exchange) -> bytes:
        if exchange.until is not None and not self._has_result:
            return _NOT_READY
        return (exchange.example or "").encode(self._settings.encoding)

    def _result(self) -> list[bytes]:
        """The frames of the result there is. Without a new one what the machine says then, or the last one again."""
        empty = [name for name, kind in self._settings.kinds.items() if kind.role == "empty"]
        if empty and not self._has_result:
            return [self._frame({}, empty[0])]
        return self.frames(self._values) if self._values else []

    def _awaited(self, cycle_key: Scalar | None) -> bytes | None:
        acknowledge = self._settings.acknowledge
        if acknowledge is None:
            return None
        known = {n: v for n, v in self._values.items() if v is not None and not isinstance(v, list)}
        if cycle_key is not None:
            known["cycle_key"] = cycle_key
        try:
            text = render(acknowledge.send, known, as_text).encode(self._settings.encoding)
        except KeyError as missing:
            raise ValueError(
                f"machine {self._machine}: the acknowledgement names {missing}, which has no value"
            ) from None
        return frame_of(text, self._settings.frame) if acknowledge.framed else text


def answer_pattern(text: str, request: str, encoding: str) -> re.Pattern[bytes]:
    """What an answer to this request looks like on the line; its values are named groups."""
    parts: list[str] = []
    seen: set[str] = set()
    for literal, name, _, _ in Formatter().parse(text):
        parts.append(re.escape(literal))
        if name == "request":
            parts.append(re.escape(request))
        elif name is not None:
            parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>.*?)")
            seen.add(name)
    return re.compile("".join(parts).encode(encoding), re.DOTALL)


def _display_pattern(settings: SerialSettings) -> re.Pattern[bytes] | None:
    """What a text for the display looks like on the line; its values are named groups."""
    display = settings.display
    if display is None:
        return None
    end = re.escape(settings.frame.end_bytes) if display.framed else b""
    return re.compile(answer_pattern(display.send, "", settings.encoding).pattern + end, re.DOTALL)


def _noise(settings: SerialSettings) -> bytes:
    """Bytes that belong to no frame; a line without a start mark takes them for one, which holds no text."""
    start = settings.frame.start_bytes
    controls = settings.handshake.controls if settings.handshake is not None else b""
    noise = bytes(byte for byte in _NOISE if byte not in start + controls + settings.frame.end_bytes)
    return noise if start or not settings.frame.is_marked else noise + settings.frame.end_bytes


def _row(value: RawValue | None, row: int) -> RawValue | None:
    if not isinstance(value, list):
        return value
    return value[row] if row < len(value) else None


def _nothing(kind: str | None) -> Scalar:
    if kind in (None, "string", "bytes"):
        return ""
    return False if kind == "boolean" else 0
