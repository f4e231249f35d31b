"""Where in the bytes of a line a frame begins and ends: one way for marks, one for lengths, one for silence. Pure."""

from dataclasses import dataclass
from typing import Literal, Protocol

from contracts.errors import DataError
from drivers.serial.building import length_in, message_of
from drivers.serial.frame_settings import FrameSettings

Kind = Literal["message", "broken", "noise", "control", "notice"]
"""A message; what must have been one; bytes outside of frames; a single control byte; a serial server's own words."""


@dataclass(frozen=True)
class Cut:
    """The next ``size`` bytes, and what they are."""

    size: int
    kind: Kind
    message: bytes = b""
    problem: str | None = None


class Cutter(Protocol):
    """Cuts one piece at a time off the begin of a buffer."""

    @property
    def between(self) -> bool:
        """Whether the buffer begins between frames: no piece of the frame it may begin with was cut off before."""

    def cut(self, buffer: bytearray, *, silent: bool) -> Cut | None:
        """The next piece; None where more bytes are needed. ``silent``: no more will come for now, so never None."""

    def began_midway(self) -> None:
        """The buffer begins in the middle of a frame, whose begin nobody heard."""


def cutter_of(settings: FrameSettings) -> Cutter:
    """The way these settings ask for."""
    if settings.is_marked:
        return _Marked(settings)
    return _Silent(settings) if settings.idle is not None else _Sized(settings)


_REST = "the rest of a frame whose begin was too long, interrupted or not heard"


def _is_glitch(data: bytes | bytearray) -> bool:
    """Whether that is what a plug makes, and no begin of a message."""
    return all(byte < 0x20 or byte in (0x7F, 0xFF) for byte in data)


def _noise_or_broken(data: bytes, settings: FrameSettings, problem: str) -> Cut:
    """Bytes that are no frame: where nothing in them looks like one they are noise."""
    start = settings.start_bytes
    is_noise = start not in data if start else settings.is_marked and _is_glitch(data)
    is_noise = is_noise and not (settings.end_bytes and settings.end_bytes in data)
    if is_noise:
        return Cut(len(data), "noise", problem="bytes outside a frame")
    return Cut(len(data), "broken", problem=problem)


class _Marked:
    """Frames between marks."""

    def __init__(self, settings: FrameSettings) -> None:
        self._settings = settings
        self._start = settings.start_bytes
        self._end = settings.end_bytes
        self._searched = 0
        self._in_rest = False
        """The begin of what is in the buffer was cut off before, or never heard."""

    @property
    def between(self) -> bool:
        return not self._in_rest

    def cut(self, buffer: bytearray, *, silent: bool) -> Cut | None:
        limit = self._settings.max_length
        at = self._end_in(buffer)
        if at is not None and at < limit:
            return self._ended(buffer, at, silent=silent)
        if len(buffer) >= limit:
            return self._overlong(buffer)
        if silent:
            cut = self._taken(_noise_or_broken(bytes(buffer), self._settings, ""))
            if not self._start and not _is_glitch(buffer):
                self._in_rest = True  # what comes next may be the other half: it would look whole
            return cut
        return None

    def began_midway(self) -> None:
        self._in_rest = self._in_rest or not self._start

    def _end_in(self, buffer: bytearray) -> int | None:
        """Where the end mark stands."""
        escape = self._settings.escape
        if escape is None or escape.how != "double":
            at = buffer.find(self._end, self._searched)
            if at < 0:
                self._searched = max(0, len(buffer) - len(self._end) + 1)
            return at if at >= 0 else None
        # A doubled escape byte is part of the message, whatever comes after it.
        at = self._searched
        while (at := buffer.find(self._end[:1], at)) >= 0:
            if buffer.startswith(self._end, at):
                return at
            if at + 1 >= len(buffer):
                break
            at += 2 if buffer[at + 1] == self._end[0] else 1
        self._searched = at if at >= 0 else len(buffer)
        return None

    def _begin_in(self, buffer: bytearray, end: int) -> int:
        """Where the frame that ends there begins: at the last start mark before; -1 without one."""
        if not self._start:
            return 0
        escape = self._settings.escape
        if escape is None or escape.how != "double":
            return buffer.rfind(self._start, 0, end)
        found, at = -1, 0
        while 0 <= (at := buffer.find(self._start[:1], at, end)) < end:
            if buffer.startswith(self._start, at):
                found = at
            at += 2 if buffer[at : at + 2] == self._start[:1] * 2 else 1
        return found

    def _ended(self, buffer: bytearray, end: int, *, silent: bool) -> Cut | None:
        begin = self._begin_in(buffer, end)
        if begin > 0 or (begin < 0 and self._start):
            size = begin if begin > 0 else end + len(self._end)
            problem = _REST if self._in_rest else self._outside()
            return self._taken(_noise_or_broken(bytes(buffer[:size]), self._settings, problem))
        size = end + len(self._end) + self._settings.trailer_size
        if size > len(buffer):
            if not silent:
                return None
            return self._taken(Cut(len(buffer), "broken", problem="frame without the checksum after its end"))
        if self._in_rest and not self._start:
            return self._taken(Cut(size, "broken", problem=_REST))
        return self._taken(self._whole(bytes(buffer[:size])))

    def _whole(self, data: bytes) -> Cut:
        try:
            return Cut(len(data), "message", message_of(data, self._settings))
        except DataError as error:
            trailer = self._settings.trailer_size
            # The end mark may have been noise; the frame that begins in what was taken for a checksum is kept.
            overlaps = trailer and self._start and self._start[:1] in data[len(data) - trailer :]
            return Cut(len(data) - trailer if overlaps else len(data), "broken", problem=str(error))

    def _overlong(self, buffer: bytearray) -> Cut:
        # The last bytes may be the begin of an end mark: they stay.
        limit = self._settings.max_length
        size = limit - len(self._end) + 1
        begin = buffer.rfind(self._start, 1, size) if self._start else -1
        if begin > 0:
            problem = _REST if self._in_rest else self._outside()
            return self._taken(_noise_or_broken(bytes(buffer[:begin]), self._settings, problem))
        problem = f"frame longer than frame.max_length, {limit} bytes: check frame.end and connect.baudrate"
        cut = self._taken(Cut(size, "broken", problem=problem))
        self._in_rest = True
        return cut

    def _taken(self, cut: Cut) -> Cut:
        self._searched, self._in_rest = 0, False
        return cut

    def _outside(self) -> str:
        return f"bytes outside a frame: frame.start, now {self._settings.start!r}, was missing or came too late"


