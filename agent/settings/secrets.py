"""What a file does not hold itself: ``${NAME}`` of the environment, ``file:/path``; and secrets that it should not.

systemd's credentials are files below ``${CREDENTIALS_DIRECTORY}``.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from documents.document import Document, Entry, MappingNode, Node, ScalarNode, SequenceNode
from documents.issues import Issue, KeyPath, issue_at
from documents.scalars import plain_scalar

_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_FILE = re.compile(r"file:(/.+)")
_SECRET = re.compile(r"password|passwd|secret|token|api_?key|credential", re.IGNORECASE)
_LARGEST = 64 * 1024


def fill_in(document: Document, environment: Mapping[str, str] = os.environ) -> list[Issue]:
    """Put what is referred to in its place. What is not there is an issue, and stays as it is written."""
    issues: list[Issue] = list(_plain_secrets(document))
    _filled(document, document.root, (), environment, issues)
    return issues


def is_secret(path: KeyPath) -> bool:
    """Whether a value at this place is nobody's to read: the broker's password, that of central's API, and what a
    tool is told as one."""
    if path in (("broker", "password"), ("interlock", "http", "password")):
        return True
    in_environment = len(path) == 5 and path[0] == "machines" and path[2:4] == ("run", "environment")
    return in_environment and _SECRET.search(str(path[-1])) is not None


def _plain_secrets(document: Document) -> Iterator[Issue]:
    dev = document.root.get("dev")
    if isinstance(dev, ScalarNode) and dev.value is True:
        return
    for path, node in _scalars(document.root, ()):
        text = node.value
        if is_secret(path) and isinstance(text, str) and not (_NAME.search(text) or _FILE.fullmatch(text)):
            message = "a secret stands here in plain text"
            hint = 'write ${NAME} (an environment variable) or "file:/path"; dev: true allows it on a desk'
            yield issue_at(document.place(path), path, message, hint=hint)


def _scalars(node: Node, path: KeyPath) -> Iterator[tuple[KeyPath, ScalarNode]]:
    if isinstance(node, ScalarNode):
        yield path, node
    elif isinstance(node, MappingNode):
        for key, entry in node.entries.items():
            yield from _scalars(entry.value, (*path, key))
    else:
        for place, item in enumerate(node.items):
            yield from _scalars(item, (*path, place))


def _filled(document: Document, node: Node, path: KeyPath, environment: Mapping[str, str], issues: list[Issue]) -> Node:
    if isinstance(node, MappingNode):
        for key, entry in node.entries.items():
            node.entries[key] = Entry(
                entry.key_place, _filled(document, entry.value, (*path, key), environment, issues)
            )
    elif isinstance(node, SequenceNode):
        node.items[:] = [
            _filled(document, item, (*path, place), environment, issues) for place, item in enumerate(node.items)
        ]
    elif isinstance(node.value, str) and ("${" in node.value or node.value.startswith("file:/")):
        return _value(document, node, path, environment, issues)
    return node


def _value(
    document: Document, node: ScalarNode, path: KeyPath, environment: Mapping[str, str], issues: list[Issue]
) -> ScalarNode:
    assert isinstance(node.value, str)
    for name in _NAME.findall(node.value):
        if name not in environment:
            message = f"the environment variable {name} is not set"
            hint = f"set it in the agent's unit (Environment=); for check write {name}=... before the command"
            issues.append(issue_at(node.place, path, message, hint=hint))
            document.unusable.add(path)
            return node
    text = _NAME.sub(lambda found: environment[found[1]], node.value)
    if (file := _FILE.fullmatch(text)) is not None:
        try:
            text = _content(Path(file[1]))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            message = f"{file[1]} cannot be read: {reason}"
            issues.append(issue_at(node.place, path, message, hint="check the path and its rights"))
            document.unusable.add(path)
            return node
    elif text == node.value:
        return node
    value = text if is_secret(path) else plain_scalar(text)
    return ScalarNode(node.place, text if value is None else value)


def _content(path: Path) -> str:
    """The one line in a file. Raises OSError, or ValueError where that is no text."""
    with path.open("rb") as file:
        data = file.read(_LARGEST)
    try:
        return data.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError("it holds no text") from error
