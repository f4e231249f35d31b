"""Listens to a serial port whose machine nobody knows yet: bytes with their times. Nothing is written."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import serial

from drivers.ports import open_error
from drivers.serial.noise import is_text

COMMON = (9600, 115200, 19200, 38400, 57600, 4800, 2400)
"""Speeds that machines are delivered with, the likeliest first."""
_GAP_S = 0.02
"""A pause that ends what belongs together."""
Parity = Literal["N", "E", "O"]


@dataclass(frozen=True)
class Heard:
    """What came without a pause, and when its first byte did."""

    at: datetime
    data: bytes


def listen(
    port: str, baudrate: int, parity: Parity, seconds: float, stop: threading.Event | None = None
) -> Iterator[Heard]:
    """What comes in so many seconds. Raises LinkError or SetupError."""
    try:
        line = serial.Serial(port, baudrate, parity=parity, timeout=_GAP_S, exclusive=True)
    except (OSError, ValueError) as error:
        raise open_error(error, "sniff", port) from error
    with line:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not (stop is not None and stop.is_set()):
            first = line.read(1)
            if not first:
                continue
            at, data = datetime.now(UTC), bytearray(first)
            while more := line.read(max(1, line.in_waiting)):
                data += more
                if time.monotonic() > until:
                    break
            yield Heard(at, bytes(data))


def likeliest_speed(
    port: str, parity: Parity, seconds: float, told: Callable[[int, bytes], None]
) -> tuple[int, bytes] | None:
    """Try the common speeds one after the other, so many seconds each; the first at which text comes.

    ``told`` hears of each attempt. None: no bytes came, or none that are text. Raises LinkError or SetupError.
    """
    for baudrate in COMMON:
        data = b"".join(one.data for one in listen(port, baudrate, parity, seconds))
        told(baudrate, data)
        if is_text(data):
            return baudrate, data
    return None
