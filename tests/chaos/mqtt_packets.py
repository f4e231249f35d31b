"""Just enough of MQTT to tell one packet from the next (MQTT 5.0, section 2.1), so that a relay can reorder them."""

_PUBLISH = 3


def split(arrived: bytearray) -> list[bytes]:
    """Take the whole packets off the front of what has arrived; the rest stays."""
    packets = []
    while (length := _length(arrived)) is not None and length <= len(arrived):
        packets.append(bytes(arrived[:length]))
        del arrived[:length]
    return packets


def is_publish(packet: bytes) -> bool:
    """True for an application message: what may be overtaken without breaking the protocol."""
    return packet[0] >> 4 == _PUBLISH


def _length(arrived: bytearray) -> int | None:
    """Bytes of the first packet, header included: a variable byte integer from the second byte on."""
    length = 0
    for place, byte in enumerate(arrived[1:5]):
        length |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return length + place + 2
    if len(arrived) >= 5:
        raise ValueError("no MQTT: a remaining length has at most four bytes")
    return None
