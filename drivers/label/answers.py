"""What a Zebra-class printer is asked, and what it answers.

Sources: Zebra, Programming Guide for ZPL II, ZBI 2, Set-Get-Do (P1099958): commands ~HI, ~HS, ~HQ, ~JA and SGD
odometer.total_label_count. A ~HI answer is ``<STX>model,firmware,dots per mm,memory,options<ETX><CR><LF>``. A ~HS
answer is three strings, each ``<STX>fields<ETX><CR><LF>``::

    aaa,b,c,dddd,eee,f,g,h,iii,j,k,l        b paper out, c pause, eee formats in the receive buffer, g diagnostic mode,
                                            h partial format in progress, j configuration lost, l over temperature
    mmm,n,o,p,q,r,s,t,uuuuuuuu,v,www        o head up, p ribbon out, t label waiting (peel-off mode),
                                            uuuuuuuu labels remaining in the batch
    xxxx,y                                  password, static RAM installed
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from contracts.errors import DataError

Answer = TypeVar("Answer")

CANCEL_ALL = b"~JA"
STX, ETX = b"\x02", b"\x03"
_CM_PER_INCH = Decimal("2.54")
_IDENTIFYING = 4
"""Fields of a ~HI answer that every printer gives."""
_CM_DIGITS = Decimal("0.1")

CONDITIONS: Mapping[str, str] = {
    "paper_out": "paper out: load labels, close the head, press PAUSE",
    "head_open": "head open: close the print head",
    "ribbon_out": "ribbon out: load a ribbon, close the head, press PAUSE",
    "paused": "paused: press PAUSE at the printer",
    "head_too_hot": "print head too hot: it goes on by itself when it has cooled",
    "configuration_lost": "configuration lost (RAM corrupt): set the printer up again, or have it repaired",
    "diagnostic_mode": "diagnostics on: it prints what it receives instead of labels; switch it off and on",
}
"""What keeps a printer from printing, by the name of its field: what is wrong, and what to do."""


@dataclass(frozen=True)
class HostStatus:
    """The fields of a ~HS answer that a label's fate depends on. Built without arguments: idle and in order."""

    paper_out: bool = False
    paused: bool = False
    formats_waiting: int = 0
    diagnostic_mode: bool = False
    partial_format: bool = False
    configuration_lost: bool = False
    head_too_hot: bool = False
    head_open: bool = False
    ribbon_out: bool = False
    label_waiting: bool = False
    labels_remaining: int = 0

    @property
    def conditions(self) -> Mapping[str, str]:
        """What keeps it from printing, by name."""
        return {name: text for name, text in CONDITIONS.items() if getattr(self, name)}

    @property
    def ready(self) -> bool:
        """True when the printer can print and has nothing left to do."""
        busy = self.partial_format or self.formats_waiting > 0 or self.labels_remaining > 0
        return not self.conditions and not busy


@dataclass(frozen=True)
class Question(Generic[Answer]):
    """What is sent, how a whole answer looks, and what it means; ``parse`` raises DataError."""

    name: str
    sent: bytes
    whole: re.Pattern[bytes]
    parse: Callable[[bytes], Answer]


def parse_host_status(answer: bytes) -> HostStatus:
    """Understand a ~HS answer. Raises DataError for anything that is not one."""
    try:
        one, two, _ = (
            [field.strip() for field in string.decode("ascii").split(",")]
            for string in re.findall(STX + b"([^\x02\x03]*)" + ETX, answer)
        )
        return HostStatus(
            paper_out=_flag(one[1]),
            paused=_flag(one[2]),
            formats_waiting=int(one[4]),
            diagnostic_mode=_flag(one[6]),
            partial_format=_flag(one[7]),
            configuration_lost=_flag(one[9]),
            head_too_hot=_flag(one[11]),
            head_open=_flag(two[2]),
            ribbon_out=_flag(two[3]),
            label_waiting=_flag(two[7]),
            labels_remaining=int(two[8]),
        )
    except (UnicodeDecodeError, IndexError, ValueError) as error:
        raise DataError(f"host status not understood: {answer[:200]!r}") from error


