"""How a node is named in settings. No client library is imported here."""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from drivers.base import Strict

OBJECTS_FOLDER = "i=85"
_NODE_ID = re.compile(r"^(?:ns=(?P<ns>\w+);|nsu=(?P<nsu>[^;]+);)?(?P<kind>[isgb])=(?P<id>.+)$", re.DOTALL)
_NODE_ID_FORMS = "ns=2;s=Laser.Depth, nsu=urn:maker:laser;i=7, g= with a GUID, or b= with base64"
_STEP = re.compile(r"\.?(?P<name>[^.\[\]]+)|\[(?P<index>\d+(?:,\d+)*)\]")
_NOT_ESCAPED_SLASH = re.compile(r"(?:^|/)((?:&.|[^&/])*)", re.DOTALL)
_PREFIX = re.compile(r"^(?P<ns>\w+):(?P<name>.*)$", re.DOTALL)


def _is_node_id(text: str) -> str:
    NodeName.of(text)
    return text


def _is_browse_path(text: str) -> str:
    browse_names(text)
    return text


def _is_field(text: str) -> str:
    field_steps(text)
    return text


NodeIdText = Annotated[str, AfterValidator(_is_node_id)]
"""A node id as OPC 10000-6, 5.3.1.10 writes it: ``ns=2;s=Laser.Depth``, ``nsu=urn:maker:laser;i=7``, ``i=2258``.

``ns`` may also be one of the names under ``namespaces``.
"""

BrowsePath = Annotated[str, AfterValidator(_is_browse_path)]
"""Browse names from node to node, ``m:Laser/m:Result/m:Depth``. Each has its namespace before it: an index, or one of
the names under ``namespaces``; without one it is of the standard (0). ``&`` takes its meaning from a ``/``, ``:`` or
``&`` that belongs to a name (OPC 10000-4, A.2)."""

FieldPath = Annotated[str, AfterValidator(_is_field)]
"""What of a node's value is meant: a member of a structure (``Force.Peak``), a place of an array (``[2]``), of a matrix
(``[0,1]``), or both (``Points[2].Force``). Of an array of structures a member is the list of all their members."""


class NodeName:
    """A node id taken apart: its namespace as it is written, and its identifier."""

    def __init__(self, namespace: str | None, uri: str | None, identifier: int | str | UUID | bytes) -> None:
        self.namespace = namespace
        """An index in digits, a name of the settings, or None for the standard's namespace."""
        self.uri = uri
        self.identifier = identifier

    @classmethod
    def of(cls, text: str) -> Self:
        """Raises ValueError for what is no node id."""
        match = _NODE_ID.match(text)
        if match is None:
            raise ValueError(f"not a node id; expected {_NODE_ID_FORMS}")
        kind, written = match["kind"], match["id"]
        identifier: int | str | UUID | bytes = written
        try:
            if kind == "i":
                identifier = int(written)
            elif kind == "g":
                identifier = UUID(written)
            elif kind == "b":
                identifier = b64decode(written, validate=True)
        except (ValueError, binascii.Error):
            wanted = {"i": "a number", "g": "a GUID", "b": "base64"}[kind]
            raise ValueError(f"not a node id: {kind}= is followed by {wanted}") from None
        if isinstance(identifier, int) and not 0 <= identifier < 2**32:
            raise ValueError("not a node id: i= is followed by a number from 0 to 4294967295")
        if match["ns"] is not None and match["ns"].isdigit() and int(match["ns"]) > 65535:
            raise ValueError("not a node id: ns= is followed by an index from 0 to 65535, or a name under namespaces")
        return cls(match["ns"], match["nsu"], identifier)


def browse_names(text: str) -> list[tuple[str | None, str]]:
    """The steps of a browse path: namespace as it is written, and name. Raises ValueError."""
    found: list[tuple[str | None, str]] = []
    for step in _NOT_ESCAPED_SLASH.findall(text.removeprefix("/")):
        match = _PREFIX.match(step)
        namespace, name = (match["ns"], match["name"]) if match is not None else (None, step)
        name = re.sub(r"&(.)", r"\1", name, flags=re.DOTALL)
        if not name:
            raise ValueError('not a browse path; expected names with "/" between them, such as m:Laser/m:Depth')
        found.append((namespace, name))
    return found


def field_steps(text: str) -> list[str | tuple[int, ...]]:
    """The steps into a value: names of members, and places of arrays. Raises ValueError."""
    found: list[str | tuple[int, ...]] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (match["name"] is not None and (text[at] == ".") is not bool(found)):
            raise ValueError(
                "not of the right form; expected a member, a place or both: Force.Peak, [2], Points[2].Force"
            )
        found.append(match["name"] if match["name"] is not None else tuple(map(int, match["index"].split(","))))
        at = match.end()
    if not found:
        raise ValueError("names nothing; leave it out for the whole value")
    return found


class NodeAddress(Strict):
    """A node: its id, or the way to it from another node."""

    node_id: NodeIdText | None = None
    """``ns=2;s=Laser.Depth``, ``nsu=urn:maker:laser;i=7``, ``g=`` with a GUID, ``b=`` with base64."""
    browse_path: BrowsePath | None = None
    """The way to the node by browse names, ``m:Laser/m:Depth``, where ids change from server to server."""
    start: NodeIdText | None = None
    """Where the browse path begins; the Objects folder (``i=85``) by default."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.node_id is None) == (self.browse_path is None):
            raise ValueError("give node_id or browse_path")
        if self.start is not None and self.browse_path is None:
            raise ValueError("start: only a browse_path begins somewhere")
        return self

    def namespaces_used(self) -> Mapping[str, set[str]]:
        """Key -> the namespaces it names, as they are written."""
        return namespaces_in(self.node_id, self.browse_path, self.start)

    def __str__(self) -> str:
        if self.node_id is not None:
            return self.node_id
        return str(self.browse_path) if self.start is None else f"{self.browse_path} from {self.start}"


def namespaces_in(node_id: str | None, browse_path: str | None, start: str | None) -> Mapping[str, set[str]]:
    """Key -> the namespaces that are named there by a name of the settings, not by an index."""
    found: dict[str, set[str]] = {}
    for key, text in (("node_id", node_id), ("start", start)):
        namespace = NodeName.of(text).namespace if text is not None else None
        if namespace is not None:
            found[key] = {namespace}
    if browse_path is not None:
        found["browse_path"] = {namespace for namespace, _ in browse_names(browse_path) if namespace is not None}
    return {key: {name for name in names if not name.isdigit()} for key, names in found.items()}


NamespaceName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,31}$")]
"""A short name for a namespace's URI."""
