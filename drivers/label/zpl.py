"""What goes to a Zebra-class printer and what comes back.

Source: Zebra, ZPL II Programming Guide, commands ^FD, ^FH, ^FV, ~HS and ~JA. A ~HS answer is three strings, each
``<STX>fields<ETX><CR><LF>``::

    aaa,b,c,dddd,eee,f,g,h,iii,j,k,l        b paper out, c pause, eee formats in the receive buffer,
                                            h partial format in progress, l over temperature
    mmm,n,o,p,q,r,s,t,uuuuuuuu,v,www        o head up, p ribbon out, uuuuuuuu labels remaining in the batch
    xxxx,y                                  password, static RAM installed
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from contracts.errors import DataError
from contracts.measurement import Scalar
from drivers.template import as_text, names_in, render

STATUS_QUERY = b"~HS"
CANCEL_ALL = b"~JA"
STX, ETX = b"\x02", b"\x03"
STATUS_STRINGS = 3

_FIELD_END = re.compile(r"(\^FS|\^XZ)", re.IGNORECASE)
_FIELD_DATA = re.compile(r"\^F[DV]", re.IGNORECASE)
_HEX = re.compile(r"\^FH([^\^~\s]?)", re.IGNORECASE)
_INDICATORS = "_" + "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "_^~,")
_UTF8 = re.compile(r"\^CI28", re.IGNORECASE)


@dataclass(frozen=True)
class HostStatus:
    """The fields of a ~HS answer that a label's fate depends on. Built without arguments: idle and in order."""

    paper_out: bool = False
    paused: bool = False
    formats_waiting: int = 0
    partial_format: bool = False
    over_temperature: bool = False
    head_open: bool = False
    ribbon_out: bool = False
    labels_remaining: int = 0

    @property
    def ready(self) -> bool:
        """True when the printer can print and has nothing left to do."""
        busy = self.partial_format or self.formats_waiting > 0 or self.labels_remaining > 0
        return self.fault is None and not busy

    @property
    def fault(self) -> str | None:
        """What keeps the printer from printing, or None."""
        causes = {
            "paper out": self.paper_out,
            "head open": self.head_open,
            "ribbon out": self.ribbon_out,
            "paused": self.paused,
            "head too hot": self.over_temperature,
        }
        return ", ".join(cause for cause, stands in causes.items() if stands) or None


def misplaced_names(template: str) -> frozenset[str]:
    """The ``{names}`` outside field data (^FD or ^FV up to ^FS), where no value could be made harmless."""
    return frozenset(name for head, _ in _fields(template) for name in names_in(head))


def filled(template: str, job: Mapping[str, Scalar]) -> str:
    """The template with the job's values as field data. No value can end its field or reach the printer as a command.

    Raises KeyError for a name the job has no value for, ValueError for a value this template cannot print.
    """
    return "".join(_filled(head, data, job, _UTF8.search(template) is not None) for head, data in _fields(template))


def _filled(head: str, data: str, job: Mapping[str, Scalar], utf8: bool) -> str:
    indicators = _HEX.findall(head)
    indicator = (indicators[-1] if indicators else "") or "_"
    names = names_in(data)
    if names and not indicators:
        # From here on the field's own text is read as ^FH data too: the indicator must not occur in it.
        text = render(data, dict.fromkeys(names, ""), as_text)
        indicator = next(mark for mark in _INDICATORS if mark not in text)
        at = head.upper().rindex("^F")
        head = f"{head[:at]}^FH{indicator}{head[at:]}"
    for name in sorted(names):
        if not (utf8 or as_text(job[name]).isascii()):
            raise ValueError(f"{name} is {job[name]!r}: the template needs ^CI28 to print other than ASCII")
    return render(head, {}, as_text) + render(data, job, lambda value: field_data(value, indicator))


def field_data(value: Scalar, indicator: str = "_") -> str:
    """A value as ^FD data under ^FH: what the printer could take for more than data becomes ``_hh``."""
    return "".join(
        "".join(f"{indicator}{byte:02X}" for byte in character.encode("utf-8"))
        if character in "^~\\" + indicator or not (character.isascii() and character.isprintable())
        else character
        for character in as_text(value)
    )


def parse_host_status(answer: bytes) -> HostStatus:
    """Understand a ~HS answer. Raises DataError for anything that is not one."""
    strings = [part.split(STX, 1)[1] for part in answer.split(ETX) if STX in part]
    if len(strings) != STATUS_STRINGS:
        raise DataError(f"a host status has {STATUS_STRINGS} strings, not {len(strings)}: {answer[:200]!r}")
    try:
        one, two = ([field.strip() for field in string.decode("ascii").split(",")] for string in strings[:2])
        return HostStatus(
            paper_out=_flag(one[1]),
            paused=_flag(one[2]),
            formats_waiting=int(one[4]),
            partial_format=_flag(one[7]),
            over_temperature=_flag(one[11]),
            head_open=_flag(two[2]),
            ribbon_out=_flag(two[3]),
            labels_remaining=int(two[8]),
        )
    except (UnicodeDecodeError, IndexError, ValueError) as error:
        raise DataError(f"host status not understood: {answer[:200]!r}") from error


def host_status(status: HostStatus) -> bytes:
    """The answer of a printer in this state: the inverse of ``parse_host_status``."""
    one = (
        f"030,{status.paper_out:d},{status.paused:d},0160,{status.formats_waiting:03d},0,0,"
        f"{status.partial_format:d},000,0,0,{status.over_temperature:d}"
    )
    two = f"000,0,{status.head_open:d},{status.ribbon_out:d},1,2,4,0,{status.labels_remaining:08d},1,000"
    return b"".join(STX + line.encode("ascii") + ETX + b"\r\n" for line in (one, two, "1234,0"))


def _fields(template: str) -> list[tuple[str, str]]:
    """The template in pieces: commands up to and with ^FD, and the field's data. Together they are the template."""
    pieces: list[tuple[str, str]] = []
    head = ""
    for place, piece in enumerate(_FIELD_END.split(template)):
        found = _FIELD_DATA.search(piece) if place % 2 == 0 else None
        if found is None:
            head += piece
            continue
        pieces.append((head + piece[: found.end()], piece[found.end() :]))
        head = ""
    return [*pieces, (head, "")]


def _flag(field: str) -> bool:
    if field not in ("0", "1"):
        raise ValueError(f"{field!r} is no flag")
    return field == "1"
