"""The layout of a binary message as settings describe it: items, repeated groups, groups that depend on a type byte."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from drivers.base import Strict
from drivers.manuals import BINARY_TYPE, ORDER, called

ByteOrder = Annotated[Literal["big", "little"], called(ORDER)]
BinaryType = Literal[
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint24",
    "int24",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
    "string",
    "bytes",
    "bcd",
]
SIZES: Mapping[str, int] = {
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "uint24": 3,
    "int24": 3,
    "uint32": 4,
    "int32": 4,
    "uint64": 8,
    "int64": 8,
    "float32": 4,
    "float64": 8,
}
"""Bytes of each type of fixed size; string, bytes and bcd have a length of their own."""
BINARY_TYPES = (*SIZES, "string", "bytes", "bcd")

ItemName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class LayoutCase(Strict):
    """The items that follow when the chosen item has the value ``when``."""

    when: int
    """The value of the chosen item."""
    layout: "Layout" = ()
    """What follows then."""


class LayoutItem(Strict):
    """One thing of a layout: a value (``name``, ``type``), bytes without meaning (``skip``), a repeated group

    (``name``, ``repeat``, ``layout``), or a part that depends on an item before it (``choose``, ``cases``).
    """

    name: ItemName | None = None
    """Name that points, counts and choices refer to."""
    type: Annotated[BinaryType, called(BINARY_TYPE)] | None = None
    """How its bytes are to be read. A string ends at its first NUL; bytes become hexadecimal digits."""
    length: Annotated[int, Field(ge=1, le=65536)] | Literal["rest"] | ItemName | None = None
    """Of a string, bytes or bcd: bytes, the name of an item before it that holds their number, or ``rest``: all that

    is left."""
    byte_order: ByteOrder | None = None
    """Of a number, where that is not as the message's."""
    skip: Annotated[int, Field(ge=1, le=65536)] | None = None
    """So many bytes mean nothing."""
    repeat: Annotated[int, Field(ge=1, le=65536)] | Literal["rest"] | ItemName | None = None
    """How often a group comes: a number, the name of an item before it, or ``rest``: until the message ends."""
    layout: "Layout" = ()
    """The items of a group."""
    choose: ItemName | None = None
    """Name of the item before it that says what follows: a type byte."""
    cases: Annotated[tuple[LayoutCase, ...], Field(strict=False)] = ()
    """What follows for each of its values; any other value is a problem."""

    @model_validator(mode="after")
    def _one_of_four(self) -> Self:
        given = {key for key in type(self).model_fields if getattr(self, key) not in (None, ())}
        if "choose" in given or "cases" in given:
            if given != {"choose", "cases"}:
                raise ValueError("choose: a choice has choose and cases, and nothing else")
            values = [case.when for case in self.cases]
            if len(set(values)) < len(values):
                raise ValueError("cases: each value of when stands once")
        elif "skip" in given:
            if given != {"skip"}:
                raise ValueError("skip: bytes without meaning have no other key")
        elif "repeat" in given or "layout" in given:
            if given != {"name", "repeat", "layout"}:
                raise ValueError("repeat: a group has name, repeat and layout, and nothing else")
        elif self.name is None or self.type is None:
            raise ValueError("an item has name and type, or is one of skip, repeat, choose")
        elif (self.length is not None) != (self.type not in SIZES):
            raise ValueError("length: a string, bytes or bcd has one, in bytes; nothing else has")
        return self


Layout = Annotated[tuple[LayoutItem, ...], Field(max_length=200, strict=False)]
LayoutCase.model_rebuild()
LayoutItem.model_rebuild()


def check_layout(layout: Layout) -> None:
    """Raises ValueError where an item refers to none before it, or two of one place have the same name."""
    _check(layout, frozenset(), inside_group=False)


def item_names(layout: Layout) -> frozenset[str]:
    """The names points may refer to; those inside a group with the group's name before them."""
    return frozenset(_names(layout, ""))


def _check(layout: Layout, known: frozenset[str], *, inside_group: bool) -> frozenset[str]:
    for item in layout:
        for key, needed in (("length", item.length), ("repeat", item.repeat), ("choose", item.choose)):
            if isinstance(needed, str) and needed != "rest" and needed not in known:
                raise ValueError(f"layout: {key}: no item {needed} stands before {item.name or 'it'}")
        if item.repeat is not None:
            if inside_group:
                raise ValueError(f"layout: {item.name}: a group inside a group cannot repeat")
            _check(item.layout, known, inside_group=True)
        for case in item.cases:
            _check(case.layout, known, inside_group=inside_group)
        if item.name is not None:
            if item.name in known:
                raise ValueError(f"layout: two items are named {item.name}")
            known |= {item.name}
    return known


def _names(layout: Layout, prefix: str) -> Iterator[str]:
    for item in layout:
        if item.repeat is not None:
            yield from _names(item.layout, f"{prefix}{item.name}.")
        elif item.name is not None:
            yield prefix + item.name
        for case in item.cases:
            yield from _names(case.layout, prefix)
