"""Small things that settings of messages spell as text: encodings, patterns, columns, bytes."""

import codecs
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from contracts.base import RegularExpression

_COLUMNS = re.compile(r"^(\d{1,5})(?:-(\d{1,5}))?$")


def _one_byte_letters(name: str) -> str:
    try:
        same = "A\0".encode(name) == b"A\0"
    except LookupError:
        raise ValueError(f"{name!r} is no text encoding; usual ones are ascii, utf-8, cp949, latin-1") from None
    if not same or codecs.lookup(name).name.startswith("utf-16"):
        raise ValueError(f"{name!r} has no plain letters of one byte; usual ones are ascii, utf-8, cp949, latin-1")
    return name


def _bytes_only(text: str) -> str:
    if any(ord(character) > 0xFF for character in text):
        raise ValueError(r"one character stands for one byte: use characters up to \xff")
    return text


def columns_of(text: str) -> slice:
    """``3-10`` as the slice of a text. Raises ValueError for anything else."""
    match = _COLUMNS.match(text)
    if match is None:
        raise ValueError("columns are written first-last, counted from 1: 3-10")
    first, last = int(match[1]), int(match[2] or match[1])
    if not 1 <= first <= last:
        raise ValueError("columns are counted from 1, the first before the last")
    return slice(first - 1, last)


Encoding = Annotated[str, AfterValidator(_one_byte_letters)]
"""Name of a text encoding whose plain letters are one byte each: a text ends at its first zero byte."""

Pattern = Annotated[RegularExpression, Field(min_length=1, max_length=2000)]
"""A regular expression of Python."""

Mark = Annotated[str, AfterValidator(_bytes_only), Field(max_length=16)]
"""A few bytes on a wire; each character is one byte."""
