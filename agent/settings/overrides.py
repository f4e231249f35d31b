"""``key.path=value`` of the command line's ``--set``, put into the tree before it is validated."""

from collections.abc import Iterable

from documents.document import Document, Entry, MappingNode, Node, ScalarNode, SequenceNode
from documents.issues import Issue, Place, did_you_mean, issue_at
from documents.reading import parse_value


def apply_overrides(document: Document, overrides: Iterable[str]) -> list[Issue]:
    """Change the tree. A key that is missing is added where the mapping above it exists; anything else is an issue."""
    issues: list[Issue] = []
    for override in overrides:
        key_path, equals, text = override.partition("=")
        key_path = key_path.strip()
        place = Place(f"--set {key_path or override}")
        if not equals or not key_path:
            issues.append(issue_at(place, (), "not of the form key.path=value"))
            continue
        steps = key_path.split(".")
        value = parse_value(text, place)
        if value is None:
            issues.append(
                issue_at(place, tuple(steps), "not a single value", found=text, hint="quote it as YAML would have it")
            )
            continue
        issue = _put(document.root, steps, value, place)
        if issue is not None:
            issues.append(issue)
    return issues


def _put(root: MappingNode, steps: list[str], value: ScalarNode, place: Place) -> Issue | None:
    node: Node = root
    path = tuple(steps)
    done: list[str] = []
    while True:
        if isinstance(node, SequenceNode):
            if not steps[0].isdigit() or int(steps[0]) >= len(node.items):
                size = len(node.items)
                return issue_at(place, path, f"{'.'.join(done)} has {size} entries", expected=f"0 to {size - 1}")
            at = int(steps[0])
            if len(steps) == 1:
                node.items[at] = value
                return None
            node, done, steps = node.items[at], [*done, steps[0]], steps[1:]
            continue
        if not isinstance(node, MappingNode):
            return issue_at(place, path, f"{'.'.join(done)} is a single value, nothing can be set below it")
        key, rest = _split(node, steps)
        if not rest:
            if key in node.entries and not isinstance(node.entries[key].value, ScalarNode):
                return issue_at(place, path, "stands for several values; set one of them", hint=_below(node, key))
            node.entries[key] = Entry(place, value)
            return None
        entry = node.entries.get(key)
        if entry is None:
            above = ".".join(done) or "the file"
            return issue_at(place, path, f"{above} has no {key}", hint=did_you_mean(key, node.entries))
        node, done, steps = entry.value, [*done, key], rest


def _split(node: MappingNode, steps: list[str]) -> tuple[str, list[str]]:
    """The next key, and the rest of the path. A key may hold dots itself (``criteria.printer.printed``)."""
    for size in range(1, len(steps) + 1):
        key = ".".join(steps[:size])
        if key in node.entries:
            return key, steps[size:]
    return steps[0], steps[1:]


def _below(node: MappingNode, key: str) -> str | None:
    value = node.entries[key].value
    return "it has " + ", ".join(value.entries) if isinstance(value, MappingNode) else None
