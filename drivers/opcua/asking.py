"""A machine that asks before it starts a unit: its request is watched beside the trigger, and answered in nodes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from contracts.errors import LinkError, SetupError
from contracts.measurement import Scalar
from drivers.base import MachineEvent, MachineRequest, PointValue, Reading
from drivers.interlock import TEXT_NAMES
from drivers.opcua.acknowledge import NodeWriter
from drivers.opcua.changes import PolledSource, SubscribedSource
from drivers.opcua.link import OpcUaLink
from drivers.opcua.nodes import Located
from drivers.opcua.settings import AnswerNode, DataTrigger, OpcUaSettings
from drivers.opcua.snapshot import Snapshots
from drivers.template import as_text, render

LONGEST_TEXT = 512
"""Characters of a text for people: no display shows more."""


class Asking:
    """One life of a link: ``start()``, then ``next_request()``, ``read()`` and ``answer()``, then ``stop()``."""

    def __init__(
        self,
        machine: str,
        settings: OpcUaSettings,
        trigger: DataTrigger,
        link: OpcUaLink,
        here: Located,
        answers: Located,
    ) -> None:
        for place, why in (*here.missing.items(), *answers.missing.items()):
            if place in settings.request_points or place in settings.answering_nodes():
                raise SetupError(f"machine {machine}, interlock, {place}: {why}")
        self._where = f"machine {machine}, interlock"
        self._link = link
        self._snapshots = Snapshots(machine, link, settings.request_points, here, trigger.point)
        self._answers = [
            (node, NodeWriter(machine, link, answers.nodes[place], place))
            for place, node in settings.answering_nodes().items()
        ]
        source = SubscribedSource if trigger.poll is None else PolledSource
        silence_s, node_id = settings.connect.silence, here.nodes[trigger.point]
        self._source = source(machine, link, trigger, silence_s, self._snapshots, node_id, gap=False)

    async def start(self) -> None:
        """Begin to watch. Raises LinkError, or SetupError for a node that is not there."""
        await self._snapshots.prepare()
        for _, writer in self._answers:
            await writer.prepare()
        await self._source.start()

    async def next_request(self) -> MachineRequest:
        """The machine's next request; number 0 is none. Raises LinkError."""
        event = await self._source.next_event()
        while not event.key:
            event = await self._source.next_event()
        return MachineRequest(event.signalled_at, key=event.key, first=event.first)

    async def read(self) -> Reading:
        """What the request that stands now is about. Raises LinkError."""
        values: dict[str, PointValue] = await self._snapshots.take()
        return Reading(datetime.now(UTC), values)

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        """See Permitting: everything but the last in one request, then the last."""
        variants = [(writer, writer.variant(self._filled(node, values))) for node, writer in self._answers]
        await self._link.write_all([(writer.node_id, one) for writer, one in variants[:-1]], "interlock.answer")
        writer, flag = variants[-1]
        await self._link.write(writer.node_id, flag, writer.place)

    def wake(self) -> None:
        """The link broke."""
        self._source.wake()

    async def stop(self) -> None:
        """Stop what runs. Never raises."""
        await self._source.stop()

    def _filled(self, node: AnswerNode, values: Mapping[str, Scalar]) -> Scalar:
        if not isinstance(node.value, str):
            return node.value
        try:
            if len(node.names) == 1 and node.value == f"{{{next(iter(node.names))}}}":
                value = values[next(iter(node.names))]
            else:
                value = render(node.value, values, as_text)
        except KeyError as error:
            raise LinkError(f"{self._where}.answer ({node}): {error} has no value") from error
        return value[:LONGEST_TEXT] if isinstance(value, str) and node.names & TEXT_NAMES else value


class Either:
    """The next of several events, whichever comes first. One that came while nobody asked is handed out later, in a
    later life of the link too."""

    def __init__(self) -> None:
        self._tasks: dict[int, asyncio.Task[MachineEvent]] = {}
        self._left: list[MachineEvent] = []

    async def next(self, *sources: Callable[[], Awaitable[MachineEvent]]) -> MachineEvent:
        """May be cancelled without losing one. Raises what a source raises, LinkError when it is closed meanwhile."""
        if self._left:
            return self._left.pop(0)
        for place, source in enumerate(sources):
            if place not in self._tasks:
                self._tasks[place] = asyncio.ensure_future(source())
        await asyncio.wait(self._tasks.values(), return_when=asyncio.FIRST_COMPLETED)
        for place, task in sorted(self._tasks.items()):
            if task.done():
                return self._tasks.pop(place).result()
        raise LinkError("the link was closed")

    async def close(self) -> None:
        """End what waits; keep what came. Never raises."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.cancel()
        for end in await asyncio.gather(*tasks.values(), return_exceptions=True):
            if isinstance(end, MachineEvent) and not isinstance(end, MachineRequest):
                self._left.append(end)
