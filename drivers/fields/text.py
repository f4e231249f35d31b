"""A text message taken apart: what stands at a point's place, as text (or as JSON's own values). Pure."""

import csv
import json
import re
from functools import cached_property
from typing import Any

from contracts.errors import DataError
from contracts.measurement import Scalar
from contracts.patterns import compiled
from drivers.fields.settings import FieldPoint, MessageSettings
from drivers.fields.spelling import columns_of

Json = Any


class NotThereError(DataError):
    """A message that does not hold this value; another of the same result may."""


class Text:
    """One text message. ``text`` is as it came; except in fixed columns the blanks around it mean nothing."""

    def __init__(self, text: str, message: MessageSettings) -> None:
        self._text = text
        self._stripped = text.strip()
        self._message = message

    def found(self, point: FieldPoint) -> list[Scalar | list[Scalar]]:
        """Each value at this point's place. Raises NotThereError where there is none, DataError for no such message."""
        if point.pattern is not None:
            return self._searched(point.pattern)
        if point.whole is not None:
            return [self._stripped]
        if point.key is not None:
            return self._of_key(point.key)
        if point.field is not None:
            return [self._of_field(point.field)]
        if point.columns is not None:
            return [self._of_columns(point.columns)]
        if point.group is not None:
            return [self._of_group(point.group)]
        assert point.path is not None
        return [self._of_path(point.path)]

    def _searched(self, pattern: str) -> list[Scalar | list[Scalar]]:
        found = compiled(pattern, lines=True)
        values = [match[found.groups] for match in found.finditer(self._stripped)]
        if not values:
            raise NotThereError(f"nothing matches {pattern!r}")
        return [value.strip() for value in values if value is not None]

    def _of_key(self, key: str) -> list[Scalar | list[Scalar]]:
        pairs = [part.partition(self._message.assign) for part in self._stripped.split(self._message.parts_separator)]
        values = [value.strip() for name, assign, value in pairs if assign and name.strip() == key]
        if not values:
            raise NotThereError(f"key {key!r} is not in the frame")
        return list(values)

    def _of_field(self, place: int) -> str:
        if place > len(self.parts):
            raise NotThereError(f"field {place} is missing: the frame has {len(self.parts)}")
        return self.parts[place - 1].strip()

    def _of_columns(self, columns: str) -> str:
        wanted = columns_of(columns)
        if wanted.stop > len(self._text):
            raise NotThereError(f"columns {columns} are missing: the frame has {len(self._text)}")
        return self._text[wanted].strip()

    def _of_group(self, group: str) -> str:
        if self._match is None:
            raise DataError(f"the text does not match message.pattern: {self._stripped[:200]!r}")
        value = self._match[group]
        if value is None:
            raise NotThereError(f"group {group} is not in this message")
        return value.strip()

    def _of_path(self, path: str) -> Scalar | list[Scalar]:
        found = _below(self._json, path.split("."), path)
        if isinstance(found, bool | int | float | str):
            return found
        if isinstance(found, list):
            if all(isinstance(one, bool | int | float | str) for one in found):
                return found
            raise DataError(f"path {path}: the list holds more than single values")
        told = "null" if found is None else "keys with values"
        raise NotThereError(f"path {path}: {told}, no value")

    @cached_property
    def parts(self) -> list[str]:
        """The fields, first to last."""
        message = self._message
        if message.quote is not None:
            try:
                rows = list(
                    csv.reader(
                        [self._stripped], delimiter=message.parts_separator, quotechar=message.quote, strict=True
                    )
                )
            except csv.Error as error:
                raise DataError(f"fields with quotes: {error}: {self._stripped[:200]!r}") from error
            return rows[0] if rows else [""]
        parts = self._stripped.split(message.parts_separator)
        return [part for part in parts if part] if message.merge_separators else parts

    @cached_property
    def _match(self) -> "re.Match[str] | None":
        return compiled(self._message.pattern or "").fullmatch(self._stripped)

    @cached_property
    def _json(self) -> Json:
        try:
            return json.loads(self._stripped, object_pairs_hook=_once, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise DataError(f"no JSON: {error}: {self._stripped[:200]!r}") from error


def _below(value: Json, steps: list[str], path: str) -> Json:
    for place, step in enumerate(steps):
        if step == "*":
            if not isinstance(value, list):
                raise NotThereError(f"path {path}: no list at {'.'.join(steps[:place]) or 'the top'}")
            return [_below(one, steps[place + 1 :], path) for one in value]
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise NotThereError(f"path {path}: {step!r} is not in the message")
    return value


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise ValueError(f"key {twice!r} is there twice")
    return found


def _no_number(text: str) -> Json:
    raise ValueError(f"{text} is not a finite number")