def parse_print_length(answer: bytes) -> float:
    """The length printed in the printer's life, in cm, of a ~HQOD answer. Raises DataError."""
    found = re.search(rb'TOTAL NONRESETTABLE:\s*(\d{1,15})\s*("|cm)', answer, re.IGNORECASE)
    if found is None:
        raise DataError(f"odometer not understood: {answer[:200]!r}")
    length = Decimal(found[1].decode("ascii"))
    return float(length if found[2] != b'"' else (length * _CM_PER_INCH).quantize(_CM_DIGITS))


def parse_label_count(answer: bytes) -> int:
    """The labels printed in the printer's life. Raises DataError, also where the printer does not count (``?``)."""
    text = answer.strip().strip(b'"')
    if not re.fullmatch(rb"\d{1,15}", text):
        raise DataError(f"the printer keeps no count of its labels (it answers {text[:40]!r})")
    return int(text)


def parse_host_identification(answer: bytes) -> str:
    """Model and firmware of a ~HI answer, ``ZT411-200dpi V92.21.17Z``. Raises DataError."""
    found = re.search(STX + rb"([\x20-\x7e]*)" + ETX, answer)
    fields = [] if found is None else [field.strip() for field in found[1].decode("ascii").split(",")]
    if len(fields) < _IDENTIFYING or not fields[0]:
        raise DataError(f"host identification not understood: {answer[:200]!r}")
    return " ".join(filter(None, fields[:2]))


HOST_IDENTIFICATION = Question("~HI", b"~HI", re.compile(rb"\s*\x02[^\x02\x03]*\x03\s*"), parse_host_identification)
HOST_STATUS = Question("~HS", b"~HS", re.compile(rb"(?:\s*\x02[^\x02\x03]*\x03){3}\s*"), parse_host_status)
PRINT_LENGTH = Question("~HQOD", b"~HQOD", re.compile(rb"\s*\x02[^\x02\x03]*\x03\s*"), parse_print_length)
LABEL_COUNT = Question(
    "odometer.total_label_count",
    b'! U1 getvar "odometer.total_label_count"\r\n',
    re.compile(rb'\s*"[^"]*"\s*'),
    parse_label_count,
)


def host_status(status: HostStatus) -> bytes:
    """The answer of a printer in this state: the inverse of ``parse_host_status``."""
    one = (
        f"030,{status.paper_out:d},{status.paused:d},0160,{status.formats_waiting:03d},0,{status.diagnostic_mode:d},"
        f"{status.partial_format:d},000,{status.configuration_lost:d},0,{status.head_too_hot:d}"
    )
    two = (
        f"000,0,{status.head_open:d},{status.ribbon_out:d},1,2,4,{status.label_waiting:d},"
        f"{status.labels_remaining:08d},1,000"
    )
    return b"".join(STX + line.encode("ascii") + ETX + b"\r\n" for line in (one, two, "1234,0"))


def print_length(cm: int) -> bytes:
    """The answer to ~HQOD of a printer set to centimetres."""
    lines = ("", "PRINT METERS", f"   TOTAL NONRESETTABLE:   {cm} cm", f"   USER RESETTABLE CNTR1:   {cm} cm", "")
    return STX + "\r\n".join(lines).encode("ascii") + ETX


def host_identification(model: str, firmware: str) -> bytes:
    """The answer to ~HI of a printer of 8 dots per mm."""
    return STX + f"{model},{firmware},8,8192KB,".encode("ascii") + ETX + b"\r\n"


def label_count(count: int) -> bytes:
    """The answer of a printer that counts its labels."""
    return f'"{count}"'.encode("ascii")


def _flag(field: str) -> bool:
    if field not in ("0", "1"):
        raise ValueError(f"{field!r} is no flag")
    return field == "1"
