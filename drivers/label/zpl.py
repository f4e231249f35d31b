"""What goes to a Zebra-class printer and what comes back (ZPL II Programming Guide: ^FH, ~HS)."""

from dataclasses import dataclass

from contracts.errors import DataError
from contracts.measurement import Scalar
from drivers.template import as_text

STATUS_QUERY = b"~HS"
STX, ETX = b"\x02", b"\x03"
STATUS_LINES = 3
_UNSAFE = '^~\\_"<>'


@dataclass(frozen=True)
class HostStatus:
    """The fields of a ~HS answer that a label's fate depends on."""

    paper_out: bool
    paused: bool
    formats_waiting: int
    head_open: bool
    ribbon_out: bool
    labels_remaining: int

    @property
    def ready(self) -> bool:
        """True when the printer can print and has nothing left to do."""
        return not self.fault and self.formats_waiting == 0 and self.labels_remaining == 0

    @property
    def fault(self) -> str | None:
        """What keeps the printer from printing, or None."""
        causes = {
            "paper out": self.paper_out,
            "head open": self.head_open,
            "ribbon out": self.ribbon_out,
            "paused": self.paused,
        }
        return ", ".join(cause for cause, stands in causes.items() if stands) or None


def field_data(value: Scalar) -> str:
    """A value as ^FD data that cannot end its field: control marks become ``_hh`` (the field needs ^FH)."""
    parts: list[str] = []
    for character in as_text(value):
        if character in _UNSAFE or not character.isprintable():
            parts += [f"_{byte:02X}" for byte in character.encode("utf-8")]
        else:
            parts.append(character)
    return "".join(parts)


def with_hex_fields(template: str) -> str:
    """The template with ^FH before each ^FD, so that escaped values are understood."""
    return template.replace("^FH^FD", "^FD").replace("^FD", "^FH^FD")


def parse_host_status(answer: bytes) -> HostStatus:
    """The three strings of a ~HS answer, each STX ... ETX CR LF. Raises DataError for anything else."""
    strings = [part.split(STX, 1)[1] for part in answer.split(ETX) if STX in part]
    if len(strings) != STATUS_LINES:
        raise DataError(f"a host status has {STATUS_LINES} strings, not {len(strings)}")
    try:
        one, two, _ = ([field.strip() for field in string.decode("ascii").split(",")] for string in strings)
        return HostStatus(
            paper_out=one[1] == "1",
            paused=one[2] == "1",
            formats_waiting=int(one[4]),
            head_open=two[2] == "1",
            ribbon_out=two[3] == "1",
            labels_remaining=int(two[8]),
        )
    except (UnicodeDecodeError, IndexError, ValueError) as error:
        raise DataError(f"host status not understood: {answer[:200]!r}") from error


def host_status(status: HostStatus) -> bytes:
    """The answer of a printer in this state (what a simulator says)."""
    one = f"030,{status.paper_out:d},{status.paused:d},0480,{status.formats_waiting:03d},0,0,0,000,0,0,0"
    two = f"000,0,{status.head_open:d},{status.ribbon_out:d},1,2,4,0,{status.labels_remaining:08d},1,000"
    return b"".join(STX + line.encode("ascii") + ETX + b"\r\n" for line in (one, two, "1234,0"))
