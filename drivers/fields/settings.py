"""Settings of messages: how one is divided, of which kinds they are, and which part each point is."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self, cast

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from contracts.patterns import compiled
from drivers.base import PointSettings, ProtocolSettings, Strict
from drivers.fields.layout import BINARY_TYPES, BinaryType, ByteOrder, Layout, check_layout, item_names
from drivers.fields.spelling import Encoding, Pattern, columns_of
from drivers.kinds import UNKNOWN, Kind, Kinds, kinds_of

Format = Literal["key_value", "fields", "whole", "regex", "fixed", "json", "binary"]
Role = Literal["result", "part", "begin", "ignore", "empty"]
Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1, strict=False)]

_ADDRESS: Mapping[Format, tuple[str, ...]] = {
    "key_value": ("key",),
    "fields": ("field",),
    "whole": ("whole",),
    "regex": ("group",),
    "fixed": ("columns",),
    "json": ("path",),
    "binary": ("item", "at"),
}
ADDRESSES = ("key", "field", "whole", "group", "pattern", "columns", "path", "item", "at")
_TEXT_TYPES = ("string", "int", "float", "boolean")
_SIZED = ("string", "bytes", "bcd")


class MessageSettings(Strict):
    """How a message is divided.

    ``key_value``: ``code=SN-1;temp=60.1``. ``fields``: ``SN-1,60.1``, counted from 1. ``whole``: the text is the value.
    ``regex``: the named groups of ``pattern``, which matches all of the text. ``fixed``: columns of fixed width.
    ``json``: one JSON value. ``binary``: bytes at places, or described by ``layout``.
    """

    format: Format = "key_value"
    """How the text or the bytes are divided."""
    separator: Annotated[str, Field(min_length=1, max_length=8)] | None = None
    """Between the parts: by default ``;`` for key_value and ``,`` for fields."""
    merge_separators: bool = False
    """Whether several separators in a row count as one: columns that are filled up with blanks."""
    quote: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Around a field that may hold the separator, as in CSV files."""
    assign: Annotated[str, Field(min_length=1, max_length=8)] = "="
    """Between a key and its value, for key_value."""
    pattern: Pattern | None = None
    """Regular expression with named groups, ``(?P<name>...)``; it has to match the whole text, blanks around it off."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals of a number."""
    encoding: Encoding = "utf-8"
    """How bytes become text: ``utf-8``, ``cp949``, ``latin-1``, ...; its plain letters are one byte each."""
    byte_order: ByteOrder = "big"
    """Of numbers in a binary message that say nothing themselves."""
    layout: Layout = ()
    """The items of a binary message, first to last; nothing may be left over."""
    example: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """One such text as the machine sends it. It is checked against the points; a simulated machine sends it, with its

    own values in their places."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        given = {key for key in ("separator", "quote", "pattern", "layout") if getattr(self, key)}
        takes = {
            "key_value": {"separator"},
            "fields": {"separator", "quote"},
            "regex": {"pattern"},
            "binary": {"layout"},
        }.get(self.format, set())
        for key in sorted(given - takes):
            raise ValueError(f"{key}: format {self.format} has none")
        if self.format == "regex" and self.pattern is None:
            raise ValueError("format: regex needs pattern")
        if self.merge_separators and self.format != "fields":
            raise ValueError("merge_separators: only format fields has it")
        if self.format == "key_value" and self.assign == self.parts_separator:
            raise ValueError("separator and assign must differ")
        if self.quote is not None and (len(self.parts_separator) > 1 or self.merge_separators):
            raise ValueError("quote: needs a separator of one character, and no merge_separators")
        if self.decimal == "," and self.format == "fields" and self.parts_separator == ",":
            raise ValueError("decimal: a comma cannot stand in numbers and between fields too; set separator")
        if self.format == "binary" and self.example is not None:
            raise ValueError("example: a binary message has none")
        check_layout(self.layout)
        return self

    @property
    def parts_separator(self) -> str:
        """The separator in use."""
        return self.separator or ("," if self.format == "fields" else ";")

    @property
    def is_text(self) -> bool:
        """Whether the message is characters; else bytes."""
        return self.format != "binary"


class KindSettings(Strict):
    """One kind of message among several.

    ``result`` ends a result, ``begin`` begins one, ``part`` adds to it, ``ignore`` means nothing to the station,

    ``empty`` is the answer of a machine that has no result just now."""

    match: Pattern | None = None
    """Regular expression, searched in the text (in a binary message one character stands for one byte). Without it

    the pattern of the kind's own message; without that every message is of this kind."""
    role: Role = "result"
    """What such a message is to a result."""
    message: MessageSettings | None = None
    """How this kind is divided, where that is not as the machine's ``message`` says."""


