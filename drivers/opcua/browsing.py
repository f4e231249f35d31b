"""What a server has: its nodes as a tree, for a technician who looks for a point. Read only."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from asyncua import ua

from contracts.errors import LinkError
from drivers.opcua.connect import Connect
from drivers.opcua.link import OpcUaLink, status_in_words

_MOST_NODES = 20_000
"""A server whose tree has no end is left at some point, and that is told."""
_TYPES = {
    "Boolean": "boolean", "SByte": "sbyte", "Byte": "byte", "Int16": "int16", "UInt16": "uint16", "Int32": "int32",
    "UInt32": "uint32", "Int64": "int64", "UInt64": "uint64", "Float": "float", "Double": "double",
    "String": "string", "DateTime": "datetime", "Guid": "guid", "ByteString": "bytestring",
    "LocalizedText": "localizedtext",
}  # fmt: skip


@dataclass(frozen=True)
class BrowsedNode:
    """One node below where browsing began. ``type`` and ``value`` are a variable's; ``type`` as the settings name it,
    None where they have no name for it."""

    depth: int
    node_id: str
    name: str
    path: str
    is_variable: bool
    type: str | None = None
    is_list: bool = False
    value: str | None = None


async def browse(connect: Connect, start: str = "i=85", depth: int = 10) -> AsyncIterator[BrowsedNode]:
    """The nodes below ``start`` (the Objects folder), each after the one that holds it; the server's own are left out.

    Raises LinkError or SetupError.
    """
    link = OpcUaLink("browse", connect, lambda: None)
    await link.open()
    try:
        seen: set[ua.NodeId] = set()
        waiting: list[tuple[int, str, ua.ReferenceDescription]] = [
            (0, "", one) for one in await _children(link, ua.NodeId.from_string(start))
        ]
        while waiting:
            level, above, found = waiting.pop(0)
            node_id = _local(found.NodeId)
            if node_id is None or node_id in seen or _is_of_the_server(node_id):
                continue
            seen.add(node_id)
            if len(seen) > _MOST_NODES:
                raise LinkError(f"more than {_MOST_NODES} nodes: begin below one of them with --start")
            path = f"{above}/{found.BrowseName.to_string()}".lstrip("/")
            is_variable = found.NodeClass == ua.NodeClass.Variable
            yield await _node(link, level, path, node_id, found, is_variable=is_variable)
            if level + 1 < depth:
                below = await _children(link, node_id)
                waiting[:0] = [(level + 1, path, one) for one in below]
    finally:
        await link.close()


async def _node(
    link: OpcUaLink, level: int, path: str, node_id: ua.NodeId, found: ua.ReferenceDescription, *, is_variable: bool
) -> BrowsedNode:
    name = str(found.DisplayName.Text or found.BrowseName.Name)
    if not is_variable:
        return BrowsedNode(level, node_id.to_string(), name, path, is_variable)
    (answer,) = await link.values([node_id])
    variant = answer.Value
    if variant is None or (answer.StatusCode is not None and answer.StatusCode.is_bad()):
        status = answer.StatusCode or ua.StatusCode(ua.UInt32(ua.StatusCodes.BadNoData))
        return BrowsedNode(level, node_id.to_string(), name, path, is_variable, value=status_in_words(status))
    kind = _TYPES.get(variant.VariantType.name)
    is_list = isinstance(variant.Value, list)
    return BrowsedNode(level, node_id.to_string(), name, path, is_variable, kind, is_list, str(variant.Value))


async def _children(link: OpcUaLink, node_id: ua.NodeId) -> Sequence[ua.ReferenceDescription]:
    wanted = ua.BrowseDescription(
        NodeId=node_id,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(ua.Int32(ua.ObjectIds.HierarchicalReferences)),
        IncludeSubtypes=True,
        NodeClassMask=ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable),
        ResultMask=ua.UInt32(ua.BrowseResultMask.All),
    )
    found: list[ua.ReferenceDescription] = []
    async with link.doing(f"looking below {node_id.to_string()}") as session:
        (result,) = await session.browse(ua.BrowseParameters(NodesToBrowse=[wanted]))
        found += result.References or ()
        while result.ContinuationPoint:
            parameters = ua.BrowseNextParameters(ContinuationPoints=[result.ContinuationPoint])
            (result,) = await session.browse_next(parameters)
            found += result.References or ()
    return found


def _local(node_id: ua.ExpandedNodeId) -> ua.NodeId | None:
    if getattr(node_id, "ServerIndex", 0):  # asyncua gives a NodeId where it is on this server
        return None
    return ua.NodeId(node_id.Identifier, node_id.NamespaceIndex)


def _is_of_the_server(node_id: ua.NodeId) -> bool:
    """Its own state and capabilities (namespace 0), thousands of nodes that are no machine's."""
    return node_id.NamespaceIndex == 0
