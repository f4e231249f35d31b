"""The nodes of the OPC-UA standard, made once in a test process.

An asyncua server makes its 6,000 nodes anew at every start, for more than a second of a processor; a test has one or
two servers. Here every server after the first takes a copy of each node as it is asked for, as asyncua does itself with
``Server.init(shelf_file)``.
"""

import pickle
from typing import Any

from asyncua import ua
from asyncua.server.standard_address_space import standard_address_space

_make = standard_address_space.fill_address_space
_kept: dict[ua.NodeId, bytes] = {}


class _Nodes(dict[ua.NodeId, Any]):
    """A server's own nodes, and of the standard's those that were asked for."""

    def __missing__(self, node_id: ua.NodeId) -> Any:
        node = self[node_id] = pickle.loads(_kept[node_id])
        return node

    def __contains__(self, node_id: object) -> bool:
        return super().__contains__(node_id) or node_id in _kept

    def get(self, node_id: ua.NodeId, default: Any = None) -> Any:
        try:
            return self[node_id]
        except KeyError:
            return default


def _fill(service: Any) -> None:
    if _kept:
        service._aspace._nodes = _Nodes()
        return
    _make(service)
    _kept.update({node_id: pickle.dumps(node) for node_id, node in service._aspace._nodes.items()})


def keep_standard_nodes() -> None:
    """From now on, in this process."""
    standard_address_space.fill_address_space = _fill
