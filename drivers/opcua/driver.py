"""A machine that speaks OPC-UA: listens to its trigger, reads one snapshot a result, and acknowledges it."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from asyncua import ua

from contracts.errors import LinkError, SetupError
from contracts.measurement import Scalar
from drivers.base import Certificate, MachineEvent, MachineRequest, PointValue, Reading
from drivers.looking import Sight
from drivers.opcua.acknowledge import Acknowledgement, acknowledgement
from drivers.opcua.asking import Asking, Either
from drivers.opcua.certificates import UntrustedError, check_trusted, described, make_own, trust
from drivers.opcua.changes import PolledSource, SubscribedSource
from drivers.opcua.connect import Security
from drivers.opcua.events import EventSource, ResultEvent
from drivers.opcua.link import OpcUaLink
from drivers.opcua.nodes import Located, Namespaces, located
from drivers.opcua.settings import EventTrigger, OpcUaSettings
from drivers.opcua.snapshot import ABSENT, Snapshots
from drivers.opcua.trigger import Inbox, Signal, Source


class OpcUaDriver:
    """Implements Driver, Acknowledging, Permitting, Trusting and Looking.

    A snapshot is consistent when the trigger's counter (by default the trigger itself) is the same before and after
    everything else was read. That holds for a machine that sets it last.
    """

    def __init__(self, machine: str, settings: OpcUaSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._link = OpcUaLink(machine, settings.connect, self._wake)
        self._is_open = False
        self._was_open = False
        self._went_on = False
        """It did not wait for its acknowledgement: results may be lost."""
        self._snapshots: Snapshots | None = None
        self._source: Source | None = None
        self._acknowledgement: Acknowledgement | None = None
        self._asking: Asking | None = None
        self._either = Either()
        self._events: Inbox[Signal[Any]] = Inbox(lambda: self._link.broken, machine)

    async def open(self) -> None:
        """See Driver.open. SetupError also where the trigger's node or a node to acknowledge with is not there."""
        if self._is_open:
            raise RuntimeError(f"machine {self._machine}: open() on a driver that is open")
        self._is_open = True
        settings = self._settings
        await self._link.open()
        namespaces = Namespaces(settings.namespaces, list(self._link.namespaces))
        points = {**settings.node_points, **settings.request_points}
        addresses = {name: point.address for name, point in points.items() if point.address is not None}
        here = await located(self._link, namespaces, addresses)
        self._require(here, settings.trigger.point)
        self._require(here, settings.trigger.witness)
        snapshots = self._snapshots = Snapshots(
            self._machine, self._link, settings.result_points, here, settings.trigger.witness
        )
        self._check_trigger(await snapshots.prepare())
        if settings.acknowledge is not None:
            nodes = await located(self._link, namespaces, settings.acknowledging_nodes())
            self._acknowledgement = acknowledgement(self._machine, self._link, settings.acknowledge, nodes)
            await self._acknowledgement.prepare()
        if settings.request_trigger is not None:
            answers = await located(self._link, namespaces, settings.answering_nodes())
            asking = Asking(self._machine, settings, settings.request_trigger, self._link, here, answers)
            self._asking = asking
            await asking.start()
        source = self._source = self._new_source(snapshots, here, namespaces)
        await source.start()
        self._was_open = True

    async def next_event(self) -> MachineEvent:
        """See Driver.next_event."""
        if self._source is None:
            raise LinkError(f"machine {self._machine}: not connected")
        if self._asking is None:
            return await self._source.next_event()
        return await self._either.next(self._source.next_event, self._asking.next_request)

    async def read(self, event: MachineEvent) -> Reading:
        """See Driver.read. What stands in the nodes now is what is acknowledged; an event's fields are the event's."""
        if isinstance(event, MachineRequest):
            return await self._asked().read()
        values: dict[str, PointValue] = {}
        snapshots = self._snapshots
        if snapshots is None:
            raise LinkError(f"machine {self._machine}: not connected")
        if isinstance(event, ResultEvent):
            values |= await snapshots.fields(event.fields, list(self._settings.event_points))
        if self._settings.node_points:
            values |= await snapshots.take()
            if self._source is not None and not event.first:
                await self._source.has_read(values.get(self._settings.trigger.point or ""))
        in_order = {name: values[name] for name in self._settings.result_points}
        if self._settings.acknowledge is None and self._source is not None:
            self._source.done()
        return Reading(datetime.now(UTC), in_order, event.payload)

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        """See Acknowledging. SetupError also where the machine takes no such value.

        LinkError also where it went on: what stands there now is found when the link is opened anew.
        """
        if self._settings.acknowledge is None:
            return
        if self._acknowledgement is None or self._snapshots is None:
            raise LinkError(f"machine {self._machine}: not connected")
        await self._check_it_waits(self._snapshots, reading)
        await self._acknowledgement.tell(reading, cycle_key)
        if self._source is not None:
            self._source.done()

    async def _check_it_waits(self, snapshots: Snapshots, reading: Reading) -> None:
        """A handshake's ack says nothing of the result it is for: that has to be the one which stands there."""
        settings = self._settings
        if settings.acknowledge is None or settings.acknowledge.four_phase is None:
            return
        witness = settings.handshake_witness
        if witness is not None:
            went_on = not await snapshots.still_stands(reading)
        else:
            went_on = self._source is not None and await self._source.has_another()
        if went_on:
            self._went_on = True
            raise LinkError(
                f"machine {self._machine} went on before it was acknowledged: point "
                f"{witness or settings.trigger.point} tells of another result, and nothing was written for it; see "
                "that the machine waits for ack longer than the station needs"
            )

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        """See Permitting."""
        await self._asked().answer(values)

    def _asked(self) -> Asking:
        if self._asking is None:
            raise LinkError(f"machine {self._machine}: not connected")
        return self._asking

    async def look(self, wait_s: float) -> Sequence[Sight]:
        """See Looking. The fields of an event come with an event: that is waited for."""
        await self._link.open()
        try:
            settings = self._settings
            namespaces = Namespaces(settings.namespaces, list(self._link.namespaces))
            points = settings.shown_points
            addresses = {name: point.address for name, point in points.items() if point.address is not None}
            here = await located(self._link, namespaces, addresses)
            values = dict(await Snapshots(self._machine, self._link, points, here, None).prepare())
        finally:
            await self._link.close()
        if settings.event_points:
            values |= await self._fields_of_an_event(wait_s)
        return [Sight(name, str(point), values[name]) for name, point in settings.points.items()]

    async def _fields_of_an_event(self, wait_s: float) -> Mapping[str, PointValue]:
        none = PointValue(None, problem=f"no event came in {wait_s:g} s")
        try:
            await self.open()
            async with asyncio.timeout(wait_s):
                reading = await self.read(await self.next_event())
        except TimeoutError:
            return dict.fromkeys(self._settings.event_points, none)
        finally:
            await self.close()
        return reading.values

    async def close(self) -> None:
        """See Driver.close."""
        await self._either.close()
        source, self._source = self._source, None
        asking, self._asking = self._asking, None
        self._snapshots = self._acknowledgement = None
        self._is_open = False
        await self._link.close()
        if asking is not None:
            asking.wake()
            await asking.stop()
        if source is not None:
            source.wake()
            await source.stop()

    # -- Trusting ----------------------------------------------------------------------------------------------------

    def make_own_certificate(self) -> Certificate | None:
        """See Trusting."""
        security = self._required_security()
        if security.certificate.exists() and security.key.exists():
            return None
        return described(make_own(security, self._machine))

    async def shown_certificate(self) -> tuple[Certificate, str | None]:
        """See Trusting."""
        security = self._required_security()
        certificate = await self._link.shown_certificate(security)
        try:
            check_trusted(certificate, security.trusted, self._link.host, datetime.now(UTC))
        except UntrustedError as error:
            return described(certificate), str(error)
        return described(certificate), None

    def trust(self, certificate: Certificate) -> str:
        """See Trusting."""
        return str(trust(certificate.der, self._required_security().trusted))

    def _required_security(self) -> Security:
        security = self._settings.connect.security
        if security is None:
            raise SetupError(f"machine {self._machine}: connect.security is not set, so there is nothing to trust")
        return security

    # -- opening -----------------------------------------------------------------------------------------------------

    def _new_source(self, snapshots: Snapshots, here: Located, namespaces: Namespaces) -> Source:
        trigger, silence_s = self._settings.trigger, self._settings.connect.silence
        # A machine that holds its result until it is acknowledged loses none while nobody listens.
        gap = self._was_open and (self._settings.acknowledge is None or self._went_on)
        self._went_on = False
        if isinstance(trigger, EventTrigger):
            fields = {name: str(point.event_field) for name, point in self._settings.event_points.items()}
            return EventSource(
                self._machine, self._link, trigger, silence_s, fields, namespaces, self._events, gap=self._was_open
            )
        node_id, common = here.nodes[trigger.point], (self._machine, self._link, trigger, silence_s, snapshots)
        if trigger.poll is None:
            return SubscribedSource(*common, node_id, gap=gap)
        return PolledSource(*common, node_id, gap=gap, handshake=self._settings.trigger_is_ready)

    def _require(self, here: Located, point: str | None) -> None:
        if point is not None and point in here.missing:
            raise SetupError(f"machine {self._machine}, trigger point {point}: {here.missing[point]}")

    def _check_trigger(self, found: Mapping[str, PointValue]) -> None:
        name = self._settings.trigger.point
        point = found.get(name) if name is not None else None
        if point is None or point.problem is None:
            return
        if point.status_code in {ua.StatusCode(ua.UInt32(code)).name for code in ABSENT}:
            raise SetupError(
                f"machine {self._machine}: trigger {point.problem}; look the node up in the server's address space"
            )
        if point.status_code is not None and point.value is None:
            raise LinkError(f"machine {self._machine}: trigger {point.problem}")

    def _wake(self) -> None:
        if self._source is not None:
            self._source.wake()
        if self._asking is not None:
            self._asking.wake()
