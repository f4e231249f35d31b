"""Where the settings' nodes are on this server, today: a namespace's index may be another after its restart."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from asyncua import ua

from drivers.opcua.addresses import OBJECTS_FOLDER, NodeAddress, NodeName, browse_names
from drivers.opcua.link import OpcUaLink, path_step, status_in_words


class NotThereError(Exception):
    """Why a node is not on the server, in words."""


class Namespaces:
    """Indexes of namespaces on one server, by what the settings call them."""

    def __init__(self, names: Mapping[str, str], on_server: list[str]) -> None:
        self._names = names
        self._on_server = on_server

    def index(self, written: str | None) -> int:
        """Of an index in digits, a name of the settings, or None (the standard's). Raises NotThereError."""
        if written is None:
            return 0
        return int(written) if written.isdigit() else self.index_of_uri(self._names[written])

    def index_of_uri(self, uri: str) -> int:
        """Raises NotThereError."""
        if uri not in self._on_server:
            known = ", ".join(self._on_server) or "none"
            raise NotThereError(f"the server has no namespace {uri}; it has {known}")
        return self._on_server.index(uri)

    def node_id(self, text: str) -> ua.NodeId:
        """A node id as the server numbers it. Raises NotThereError."""
        name = NodeName.of(text)
        place = self.index_of_uri(name.uri) if name.uri is not None else self.index(name.namespace)
        return ua.NodeId(name.identifier, ua.Int16(place))  # type: ignore[arg-type]  # a bare int or str will do

    def qualified_name(self, namespace: str | None, name: str) -> ua.QualifiedName:
        """A browse name. Raises NotThereError."""
        return ua.QualifiedName(name, ua.UInt16(self.index(namespace)))

    def browse_path(self, address: NodeAddress) -> ua.BrowsePath:
        """The way to a node, as the server is asked for it. Raises NotThereError."""
        elements = [
            path_step(ua.ObjectIds.HierarchicalReferences, self.qualified_name(namespace, name))
            for namespace, name in browse_names(address.browse_path or "")
        ]
        return ua.BrowsePath(
            StartingNode=self.node_id(address.start or OBJECTS_FOLDER), RelativePath=ua.RelativePath(elements)
        )


@dataclass
class Located:
    """Nodes by the name they have in the settings, and why the others are not there."""

    nodes: dict[str, ua.NodeId] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


async def located(link: OpcUaLink, namespaces: Namespaces, addresses: Mapping[str, NodeAddress]) -> Located:
    """Find the nodes. Whether a node id is on the server shows when it is used. Raises LinkError."""
    found = Located()
    paths: dict[str, ua.BrowsePath] = {}
    for name, address in addresses.items():
        try:
            if address.node_id is not None:
                found.nodes[name] = namespaces.node_id(address.node_id)
            else:
                paths[name] = namespaces.browse_path(address)
        except NotThereError as error:
            found.missing[name] = str(error)
    for name, result in zip(paths, await link.translate(list(paths.values())), strict=True):
        whole = [one for one in result.Targets or () if one.RemainingPathIndex == 2**32 - 1]
        if not whole:
            status = result.StatusCode
            why = status_in_words(status) if status.is_bad() else "it leads to another server"
            found.missing[name] = f"the browse path {addresses[name]} leads to no node: {why}"
        elif len(whole) > 1:
            found.missing[name] = f"the browse path {addresses[name]} leads to {len(whole)} nodes; give a node_id"
        else:
            target = whole[0].TargetId
            found.nodes[name] = ua.NodeId(target.Identifier, target.NamespaceIndex)
    return found
