"""How a machine's messages are told apart, guessed from what it said. Pure. A guess is a beginning, no finding."""

import re
from collections import Counter
from collections.abc import Sequence

from drivers.serial.noise import is_text, shown

_ENDS = (("\\r\\n", b"\r\n"), ("\\r", b"\r"), ("\\n", b"\n"), ("\\x03", b"\x03"), (";", b";"))
_KEY_VALUE = re.compile(rb"^\s*[A-Za-z_]\w*\s*[=:]\s*[^;,=]+(?:[;,]\s*[A-Za-z_]\w*\s*[=:][^;,=]+)*\s*$")


def guesses(pieces: Sequence[bytes]) -> list[str]:
    """Lines of YAML that fit, each with why; ``pieces`` are what came without a pause between."""
    data = b"".join(pieces)
    if not data:
        return []
    found: list[str] = []
    if data.count(b"\x02") and data.count(b"\x03") >= data.count(b"\x02"):
        times = data.count(b"\x02")
        found.append(f'frame: {{start: "\\x02", end: "\\x03"}}   # STX and ETX around a message, {times} times')
    elif (end := _end(data, pieces)) is not None:
        name, times = end
        found.append(f'frame: {{end: "{name}"}}   # it ends {times} messages')
    elif len(pieces) > 1 and len({len(one) for one in pieces}) == 1:
        found.append(f"frame: {{fixed: {len(pieces[0])}}}   # {len(pieces)} messages of the same length")
    elif len(pieces) > 1:
        found.append("frame: {idle: 20ms}   # no mark is seen; pauses tell messages apart")
    message = _message(_bodies(data, pieces))
    if message is not None:
        found.append(message)
    return found


def _end(data: bytes, pieces: Sequence[bytes]) -> tuple[str, int] | None:
    """The mark that ends most of what came without a pause."""
    for name, mark in _ENDS:
        ended = sum(piece.endswith(mark) for piece in pieces)
        if ended and ended * 2 >= len(pieces):
            return name, data.count(mark)
    return None


def _bodies(data: bytes, pieces: Sequence[bytes]) -> list[bytes]:
    end = _end(data, pieces)
    mark = dict(_ENDS)[end[0]] if end is not None else None
    parts = data.split(mark) if mark is not None else list(pieces)
    return [part.strip(b"\x02\x03\r\n ") for part in parts if part.strip(b"\x02\x03\r\n ")]


def _message(bodies: Sequence[bytes]) -> str | None:
    if not bodies or not is_text(bodies[0]):
        return None
    example = shown(Counter(bodies).most_common(1)[0][0])
    if all(body.startswith(b"{") and body.endswith(b"}") for body in bodies):
        return f"message: {{format: json}}   # {example}"
    if all(_KEY_VALUE.match(body) for body in bodies):
        return f"message: {{format: key_value}}   # {example}"
    for separator in (b";", b",", b"\t", b"|"):
        counts = {body.count(separator) for body in bodies}
        if len(counts) == 1 and counts != {0}:
            written = separator.decode().replace("\t", "\\t")
            return f'message: {{format: fields, separator: "{written}"}}   # {example}'
    return f"message: {{format: whole}}   # {example}"
