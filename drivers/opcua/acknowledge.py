"""Telling the machine that its result is kept: a node is written, a method called, or hands are shaken."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from asyncua import ua
from asyncua.ua.uaprotocol_auto import Argument  # ua.Argument is another, that nothing decodes to

from contracts.errors import LinkError, SetupError
from contracts.measurement import Scalar
from drivers.base import Reading
from drivers.handshake import shake_hands, take_ack_back
from drivers.opcua.addresses import NodeAddress
from drivers.opcua.link import OpcUaLink, status_in_words
from drivers.opcua.nodes import Located
from drivers.opcua.settings import Acknowledge, FourPhaseNodes, Method, Write
from drivers.opcua.values import as_content
from drivers.opcua.variants import variant_of
from drivers.template import as_text, render

_BUILTIN = range(1, 26)
_ABSTRACT = {
    ua.ObjectIds.Number: ua.VariantType.Double,
    ua.ObjectIds.Integer: ua.VariantType.Int64,
    ua.ObjectIds.UInteger: ua.VariantType.UInt64,
    ua.ObjectIds.Enumeration: ua.VariantType.Int32,
}
"""What is written where a node takes any number."""


class Acknowledgement(Protocol):
    """One way to tell a machine."""

    async def prepare(self) -> None:
        """Ask what has to be known before. Raises LinkError or SetupError."""

    async def tell(self, reading: Reading, cycle_key: Scalar | None) -> None:
        """Tell the machine. Raises LinkError or SetupError."""


def acknowledgement(machine: str, link: OpcUaLink, settings: Acknowledge, located: Located) -> Acknowledgement:
    """The way the settings choose. Raises SetupError for a node that is not there."""
    for place, why in located.missing.items():
        raise SetupError(f"machine {machine}, {place}: {why}")
    if settings.write is not None:
        return Written(machine, link, settings.write, located.nodes["acknowledge.write"], "acknowledge.write")
    if settings.call is not None:
        return Called(machine, link, settings.call, located)
    assert settings.four_phase is not None
    return Shaken(machine, link, settings.four_phase, located)


class NodeWriter:
    """Writes one node in the type it has."""

    def __init__(self, machine: str, link: OpcUaLink, node_id: ua.NodeId, where: str) -> None:
        self._link = link
        self.node_id = node_id
        self.place = f"{where} ({node_id.to_string()})"
        self.where = f"machine {machine}, {self.place}"
        self._kind: ua.VariantType | None = None

    async def prepare(self) -> None:
        """Learn the node's type. Raises SetupError where there is no such node."""
        wanted = [(self.node_id, ua.AttributeIds.DataType), (self.node_id, ua.AttributeIds.Value)]
        data_type, value = await self._link.read(wanted, self.place)
        if data_type.StatusCode is not None and data_type.StatusCode.is_bad():
            raise SetupError(
                f"{self.where}: {status_in_words(data_type.StatusCode)}; look the node up in the server's address space"
            )
        if value.Value is not None and value.Value.VariantType is not ua.VariantType.Null:
            self._kind = value.Value.VariantType
        elif data_type.Value is not None:
            self._kind = await builtin_type(self._link, data_type.Value.Value, self.where)

    async def write(self, value: Scalar) -> None:
        """Raises LinkError, or SetupError where the node does not take it."""
        if self._kind is None:
            await self.prepare()
        await self._link.write(self.node_id, self.variant(value), self.place)

    def variant(self, value: Scalar) -> ua.Variant:
        """The value in the node's type, once it is prepared. Raises SetupError where the node does not take it."""
        try:
            return variant_of(value, self._kind or ua.VariantType.String)
        except ValueError as error:
            raise SetupError(f"{self.where}: {error}") from error


class Written:
    """The cycle's number, or a flag, in one node."""

    def __init__(self, machine: str, link: OpcUaLink, settings: Write, node_id: ua.NodeId, place: str) -> None:
        self._value = settings.value
        self._writer = NodeWriter(machine, link, node_id, place)
        self.prepare = self._writer.prepare

    async def tell(self, reading: Reading, cycle_key: Scalar | None) -> None:
        await self._writer.write(filled_in(self._value, reading, cycle_key, self._writer.where))


