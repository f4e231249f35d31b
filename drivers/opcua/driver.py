"""A machine that speaks OPC-UA, through asyncua: a subscription to the trigger, one Read call a result."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from asyncua import Client, ua
from asyncua.common.subscription import Subscription
from asyncua.ua.uaerrors import BadNotWritable, BadTypeMismatch, BadUserAccessDenied, UaError

from contracts.measurement import Scalar
from drivers.base import LinkError, MachineEvent, PointValue, RawValue, Reading, SetupError
from drivers.opcua.settings import OpcUaSettings
from drivers.opcua.values import point_value, variant_of
from drivers.template import as_text, render

TORN_READS = 5
ALIVE_EVERY_S = 2.0
CLOSE_TIMEOUT_S = 2.0
_LINK_ERRORS = (OSError, TimeoutError, UaError, AssertionError)
"""What asyncua raises when the other side is away: it has no error of its own for that."""

# asyncua tells every step of a lost link with tracebacks; ours is the one who tells, once.
logging.getLogger("asyncua").setLevel(logging.CRITICAL)


class OpcUaDriver:
    """Listens to the trigger's changes and reads one snapshot a result."""

    def __init__(self, machine: str, settings: OpcUaSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._client: Client | None = None
        self._subscription: Subscription | None = None
        self._alive: asyncio.Task[None] | None = None
        self._changes: deque[tuple[datetime, Any]] = deque()
        self._arrived = asyncio.Event()
        self._broken: str | None = None
        self._heard = False
        self._last: Scalar | None = None
        self._acknowledge_type: ua.VariantType | None = None
        self._names = list(settings.points)

    async def open(self) -> None:
        if self._client is not None:
            raise RuntimeError(f"{self._machine} is open already")
        connect = self._settings.connect
        self._changes.clear()
        self._broken, self._heard, self._last = None, False, None
        client = self._client = Client(connect.url, timeout=connect.timeout)
        client.connection_lost_callback = self._on_lost
        try:
            async with asyncio.timeout(connect.timeout * 3):
                await client.connect()
        except _LINK_ERRORS as error:
            raise LinkError(
                f"machine {self._machine}: {connect.url} cannot be reached: {_told(error)}; check address, cable, power"
            ) from error
        trigger = self._settings.trigger
        try:
            await self._check_node(self._settings.points[trigger.point].node_id, f"trigger point {trigger.point}")
            if self._settings.acknowledge is not None:
                node_id = self._settings.acknowledge.write.node_id
                data = await self._check_node(node_id, "acknowledge")
                self._acknowledge_type = data.Value.VariantType if data.Value is not None else None
            parameters = ua.CreateSubscriptionParameters(
                RequestedPublishingInterval=ua.Duration(max(trigger.sampling * 1000, 10.0)),
                RequestedLifetimeCount=ua.Counter(3000),
                RequestedMaxKeepAliveCount=ua.Counter(100),
                PublishingEnabled=True,
            )
            self._subscription = await client.create_subscription(parameters, self)
            await self._subscription.subscribe_data_change(
                client.get_node(self._settings.points[trigger.point].node_id),
                queuesize=100,
                sampling_interval=ua.Double(trigger.sampling * 1000),
            )
        except _LINK_ERRORS as error:
            raise LinkError(f"machine {self._machine}: {connect.url}: {_told(error)}") from error
        self._alive = asyncio.create_task(self._watch(client))

    async def _check_node(self, node_id: str, what: str) -> ua.DataValue:
        assert self._client is not None
        data = await self._client.get_node(node_id).read_data_value(raise_on_bad_status=False)
        status = data.StatusCode
        if status is not None and status.value in (
            ua.StatusCodes.BadNodeIdUnknown,
            ua.StatusCodes.BadNodeIdInvalid,
            ua.StatusCodes.BadAttributeIdInvalid,
        ):
            raise SetupError(
                f"machine {self._machine}, {what}: the server has no node {node_id} ({status.name}); "
                "look the node id up in the server's address space"
            )
        return data

    async def next_event(self) -> MachineEvent:
        while True:
            while self._changes:
                at, value = self._changes.popleft()
                event = self._event(at, value)
                if event is not None:
                    return event
            if self._client is None or self._broken is not None:
                raise LinkError(f"machine {self._machine}: {self._broken or 'not connected'}")
            self._arrived.clear()
            await self._arrived.wait()

    def _event(self, at: datetime, value: Any) -> MachineEvent | None:
        if not isinstance(value, bool | int | float | str):
            return None
        first, before = not self._heard, self._last
        self._heard, self._last = True, value
        if self._settings.trigger.on == "rising" and (not value or (not first and bool(before))):
            return None
        if not first and value == before:
            return None
        return MachineEvent(at, key=value, first=first)

    async def read(self, event: MachineEvent) -> Reading:  # noqa: ARG002  # what stands now is what is acknowledged
        name = self._settings.trigger.point
        where = self._names.index(name)
        for _ in range(TORN_READS):
            snapshot = await self._read_nodes(self._names)
            (after,) = await self._read_nodes([name])
            if snapshot[where].value == after.value:
                return Reading(datetime.now(UTC), dict(zip(self._names, snapshot, strict=True)))
        raise LinkError(f"machine {self._machine}: results follow each other faster than they can be read")

    async def _read_nodes(self, names: list[str]) -> list[PointValue]:
        client = self._connected()
        node_ids = [self._settings.points[name].node_id for name in names]
        parameters = ua.ReadParameters(
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            NodesToRead=[
                ua.ReadValueId(NodeId=ua.NodeId.from_string(node_id), AttributeId=ua.AttributeIds.Value)
                for node_id in node_ids
            ],
        )
        try:
            answers = await client.uaclient.read(parameters)
        except _LINK_ERRORS as error:
            raise LinkError(f"machine {self._machine}: read failed: {_told(error)}") from error
        if len(answers) != len(names):
            raise LinkError(f"machine {self._machine}: {len(answers)} answers to {len(names)} nodes")
        return [
            point_value(answer, f"point {name}, node {node_id}")
            for answer, name, node_id in zip(answers, names, node_ids, strict=True)
        ]

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        if self._settings.acknowledge is None:
            return
        write = self._settings.acknowledge.write
        client = self._connected()
        value: Scalar = write.value
        if isinstance(value, str):
            try:
                value = render(value, _scalars(reading.values, cycle_key), as_text)
            except KeyError as error:
                raise LinkError(
                    f"machine {self._machine}: nothing to acknowledge with: {error} has no value"
                ) from error
        try:
            node = client.get_node(write.node_id)
            if self._acknowledge_type is None:
                self._acknowledge_type = await node.read_data_type_as_variant_type()
            await node.write_value(ua.DataValue(variant_of(value, self._acknowledge_type)))
        except (BadNotWritable, BadUserAccessDenied, BadTypeMismatch) as error:
            raise SetupError(f"machine {self._machine}, acknowledge node {write.node_id}: {_told(error)}") from error
        except ValueError as error:
            raise SetupError(
                f"machine {self._machine}, acknowledge node {write.node_id}: {value!r} does not fit the node's type"
            ) from error
        except _LINK_ERRORS as error:
            raise LinkError(f"machine {self._machine}: acknowledgement failed: {_told(error)}") from error

    async def close(self) -> None:
        client, self._client = self._client, None
        alive, self._alive = self._alive, None
        self._subscription = None
        self._arrived.set()
        if alive is not None:
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)
        if client is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await client.disconnect()  # over a lost link too: only this ends the client's own tasks
        except _LINK_ERRORS:
            client.disconnect_socket()

    # -- asyncua's callbacks -----------------------------------------------------------------------------------------

    def datachange_notification(self, _node: Any, value: Any, data: Any) -> None:
        """asyncua hands out a change of the trigger."""
        status = data.monitored_item.Value.StatusCode
        if status is None or not status.is_bad():
            self._changes.append((datetime.now(UTC), value))
            self._arrived.set()

    def status_change_notification(self, status: ua.StatusChangeNotification) -> None:
        """The server ended the subscription."""
        self._break(f"subscription ended by the server ({status.Status})")

    async def _on_lost(self, error: Exception) -> None:
        self._break(f"connection lost: {_told(error)}")

    def _break(self, why: str) -> None:
        if self._broken is None:
            self._broken = why
        self._arrived.set()

    async def _watch(self, client: Client) -> None:
        """A frozen server keeps its socket open and says nothing: ask it."""
        node = client.get_node(self._settings.points[self._settings.trigger.point].node_id)
        while self._broken is None:
            await asyncio.sleep(ALIVE_EVERY_S)
            try:
                async with asyncio.timeout(self._settings.connect.timeout):
                    await node.read_data_value(raise_on_bad_status=False)
            except _LINK_ERRORS as error:
                self._break(f"server is silent: {_told(error)}")

    def _connected(self) -> Client:
        if self._client is None or self._broken is not None:
            raise LinkError(f"machine {self._machine}: {self._broken or 'not connected'}")
        return self._client


def _scalars(values: Mapping[str, PointValue], cycle_key: Scalar | None) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    for name, point in values.items():
        value: RawValue | None = point.value
        if value is not None and not isinstance(value, list):
            found[name] = value
    if cycle_key is not None:
        found["cycle_key"] = cycle_key
    return found


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
