"""What a machine says on its own account: results, parts of them, noise, and the control bytes of a handshake."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from contracts.errors import DataError
from drivers.fields.gathering import Gathered, Gathering
from drivers.fields.messages import Message, kind_of
from drivers.serial.framing import Frame
from drivers.serial.settings import SerialSettings

log = structlog.get_logger()

_PATIENCE = 2
"""Broken frames in a row that are expected to come again, from a machine that is acknowledged."""
_TOLD_EVERY_S = 60.0
_SHOWN = 64


@dataclass(frozen=True)
class Callbacks:
    """Who is told: of a result (and whether its last frame was whole), of a trigger, of bytes to be sent at once."""

    result: Callable[[Gathered, datetime, bool], None]
    trigger: Callable[[Message, bytes], None]
    send: Callable[[bytes], None]


class Hearing:
    """Takes the frames nobody asked for, in their order. One for each life of a link."""

    def __init__(self, machine: str, settings: SerialSettings, told: Callbacks) -> None:
        self._settings = settings
        self._told = told
        self._log = log.bind(machine=machine)
        self._gathering = Gathering(settings)
        self._broken_in_row = 0
        self._noise_bytes = 0
        self._noise_told_at: float | None = None

    def take(self, frame: Frame, at: datetime) -> None:
        """One frame: a message, a broken one, noise, or a control byte that answers nothing."""
        if frame.kind == "message" and self._settings.request is None:
            self._broken_in_row = 0
            self._message(frame, at)
        elif frame.kind == "message":
            self._unasked(frame)
        elif frame.kind == "broken" and self._settings.request is None:
            self._broken(frame, at)
        elif frame.kind == "control":
            self._control(frame)
        else:
            self._noise(frame.data)

    def lost(self, at: datetime, reason: str) -> None:
        """The link is gone: a result under way will not be finished."""
        for gathered in self._gathering.give_up(reason):
            self._told.result(gathered, at, False)

    def _message(self, frame: Frame, at: datetime) -> None:
        ended = self._gathering.take(frame.body, frame.data)
        for place, gathered in enumerate(ended):
            self._told.result(gathered, at, place == len(ended) - 1 and not self._gathering.pending)
        if not ended or self._gathering.pending:
            self._accept()

    def _unasked(self, frame: Frame) -> None:
        """Of a machine that is asked: its trigger, or nothing that counts."""
        self._accept()
        try:
            kind = kind_of(frame.body, self._settings)
        except DataError:
            kind = None
        request = self._settings.request
        if kind is not None and request is not None and kind == request.after:
            self._told.trigger(Message(frame.body, kind), frame.data)
        elif kind is None or self._settings.kinds[kind].role not in ("ignore", "empty"):
            self._log.warning("machine spoke unasked", said=_shown(frame.data))

    def _broken(self, frame: Frame, at: datetime) -> None:
        """Whoever waits for an acknowledgement sends it again; who does not has lost it, and that is a record."""
        self._broken_in_row += 1
        handshake = self._settings.handshake
        if handshake is not None:
            self._told.send(handshake.refuse.encode("latin-1"))
        if self._broken_in_row <= self._patience():
            self._log.warning("broken frame, it is expected again", problem=frame.problem, data=_shown(frame.data))
            return
        self._broken_in_row = 0
        for gathered in self._gathering.spoil(frame.data, frame.problem or "no whole frame"):
            self._told.result(gathered, at, False)

    def _patience(self) -> int:
        if self._settings.handshake is not None:
            return self._settings.handshake.retries
        has_parts = any(kind.role in ("part", "begin") for kind in self._settings.kinds.values())
        return _PATIENCE if self._settings.acknowledge is not None and not has_parts else 0

    def _control(self, frame: Frame) -> None:
        handshake = self._settings.handshake
        assert handshake is not None
        byte = frame.data.decode("latin-1")
        if byte == handshake.enquiry:
            self._accept()
        elif byte != handshake.end:
            self._noise(frame.data)

    def _accept(self) -> None:
        if self._settings.handshake is not None:
            self._told.send(self._settings.handshake.accept.encode("latin-1"))

    def _noise(self, data: bytes) -> None:
        """Bytes that are no message: told at once, then counted and told once a minute."""
        self._noise_bytes += len(data)
        now = time.monotonic()
        if self._noise_told_at is None or now - self._noise_told_at >= _TOLD_EVERY_S:
            self._log.warning("noise on the line", bytes=self._noise_bytes, last=_shown(data))
            self._noise_bytes, self._noise_told_at = 0, now


def _shown(data: bytes) -> str:
    return data[:_SHOWN].decode("latin-1")
