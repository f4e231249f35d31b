"""Reading YAML text into a tree of nodes, or saying where it is no YAML.

The tree is built from ruamel.yaml's events, because they still tell a tag, an anchor, or a repeated key apart from
what it would become. Tags, anchors and aliases are refused: a station's file is read by people, top to bottom.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamStartEvent,
)
from ruamel.yaml.reader import ReaderError

from contracts.measurement import Scalar
from documents.document import Document, Entry, MappingNode, Node, ScalarNode, SequenceNode
from documents.issues import Issue, KeyPath, Place, SettingsError, issue_at
from documents.scalars import plain_scalar

_CLOSES = {"{": "}", "[": "]"}
_BLOCK_KEY = re.compile(r"\s*(?:- )?[\w-]+:(?:\s|$)")
"""A line that begins with a key of its own."""
MAX_DEPTH = 30
MAX_BYTES = 4 * 1024 * 1024


def read_document(path: Path) -> Document:
    """The tree of a file. Raises SettingsError where nothing can be made of it."""
    text = _text(path)
    document = parse(text, Place(str(path)))
    if document is None:
        raise SettingsError([Issue(str(path), None, None, "", "the file is empty; a station's settings are needed")])
    return document


def parse(text: str, origin: Place) -> Document | None:
    """The tree of a text, or None when it holds nothing. Raises SettingsError."""
    builder = _Builder(origin)
    try:
        node = builder.build(YAML(typ="safe", pure=True).parse(text))
    except YAMLError as error:
        raise SettingsError([_syntax_issue(error, text, origin), *builder.issues]) from error
    if node is None:
        return None
    if not isinstance(node, MappingNode):
        issue = issue_at(node.place, (), "not a mapping", expected="keys with values, the first one station:")
        raise SettingsError([issue, *builder.issues])
    return Document(node, builder.issues, builder.unusable)


def parse_value(text: str, place: Place) -> ScalarNode | None:
    """A single value written on the command line, or None when the text is anything else."""
    try:
        node = _Builder(place).build(YAML(typ="safe", pure=True).parse(text))
    except (YAMLError, SettingsError):
        return None
    if node is None:
        return ScalarNode(place, None)
    return ScalarNode(place, node.value) if isinstance(node, ScalarNode) else None


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SettingsError([Issue(str(path), None, None, "", "larger than 4 MB: this is no settings file")])
        data = path.read_bytes()
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise SettingsError([Issue(str(path), None, None, "", reason, hint="check the path and its rights")]) from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        found = f"byte 0x{data[error.start]:02x}"
        message = "not UTF-8"
        raise SettingsError(
            [Issue(str(path), line, column, "", message, found=found, hint="save the file as UTF-8")]
        ) from error


def _syntax_issue(error: YAMLError, text: str, origin: Place) -> Issue:
    lines = text.splitlines()
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n"), len(before) - (before.rfind("\n") + 1)
        problem = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        return issue_at(Place(origin.file, line + 1, column + 1), (), problem)
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return issue_at(Place(origin.file, 1, 1), (), f"not YAML: {error}")
    line, column = error.problem_mark.line, error.problem_mark.column
    for at in range(line, max(line - 2, -1), -1):
        indentation = lines[at][: len(lines[at]) - len(lines[at].lstrip())] if at < len(lines) else ""
        if "\t" in indentation:
            place = Place(origin.file, at + 1, indentation.index("\t") + 1)
            return issue_at(place, (), "a tab indents this line; YAML takes spaces only")
    problem = f"not YAML: {error.problem}"
    began = error.context_mark
    if began is not None and began.line < line:
        opened = Place(origin.file, began.line + 1, began.column + 1)
        if "could not find expected ':'" in problem:
            remedy = "write the key, a colon, a space, and its value"
            return issue_at(opened, (), "not YAML: this line is no key with a value", hint=remedy)
        bracket = lines[began.line][began.column : began.column + 1] if began.line < len(lines) else ""
        # YAML ends lines at characters that these lines do not end at, and the other way round.
        if bracket in _CLOSES and line < len(lines) and _BLOCK_KEY.match(lines[line]):
            remedy = f"close it with {_CLOSES[bracket]} before line {line + 1}"
            return issue_at(opened, (), f"not YAML: the {bracket} that opens here is not closed", hint=remedy)
    if began is not None and (began.line, began.column) != (line, column):
        problem += f" {error.context}, which began at {began.line + 1}:{began.column + 1}"
    hint = _syntax_hint(error.problem or "", lines, line)
    return issue_at(Place(origin.file, line + 1, column + 1), (), problem, hint=hint)


def _syntax_hint(problem: str, lines: list[str], line: int) -> str | None:
    if "mapping values are not allowed" in problem:
        if line > 0 and line < len(lines) and lines[line].startswith(" "):
            return "check the indentation, or put a text that holds a colon in quotes"
        return "a space belongs after each key's colon; a text that holds a colon goes in quotes"
    if "unknown escape character" in problem:
        return "write the text in single quotes, where a backslash is a backslash"
    if "cannot start any token" in problem:
        return "put a text that begins with this character in quotes"
    if "expected <block end>" in problem:
        return "keys of one mapping begin in the same column"
    return None


class _Builder:
    """Builds the tree from events, noting what is refused."""

    def __init__(self, origin: Place) -> None:
        self.issues: list[Issue] = []
        self.unusable: set[KeyPath] = set()
        self._origin = origin

    def build(self, events: Iterator[Event]) -> Node | None:
        node: Node | None = None
        for event in events:
            if isinstance(event, StreamStartEvent):
                continue
            if isinstance(event, DocumentStartEvent):
                if node is not None:
                    message = "a second document begins here; a settings file holds one"
                    self.issues.append(issue_at(self._place(event), (), message))
                    break
                node = self._node(next(events), events, ())
        if isinstance(node, ScalarNode) and node.value is None:
            return None
        return node

    def _place(self, event: Event) -> Place:
        if self._origin.line is None and self._origin.file.startswith("--"):
            return self._origin
        mark: Any = event.start_mark
        return Place(self._origin.file, mark.line + 1, mark.column + 1)

    def _node(self, event: Event, events: Iterator[Event], path: KeyPath) -> Node:
        place = self._place(event)
        if len(path) > MAX_DEPTH:
            raise SettingsError([issue_at(place, path[:3], f"more than {MAX_DEPTH} levels deep")])
        if isinstance(event, AliasEvent):
            self.issues.append(issue_at(place, path, f"alias *{event.anchor} is not taken; write the value out"))
            self.unusable.add(path)
            return ScalarNode(place, None)
        if getattr(event, "anchor", None) is not None:
            anchor = getattr(event, "anchor", None)
            self.issues.append(issue_at(place, path, f"anchor &{anchor} is not taken; write each value out"))
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.issues.append(issue_at(place, path, f"tag {tag} is not taken; write the plain value"))
            self.unusable.add(path)
        if isinstance(event, ScalarEvent):
            return self._scalar(event, place, path)
        if isinstance(event, SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(events), SequenceEndEvent):
                items.append(self._node(event, events, (*path, len(items))))
            return SequenceNode(place, items)
        assert isinstance(event, MappingStartEvent)
        return self._mapping(place, events, path)

    def _scalar(self, event: ScalarEvent, place: Place, path: KeyPath) -> ScalarNode:
        value: Scalar | None = plain_scalar(event.value) if event.implicit[0] else event.value
        if isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError as error:
                issue = issue_at(place, path, "half a surrogate pair is no character")
                raise SettingsError([issue, *self.issues]) from error
        return ScalarNode(place, value)

    def _mapping(self, place: Place, events: Iterator[Event], path: KeyPath) -> MappingNode:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            key_node = self._node(event, events, path)
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            where = key_node.place
            shown = key if isinstance(key, str) else str(getattr(event, "value", "?"))
            value = self._node(next(events), events, (*path, shown))
            if isinstance(value, ScalarNode) and value.value is None:
                value = ScalarNode(where, None)
            if not isinstance(key, str) and _is_decimals(shown, value) and (number := _last_number(entries)):
                name, text = number
                self.unusable.add((*path, name))
                message = f"a number's decimals follow a point, not a comma; write {text}.{shown}"
                self.issues.append(issue_at(entries[name].place, (*path, name), message, found=f"{text},{shown}"))
            elif not isinstance(key, str):
                hint = "write it in quotes" if isinstance(key_node, ScalarNode) else None
                message = "a key is a single text"
                self.issues.append(issue_at(where, (*path, shown), message, found=f"the key {shown}", hint=hint))
            elif key in entries:
                first = entries[key].key_place
                message = f"duplicate key; it stands already at {first.line}:{first.column}"
                self.issues.append(issue_at(where, (*path, key), message, hint="keep one of them"))
            else:
                entries[key] = Entry(where, value)
        return MappingNode(place, entries)


def _is_decimals(key: str, value: Node) -> bool:
    """In ``{nominal: 60,5}`` YAML sees a key 5 without a value."""
    return key.isdecimal() and isinstance(value, ScalarNode) and value.value is None


def _last_number(entries: dict[str, Entry]) -> tuple[str, str] | None:
    """The last key, and its value, where that is a whole number."""
    name = next(reversed(entries), None)
    node = entries[name].value if name is not None else None
    if name is None or not isinstance(node, ScalarNode) or type(node.value) is not int:
        return None
    return name, str(node.value)
