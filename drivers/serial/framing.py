"""Bytes of a line -> frames. Pure: no clock and no port. Every byte fed comes out in exactly one frame."""

from dataclasses import dataclass

from drivers.serial.settings import FrameSettings


@dataclass(frozen=True)
class Frame:
    """``data`` is what was on the line, marks included; ``body`` is the message between the marks.

    ``problem`` says why it is not a whole frame; ``body`` is empty then.
    """

    data: bytes
    problem: str | None = None
    body: bytes = b""


class Framer:
    """Cuts the stream at its marks. How the bytes were divided over the calls makes no difference."""

    def __init__(self, settings: FrameSettings) -> None:
        self._settings = settings
        self._start = settings.start_bytes
        self._end = settings.end_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._in_rest = False
        """The beginning of what is in the buffer went out with an overlong frame."""

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes; return the frames they finish."""
        self._buffer += data
        frames: list[Frame] = []
        while True:
            at = self._buffer.find(self._end, self._searched, self._settings.max_length)
            if at >= 0:
                frames += self._finished(self._take(at + len(self._end)))
            elif len(self._buffer) >= self._settings.max_length:
                frames.append(self._overlong())
            else:
                self._searched = max(0, len(self._buffer) - len(self._end) + 1)
                return frames

    def flush(self, reason: str) -> list[Frame]:
        """Give up on the frame under way: what there is of it comes out with a problem that names the reason."""
        self._in_rest = False
        if not self._buffer:
            return []
        end = self._settings.end
        problem = f"frame not finished ({reason}); if the machine sends it whole, check frame.end, now {end!r}"
        return [Frame(self._take(len(self._buffer)), problem)]

    @property
    def pending(self) -> bool:
        """Whether a frame is under way."""
        return bool(self._buffer) or self._in_rest

    def _finished(self, data: bytes) -> list[Frame]:
        begins = data.rfind(self._start, 0, len(data) - len(self._end)) if self._start else 0
        whole_from = len(data) if begins < 0 or (not self._start and self._in_rest) else begins
        frames: list[Frame] = []
        if whole_from > 0:
            problem = "the rest of a frame that was too long" if self._in_rest else self._noise()
            frames.append(Frame(data[:whole_from], problem))
        if whole_from < len(data):
            whole = data[whole_from:]
            frames.append(Frame(whole, body=whole.removeprefix(self._start).removesuffix(self._end)))
        self._in_rest = False
        return frames

    def _overlong(self) -> Frame:
        # The last bytes may be the beginning of an end mark: they stay.
        size = self._settings.max_length - len(self._end) + 1
        begins = self._buffer.rfind(self._start, 1, size) if self._start else -1
        if begins > 0:
            problem = "the rest of a frame that was too long" if self._in_rest else self._noise()
            self._in_rest = False
            return Frame(self._take(begins), problem)
        self._in_rest = True
        limit = self._settings.max_length
        problem = f"frame longer than frame.max_length, {limit} bytes: check frame.end and connect.baudrate"
        return Frame(self._take(size), problem)

    def _noise(self) -> str:
        return f"bytes outside a frame: frame.start, now {self._settings.start!r}, was missing or came too late"

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._searched = 0
        return data
