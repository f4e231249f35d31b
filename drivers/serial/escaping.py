"""Byte stuffing: a message <-> what of it goes over the line between marks. Pure."""

from contracts.errors import DataError
from drivers.serial.frame_settings import EscapeSettings, FrameSettings


def escaped(message: bytes, frame: FrameSettings) -> bytes:
    """The message with every byte that would be taken for a mark escaped."""
    escape = frame.escape
    if escape is None:
        return message
    mark = escape.byte.encode("latin-1")
    if escape.how == "double":
        return message.replace(mark, mark + mark)
    special = {*frame.start_bytes, *frame.end_bytes, *mark}
    codes = {ord(meant): ord(code) for code, meant in escape.replace.items()}
    special |= codes.keys()
    out = bytearray()
    for byte in message:
        if byte in special:
            out += mark
            byte = codes[byte] if escape.how == "replace" else byte ^ escape.xor  # noqa: PLW2901 - the byte that is sent
        out.append(byte)
    return bytes(out)


def unescaped(content: bytes, escape: EscapeSettings) -> bytes:
    """The message again. Raises DataError where an escape byte is not followed by what may follow."""
    mark = ord(escape.byte)
    codes = {ord(code): ord(meant) for code, meant in escape.replace.items()}
    out = bytearray()
    rest = iter(content)
    for byte in rest:
        if byte != mark:
            out.append(byte)
            continue
        code = next(rest, None)
        if code is None:
            raise DataError("ends with an escape byte")
        if escape.how == "xor":
            out.append(code ^ escape.xor)
        elif escape.how == "double" and code == mark:
            out.append(mark)
        elif code in codes:
            out.append(codes[code])
        else:
            raise DataError(f"escape byte 0x{mark:02x} is followed by 0x{code:02x}; check frame.escape")
    return bytes(out)
