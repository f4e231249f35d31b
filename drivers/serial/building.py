"""A message -> the frame that carries it, and back. Pure."""

from contracts.errors import DataError
from drivers.serial.checksum import checksum, matches
from drivers.serial.escaping import escaped, unescaped
from drivers.serial.frame_settings import FrameSettings, LengthSettings


def frame_of(message: bytes, settings: FrameSettings) -> bytes:
    """The frame of a message: marks, checksum, escapes and the length field put in.

    Raises ValueError for a message such a frame cannot carry.
    """
    start, end = settings.start_bytes, settings.end_bytes
    if settings.length is not None:
        total = len(start) + len(message) + len(end) + settings.checksum_size
        message = _with_length(message, total, settings.length, len(start))
    total = settings.overhead + len(message)
    if settings.fixed is not None and total != settings.fixed:
        raise ValueError(f"{total} bytes with marks and checksum, but frame.fixed is {settings.fixed}")
    after = b""
    inside = message
    if settings.checksum is not None:
        if settings.checksum.place == "before_end":
            inside += checksum(summed(message, settings), settings.checksum)
        else:
            after = checksum(summed(message, settings), settings.checksum)
    inside = escaped(inside, settings)
    if settings.is_marked and settings.escape is None and (end in inside or (start and start in inside)):
        raise ValueError(f"{message!r} holds a mark of the frame")
    frame = start + inside + end + after
    if len(frame) > settings.max_length:
        raise ValueError(f"{len(frame)} bytes, but frame.max_length is {settings.max_length}")
    return frame


def message_of(frame: bytes, settings: FrameSettings) -> bytes:
    """The message of a frame that was cut out whole. Raises DataError where marks or checksum are not right."""
    start, end, trailer = settings.start_bytes, settings.end_bytes, settings.trailer_size
    if len(frame) < settings.overhead:
        raise DataError("frame too short for its marks and checksum")
    stop = len(frame) - len(end) - trailer
    if not frame.startswith(start) or frame[stop : stop + len(end)] != end:
        raise DataError(f"frame without its marks: begins with {settings.start!r}, ends with {settings.end_mark!r}")
    inside = frame[len(start) : stop]
    if settings.escape is not None:
        inside = unescaped(inside, settings.escape)
    if settings.checksum is None:
        return inside
    if trailer:
        found, message = frame[stop + len(end) :], inside
    else:
        size = settings.checksum_size
        if len(inside) < size:
            raise DataError("frame too short for its checksum")
        found, message = inside[-size:], inside[:-size]
    if not matches(found, summed(message, settings), settings.checksum):
        wanted = checksum(summed(message, settings), settings.checksum)
        raise DataError(
            f"checksum wrong: the frame has {_shown(found)}, its bytes give {_shown(wanted)}; if this is so with every "
            "frame, check frame.checksum"
        )
    return message


def summed(message: bytes, settings: FrameSettings) -> bytes:
    """The bytes the checksum is computed over."""
    assert settings.checksum is not None
    whole = settings.start_bytes + message
    if settings.checksum.place == "after_end":
        whole += settings.end_bytes
    skip = settings.checksum.skip
    return whole[len(settings.start_bytes) if skip is None else skip : len(whole) - settings.checksum.skip_last]


def length_in(field: bytes, settings: LengthSettings) -> int | None:
    """Bytes of the whole frame, by its length field; None where the field holds no number."""
    if settings.notation == "binary":
        return int.from_bytes(field, settings.byte_order) + settings.add
    base = 10 if settings.notation == "decimal" else 16
    try:
        text = field.decode("ascii")
        return int(text, base) + settings.add if text.isalnum() else None
    except ValueError:
        return None


def _with_length(message: bytes, total: int, settings: LengthSettings, start: int) -> bytes:
    value = total - settings.add
    try:
        if settings.notation == "binary":
            field = value.to_bytes(settings.size, settings.byte_order)
        else:
            digits = f"{value:0{settings.size}{'d' if settings.notation == 'decimal' else 'X'}}"
            field = digits.encode("ascii")
    except OverflowError:
        field = b""
    at = settings.at - start
    if len(field) != settings.size or len(message) < at + settings.size:
        raise ValueError(f"{len(message)} bytes cannot hold their own length in frame.length")
    return message[:at] + field + message[at + settings.size :]


def _shown(value: bytes) -> str:
    return value.hex(" ")
