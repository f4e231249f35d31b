"""How a frame is told from the next: marks, a length field, a fixed length or silence; checksums and escape bytes."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contracts.duration import Duration
from drivers.base import Strict
from drivers.fields.layout import ByteOrder
from drivers.fields.spelling import Mark
from drivers.manuals import CHECKSUM, called

ChecksumType = Literal[
    "xor",
    "lrc",
    "lrc16",
    "sum8",
    "sum16",
    "crc8",
    "crc8-maxim",
    "crc8-sae-j1850",
    "crc8-rohc",
    "crc16-modbus",
    "crc16-xmodem",
    "crc16-ccitt-false",
    "crc16-ccitt-1d0f",
    "crc16-kermit",
    "crc16-x25",
    "crc16-arc",
    "crc16-usb",
    "crc16-dnp",
    "crc16-mcrf4xx",
    "crc32",
    "crc32-mpeg2",
    "crc32-bzip2",
    "crc32c",
    "crc32-posix",
]
_NOTATIONS = {"binary": 1, "hex": 2, "HEX": 2}


class CrcParameters(Strict):
    """A CRC of no common name, by the parameters of the Rocksoft model, as manuals print them."""

    width: Literal[8, 16, 24, 32]
    """Bits."""
    poly: Annotated[int, Field(ge=1)]
    """Polynomial, its highest bit left out."""
    init: Annotated[int, Field(ge=0)] = 0
    """Value to begin with."""
    reflect_in: bool = False
    """Whether the lowest bit of each byte comes first."""
    reflect_out: bool = False
    """Whether the result is turned round, lowest bit first."""
    xor_out: Annotated[int, Field(ge=0)] = 0
    """What the result is combined with."""

    @model_validator(mode="after")
    def _fits_width(self) -> Self:
        for key in ("poly", "init", "xor_out"):
            if getattr(self, key) >> self.width:
                raise ValueError(f"{key}: has more than {self.width} bits")
        return self


class ChecksumSettings(Strict):
    """The checksum of a frame: which, over which bytes, where it stands and how it is written."""

    type: Annotated[ChecksumType, called(CHECKSUM)] | None = None
    """``xor`` is what many manuals call BCC or LRC. ``lrc`` is the two's complement of the sum (Modbus ASCII) and

    ``lrc16`` the same of 16 bits; ``sum8`` and ``sum16`` are plain sums. CRCs have the names of the CRC catalogue."""
    crc: CrcParameters | None = None
    """A CRC of no common name."""
    place: Literal["before_end", "after_end"] = "before_end"
    """Before the end mark, or after it: the two usual orders."""
    skip: Annotated[int, Field(ge=0, le=255)] | None = None
    """So many bytes at the frame's begin are not summed: by default those of the start mark."""
    skip_last: Annotated[int, Field(ge=0, le=255)] = 0
    """So many bytes right before the checksum are not summed: 1 leaves out an ETX in front of it."""
    notation: Literal["binary", "hex", "HEX"] = "binary"
    """Bytes, or two hexadecimal digits for each (``hex``: small letters are sent, both are understood)."""
    byte_order: ByteOrder = "big"
    """Which byte of the checksum comes first."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.type is None) == (self.crc is None):
            raise ValueError("give type or crc")
        return self

    @property
    def width(self) -> int:
        """Bytes of the sum itself."""
        if self.crc is not None:
            return self.crc.width // 8
        kind = str(self.type)
        return 2 if "16" in kind else 4 if "32" in kind else 1

    @property
    def size(self) -> int:
        """Bytes it takes in the frame."""
        return self.width * _NOTATIONS[self.notation]


class EscapeSettings(Strict):
    """Byte stuffing: what a mark's byte becomes when it is part of the message."""

    byte: Annotated[Mark, Field(min_length=1, max_length=1)]
    """The escape byte: DLE ``\\x10``, ESC ``\\xdb``, ``\\x7d``, ..."""
    how: Literal["double", "xor", "replace"]
    """``double``: the escape byte itself is sent twice, and the marks begin with it (DLE STX ... DLE ETX). ``xor``: the

    byte after it is combined with ``xor``. ``replace``: the pair means what ``replace`` says."""
    xor: Annotated[int, Field(ge=1, le=255)] = 0x20
    """For ``xor``."""
    replace: Mapping[str, str] = {}
    """For ``replace``: the byte after the escape byte -> the byte that is meant (SLIP: ``{"\\xdc": "\\xc0", ...}``)."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.how == "replace") != bool(self.replace):
            raise ValueError("replace: needed with how: replace, and only there")
        singles = [*self.replace, *self.replace.values()]
        if any(len(one) != 1 or ord(one) > 0xFF for one in singles):
            raise ValueError("replace: one byte for one byte")
        if len(set(self.replace.values())) < len(self.replace):
            raise ValueError("replace: two pairs mean the same byte")
        if self.how == "replace" and self.byte not in self.replace.values():
            raise ValueError("replace: a pair has to mean the escape byte itself")
        return self


class LengthSettings(Strict):
    """The field that says how long the frame is: the whole frame has its value ``+ add`` bytes."""

    at: Annotated[int, Field(ge=0, le=255)]
    """Place of its first byte in the frame, from 0, the start mark included."""
    size: Annotated[int, Field(ge=1, le=8)] = 1
    """Bytes, or digits."""
    byte_order: ByteOrder = "big"
    """Of a binary number."""
    notation: Literal["binary", "decimal", "hex"] = "binary"
    """A binary number, or digits of a text."""
    add: Annotated[int, Field(ge=-255, le=255)] = 0
    """What has to be added to make it the length of the whole frame, marks and checksum included."""


class FrameSettings(Strict):
    """How one message is told from the next: by marks, or by one of ``length``, ``fixed`` and ``idle``.

    The message is what is left without marks and checksum. A length field is part of it.
    """

    end: Annotated[Mark, Field(min_length=1)] | None = None
    """The bytes that end a frame; without ``length``, ``fixed`` and ``idle`` by default ``"\\r\\n"``."""
    start: Mark = ""
    """Where it is given, everything before it is noise. Between marks it never occurs inside a frame."""
    length: LengthSettings | None = None
    """Frames that say how long they are."""
    fixed: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Every frame has so many bytes, marks and checksum included."""
    idle: Annotated[Duration, Field(ge=0.002, le=60)] | None = None
    """Silence for so long ends a frame. USB adapters themselves make gaps of up to 16 ms."""
    checksum: ChecksumSettings | None = None
    """A frame whose checksum is wrong is no result. One of 8 bits is not enough to find the begin of a frame: without

    ``start`` what follows a broken frame is not read until the line falls silent."""
    escape: EscapeSettings | None = None
    """Byte stuffing between marks; undone before the checksum is computed."""
    max_length: Annotated[int, Field(ge=1, le=1_048_576)] = 4096
    """Bytes of the longest frame, marks included; what is longer is noise."""
    timeout: Annotated[Duration, Field(gt=0)] = 1.0
    """Silence on the line after which an unfinished frame is reported as it is, with a problem."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        ways = [way for way in ("length", "fixed", "idle") if getattr(self, way) is not None]
        if len(ways) > 1:
            raise ValueError(f"{ways[1]}: frames are told apart by {ways[0]} already; give one of them")
        if self.idle is not None and (self.start or self.end):
            raise ValueError("idle: silence alone ends such a frame; it has no marks")
        if self.escape is not None:
            self._check_escape(ways)
        elif self.is_marked and self.start and (self.start in self.end_mark or self.end_mark in self.start):
            raise ValueError("start and end must differ, and neither may contain the other")
        if self.max_length <= len(self.start) + len(self.end_mark) + self.checksum_size:
            raise ValueError("max_length leaves no room between start and end")
        if self.length is not None and self.length.at < len(self.start):
            raise ValueError("length.at: lies inside the start mark; it is counted from the frame's first byte")
        if self.fixed is not None and not self.overhead < self.fixed <= self.max_length:
            raise ValueError("fixed: leaves no room between marks and checksum, or is longer than max_length")
        if self.checksum is not None and self.checksum.place == "after_end" and not self.end_mark:
            raise ValueError("checksum.place: after_end needs an end mark")
        return self

    def _check_escape(self, ways: list[str]) -> None:
        assert self.escape is not None
        if ways:
            raise ValueError(f"escape: a frame with {ways[0]} needs none; only marks do")
        if not self.start:
            raise ValueError("escape: give start too")
        if self.escape.how == "double":
            mark = self.escape.byte
            follows = (self.start[1:], self.end_mark[1:])
            if self.start[:1] != mark or self.end_mark[:1] != mark or not all(follows) or mark in "".join(follows):
                raise ValueError("escape: how: double needs start and end that begin with byte, and hold it only there")
            if follows[0] in follows[1] or follows[1] in follows[0]:
                raise ValueError("start and end must differ, and neither may contain the other")
        elif len(self.start) != 1 or len(self.end_mark) != 1 or self.escape.byte in (self.start, self.end_mark):
            raise ValueError("escape: start and end are one byte each, and neither is the escape byte")
        elif self.escape.how == "xor" and {chr(ord(one) ^ self.escape.xor) for one in self._marks} & self._marks:
            raise ValueError("escape.xor: makes a mark of a mark")
        elif self.escape.how == "replace" and not {self.start, self.end_mark} <= {*self.escape.replace.values()}:
            raise ValueError("escape.replace: a pair has to mean each mark")

    @property
    def _marks(self) -> frozenset[str]:
        return frozenset((self.start, self.end_mark, self.escape.byte if self.escape is not None else ""))

    @property
    def is_marked(self) -> bool:
        """Whether marks tell frames apart."""
        return self.length is None and self.fixed is None and self.idle is None

    @property
    def is_strong(self) -> bool:
        """Whether a checksum of 16 bits or more tells a frame from noise, wherever it seems to begin."""
        return self.checksum is not None and self.checksum.width > 1

    @property
    def is_weak(self) -> bool:
        """Whether a checksum of 8 bits is all that tells a frame from noise."""
        return self.checksum is not None and not (self.is_strong or self.is_marked or self.start)

    @property
    def end_mark(self) -> str:
        """The end mark in use."""
        return self.end if self.end is not None else "\r\n" if self.is_marked else ""

    @property
    def start_bytes(self) -> bytes:
        """``start`` as it goes over the line."""
        return self.start.encode("latin-1")

    @property
    def end_bytes(self) -> bytes:
        """The end mark as it goes over the line."""
        return self.end_mark.encode("latin-1")

    @property
    def checksum_size(self) -> int:
        """Bytes of the checksum."""
        return 0 if self.checksum is None else self.checksum.size

    @property
    def trailer_size(self) -> int:
        """Bytes of a checksum after the end mark."""
        return self.checksum_size if self.checksum is not None and self.checksum.place == "after_end" else 0

    @property
    def overhead(self) -> int:
        """Bytes of a frame that are not its message."""
        return len(self.start) + len(self.end_mark) + self.checksum_size
