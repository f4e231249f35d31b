"""A YAML file as a tree that knows where every key and value was written."""

from dataclasses import dataclass, field

from contracts.measurement import Scalar
from documents.issues import Issue, KeyPath, Place

Plain = Scalar | list["Plain"] | dict[str, "Plain"] | None


@dataclass(frozen=True)
class ScalarNode:
    """A single value."""

    place: Place
    value: Scalar | None

    def plain(self) -> Scalar | None:
        """The value itself."""
        return self.value


@dataclass(frozen=True)
class SequenceNode:
    """A list."""

    place: Place
    items: list["Node"]

    def plain(self) -> Plain:
        """The list without positions."""
        return [item.plain() for item in self.items]


@dataclass(frozen=True)
class Entry:
    """A key of a mapping, where the key stands, and its value."""

    key_place: Place
    value: "Node"

    @property
    def place(self) -> Place:
        """Where to point for this entry: at a single value, or at the key of what has parts (or is empty)."""
        return self.value.place if isinstance(self.value, ScalarNode) else self.key_place


@dataclass(frozen=True)
class MappingNode:
    """Keys with values, in the order of the file."""

    place: Place
    entries: dict[str, Entry]

    def get(self, key: str) -> "Node | None":
        """The value of a key, or None."""
        entry = self.entries.get(key)
        return None if entry is None else entry.value

    def plain(self) -> Plain:
        """The mapping without positions."""
        return {key: entry.value.plain() for key, entry in self.entries.items()}


Node = ScalarNode | SequenceNode | MappingNode


@dataclass
class Document:
    """A settings file: its tree, and what was wrong already with the YAML itself."""

    root: MappingNode
    issues: list[Issue] = field(default_factory=list)
    unusable: set[KeyPath] = field(default_factory=set)
    """Where a value was refused as such: what it would be judged as there is an echo."""

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """Where ``path`` stands, or the nearest of its parents that was written. ``key``: point at the key."""
        node: Node = self.root
        place = self.root.place
        for step in path:
            if isinstance(node, MappingNode) and step in node.entries:
                entry = node.entries[str(step)]
                place = entry.key_place if key and step == path[-1] else entry.place
                node = entry.value
            elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
                place = node.place
            else:
                break
        return place

    def node(self, path: KeyPath) -> Node | None:
        """What stands at ``path``, or None."""
        node: Node | None = self.root
        for step in path:
            if isinstance(node, MappingNode):
                node = node.get(str(step))
            elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
                node = node.items[step]
            else:
                return None
        return node
