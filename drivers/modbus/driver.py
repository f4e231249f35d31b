"""A machine that speaks Modbus: its trigger is polled, and each result read as one snapshot."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from contracts.measurement import Scalar
from drivers.base import LinkError, MachineEvent, MachineRequest, Reading
from drivers.looking import Sight
from drivers.modbus.acknowledging import Acknowledger
from drivers.modbus.asking import Asking
from drivers.modbus.blocks import Block, block_of
from drivers.modbus.connect import RtuOverTcpConnect, SerialConnect
from drivers.modbus.link import ModbusLink, RefusedError
from drivers.modbus.looking import look
from drivers.modbus.reader import PointReader, Raw
from drivers.modbus.rereading import place_of
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.watching import PollRate, Watch

TORN_READS = 5
_SHORT_POLL = 8
"""Registers that are polled over a serial line although only the trigger is wanted: they take few milliseconds."""

log = structlog.get_logger()


class ModbusDriver:
    """Implements Driver, Acknowledging, Permitting, Measuring and Looking.

    A snapshot is consistent when the counter's (or trigger's) registers were the same before and after everything
    else was read; one answer that holds all points is consistent in itself. That holds for a machine that sets its
    counter last.
    """

    def __init__(self, machine: str, settings: ModbusSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._points = {name: settings.ordered(point) for name, point in settings.result_points.items()}
        self._kept_under = {name: place_of(point) for name, point in self._points.items()}
        self._trigger = settings.trigger.point
        self._guard = settings.trigger.guard
        self._reader = PointReader(machine, self._points, self._trigger, settings.requests)
        self._link = ModbusLink(machine, settings.connect, settings.requests.pause, self._reader.blocks)
        self._acknowledger = Acknowledger(machine, settings, self._link)
        interlock = settings.interlock
        asks = interlock is not None and interlock.enabled
        self._asking = Asking(machine, settings, interlock, self._link) if interlock is not None and asks else None
        self._is_open = False
        self._watch = Watch(settings.trigger)
        self._seen: Raw | None = None
        self._taken: Raw | None = None
        """What the counter showed when the last result was read."""
        self._polled: tuple[MachineEvent, dict[str, Raw]] | None = None
        self._next_poll_at = 0.0
        self._rate = PollRate(settings.trigger.poll)
        self._told_slow = False

    async def open(self) -> None:
        """See Driver.open. SetupError also where the device does not have a point's register."""
        if self._is_open:
            raise RuntimeError(f"machine {self._machine}: open() on a driver that is open")
        self._reader.forget()
        if self._asking is not None:
            self._asking.forget()
        self._watch = Watch(self._settings.trigger)
        self._seen = self._taken = self._polled = None
        self._next_poll_at = 0.0
        self._rate = PollRate(self._settings.trigger.poll)
        await self._link.connect()
        try:
            await self._reader.check(self._link)
            if self._asking is not None:
                await self._asking.check()
            await self._acknowledger.begin()
        except BaseException:
            await self._link.close()
            raise
        self._is_open = True

    async def close(self) -> None:
        self._is_open = False
        await self._link.close()

    async def next_event(self) -> MachineEvent:
        """Poll until the trigger signals, or the machine asks. Raises LinkError, also where the trigger cannot be read
        any more."""
        self._rate.interrupted()
        while True:
            await self._poll_is_due()
            event = await self._result() or (await self._asking.look() if self._asking is not None else None)
            if event is not None:
                return event

    async def _result(self) -> MachineEvent | None:
        raw = await self._reader.read(self._link, self._poll_block)
        found = raw[self._trigger]
        if self._seen is not None and found == self._seen and not await self._went_on(raw):
            return None
        value = self._value(self._trigger, found)
        first = self._watch.first
        signalled = self._watch.sees(value) or found == self._seen
        self._seen = found
        if not signalled:
            return None
        event = MachineEvent(datetime.now(UTC), key=value, first=first, maybe_again=not self._settings.trigger.is_flag)
        self._polled = (event, raw)
        return event

    async def read(self, event: MachineEvent) -> Reading:
        """The result that stands now: the event's, or a newer one; or the request. Raises LinkError where they come
        too fast."""
        if isinstance(event, MachineRequest):
            assert self._asking is not None
            return await self._asking.read()
        polled, self._polled = self._polled, None
        raw = polled[1] if polled is not None and polled[0] is event else {}
        guard_block = self._guard_block
        for _ in range(TORN_READS):
            if self._guard not in raw:
                raw = await self._reader.read(self._link, guard_block)
            before = raw[self._guard]
            self._value(self._guard, before)
            others = [block for block in self._reader.blocks if not raw.keys() >= set(block.names)]
            for block in others:
                raw |= await self._reader.read(self._link, block)
            after = await self._reader.read(self._link, guard_block) if others else raw
            if after[self._guard] == before and raw[self._guard] == before:
                self._seen, self._taken = raw[self._trigger], before
                self._watch.took(self._value(self._trigger, self._seen))
                return self._reading(raw)
            raw = after
        raise LinkError(
            f"machine {self._machine}: point {self._guard} changed {TORN_READS} times while one result was read; the "
            "machine has to hold a result until it is read (see acknowledge)"
        )

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        """See Acknowledging. SetupError where the device refuses the value.

        Where a point that it names has no value nothing is written: a machine that hears nothing tells its people.
        """
        four_phase = self._acknowledger.four_phase
        if four_phase is not None and not self._acknowledger.is_ready_signal(self._points[self._guard]):
            # A handshake's ack says nothing of the result it is for: that has to be the one which stands there.
            raw = await self._reader.read(self._link, block_of(self._guard, self._points[self._guard]))
            if self._value(self._guard, raw[self._guard]) != reading.values[self._guard].value:
                log.warning("machine went on before it was acknowledged", machine=self._machine)
                return
        was_off = await self._acknowledger.acknowledge(reading, cycle_key)
        if was_off and self._acknowledger.is_ready_signal(self._points[self._trigger]):
            self._watch.saw_it_off()
            self._seen = None

    async def look(self, wait_s: float) -> Sequence[Sight]:  # noqa: ARG002 - what stands in registers is read at once
        """See Looking."""
        return await look(self._machine, self._settings)

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        """See Permitting."""
        assert self._asking is not None
        await self._asking.answer(values)

    def figures(self) -> Mapping[str, float]:
        """See Measuring: how often the trigger was looked at, beside how often it should be."""
        real_s = self._rate.real_s
        measured = {} if real_s is None else {"poll_interval_seconds": real_s}
        return {"poll_interval_set_seconds": self._rate.wanted_s, **measured}

    async def _went_on(self, raw: dict[str, Raw]) -> bool:
        """The trigger shows what it showed; but beside a flag that is on a counter may tell of the next result."""
        if self._guard == self._trigger or self._taken is None or not self._watch.is_on:
            return False
        if self._guard not in raw:
            raw |= await self._reader.read(self._link, self._guard_block)
        return raw[self._guard] != self._taken

    # -- polling -----------------------------------------------------------------------------------------------------

    async def _poll_is_due(self) -> None:
        """Keep the poll's rhythm; polls that were missed are not made up for."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._next_poll_at > now:
            await asyncio.sleep(self._next_poll_at - now)
            now = loop.time()
        self._next_poll_at = max(self._next_poll_at + self._rate.wanted_s, now)
        self._rate.polled(now)
        if self._rate.is_slow and not self._told_slow:
            self._told_slow = True
            log.warning(
                "machine polled slower than set",
                machine=self._machine,
                poll_s=self._rate.wanted_s,
                real_s=round(self._rate.real_s or 0.0, 4),
            )

    @property
    def _poll_block(self) -> Block:
        """What is read to see the trigger: with its neighbours, so that a result often needs no further request."""
        return self._short(self._trigger)

    @property
    def _guard_block(self) -> Block:
        """What is read before and after a snapshot."""
        return self._short(self._guard)

    def _short(self, point: str) -> Block:
        block = self._reader.block_with(point)
        is_serial = isinstance(self._settings.connect, SerialConnect | RtuOverTcpConnect)
        return block_of(point, self._points[point]) if is_serial and block.count > _SHORT_POLL else block

    def _value(self, name: str, raw: Raw) -> Scalar:
        """Of a point without which nothing can be known. Raises LinkError where it has no value."""
        found = self._reader.value(name, raw)
        if found.value is None or isinstance(found.value, list):
            raise LinkError(f"machine {self._machine}, trigger point {name}: {found.problem}")
        return found.value

    def _reading(self, raw: Mapping[str, Raw]) -> Reading:
        values = {name: self._reader.value(name, raw[name]) for name in self._points}
        stamp = self._settings.source_timestamp
        if stamp is not None and (text := values[stamp].value) is not None:
            made_at = datetime.fromisoformat(str(text))
            values = {name: replace(value, source_timestamp=made_at) for name, value in values.items()}
        words = {self._kept_under[name]: came for name, came in raw.items() if not isinstance(came, RefusedError)}
        return Reading(datetime.now(UTC), values, words=words)
