"""What bytes without a message say of the cause: another speed, another framing, or another machine. Pure."""

_SHOWN = 48
_READABLE = frozenset(range(0x20, 0x7F)) | frozenset(b"\r\n\t\x02\x03\x04\x05\x06\x15")


def is_text(data: bytes) -> bool:
    """Whether a person would read it: nine of ten bytes are letters, digits, signs, or the usual marks."""
    return bool(data) and sum(byte in _READABLE for byte in data) >= 0.9 * len(data)


def told_of_silence(data: bytes, wait_s: float) -> str:
    """Why there was no message in ``wait_s`` seconds, where ``data`` is what came instead."""
    if not data:
        return (
            f"nothing came in {wait_s:g} s: likely the machine said nothing (let it make a result), its cable is not "
            "the one in this port, or RX and TX are exchanged"
        )
    told = f"{len(data)} bytes came in {wait_s:g} s, and no message: {shown(data)}"
    if is_text(data):
        return f"{told}; likely cause: frame.start, frame.end or frame.checksum are not this machine's"
    return f"{told}; this is noise: likely cause the baudrate, then parity and bytesize"


def shown(data: bytes) -> str:
    """Bytes as text where they are one, else in hexadecimal; the first of them."""
    part = data[:_SHOWN]
    more = " ..." if len(data) > _SHOWN else ""
    return (repr(part.decode("latin-1")) if is_text(part) else part.hex(" ")) + more
