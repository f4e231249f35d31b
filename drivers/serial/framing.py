"""Bytes of a line -> frames. Pure: no clock and no port. Every byte fed comes out in exactly one frame."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.serial.cutting import Cut, Kind, cutter_of
from drivers.serial.frame_settings import FrameSettings

_NOTICES = (
    b"ser2net port ",
    b"Port already in use",
    b"Port's device already in use",
    b"Device open failure",
    b"kicked off, new user is coming",
    b"port is shutting down",
    b"port closing",
    b"Port closing",
    b"program shutdown",
)
"""What ser2net 4 puts into the stream of bytes on its own account (ser2net.yaml(5), and its program)."""
_LONGEST_NOTICE = 1024


@dataclass(frozen=True)
class Frame:
    """``data`` is what was on the line, marks included; ``body`` is the message in it.

    ``problem`` says why it is no whole frame; ``body`` is empty then.
    """

    data: bytes
    kind: Kind
    body: bytes = b""
    problem: str | None = None


class Framer:
    """Cuts the stream of one link into frames. How the bytes were divided over the calls makes no difference.

    ``controls`` are single bytes that mean something where they stand outside of frames (ENQ, ACK, NAK). ``notices``:
    the far end is a serial server, whose own words between frames are no machine's.
    """

    def __init__(self, settings: FrameSettings, *, controls: bytes = b"", notices: bool = False) -> None:
        self._settings = settings
        self._controls = re.compile(b"[" + re.escape(controls) + b"]") if controls else None
        self._notices = notices
        self._buffer = bytearray()
        self._wrong: list[int] = []
        """Places in the buffer whose byte is not what was sent."""
        self._cutter = cutter_of(settings)
        self._midway = False
        self._is_begun = False
        self._is_greeted = notices and settings.is_marked
        """Line ends that come now belong to the serial server's words, or stand at the begin of its connection."""

    @property
    def pending(self) -> bool:
        """Whether something has come that is in no frame yet."""
        return bool(self._buffer)

    def feed(self, data: bytes, *, wrong: Sequence[int] = (), midway: bool = False) -> list[Frame]:
        """Take bytes; return the frames they finish.

        ``wrong``: places of bytes that are known not to be what was sent; a frame with one is no message. ``midway``:
        they came so soon after the port was opened that the begin of their frame may not have been heard.
        """
        self._wrong += [len(self._buffer) + place for place in wrong]
        self._buffer += data
        self._midway = self._midway or (midway and not self._is_begun)
        frames = self._cut(silent=False)
        self._midway = self._midway and bool(self._buffer)  # a serial server's greeting is no begin of a frame
        return frames

    def silence(self, reason: str) -> list[Frame]:
        """The line fell silent: what there is comes out, an unfinished frame with a problem that names the reason."""
        frames = self._cut(silent=True)
        settings = self._settings
        hint = (
            f"; if the machine sends it whole, check frame.end, now {settings.end_mark!r}" if settings.is_marked else ""
        )
        return [
            Frame(frame.data, frame.kind, problem=f"frame not finished ({reason}){hint}")
            if frame.kind == "broken" and not frame.problem
            else frame
            for frame in frames
        ]

    def _cut(self, *, silent: bool) -> list[Frame]:
        frames: list[Frame] = []
        while self._buffer:
            cut = self._between(silent=silent) if self._cutter.between else None
            if cut is not None:
                self._cutter = cutter_of(self._settings)
            elif self._awaits_notice(silent=silent):
                break
            else:
                if self._midway:
                    self._cutter.began_midway()
                self._midway, self._is_begun = False, True
                cut = self._cutter.cut(self._buffer, silent=silent)
            if cut is None:
                break
            frames.append(self._frame(cut))
            del self._buffer[: cut.size]
            self._wrong = [place - cut.size for place in self._wrong if place >= cut.size]
        return frames

    def _frame(self, cut: Cut) -> Frame:
        data = bytes(self._buffer[: cut.size])
        if not any(place < cut.size for place in self._wrong):
            return Frame(data, cut.kind, cut.message, cut.problem)
        kind: Kind = "broken" if cut.kind in ("message", "broken") else "noise"
        return Frame(
            data, kind, problem="a byte came with a wrong parity: check connect.parity, baudrate and the cable"
        )

    def _between(self, *, silent: bool) -> Cut | None:
        """What stands before the next frame and is not the machine's message."""
        if self._notices and (notice := self._notice(silent=silent)):
            return notice
        if self._controls is None:
            return None
        start = self._settings.start_bytes
        first = self._buffer.find(start) if start else 0
        match = self._controls.search(self._buffer, 0, first if first > 0 else len(self._buffer) if first < 0 else 1)
        if match is None or (start and self._buffer.startswith(start)):
            return None
        if match.start() > 0:
            return Cut(match.start(), "noise", problem="bytes outside a frame")
        return Cut(1, "control")

    def _notice(self, *, silent: bool) -> Cut | None:
        """A serial server's own words, with the line ends around them."""
        text = self._buffer.lstrip(b"\r\n")
        if text.startswith(_NOTICES):
            end = self._buffer.find(b"\n", len(self._buffer) - len(text))
            if end < 0 and not silent and len(text) <= _LONGEST_NOTICE:
                return None
            self._is_greeted = True
            return Cut(end + 1 if end >= 0 else len(self._buffer), "notice")
        if self._is_greeted and len(text) < len(self._buffer):
            return Cut(len(self._buffer) - len(text), "notice")
        if text and not self._awaits_notice(silent=silent):
            self._is_greeted = False
        return None

    def _awaits_notice(self, *, silent: bool) -> bool:
        """Whether the buffer may be the begin of a notice, so that more has to be seen first."""
        if not self._notices or silent or not self._cutter.between:
            return False
        text = bytes(self._buffer.lstrip(b"\r\n"))
        if text.startswith(_NOTICES):
            return True
        return any(notice.startswith(text) for notice in _NOTICES) and (text != b"" or self._settings.is_marked)