class FieldPoint(PointSettings):
    """One value of a message: where it stands (exactly one key for that), and how it is to be understood."""

    kind: str | None = None
    """The kind of message it stands in, where there are several. Without it each is looked through."""
    key: Annotated[str, Field(min_length=1)] | None = None
    """Its key, for key_value."""
    field: Annotated[int, Field(ge=1)] | None = None
    """Its place, counted from 1, for fields."""
    whole: Literal[True] | None = None
    """The whole text is the value, for whole."""
    group: Annotated[str, Field(min_length=1)] | None = None
    """Named group of the message's ``pattern``."""
    pattern: Pattern | None = None
    """Regular expression, searched in the text; the value is its group, or all it matches where it has none."""
    columns: Annotated[str, AfterValidator(lambda text: columns_of(text) and text)] | None = None
    """Columns of a text of fixed width: ``3-10``, both counted and from 1."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """Keys and list places (from 0) down a JSON value, with dots: ``steps.0.force``; ``steps.*.force`` is a list."""
    item: Annotated[str, Field(min_length=1)] | None = None
    """Name in the message's ``layout``; ``group.item`` is a list where the group repeats."""
    at: int | None = None
    """Place of the first byte in a binary message, from 0; a negative one is counted from its end."""
    take: Literal["one", "first", "last", "all"] = "one"
    """Which counts when the value is there several times: with ``one`` that is a problem, ``all`` is a list."""
    type: Literal["string", "int", "float", "boolean"] | BinaryType | None = None
    """By default ``string`` in a text, what it is in JSON and ``layout``, and needed with ``at``."""
    length: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Bytes of a ``string``, ``bytes`` or ``bcd`` in a binary message."""
    byte_order: ByteOrder | None = None
    """Of a number in a binary message, where that is not as the message's."""
    bit: Annotated[int, Field(ge=0, le=63)] | None = None
    """One bit (0 is the lowest) of a whole number, as true or false."""
    mask: Annotated[int, Field(ge=1)] | None = None
    """These bits of a whole number alone, moved down to the lowest."""
    scale: float | int = 1
    """The value is the number ``* scale + offset``, computed in decimal."""
    offset: float | int = 0
    """See ``scale``."""
    values: Mapping[str, StrictBool | StrictInt | StrictFloat | StrictStr] | None = None
    """What each code means: ``{"0": OK, "1": NG}``. A code that is not listed is a problem."""
    unit_point: str | None = None
    """A point of the same message that holds the unit; the value counts only when that is ``unit``."""
    true_text: Texts = ("1", "true", "yes", "on", "ok", "pass")
    """Texts that mean true, in any case of letters."""
    false_text: Texts = ("0", "false", "no", "off", "ng", "fail")
    """Texts that mean false, in any case of letters."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if sum(getattr(self, key) is not None for key in ADDRESSES) != 1:
            raise ValueError(f"give exactly one of {', '.join(ADDRESSES)}")
        both = {text.casefold() for text in self.true_text} & {text.casefold() for text in self.false_text}
        if both:
            raise ValueError(f"true_text and false_text both hold {', '.join(sorted(both))}")
        if self.pattern is not None and compiled(self.pattern).groups > 1:
            raise ValueError("pattern: one value is one group; make the others (?:...)")
        if self.bit is not None and self.mask is not None:
            raise ValueError("bit: give bit or mask")
        if self.scale == 0:
            raise ValueError("scale: 0 would make every value the same")
        if self.is_scaled and (self.values is not None or self.type in ("boolean", "bytes") or self.bit is not None):
            raise ValueError("scale: only a number has scale and offset")
        if self.unit_point is not None and self.unit is None:
            raise ValueError("unit_point: give the unit that is expected too")
        if self.at is None:
            self._check_text_only()
        else:
            self._check_at()
        return self

    def _check_text_only(self) -> None:
        for key in ("length", "byte_order"):
            if getattr(self, key) is not None:
                raise ValueError(f"{key}: only a point with at has it; in a layout it stands there")
        if self.type is not None and self.type not in _TEXT_TYPES:
            raise ValueError(f"type: {self.type} needs at; here it is one of {', '.join(_TEXT_TYPES)}")
        if self.is_scaled and self.type in (None, "string") and self.item is None and self.path is None:
            raise ValueError("scale: only a number has scale and offset; set type to int or float")
        if (self.bit is not None or self.mask is not None) and self.item is None and self.type != "int":
            raise ValueError("bit: only a whole number has bits; set type to int")

    def _check_at(self) -> None:
        if self.type is None or self.type not in BINARY_TYPES:
            raise ValueError(f"type: with at it is one of {', '.join(BINARY_TYPES)}")
        if (self.length is not None) != (self.type in _SIZED):
            raise ValueError("length: a string, bytes or bcd has one, in bytes; nothing else has")
        if (self.bit is not None or self.mask is not None) and "int" not in self.type:
            raise ValueError("bit: only a whole number has bits")

    @property
    def is_scaled(self) -> bool:
        """True where the value is not the plain number."""
        return self.scale != 1 or self.offset != 0

    @property
    def kinds(self) -> Kinds:
        """See PointSettings.kinds: what ``values``, ``bit`` or ``type`` say; several values may be a list."""
        if self.values is not None:
            single = kinds_of(*self.values.values())
        elif self.bit is not None or self.type == "boolean":
            single = frozenset({Kind.TRUTH})
        elif self.type is None:
            return UNKNOWN
        else:
            single = frozenset({Kind.TEXT if self.type in ("string", "bytes") else Kind.NUMBER})
        several = self.take == "all" or self.path is not None or self.item is not None
        return single | {Kind.LIST} if several else single

    @property
    def binary_type(self) -> BinaryType:
        """The type of a point with ``at``."""
        assert self.at is not None
        return cast(BinaryType, self.type)

    @property
    def address(self) -> str:
        """Which key says where the value stands."""
        return next(key for key in ADDRESSES if getattr(self, key) is not None)


class FieldSettings(ProtocolSettings):
    """The keys of a machine that sends messages, beside those of its protocol."""

    message: MessageSettings = MessageSettings()
    """How a message is divided, whatever its kind; a kind may say otherwise."""
    kinds: Mapping[str, KindSettings] = {}
    """The kinds of message the machine sends, by name; the first that matches is it. Without it there is one kind."""
    points: Annotated[Mapping[str, FieldPoint], Field(min_length=1)]

    def message_of(self, kind: str | None) -> MessageSettings:
        """How messages of this kind are divided."""
        return (self.kinds[kind].message if kind is not None else None) or self.message

    def kinds_of(self, point: FieldPoint) -> Iterator[str | None]:
        """The kinds of message this point may stand in."""
        if not self.kinds:
            yield None
        for name, kind in self.kinds.items():
            wanted = name == point.kind if point.kind is not None else kind.role not in ("ignore", "empty")
            if wanted and _suits(point, self.message_of(name)):
                yield name

    @model_validator(mode="after")
    def _points_stand_somewhere(self) -> Self:
        if self.kinds and not any(kind.role == "result" for kind in self.kinds.values()):
            raise ValueError("kinds: one kind has the role result, or there is never a result")
        for name, point in self.points.items():
            if point.kind is not None and point.kind not in self.kinds:
                there_are = ", ".join(self.kinds) or "no kinds"
                raise ValueError(f"points.{name}.kind: unknown kind {point.kind}; there are {there_are}")
            formats = {self.message_of(kind).format for kind in self.kinds_of(point)}
            if not any(_suits(point, self.message_of(kind)) for kind in self.kinds_of(point)):
                raise ValueError(f"points.{name}: {self._needed(point, formats)}")
            if point.unit_point is not None and point.unit_point not in self.points:
                raise ValueError(f"points.{name}.unit_point: unknown point {point.unit_point}")
        return self

    def _needed(self, point: FieldPoint, formats: set[Format]) -> str:
        if point.kind is not None:
            formats = {self.message_of(point.kind).format}
        if not formats:
            return "no kind of message has such a value"
        form = sorted(formats)[0]
        if point.address in _ADDRESS[form]:
            return f"{point.address} {getattr(point, point.address)!r} is not in the message's pattern or layout"
        keys = " or ".join(_ADDRESS[form])
        return f"in a message of format {form} a value is found by {keys}; write one of these keys"


def _suits(point: FieldPoint, message: MessageSettings) -> bool:
    if point.address == "pattern":
        return message.is_text
    if point.address not in _ADDRESS[message.format]:
        return False
    if point.group is not None:
        return point.group in compiled(message.pattern or "").groupindex
    return point.item is None or point.item in item_names(message.layout)
