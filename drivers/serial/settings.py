"""Settings of a serial machine: where it is, how its frames look, what they mean, and what is said to it."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from drivers.base import JOB_NAMES, NeededFile, Strict
from drivers.fields.examples import check_examples
from drivers.fields.settings import FieldPoint, FieldSettings
from drivers.interlock import points_of
from drivers.manuals import FLOW_CONTROL, LINE_KEYS, PARITY, called, line_format
from drivers.ports import needed, unstable
from drivers.serial.frame_settings import FrameSettings
from drivers.serial.talk_settings import (
    AcknowledgeSettings,
    DisplaySettings,
    Exchange,
    HandshakeSettings,
    KeepAliveSettings,
    RequestSettings,
    SerialInterlock,
    TriggerSettings,
)
from drivers.template import names_in

_SERIAL_SERVER = re.compile(r"(socket|rfc2217)://[^/:@]+:[0-9]+[^@]*")


def _serial_server(url: str) -> str:
    if not _SERIAL_SERVER.fullmatch(url):
        raise ValueError("a serial server is needed, for example socket://10.0.0.5:4001 or rfc2217://10.0.0.5:4001")
    return url


class SerialConnect(Strict):
    """Where the line is: a ``port`` of this computer with its line settings, or the ``url`` of a serial server."""

    other_names = LINE_KEYS
    port: Annotated[str, Field(min_length=1)] | None = None
    """Device file; the names below ``/dev/serial/by-id/`` stay the same over a restart."""
    url: Annotated[str, AfterValidator(_serial_server)] | None = None
    """``socket://host:port`` (raw TCP) or ``rfc2217://host:port`` (TCP with line settings)."""
    baudrate: Annotated[int, Field(ge=50, le=4_000_000), line_format({})] = 9600
    """Bits per second."""
    bytesize: Annotated[Literal[5, 6, 7, 8], line_format({})] = 8
    """Data bits of a character."""
    parity: Annotated[Literal["N", "E", "O", "M", "S"], line_format(PARITY)] = "N"
    """None, even, odd, mark or space. On a ``port`` it is checked: a frame with a byte of wrong parity is broken."""
    stopbits: Annotated[Literal[1, 2], line_format({})] = 1
    """Stop bits of a character."""
    flow_control: Annotated[Literal["none", "xonxoff", "rtscts", "dsrdtr"], called(FLOW_CONTROL)] = "none"
    """Who may hold back the sender: nobody, XON/XOFF characters, or a pair of lines."""
    dtr: bool | None = None
    """Level of the DTR line; by default as the system sets it. Some devices are powered or reset by it."""
    rts: bool | None = None
    """Level of the RTS line."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.port is None) == (self.url is None):
            raise ValueError("give either port (a serial port of this computer) or url (a serial server)")
        return self

    @property
    def address(self) -> str:
        """The port or url, whichever is given."""
        return self.port or self.url or ""


_CONTROLS = {
    "SOH": r"\x01", "STX": r"\x02", "ETX": r"\x03", "EOT": r"\x04", "ENQ": r"\x05", "ACK": r"\x06", "DLE": r"\x10",
    "NAK": r"\x15", "SYN": r"\x16", "ETB": r"\x17", "ESC": r"\x1b", "TAB": r"\t", "LF": r"\n", "CR": r"\r",
    "CRLF": r"\r\n", "CR LF": r"\r\n",
}  # fmt: skip
"""Names of control characters, as manuals write them, and what is meant."""


class SerialSettings(FieldSettings):
    """A machine on a serial line: it speaks by itself, or is asked."""

    connect: SerialConnect
    frame: FrameSettings = FrameSettings()
    """How one message is told from the next."""
    on_open: Annotated[tuple[Exchange, ...], Field(strict=False, max_length=20)] = ()
    """Said once the line is open, one after the other: what starts or arms the machine."""
    request: RequestSettings | None = None
    """Without it the machine speaks by itself."""
    trigger: TriggerSettings | None = None
    """Without it every answer to ``request.every`` is a result."""
    keep_alive: KeepAliveSettings | None = None
    """For machines that would hang up, and lines where nobody notices that the far end is gone."""
    handshake: HandshakeSettings | None = None
    """For machines that send and take every frame with ENQ, ACK and NAK."""
    acknowledge: AcknowledgeSettings | None = None
    """For machines that are told when their result is kept, and send it again until then."""
    display: DisplaySettings | None = None
    """For scanners and terminals with a display."""
    interlock: SerialInterlock | None = None
    """For machines that speak by themselves and ask before they start a unit."""

    @property
    def encoding(self) -> str:
        """How the texts of the settings become bytes; in a binary protocol one character is one byte."""
        return self.message.encoding if self.message.is_text else "latin-1"

    def referenced_points(self) -> Mapping[str, str]:
        found = {} if self.trigger is None else {"trigger.point": self.trigger.point}
        return found | points_of(self.interlock)

    @property
    def result_points(self) -> Mapping[str, FieldPoint]:
        asks = None if self.interlock is None else self.interlock.request.point
        return {name: point for name, point in self.points.items() if name != asks}

    @property
    def answers_again(self) -> bool:
        """The machine answers every question with its last result: it has no way to say that there is no new one."""
        request = self.request
        if request is None or request.every is None or self.trigger is not None:
            return False
        says_none = any(kind.role == "empty" for kind in self.kinds.values())
        return not says_none and all(one.until is None for one in request.exchanges)

    @property
    def longest_job_s(self) -> float | None:
        """See ProtocolSettings.longest_job_s: every question asked as often as may be, its silences included."""
        if self.request is None or not self.request.is_on_demand:
            return None
        control_s = 2 * self.handshake.timeout if self.handshake is not None else 0.0
        return sum(one.longest_s + (one.retries + 1) * control_s for one in self.request.exchanges)

    def needed_files(self) -> Mapping[str, NeededFile]:
        return {} if self.connect.port is None else {"connect.port": needed(self.connect.port)}

    def warnings(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        if self.connect.port is not None and (why := unstable(self.connect.port)):
            found["connect.port"] = why
        for key in ("start", "end"):
            mark = getattr(self.frame, key) or ""
            if (byte := _CONTROLS.get(mark.upper().strip("<>"))) is not None:
                found[f"frame.{key}"] = f'{mark} is read as {len(mark)} letters; write "{byte}" for the one byte'
        if self.frame.idle is not None and self.frame.checksum is None:
            found["frame.idle"] = (
                "a message that is interrupted for longer than this looks like two whole ones; give the machine an end "
                "mark or a checksum, if it has one"
            )
        if self.frame.is_weak:
            found["frame.checksum"] = (
                "8 bits alone take one noise in 256 for a message (of xor and the sums also zero bytes), and after a "
                "broken frame nothing is read until the line was silent for frame.timeout; give frame.start or a "
                "checksum of 16 bits, if the machine has them, and a frame.timeout shorter than its pauses"
            )
        return found

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        check_examples(self)
        if self.acknowledge is not None:
            self._check_names("acknowledge.send", self.acknowledge.send, ["cycle_key", *self.points])
        for place, exchange in enumerate(self.on_open):
            self._check_exchange(f"on_open.{place}", exchange, [])
        if self.keep_alive is not None:
            self._check_exchange("keep_alive", self.keep_alive, [])
        self._check_request()
        if self.interlock is not None and self.request is not None:
            raise ValueError("interlock: only a machine that speaks by itself asks; this one is asked (request)")
        if self.handshake is not None:
            if not self.frame.start or self.frame.start[:1] in self.handshake.controls.decode("latin-1"):
                raise ValueError("handshake: needs frames with a start mark, so that its bytes stand between them")
            if self.acknowledge is not None:
                raise ValueError("acknowledge: the handshake's accept acknowledges; give one of them")
        return self

    def _check_request(self) -> None:
        request = self.request
        if self.trigger is not None and (request is None or request.every is None):
            raise ValueError("trigger: only a machine that is asked at an interval (request.every) has one")
        if request is None:
            return
        if request.after is not None and request.after not in self.kinds:
            known = ", ".join(self.kinds) or "no kinds"
            raise ValueError(f"request.after: unknown kind {request.after}; there are {known}")
        known_names = list(self.points) if request.after is not None else JOB_NAMES if request.is_on_demand else []
        for place, exchange in enumerate(request.exchanges):
            self._check_exchange(f"request.steps.{place}" if request.steps else "request", exchange, known_names)

    def _check_exchange(self, where: str, exchange: Exchange, names: Iterable[str]) -> None:
        if exchange.send is not None:
            self._check_names(f"{where}.send", exchange.send, names)
        if self.request is None and exchange.expect == "message" and exchange.answer is None:
            raise ValueError(f"{where}.answer: needed, so that the answer and what the machine says itself differ")
        if exchange.expect == "accept" and self.handshake is None:
            raise ValueError(f"{where}.expect: accept is a byte of the handshake, and there is none")

    def _check_names(self, where: str, text: str, known: Iterable[str]) -> None:
        unknown = names_in(text) - set(known)
        if unknown:
            there_are = f"there are {', '.join(known)}" if known else "it is not known whom the answer is for"
            raise ValueError(f"{where}: {', '.join(sorted(unknown))} is no name for this text; {there_are}")