class _Sized:
    """Frames whose length is known: fixed, or told by a field.

    A place that turns out to be no frame's begin is passed over. With a start mark the next mark may begin one; with a
    strong checksum every later byte; with neither only what comes after silence: of the bytes of any noise one in 256
    begins what an 8-bit checksum takes for a frame.
    """

    def __init__(self, settings: FrameSettings) -> None:
        self._settings = settings
        self._passed = 0
        self._problem = ""
        """Why the first byte that was passed over begins no frame; of those behind it not all are looked at."""
        self._why = ""
        """The same of the place looked at now."""
        self._is_lost = False
        """Only silence can show where the next frame begins."""
        self._is_unfinished = False

    @property
    def between(self) -> bool:
        return self._passed == 0 and not self._is_lost

    def cut(self, buffer: bytearray, *, silent: bool) -> Cut | None:
        if self._is_lost:
            self._passed = len(buffer)
        while self._passed < len(buffer):
            size = self._size_at(buffer, self._passed)
            if size is None or (size and self._passed + size > len(buffer)):
                if not silent:
                    break
                self._reject(buffer, "", unfinished=True)
                continue
            message = self._message(buffer[self._passed : self._passed + size]) if size else None
            if message is None:
                self._reject(buffer, self._why, unfinished=False)
            elif self._passed:
                return self._passed_over(buffer)
            else:
                return Cut(size, "message", message)
        if self._passed and (silent or self._passed > self._settings.max_length):
            # What comes after the silence may be the other half of a frame that ended unfinished.
            self._is_lost = self._is_lost and (not silent or self._is_unfinished)
            self._is_unfinished = False
            return self._passed_over(buffer)
        return None

    def began_midway(self) -> None:
        settings = self._settings
        self._is_lost = self._is_lost or settings.checksum is None or not (settings.start or settings.is_strong)

    def _size_at(self, buffer: bytearray, at: int) -> int | None:
        """Bytes of the frame that begins here; 0: none does; None: that cannot be said yet."""
        settings = self._settings
        start = settings.start_bytes
        head = bytes(buffer[at : at + len(start)])
        if not start.startswith(head):
            self._why = f"bytes outside a frame: frame.start, now {settings.start!r}, is missing"
            return 0
        if settings.fixed is not None:
            return settings.fixed
        assert settings.length is not None
        begin = at + settings.length.at
        field = bytes(buffer[begin : begin + settings.length.size])
        if len(head) < len(start) or len(field) < settings.length.size:
            return None
        size = length_in(field, settings.length)
        least = max(settings.overhead, settings.length.at + settings.length.size)
        if size is None or not least <= size <= settings.max_length:
            self._why = (
                f"a length of {size if size is not None else field!r}: no frame has that; check frame.length "
                "and frame.max_length"
            )
            return 0
        return size

    def _message(self, data: bytearray) -> bytes | None:
        try:
            return message_of(bytes(data), self._settings)
        except DataError as error:
            self._why = str(error)
            return None

    def _reject(self, buffer: bytearray, problem: str, *, unfinished: bool) -> None:
        settings = self._settings
        if not self._passed:
            self._problem = problem
        is_bare = settings.checksum is None
        if (is_bare and unfinished) or not (settings.start or settings.is_strong):
            self._passed = len(buffer)
            self._is_lost = True
            self._is_unfinished = is_bare and unfinished
            return
        self._passed += 1
        start = settings.start_bytes
        if start:
            at = buffer.find(start, self._passed)
            if at < 0:  # it may begin with the last bytes that are there
                tails = range(max(self._passed, len(buffer) - len(start) + 1), len(buffer))
                at = next((tail for tail in tails if start.startswith(bytes(buffer[tail:]))), len(buffer))
            self._passed = at

    def _passed_over(self, buffer: bytearray) -> Cut:
        data = bytes(buffer[: self._passed])
        self._passed = 0
        return _noise_or_broken(data, self._settings, self._problem)


class _Silent:
    """Frames that silence ends."""

    between = True

    def __init__(self, settings: FrameSettings) -> None:
        self._settings = settings

    def began_midway(self) -> None:
        """Silence ends also this frame; only its checksum can show that its begin is missing."""

    def cut(self, buffer: bytearray, *, silent: bool) -> Cut | None:
        limit = self._settings.max_length
        if len(buffer) > limit:
            problem = f"no silence within frame.max_length, {limit} bytes: check frame.idle and connect.baudrate"
            return Cut(len(buffer), "broken", problem=problem)
        if not silent:
            return None
        try:
            return Cut(len(buffer), "message", message_of(bytes(buffer), self._settings))
        except DataError as error:
            return Cut(len(buffer), "broken", problem=str(error))
