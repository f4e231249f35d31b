"""Bytes that came with a wrong parity, a wrong stop bit or as a break: marked by the system, and told from the rest."""

import termios
from dataclasses import dataclass

_MARK = 0xFF
_IFLAG = 0
"""Place of the input modes in what tcgetattr() returns."""


@dataclass(frozen=True)
class Received:
    """Bytes of the line, and the places among them whose byte is not what was sent."""

    data: bytes
    wrong: tuple[int, ...] = ()


class ParityMarks:
    """Undoes the marks of PARMRK (termios(3)): ``FF 00 byte`` is a wrong byte, ``FF FF`` the byte FF. Pure."""

    def __init__(self) -> None:
        self._held = b""

    def undone(self, data: bytes) -> Received:
        """What these bytes mean; a mark they end within is kept for the next ones."""
        data = self._held + data
        found, wrong, at = bytearray(), [], 0
        while at < len(data):
            size = 1
            if data[at] == _MARK:
                size = 3 if data[at + 1 : at + 2] == b"\0" else 2
                if at + size > len(data):
                    break
                if size == 3:
                    wrong.append(len(found))
            found.append(data[at + size - 1])
            at += size
        self._held = data[at:]
        return Received(bytes(found), tuple(wrong))


def mark_wrong_bytes(descriptor: int) -> None:
    """Let the system check the parity of an open port and mark what is wrong; pyserial lets every byte pass.

    Raises termios.error.
    """
    attributes = termios.tcgetattr(descriptor)
    attributes[_IFLAG] |= termios.INPCK | termios.PARMRK
    attributes[_IFLAG] &= ~(termios.IGNPAR | termios.ISTRIP | termios.IGNBRK | termios.BRKINT)
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
