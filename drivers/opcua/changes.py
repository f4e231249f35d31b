"""A trigger that is a node: its value is subscribed to, or asked for by a server without subscriptions."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import structlog
from asyncua import ua

from contracts.errors import LinkError
from drivers.base import MachineEvent, PointValue
from drivers.opcua.link import OpcUaLink, status_in_words
from drivers.opcua.settings import DataTrigger
from drivers.opcua.snapshot import Snapshots
from drivers.opcua.subscription import LEAST_PUBLISHING_S, Subscription
from drivers.opcua.trigger import Edges, Inbox, Signal

_OVERFLOW = 0x480
"""Info type DataValue with the overflow bit (OPC 10000-4, 7.38.1)."""

log = structlog.get_logger()


class SubscribedSource:
    """The trigger's data changes. The nodes hold one result, the newest: of several signals that wait the last is told,

    with the gap that the others are.
    """

    def __init__(
        self,
        machine: str,
        link: OpcUaLink,
        settings: DataTrigger,
        silence_s: float,
        snapshots: Snapshots,
        node_id: ua.NodeId,
        *,
        gap: bool,
    ) -> None:
        self._machine = machine
        self._settings = settings
        self._snapshots = snapshots
        self._node_id = node_id
        self._edges = Edges(settings, gap=gap)
        self._held: MachineEvent | None = None
        """Will be told, if no newer one waits."""
        self._inbox: Inbox[Signal[ua.DataValue]] = Inbox(lambda: link.broken, machine)
        self._subscription = Subscription(machine, link, settings.sampling, silence_s, self._inbox)
        self.wake = self._inbox.wake

    async def start(self) -> None:
        settings = self._settings
        parameters = ua.MonitoringParameters(
            ClientHandle=ua.IntegerId(1),
            SamplingInterval=ua.Duration(settings.sampling * 1000),
            Filter=_deadband(settings),
            QueueSize=ua.Counter(settings.queue),
            DiscardOldest=True,
        )
        item = ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=self._node_id, AttributeId=ua.AttributeIds.Value),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=parameters,
        )
        granted = await self._subscription.start(item, f"trigger point {settings.point}")
        sampled_s = granted.RevisedSamplingInterval / 1000
        if sampled_s > 2 * max(settings.sampling, LEAST_PUBLISHING_S) or granted.RevisedQueueSize < settings.queue:
            log.warning(
                "server samples otherwise than asked",
                machine=self._machine,
                sampling_s=sampled_s,
                queue=granted.RevisedQueueSize,
            )

    async def next_event(self) -> MachineEvent:
        while self._held is None or self._inbox.waiting:
            signal = await self._inbox.first()
            data = signal.content
            if signal.lost or (data.StatusCode is not None and data.StatusCode.value & _OVERFLOW == _OVERFLOW):
                self._edges.lost()  # also where this value is of no use itself
            event = None
            if self._subscription.status(data.StatusCode):
                point = await self._snapshots.of_one(self._settings.point, data)
                event = self._edges.event(signal.at, point)
            self._inbox.taken()
            if event is not None and event.first:
                return event  # not known to be a result
            if event is not None:
                self._held = event if self._held is None else replace(event, gap=True)
        held, self._held = self._held, None
        return held

    async def has_read(self, trigger: PointValue | None) -> None:
        """See Source.has_read. A flag does not tell which of its results was read, where it came on again."""
        self._edges.has_read(trigger)
        if self._settings.is_flag and await self.has_another():
            self._edges.lost()

    async def has_another(self) -> bool:
        """See Source.has_another."""
        point = self._settings.point
        return self._edges.ahead(
            [await self._snapshots.of_one(point, signal.content) for signal in self._inbox.waiting]
        )

    def done(self) -> None:
        """What stands in the node stays there."""

    async def stop(self) -> None:
        await self._subscription.stop()


class PolledSource:
    """The trigger's value, asked for again and again.

    ``handshake``: the trigger is the ready signal of a handshake, which does not end before it was off.
    """

    def __init__(
        self,
        machine: str,
        link: OpcUaLink,
        settings: DataTrigger,
        silence_s: float,
        snapshots: Snapshots,
        node_id: ua.NodeId,
        *,
        gap: bool,
        handshake: bool = False,
    ) -> None:
        self._machine = machine
        self._link = link
        self._settings = settings
        self._every_s = settings.poll or 0.0
        self._silence_s = silence_s
        self._snapshots = snapshots
        self._node_id = node_id
        self._edges = Edges(settings, gap=gap)
        self._handshake = handshake
        self._next_at = 0.0
        self._good_at = 0.0

    async def start(self) -> None:
        self._good_at = asyncio.get_running_loop().time()

    async def next_event(self) -> MachineEvent:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._next_at - loop.time())
            self._next_at = (
                max(self._next_at, loop.time()) + self._every_s
            )  # polls that were missed are not made up for
            (data,) = await self._link.values([self._node_id], f"asking for {self._settings.point}")
            if data.StatusCode is not None and data.StatusCode.is_bad():
                if loop.time() - self._good_at >= self._silence_s:
                    raise LinkError(
                        f"machine {self._machine}: trigger point {self._settings.point} has had a bad status for "
                        f"{self._silence_s:g} s: {status_in_words(data.StatusCode)}"
                    )
                continue
            self._good_at = loop.time()
            event = self._edges.event(datetime.now(UTC), await self._snapshots.of_one(self._settings.point, data))
            if event is not None:
                return event

    async def has_read(self, trigger: PointValue | None) -> None:
        """See Source.has_read. A flag that was off by then may be on again before it is looked at."""
        self._edges.has_read(trigger)
        if trigger is None or trigger.value is None or isinstance(trigger.value, list):
            return
        if self._settings.is_flag and not self._settings.means_a_result(trigger.value):
            self._edges.lowered()

    async def has_another(self) -> bool:
        """Only what stands there is looked at."""
        return False

    def done(self) -> None:
        """The next ready may be on again before it is looked at."""
        if self._handshake:
            self._edges.lowered()

    async def stop(self) -> None:
        """Nothing runs."""

    def wake(self) -> None:
        """A request under way fails by itself."""


def _deadband(settings: DataTrigger) -> ua.DataChangeFilter | None:
    if settings.deadband is None and settings.deadband_percent is None:
        return None
    percent = settings.deadband_percent
    return ua.DataChangeFilter(
        Trigger=ua.DataChangeTrigger.StatusValue,
        DeadbandType=ua.UInt32(ua.DeadbandType.Percent if percent is not None else ua.DeadbandType.Absolute),
        DeadbandValue=ua.Double(percent if percent is not None else settings.deadband or 0.0),
    )
