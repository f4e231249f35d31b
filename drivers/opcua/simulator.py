"""An OPC-UA machine made of software: an asyncua server on a free port, with the nodes of the settings."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from asyncua import Server, ua
from asyncua.common.callback import Callback, CallbackService, CallbackType, ServerItemCallback
from asyncua.common.methods import uamethod

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.opcua.settings import DataTrigger, FourPhaseNodes, OpcUaPoint, OpcUaSettings
from drivers.opcua.simulated import KINDS, Space
from drivers.opcua.simulated_security import SimulatedIdentity
from drivers.opcua.variants import variant_of
from drivers.template import as_text, render

_WRITTEN_EVERY_S = 0.5
"""Every write wakes who waits for it; this is for what comes another way."""
_OFF = datetime(2000, 1, 1, tzinfo=UTC)
"""Where a clock begins that has lost its battery."""


class OpcUaSimulator:
    """Holds each result until the station has acknowledged it, where the settings say so."""

    faults = frozenset({Fault.DROP_LINK, Fault.ANSWER_LATE, Fault.TEAR, Fault.LOSE_SUBSCRIPTION, Fault.JUMP_CLOCK})

    def __init__(self, machine: str, settings: OpcUaSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._server: Server | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._space: Space | None = None
        self._happened = asyncio.Event()
        self._called: list[str] | None = None
        self._clock_off = timedelta(0)
        self._shown: dict[str, RawValue | None] = {}
        self._previous: dict[str, RawValue | None] = {}
        self._late = False
        self._tearing: str | None = None

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start. Its certificate, and all that a station needs to be let in, is made anew."""
        self._folder = tempfile.TemporaryDirectory(prefix="neurohub-opcua-")
        identity = SimulatedIdentity(Path(self._folder.name), self._settings.connect)
        server = self._server = Server(user_manager=identity)
        await server.init()
        server.set_endpoint("opc.tcp://127.0.0.1:0/")
        server.set_force_server_timestamp(False)  # its clock is ours, which may jump
        await identity.show(server)
        space = self._space = Space(server, self._settings)
        await space.build()
        await self._add_acknowledgement(space)
        await self._add_answers(space)
        server.subscribe_server_callback(CallbackType.PreRead, self._reading)
        server.subscribe_server_callback(CallbackType.PostRead, self._has_read)
        server.subscribe_server_callback(CallbackType.PostWrite, self._written)
        await server.start()
        assert server.bserver is not None
        return {"connect.url": f"opc.tcp://127.0.0.1:{server.bserver.port}/", **identity.settings}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:
        """See Simulator.cycle. Raises ValueError for a value that its node cannot hold."""
        settings, space = self._settings.acknowledge, self._running_space()
        values = self._with_flag(values)
        if settings is None:
            await self._lower_flag()  # so that it can be raised
        if settings is not None and settings.four_phase is not None:
            await self._shake(settings.four_phase, values, cycle_key)
        elif settings is not None and settings.write is not None:
            node = space.signals["acknowledge.write"]
            if not isinstance(settings.write.value, str):
                await node.write_value(variant_of(0, KINDS[settings.write.type]))  # the last result's must not count
            await self.present(values)
            expected = variant_of(self._filled(settings.write.value, cycle_key), KINDS[settings.write.type]).Value
            await self._until(lambda: self._value_of("acknowledge.write") == expected)
        elif settings is not None and settings.call is not None:
            self._called = None
            await self.present(values)
            expected = [as_text(self._filled(argument, cycle_key)) for argument in settings.call.arguments]
            await self._until(lambda: self._called == expected)
        else:
            await self.present(values)
            return
        await self._lower_flag()

    async def present(self, values: Mapping[str, RawValue | None]) -> None:
        """Put these values into the nodes, the trigger's last, or send them as an event. A node with None has a bad
        status from now on."""
        space = self._running_space()
        self._previous = dict(self._shown)
        self._shown |= values
        trigger = self._settings.trigger
        await self._show(self._in_nodes(values))
        if not isinstance(trigger, DataTrigger):
            await space.fire({**self._shown, **values}, self._now())

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        server = self._running()
        if fault is Fault.DROP_LINK:
            for transport in list(server.iserver.asyncio_transports):
                transport.abort()
        elif fault is Fault.ANSWER_LATE:
            self._late = True
        elif fault is Fault.TEAR:
            self._tearing = "armed"
        elif fault is Fault.LOSE_SUBSCRIPTION:
            service = server.iserver.subscription_service
            await service.delete_subscriptions(list(service.subscriptions))
        elif fault is Fault.JUMP_CLOCK:
            self._clock_off = _OFF - datetime.now(UTC)
        else:
            raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")

    async def stop(self) -> None:
        """See Simulator.stop."""
        server, self._server = self._server, None
        if server is not None:
            await _stop_clock(server)
            await server.stop()
            # asyncua keeps the session of a station whose link broke, and what runs for it, beyond its own end.
            for session in list(server.iserver._external_sessions.values()):
                await session.close_session()
        if self._folder is not None:
            self._folder.cleanup()

    # -- results -----------------------------------------------------------------------------------------------------

    async def _show(self, values: Mapping[str, RawValue | None]) -> None:
        await self._running_space().show(values, self._now())

    async def _shake(
        self, settings: FourPhaseNodes, values: Mapping[str, RawValue | None], cycle_key: Scalar | None
    ) -> None:
        place = "acknowledge.four_phase"
        if settings.busy is not None:
            await self._signal(f"{place}.busy", on=True)
        await self.present(values)
        if settings.busy is not None:
            await self._signal(f"{place}.busy", on=False)
        await self._signal(f"{place}.ready", on=True)
        await self._until(lambda: bool(self._value_of(f"{place}.ack")))
        if settings.echo is not None:
            expected = variant_of(self._filled(settings.echo.value, cycle_key), KINDS[settings.echo.type]).Value
            found = self._value_of(f"{place}.echo")
            if found != expected:
                raise ValueError(f"machine {self._machine}: the station acknowledged {found}, not {expected}")
        await self._signal(f"{place}.ready", on=False)
        await self._until(lambda: not self._value_of(f"{place}.ack"))

    def _with_flag(self, values: Mapping[str, RawValue | None]) -> Mapping[str, RawValue | None]:
        """A flag that nobody counts is raised with each result."""
        trigger = self._settings.trigger
        if not isinstance(trigger, DataTrigger) or not trigger.is_flag or trigger.point in values:
            return values
        return {**values, trigger.point: True if trigger.on == "rising" else trigger.wanted[0]}

    async def _lower_flag(self) -> None:
        """For as long as a station that asks needs to see that."""
        trigger = self._settings.trigger
        if isinstance(trigger, DataTrigger) and trigger.is_flag:
            await self._show({trigger.point: _no_result(trigger, self._settings.points[trigger.point])})
            await asyncio.sleep(2 * (trigger.poll or 0.0))

    def _filled(self, value: Scalar, cycle_key: Scalar | None) -> Scalar:
        if not isinstance(value, str):
            return value
        known = {name: one for name, one in self._shown.items() if isinstance(one, bool | int | float | str)}
        return render(value, known if cycle_key is None else {**known, "cycle_key": cycle_key}, as_text)

    async def ask(self, values: Mapping[str, RawValue | None], timeout_s: float) -> Mapping[str, Scalar] | None:
        """See Asking. A flag is off for as long as a station needs to see that, before and afterwards."""
        interlock = self._settings.interlock
        assert interlock is not None, "the settings have no interlock"
        nodes, request = self._settings.answering_nodes(), interlock.request
        place, last = list(nodes.items())[-1]
        asked = values[request.point]
        flag = last.value if not isinstance(last.value, str) else render(last.value, {"request": str(asked)}, as_text)
        awaited = variant_of(flag, KINDS[last.type]).Value
        if request.on == "rising":
            await self._lower(request.point)
        if self._value_of(place) == awaited:
            await self._running_space().signals[place].write_value(variant_of(0, KINDS[last.type]))
        await self._show({name: value for name, value in values.items() if name != request.point})
        await self._show({request.point: asked})
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: self._value_of(place) == awaited)
        except TimeoutError:
            return None
        finally:
            if request.on == "rising":
                await self._lower(request.point)
        answered: dict[str, Scalar] = {}
        for place, node in nodes.items():
            value = self._value_of(place)
            if len(node.names) == 1 and isinstance(value, bool | int | float | str):
                answered[next(iter(node.names))] = value
        return answered

    async def _lower(self, point: str) -> None:
        trigger = self._settings.request_trigger
        await self._show({point: False})
        if trigger is not None:
            await asyncio.sleep(2 * (trigger.poll or trigger.sampling))

    async def _add_answers(self, space: Space) -> None:
        for place, node in self._settings.answering_nodes().items():
            await space.add_signal(place, node, KINDS[node.type], _nothing(KINDS[node.type]))

    async def _add_acknowledgement(self, space: Space) -> None:
        settings = self._settings.acknowledge
        if settings is None:
            return
        if settings.call is not None:
            count = len(settings.call.arguments)
            await space.add_method(settings.call.object, settings.call.method, self._acknowledge_called, count)
        elif settings.write is not None:
            kind = KINDS[settings.write.type]
            await space.add_signal("acknowledge.write", settings.write, kind, _nothing(kind))
        elif settings.four_phase is not None:
            for signal, address in settings.four_phase.signals().items():
                await space.add_signal(f"acknowledge.four_phase.{signal}", address, ua.VariantType.Boolean, False)
            echo = settings.four_phase.echo
            if echo is not None:
                kind = KINDS[echo.type]
                await space.add_signal("acknowledge.four_phase.echo", echo, kind, _nothing(kind))

    @uamethod
    def _acknowledge_called(self, _parent: ua.NodeId, *arguments: str) -> int:
        self._called = list(arguments)
        self._happened.set()
        accepted = (
            self._settings.acknowledge.call.accepted
            if self._settings.acknowledge and self._settings.acknowledge.call
            else 0
        )
        return accepted if isinstance(accepted, int) else 0

    async def _signal(self, place: str, *, on: bool) -> None:
        await self._running_space().signals[place].write_value(on)

    def _value_of(self, place: str) -> object:
        node_id = self._running_space().signals[place].nodeid
        found = self._running().iserver.aspace.read_attribute_value(node_id, ua.AttributeIds.Value).Value
        return None if found is None else found.Value

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._happened.clear()
            try:
                async with asyncio.timeout(_WRITTEN_EVERY_S):
                    await self._happened.wait()
            except TimeoutError:
                continue

    # -- asyncua's callbacks -----------------------------------------------------------------------------------------

    async def _reading(self, event: Callback, _service: CallbackService) -> None:
        if not isinstance(event, ServerItemCallback) or not event.is_external:
            return
        if self._late:
            self._late = False
            await asyncio.sleep(self._settings.connect.timeout * 1.5)
        if self._tearing == "armed" and len(event.request_params.NodesToRead) > 1:
            # The first part of a Read that is split is of the result before, what comes after it of this one. The
            # trigger's node tells, whichever part it is in: as with a real machine it is set last.
            self._tearing = "begun"
            await self._show(self._in_nodes(self._previous))

    async def _has_read(self, event: Callback, _service: CallbackService) -> None:
        if self._tearing not in ("begun", "half") or not isinstance(event, ServerItemCallback) or not event.is_external:
            return
        witness, shown = self._settings.trigger.witness, self._in_nodes(self._shown)
        if self._tearing == "begun":
            self._tearing = "half"
            await self._show({name: value for name, value in shown.items() if name != witness})
        asked = [one.NodeId for one in event.request_params.NodesToRead]
        if witness is None or self._running_space().nodes[witness].node.nodeid in asked:
            self._tearing = None
            await self._show(shown)

    async def _written(self, _event: Callback, _service: CallbackService) -> None:
        self._happened.set()

    def _in_nodes(self, values: Mapping[str, RawValue | None]) -> Mapping[str, RawValue | None]:
        return {name: value for name, value in values.items() if name in self._running_space().nodes}

    def _now(self) -> datetime:
        return datetime.now(UTC) + self._clock_off

    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError(f"the simulator of {self._machine} is not started")
        return self._server

    def _running_space(self) -> Space:
        if self._space is None:
            raise RuntimeError(f"the simulator of {self._machine} is not started")
        return self._space


async def _stop_clock(server: Server) -> None:
    """asyncua would wait until its clock has ticked once more."""
    clock, server.iserver.time_task = server.iserver.time_task, None
    if clock is not None:
        clock.cancel()
        await asyncio.gather(clock, return_exceptions=True)


def _no_result(trigger: DataTrigger, point: OpcUaPoint) -> Scalar:
    """What a flag shows while there is no result."""
    candidates: Iterable[Scalar] = itertools.count()
    if point.type == "boolean":
        candidates = (False, True)
    elif point.type in ("string", "localizedtext"):
        candidates = (f"idle{'.' * place}" for place in itertools.count())
    return next((one for one in candidates if not trigger.means_a_result(one)), False)


def _nothing(kind: ua.VariantType) -> Scalar:
    if kind in (ua.VariantType.String, ua.VariantType.LocalizedText, ua.VariantType.ByteString):
        return ""
    return 0
