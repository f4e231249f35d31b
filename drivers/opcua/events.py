"""A trigger that is an event (OPC 10000-5, 6.4): what it says is the result, or part of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asyncua import ua

from contracts.errors import SetupError
from contracts.measurement import Scalar
from drivers.base import MachineEvent, PointValue
from drivers.opcua.addresses import browse_names
from drivers.opcua.link import OpcUaLink, status_in_words
from drivers.opcua.nodes import Namespaces, NotThereError
from drivers.opcua.settings import EventTrigger
from drivers.opcua.subscription import Subscription
from drivers.opcua.trigger import Inbox, Signal
from drivers.opcua.values import as_utc

_OVERFLOW = ua.NodeId(ua.Int32(ua.ObjectIds.EventQueueOverflowEventType))
"""The event of a queue that ran over."""


@dataclass(frozen=True)
class ResultEvent(MachineEvent):
    """An event of the server with its fields, in the order of the points they are."""

    fields: tuple[Any, ...] = ()


class EventSource:
    """Events that are results: their fields are points.

    ``inbox`` outlives the link: what came and was not done with is handed out again in the next life. ``gap``: events
    may have come while nobody listened.
    """

    def __init__(
        self,
        machine: str,
        link: OpcUaLink,
        settings: EventTrigger,
        silence_s: float,
        fields: Mapping[str, str],
        namespaces: Namespaces,
        inbox: Inbox[Signal[Any]],
        *,
        gap: bool,
    ) -> None:
        self._machine = machine
        self._settings = settings
        self._fields = fields
        self._namespaces = namespaces
        self._inbox = inbox
        self._lost = False
        self._handed_out = False
        self._greeted = bool(fields)
        self._subscription = Subscription(machine, link, settings.publishing, silence_s, inbox, lost=gap)
        self.wake = inbox.wake

    async def start(self) -> None:
        """See Source.start. Raises SetupError for a type, a source or a field that is not there."""
        try:
            event_type = self._namespaces.node_id(self._settings.event_type)
            source = self._namespaces.node_id(self._settings.source)
            clauses = self._clauses(event_type)
        except NotThereError as error:
            raise SetupError(f"machine {self._machine}, trigger: {error}") from error
        parameters = ua.MonitoringParameters(
            ClientHandle=ua.IntegerId(1),
            SamplingInterval=ua.Duration(0),
            Filter=_event_filter(clauses, [event_type, _OVERFLOW]),
            QueueSize=ua.Counter(self._settings.queue),
            DiscardOldest=True,
        )
        item = ua.MonitoredItemCreateRequest(
            ItemToMonitor=ua.ReadValueId(NodeId=source, AttributeId=ua.AttributeIds.EventNotifier),
            MonitoringMode=ua.MonitoringMode.Reporting,
            RequestedParameters=parameters,
        )
        granted = await self._subscription.start(item, f"events of {self._settings.source}")
        self._check_fields(granted.FilterResult)

    async def next_event(self) -> MachineEvent:
        """See Source.next_event. An event that is only a signal is preceded by what stands there at first."""
        if not self._greeted:
            self._greeted = True
            return MachineEvent(datetime.now(UTC), first=True)
        self.done()
        while True:
            signal = await self._inbox.first()
            event_type, *fields = signal.content
            lost = self._lost or signal.lost
            if _plain(event_type) == _OVERFLOW:
                self._lost = True
                self._inbox.taken()
                continue
            self._lost, self._handed_out = False, True
            again, self._inbox.is_told = self._inbox.is_told, True
            if not self._fields:
                return MachineEvent(signal.at, gap=lost, maybe_again=again)
            told = {name: _told(value) for name, value in zip(self._fields, fields, strict=True)}
            payload = json.dumps(told, ensure_ascii=False).encode("utf-8", "backslashreplace")
            return ResultEvent(signal.at, payload=payload, gap=lost, maybe_again=again, fields=tuple(fields))

    async def has_read(self, trigger: PointValue | None) -> None:
        """An event is done with when it was acknowledged."""

    async def has_another(self) -> bool:
        """Every event is a result of its own; none takes another's place."""
        return False

    def done(self) -> None:
        if self._handed_out:
            self._handed_out = False
            self._inbox.taken()

    async def stop(self) -> None:
        await self._subscription.stop()

    def _clauses(self, event_type: ua.NodeId) -> list[ua.SimpleAttributeOperand]:
        base = ua.NodeId(ua.Int32(ua.ObjectIds.BaseEventType))
        clauses = [_clause(base, [ua.QualifiedName("EventType")])]
        for path in self._fields.values():
            names = [self._namespaces.qualified_name(space, name) for space, name in browse_names(path)]
            clauses.append(_clause(event_type, names))
        return clauses

    def _check_fields(self, result: Any) -> None:
        """What the server says of each field asked for, where it says anything."""
        statuses = getattr(result, "SelectClauseResults", None) or []
        for (name, path), status in zip(self._fields.items(), statuses[1:], strict=False):
            if status.is_bad():
                raise SetupError(
                    f"machine {self._machine}, point {name}: the event has no field {path}: {status_in_words(status)}"
                )


def _clause(event_type: ua.NodeId, names: list[ua.QualifiedName]) -> ua.SimpleAttributeOperand:
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=event_type, BrowsePath=names, AttributeId=ua.UInt32(ua.AttributeIds.Value)
    )


def _event_filter(clauses: list[ua.SimpleAttributeOperand], types: list[ua.NodeId]) -> ua.EventFilter:
    """These fields, of events of these types: ``OfType(first) or OfType(second)`` (OPC 10000-4, 7.7)."""
    of_type = [
        ua.ContentFilterElement(
            FilterOperator=ua.FilterOperator.OfType, FilterOperands=[ua.LiteralOperand(Value=ua.Variant(one))]
        )
        for one in types
    ]
    either = ua.ContentFilterElement(
        FilterOperator=ua.FilterOperator.Or,
        FilterOperands=[ua.ElementOperand(Index=ua.UInt32(1)), ua.ElementOperand(Index=ua.UInt32(2))],
    )
    return ua.EventFilter(SelectClauses=clauses, WhereClause=ua.ContentFilter(Elements=[either, *of_type]))


def _plain(value: Any) -> Any:
    return value.Value if isinstance(value, ua.Variant) else value


def _told(value: Any) -> Scalar | list[Any] | None:
    """A field as the message's text holds it."""
    value = _plain(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_told(item) for item in value]
    if isinstance(value, datetime):
        return str(as_utc(value))
    return value.hex() if isinstance(value, bytes) else repr(value)
