"""What a station says, as a simulated machine hears it: requests, control bytes and acknowledgements."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter

from drivers.serial.framing import Framer
from drivers.serial.settings import SerialSettings
from drivers.serial.talk_settings import Exchange

_LONGEST = 65536


@dataclass(frozen=True)
class Heard:
    """Something the station said: an exchange's text, or a control byte."""

    exchange: Exchange | None = None
    names: Mapping[str, bytes] = field(default_factory=dict)
    """What stood for the names in its text."""
    control: str | None = None


class Recognizer:
    """Takes the bytes a station sends; tells what they are, in their order. What is none of it is passed over."""

    def __init__(self, settings: SerialSettings) -> None:
        self._settings = settings
        said = [*settings.on_open]
        if settings.request is not None:
            said += settings.request.exchanges
        if settings.keep_alive is not None:
            said.append(settings.keep_alive)
        asked = [exchange for exchange in said if exchange.send is not None]
        self._plain = [(_pattern(one, settings), one) for one in asked if not one.framed]
        self._framed = [(_pattern(one, settings), one) for one in asked if one.framed]
        controls = settings.handshake.controls if settings.handshake is not None else b""
        self._framer = Framer(settings.frame, controls=controls)
        self._controls = controls
        self._buffer = b""

    def take(self, data: bytes) -> list[Heard]:
        """What these bytes complete."""
        heard: list[Heard] = []
        for frame in self._framer.feed(data) if self._framed or self._controls else ():
            if frame.kind == "control":
                heard.append(Heard(control=frame.data.decode("latin-1")))
            elif frame.kind == "message":
                matches = [(pattern.fullmatch(frame.body), one) for pattern, one in self._framed]
                heard += [Heard(exchange=one, names=match.groupdict()) for match, one in matches if match][:1]
        self._buffer = (self._buffer + data)[-_LONGEST:]
        while found := self._next():
            match, exchange = found
            self._buffer = self._buffer[match.end() :]
            heard.append(Heard(exchange=exchange, names=match.groupdict()))
        return heard

    def _next(self) -> "tuple[re.Match[bytes], Exchange] | None":
        """The first text that is complete; of several that begin there the longest."""
        matches = [(match, one) for pattern, one in self._plain if (match := pattern.search(self._buffer))]
        return min(matches, key=lambda found: (found[0].start(), -found[0].end()), default=None)


def _pattern(exchange: Exchange, settings: SerialSettings) -> "re.Pattern[bytes]":
    """What the text looks like with any values in it; a length field in front of them may be anything."""
    text = exchange.send or ""
    parts: list[bytes] = []
    length = settings.frame.length if exchange.framed else None
    field: Sequence[int] = ()
    if length is not None:
        begin = length.at - len(settings.frame.start_bytes)
        field = range(begin, begin + length.size)
    at = 0
    for literal, name, _, _ in Formatter().parse(text):
        for byte in literal.encode(settings.encoding):
            parts.append(b"." if at in field else re.escape(bytes([byte])))
            at += 1
        if name is not None:
            known = name.encode()
            parts.append(b"(?P=%b)" % known if b"(?P<%b>" % known in b"".join(parts) else b"(?P<%b>.+?)" % known)
            field = ()
    return re.compile(b"".join(parts), re.DOTALL)
