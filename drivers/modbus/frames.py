"""Requests and answers as they stand on each kind of wire. Pure: bytes in, messages out.

RTU and ASCII: Modbus over Serial Line V1.02, 2.5. Numbered (TCP, UDP, TLS): Modbus Messaging on TCP/IP V1.0b, 3.1.
"""

import binascii
import struct
from dataclasses import dataclass
from typing import Protocol

from pymodbus.framer import FramerAscii, FramerRTU

from drivers.modbus.requests import FAILED, Request

MAX_HEARD = 1024
"""Bytes that are kept of what was heard. The longest frame of all is one of ASCII with 513."""
MAX_PDU = 253


class CorruptError(Exception):
    """What came cannot be the protocol: a stream of frames is out of step for good."""


@dataclass(frozen=True)
class Awaited:
    """The one request that is under way."""

    device_id: int
    request: Request
    number: int


class Framing(Protocol):
    """One kind of wire. Keeps what was heard of an answer that is not complete."""

    numbered: bool
    """Whether an answer carries its request's number."""

    def frame(self, device_id: int, pdu: bytes, number: int, /) -> bytes:
        """A message as it goes over the wire."""

    def heard(self, data: bytes, awaited: Awaited | None) -> bytes | None:
        """More bytes came: the answer that is now complete, or None. Anything else is skipped.

        An answer with the right number may still not fit its request. Raises CorruptError.
        """

    def strangers(self) -> frozenset[int]:
        """Devices that have sent a sound frame since ``forget()`` which was no answer to anything awaited."""

    def forget(self) -> None:
        """Before a request: what was heard until now is no part of its answer."""


class Numbered:
    """A header with a number before each message; ``datagrams`` where each comes in a packet of its own."""

    numbered = True

    def __init__(self, *, datagrams: bool = False) -> None:
        self._buffer = b""
        self._datagrams = datagrams

    def frame(self, device_id: int, pdu: bytes, number: int, /) -> bytes:
        return struct.pack(">HHHB", number, 0, len(pdu) + 1, device_id) + pdu

    def heard(self, data: bytes, awaited: Awaited | None) -> bytes | None:
        found: bytes | None = None
        buffer = data if self._datagrams else self._buffer + data
        while len(buffer) >= 8:
            number, protocol, length, _ = struct.unpack(">HHHB", buffer[:7])
            if protocol != 0 or not 2 <= length <= MAX_PDU + 1:
                if self._datagrams:
                    return None
                raise CorruptError(f"bytes {buffer[:8].hex(' ')} begin no Modbus TCP message")
            if len(buffer) < 6 + length:
                break
            pdu, buffer = buffer[7 : 6 + length], buffer[6 + length :]
            if awaited is None or number != awaited.number:
                continue  # late: to a request that was given up
            found = pdu
        self._buffer = b"" if self._datagrams else buffer
        return found

    def strangers(self) -> frozenset[int]:
        return frozenset()

    def forget(self) -> None:
        return


class Rtu:
    """Bytes with a checksum; where a frame begins and ends is known from what it has to be."""

    numbered = False

    def __init__(self) -> None:
        self._buffer = b""

    def frame(self, device_id: int, pdu: bytes, _number: int, /) -> bytes:
        data = bytes((device_id,)) + pdu
        return data + checksum(data)

    def heard(self, data: bytes, awaited: Awaited | None) -> bytes | None:
        self._buffer = (self._buffer + data)[-MAX_HEARD:]
        if awaited is None:
            return None
        buffer = self._buffer
        start = buffer.find(awaited.device_id)
        while 0 <= start < len(buffer) - 1:
            size = awaited.request.size_of_answer(buffer[start + 1 : start + 1 + awaited.request.size])
            if size is not None:
                end = start + 1 + size
                if len(buffer) < end + 2:
                    return None  # it may be the answer; another inside of it cannot be
                if checksum(buffer[start:end]) == buffer[end : end + 2]:
                    self._buffer = buffer[end + 2 :]
                    return buffer[start + 1 : end]
            start = buffer.find(awaited.device_id, start + 1)
        return None

    def strangers(self) -> frozenset[int]:
        found: set[int] = set()
        for start in range(len(self._buffer) - 4):
            size = _size_by_itself(self._buffer[start + 1 :])
            end = start + 1 + size
            whole = size > 0 and end + 2 <= len(self._buffer)
            if whole and checksum(self._buffer[start:end]) == self._buffer[end : end + 2]:
                found.add(self._buffer[start])
        return frozenset(found)

    def forget(self) -> None:
        self._buffer = b""


class Ascii:
    """A colon, hexadecimal digits with a checksum, and a line's end."""

    numbered = False

    def __init__(self) -> None:
        self._buffer = b""
        self._others: set[int] = set()

    def frame(self, device_id: int, pdu: bytes, _number: int, /) -> bytes:
        data = bytes((device_id,)) + pdu
        data += bytes((FramerAscii.compute_LRC(data),))
        return b":" + data.hex().upper().encode() + b"\r\n"

    def heard(self, data: bytes, awaited: Awaited | None) -> bytes | None:
        *lines, rest = (self._buffer + data).split(b"\r\n")
        self._buffer = rest[-MAX_HEARD:]
        for line in lines:
            message = ascii_message(line)
            if message is None:
                continue
            device_id, pdu = message
            if awaited is not None and device_id == awaited.device_id and awaited.request.is_answered_by(pdu):
                return pdu
            self._others.add(device_id)
        return None

    def strangers(self) -> frozenset[int]:
        return frozenset(self._others)

    def forget(self) -> None:
        self._buffer = b""
        self._others.clear()


def checksum(data: bytes) -> bytes:
    """The CRC of an RTU frame, as it stands behind it."""
    return FramerRTU.compute_CRC(data).to_bytes(2, "big")


def ascii_message(line: bytes) -> tuple[int, bytes] | None:
    """Device and message of an ASCII frame without its line's end; None for anything else."""
    try:
        data = binascii.unhexlify(line.rpartition(b":")[2])
    except ValueError:
        return None
    if len(data) < 4 or b":" not in line or FramerAscii.compute_LRC(data[:-1]) != data[-1]:
        return None
    return data[0], data[1:-1]


def _size_by_itself(pdu: bytes) -> int:
    """Length of an answer that says itself what it is; 0 where it says nothing."""
    function = pdu[0]
    if function & FAILED:
        return 2
    if function in (1, 2, 3, 4):
        return 2 + pdu[1]
    return {5: 5, 6: 5, 15: 5, 16: 5, 22: 7}.get(function, 0)