class Called:
    """A method of the machine, with arguments of the types it asks for."""

    def __init__(self, machine: str, link: OpcUaLink, settings: Method, located: Located) -> None:
        self._link = link
        self._settings = settings
        self._object = located.nodes["acknowledge.call.object"]
        self._method = located.nodes["acknowledge.call.method"]
        self._place = f"acknowledge.call ({settings.method})"
        self._where = f"machine {machine}, {self._place}"
        self._kinds: Sequence[ua.VariantType] = ()

    async def prepare(self) -> None:
        (declared,) = await self._link.properties([(self._method, "InputArguments")])
        arguments = [one for one in as_content(declared) or () if isinstance(one, Argument)]
        wanted = len(self._settings.arguments)
        if len(arguments) != wanted:
            names = ", ".join(str(one.Name) for one in arguments) or "none"
            raise SetupError(
                f"{self._where}: the method takes {len(arguments)} arguments ({names}), and {wanted} are set; "
                "check acknowledge.call.arguments, and that the node is the method"
            )
        self._kinds = [await builtin_type(self._link, one.DataType, self._where) for one in arguments]

    async def tell(self, reading: Reading, cycle_key: Scalar | None) -> None:
        values = [filled_in(value, reading, cycle_key, self._where) for value in self._settings.arguments]
        try:
            arguments = [variant_of(value, kind) for value, kind in zip(values, self._kinds, strict=True)]
        except ValueError as error:
            raise SetupError(f"{self._where}: {error}") from error
        request = ua.CallMethodRequest(ObjectId=self._object, MethodId=self._method, InputArguments=arguments)
        async with self._link.doing(self._place) as session:
            (result,) = await session.call([request])
            result.StatusCode.check()
        answers = [argument.Value for argument in result.OutputArguments or ()]
        if self._settings.accepted is not None and (not answers or answers[0] != self._settings.accepted):
            told = answers[0] if answers else "nothing"
            raise LinkError(f"{self._where}: the machine answered {told} instead of {self._settings.accepted}")


class Shaken:
    """Ready, ack, ready off, ack off."""

    def __init__(self, machine: str, link: OpcUaLink, settings: FourPhaseNodes, located: Located) -> None:
        self._machine = machine
        self._link = link
        self._settings = settings
        place = "acknowledge.four_phase"
        self._nodes = {address: located.nodes[f"{place}.{signal}"] for signal, address in settings.signals().items()}
        self._ack = NodeWriter(machine, link, self._nodes[settings.ack], f"{place}.ack")
        self._echo: Written | None = None
        if settings.echo is not None:
            node_id = located.nodes[f"{place}.echo"]
            self._echo = Written(machine, link, settings.echo, node_id, f"{place}.echo")

    async def prepare(self) -> None:
        """An ack that was left on would acknowledge the first result before it is kept."""
        await self._ack.prepare()
        if self._echo is not None:
            await self._echo.prepare()
        await take_ack_back(self._settings, self._read, self._write)

    async def tell(self, reading: Reading, cycle_key: Scalar | None) -> None:
        echo = self._echo
        write_echo = None if echo is None else lambda: echo.tell(reading, cycle_key)
        await shake_hands(self._settings, f"machine {self._machine}", self._read, self._write, write_echo)

    async def _read(self, addresses: Sequence[NodeAddress]) -> Sequence[bool]:
        answers = await self._link.values([self._nodes[address] for address in addresses], "reading the handshake")
        found: list[bool] = []
        for address, answer in zip(addresses, answers, strict=True):
            if answer.StatusCode is not None and answer.StatusCode.is_bad():
                raise LinkError(f"machine {self._machine}, signal {address}: {status_in_words(answer.StatusCode)}")
            value = None if answer.Value is None else answer.Value.Value
            if not isinstance(value, bool | int):
                raise SetupError(f"machine {self._machine}, signal {address}: {value!r} is neither on nor off")
            found.append(bool(value))
        return found

    async def _write(self, _address: NodeAddress, on: bool) -> None:
        await self._ack.write(on)


def filled_in(value: Scalar, reading: Reading, cycle_key: Scalar | None, where: str) -> Scalar:
    """A setting's value with its names filled in. Raises LinkError for a name without a value."""
    if not isinstance(value, str):
        return value
    try:
        return render(value, scalars(reading, cycle_key), as_text)
    except KeyError as error:
        raise LinkError(f"{where}: nothing to acknowledge with: {error} has no value") from error


def scalars(reading: Reading, cycle_key: Scalar | None) -> Mapping[str, Scalar]:
    """The single values of a reading, and the cycle key."""
    found: dict[str, Scalar] = {}
    for name, point in reading.values.items():
        if point.value is not None and not isinstance(point.value, list):
            found[name] = point.value
    return found if cycle_key is None else {**found, "cycle_key": cycle_key}


async def builtin_type(link: OpcUaLink, data_type: ua.NodeId, where: str) -> ua.VariantType:
    """The builtin type that a data type is encoded as. Raises SetupError where it is none that can be written."""
    for _ in range(10):
        if data_type.NamespaceIndex == 0 and isinstance(data_type.Identifier, int):
            if data_type.Identifier in _ABSTRACT:
                return _ABSTRACT[data_type.Identifier]
            if data_type.Identifier in _BUILTIN:
                return ua.VariantType(data_type.Identifier)
        parents = await link.parents(data_type, ua.ObjectIds.HasSubtype)
        if not parents:
            break
        data_type = parents[0]
    raise SetupError(f"{where}: nothing can be written to a node of type {data_type.to_string()}")
