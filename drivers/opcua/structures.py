"""Structures, taken apart and put together (OPC 10000-3, 8.48 to 8.51; encoding: 10000-6, 5.2.6 and 5.2.7).

asyncua can make Python classes of them, but keeps those of all servers in one place by an id that each server gives
anew: two machines of one station would read each other's structures. So each connection keeps its own layouts.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asyncua import ua
from asyncua.common.utils import Buffer, NotEnoughData
from asyncua.ua.ua_binary import pack_uatype, unpack_uatype

from drivers.float32 import shortest_float32
from drivers.opcua.values import Enumerated

DEEPEST = 16
"""Structures in structures. One that holds itself does not end."""
LONGEST_ARRAY = 1_000_000


@dataclass(frozen=True)
class Member:
    """One member of a structure. ``kind`` is a builtin type, or the id of a structure or enumeration."""

    name: str
    kind: ua.VariantType | ua.NodeId
    is_array: bool = False
    is_optional: bool = False


@dataclass(frozen=True)
class Layout:
    """How a structure is laid out."""

    members: tuple[Member, ...]
    type: ua.StructureType = ua.StructureType.Structure


class LayoutError(Exception):
    """A type nobody described, or bytes that are not laid out as it says."""


class Layouts:
    """Structures by the id of their type, and the names of enumerations' numbers by theirs."""

    def __init__(self) -> None:
        self.layouts: dict[ua.NodeId, Layout] = {}
        self.names: dict[ua.NodeId, Mapping[int, str]] = {}

    def decoded(self, data_type: ua.NodeId, body: bytes) -> dict[str, Any]:
        """The members of a structure: plain values, lists, and structures again. Raises LayoutError."""
        left = Buffer(body)
        try:
            found = self._structure(data_type, left, DEEPEST)
        except (NotEnoughData, ua.UaError, ValueError, TypeError, struct.error) as error:
            raise LayoutError(str(error) or "it ends too early") from error
        if len(left) > 0:
            raise LayoutError(f"{len(left)} bytes more than its type has")
        return found

    def encoded(self, data_type: ua.NodeId, value: Mapping[str, Any]) -> bytes:
        """The body of a structure with these members. Raises KeyError for one that is missing."""
        return self._packed_structure(data_type, value)

    # -- decoding ----------------------------------------------------------------------------------------------------

    def _structure(self, data_type: ua.NodeId, body: Buffer, depth: int) -> dict[str, Any]:
        if depth == 0:
            raise LayoutError(f"more than {DEEPEST} structures in each other")
        layout = self.layouts[data_type]
        if layout.type is ua.StructureType.Union:
            chosen = unpack_uatype(ua.VariantType.UInt32, body)
            if chosen == 0:
                return {}
            if chosen > len(layout.members):
                raise LayoutError(f"a union has no member {chosen}")
            member = layout.members[chosen - 1]
            return {member.name: self._member(member, body, depth)}
        present = -1
        if layout.type is ua.StructureType.StructureWithOptionalFields:
            present = unpack_uatype(ua.VariantType.UInt32, body)
        found: dict[str, Any] = {}
        bit = 0
        for member in layout.members:
            if member.is_optional and layout.type is ua.StructureType.StructureWithOptionalFields:
                here, bit = bool(present >> bit & 1), bit + 1
                if not here:
                    found[member.name] = None
                    continue
            found[member.name] = self._member(member, body, depth)
        return found

    def _member(self, member: Member, body: Buffer, depth: int) -> Any:
        if not member.is_array:
            return self._single(member.kind, body, depth)
        length = unpack_uatype(ua.VariantType.Int32, body)
        if length < 0:
            return None
        if length > LONGEST_ARRAY:
            raise LayoutError(f"an array of {length}")
        return [self._single(member.kind, body, depth) for _ in range(length)]

    def _single(self, kind: ua.VariantType | ua.NodeId, body: Buffer, depth: int) -> Any:
        if isinstance(kind, ua.NodeId):
            if kind in self.names:
                return Enumerated.of(unpack_uatype(ua.VariantType.Int32, body), self.names[kind])
            return self._structure(kind, body, depth - 1)
        before = len(body)
        value = unpack_uatype(kind, body)
        if len(body) > before:  # asyncua goes backwards over a text of negative length
            raise LayoutError("a text of negative length")
        if kind is ua.VariantType.Float:
            return shortest_float32(value) if value - value == 0 else value
        return value

    # -- encoding ----------------------------------------------------------------------------------------------------

    def _packed_structure(self, data_type: ua.NodeId, value: Mapping[str, Any]) -> bytes:
        layout = self.layouts[data_type]
        if layout.type is ua.StructureType.Union:
            for number, member in enumerate(layout.members, start=1):
                if member.name in value:
                    return pack_uatype(ua.VariantType.UInt32, number) + self._packed(member, value[member.name])
            return bytes(pack_uatype(ua.VariantType.UInt32, 0))
        optional = layout.type is ua.StructureType.StructureWithOptionalFields
        present, bit, parts = 0, 0, []
        for member in layout.members:
            if optional and member.is_optional:
                here, bit = value.get(member.name) is not None, bit + 1
                present |= here << (bit - 1)
                if not here:
                    continue
            parts.append(self._packed(member, value[member.name]))
        head = pack_uatype(ua.VariantType.UInt32, present) if optional else b""
        return head + b"".join(parts)

    def _packed(self, member: Member, value: Any) -> bytes:
        if not member.is_array:
            return self._packed_single(member.kind, value)
        if value is None:
            return bytes(pack_uatype(ua.VariantType.Int32, -1))
        return pack_uatype(ua.VariantType.Int32, len(value)) + b"".join(
            self._packed_single(member.kind, item) for item in value
        )

    def _packed_single(self, kind: ua.VariantType | ua.NodeId, value: Any) -> bytes:
        if not isinstance(kind, ua.NodeId):
            return bytes(pack_uatype(kind, value))
        if kind in self.names:
            return bytes(pack_uatype(ua.VariantType.Int32, int(value)))
        return self._packed_structure(kind, value)
