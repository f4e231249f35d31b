"""What a server says of its types: asked for once, when a value of one comes (OPC 10000-3, 8.48 to 8.51)."""

from collections.abc import Iterable, Mapping
from typing import Any

from asyncua import ua

from drivers.opcua.link import OpcUaLink
from drivers.opcua.structures import DEEPEST, Layout, LayoutError, Layouts, Member
from drivers.opcua.values import Undescribed, as_content

_ABSTRACT = {
    ua.ObjectIds.BaseDataType: ua.VariantType.Variant,
    ua.ObjectIds.Number: ua.VariantType.Variant,
    ua.ObjectIds.Integer: ua.VariantType.Variant,
    ua.ObjectIds.UInteger: ua.VariantType.Variant,
    ua.ObjectIds.Structure: ua.VariantType.ExtensionObject,
    ua.ObjectIds.Enumeration: ua.VariantType.Int32,
}


class TypeBook(Layouts):
    """What one server says of its types. ``learn()`` asks, the rest answers from what was learnt."""

    def __init__(self, link: OpcUaLink) -> None:
        super().__init__()
        self._link = link
        self._of_encoding: dict[ua.NodeId, ua.NodeId] = {}
        self._unknown: dict[ua.NodeId, str] = {}

    def missing(self, values: Iterable[Any]) -> set[ua.NodeId]:
        """The encodings among these values that were not asked for yet."""
        found: set[ua.NodeId] = set()
        for value in values:
            if isinstance(value, list | tuple):
                found |= self.missing(value)
            elif isinstance(value, ua.ExtensionObject) and value.Body is not None:
                found.add(value.TypeId)
            elif isinstance(value, ua.Variant | ua.DataValue):
                found |= self.missing([value.Value])
        return found - self._of_encoding.keys() - self._unknown.keys()

    async def learn(self, encoding: ua.NodeId) -> None:
        """Ask for the structure of this encoding, and for all that it is made of. What is not told stays unknown."""
        types = await self._link.parents(encoding, ua.ObjectIds.HasEncoding)
        if not types:
            self._unknown[encoding] = f"the server does not say whose encoding {encoding.to_string()} is"
            return
        try:
            await self._learn_type(types[0], DEEPEST)
        except LayoutError as error:
            self._unknown[encoding] = str(error)
            return
        if types[0] in self.layouts:
            self._of_encoding[encoding] = types[0]
        else:
            self._unknown[encoding] = f"type {types[0].to_string()} is no structure"

    async def names_of(self, data_type: ua.NodeId, variable: ua.NodeId) -> Mapping[int, str]:
        """The names of the numbers in this variable; empty where they have none.

        Its type's definition has them, or older ways: properties of the type, or of the variable itself (OPC 10000-3,
        8.14; 10000-8, 5.3.3.3).
        """
        (found,) = await self._link.read([(data_type, ua.AttributeIds.DataTypeDefinition)])
        definition = None if found.Value is None else found.Value.Value
        names: dict[int, str] = {}
        if isinstance(definition, ua.EnumDefinition):
            names = {int(field.Value): _enum_name(field) for field in definition.Fields}
        else:
            ways = [(node, name) for node in (data_type, variable) for name in ("EnumValues", "EnumStrings")]
            for content in await self._link.properties(ways):
                for place, one in enumerate(content if isinstance(content, list) else ()):
                    if isinstance(one, ua.EnumValueType):
                        names.setdefault(int(one.Value), str(one.DisplayName.Text))
                    elif isinstance(one, ua.LocalizedText):
                        names.setdefault(place, str(one.Text))
        return names

    def content(self, value: Any) -> Any:
        """A value with its structures taken apart: mappings by member, lists, and plain values."""
        if isinstance(value, list | tuple):
            return [self.content(item) for item in value]
        if isinstance(value, Mapping):
            return {name: self.content(item) for name, item in value.items()}
        if isinstance(value, ua.Variant):
            return self.content(value.Value)
        if not isinstance(value, ua.ExtensionObject):
            return as_content(value)
        if value.Body is None:
            return None
        data_type = self._of_encoding.get(value.TypeId)
        if data_type is None:
            why = self._unknown.get(value.TypeId, "it is hidden in another one")
            told = f"a structure that cannot be taken apart: {why}; give its members as points of their own"
            return Undescribed(told, value.Body)
        try:
            return self.content(self.decoded(data_type, value.Body))
        except LayoutError as error:
            return Undescribed(f"a structure not as the server describes it: {error}", value.Body)

    # -- learning ----------------------------------------------------------------------------------------------------

    async def _learn_type(self, data_type: ua.NodeId, depth: int) -> ua.VariantType | ua.NodeId:
        """What a member of this type is encoded as."""
        if data_type in self.layouts or data_type in self.names:
            return data_type
        if data_type.NamespaceIndex == 0 and isinstance(data_type.Identifier, int):
            if data_type.Identifier in _ABSTRACT:
                return _ABSTRACT[data_type.Identifier]
            if 1 <= data_type.Identifier <= ua.VariantType.DiagnosticInfo:
                return ua.VariantType(data_type.Identifier)
        if depth == 0:
            raise LayoutError(f"more than {DEEPEST} structures in each other")
        (found,) = await self._link.read([(data_type, ua.AttributeIds.DataTypeDefinition)])
        definition = None if found.Value is None else found.Value.Value
        if isinstance(definition, ua.EnumDefinition):
            self.names[data_type] = {int(field.Value): _enum_name(field) for field in definition.Fields}
            return data_type
        if isinstance(definition, ua.StructureDefinition):
            self.layouts[data_type] = await self._layout(data_type, definition, depth)
            return data_type
        parents = await self._link.parents(data_type, ua.ObjectIds.HasSubtype)
        if not parents:
            raise LayoutError(f"the server does not describe type {data_type.to_string()}")
        found_kind = await self._learn_type(parents[0], depth - 1)
        if found_kind is ua.VariantType.ExtensionObject:
            raise LayoutError(f"the server does not describe type {data_type.to_string()}")
        return found_kind

    async def _layout(self, data_type: ua.NodeId, definition: ua.StructureDefinition, depth: int) -> Layout:
        if definition.StructureType > ua.StructureType.Union:
            raise LayoutError(f"type {data_type.to_string()} holds values of types that are not said")
        members: list[Member] = []
        for field in definition.Fields:
            kind = await self._learn_type(field.DataType, depth - 1)
            if field.ValueRank > 1:
                raise LayoutError(f"member {field.Name} of type {data_type.to_string()} is a matrix")
            members.append(Member(str(field.Name), kind, field.ValueRank == 1, bool(field.IsOptional)))
        return Layout(tuple(members), ua.StructureType(definition.StructureType))


def _enum_name(field: ua.EnumField) -> str:
    return str(field.Name or (field.DisplayName.Text if field.DisplayName is not None else field.Value))
