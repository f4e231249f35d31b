"""A Modbus machine made of software, on any transport; machines that share a line share one here too."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.modbus.addresses import Table
from drivers.modbus.blocks import Placed, blocks_of
from drivers.modbus.codec import decode, encode_answer, encode_point, encode_write
from drivers.modbus.connect import NUMBERED, UdpConnect
from drivers.modbus.registers import AnswerWrite, ModbusPoint, Register, SignalRegister, Write
from drivers.modbus.settings import ModbusFourPhase, ModbusSettings
from drivers.modbus.simulated_line import NOISE, SimulatedLine

_LATE = 1.5
"""A late answer comes after so many times the station's timeout."""
_CLOCK_RESET = datetime(2000, 1, 1, tzinfo=UTC)
"""What a clock shows whose battery is empty."""


class ModbusSimulator:
    """Has the registers its settings speak of, and holds each result until the station has acknowledged it.

    ``link`` is a lasting name for the station's end of the serial cable, as ``/dev/serial/by-id/...`` is.
    """

    def __init__(self, machine: str, settings: ModbusSettings, link: Path | None = None) -> None:
        self._machine = machine
        self._settings = settings
        self._points = {name: settings.ordered(point) for name, point in settings.points.items()}
        acknowledge = settings.acknowledge
        self._four_phase: ModbusFourPhase | None = acknowledge.four_phase if acknowledge is not None else None
        write = acknowledge.write if acknowledge is not None else None
        self._write = settings.ordered(write) if write is not None else None
        self._line = SimulatedLine.of(settings.connect, link)
        self._device = self._line.device(settings.connect.device_id)
        self._memory = self._device.memory
        self._is_started = False
        self._values: dict[str, RawValue | None] = {}
        self._changed = asyncio.Event()
        self._clock_off = timedelta(0)
        self._before: list[int] | None = None
        self._tearing: Mapping[tuple[Table, int], int] | None = None
        """While the machine writes its result anew: what will stand there when it is done."""
        self._will_tear = False
        interlock = settings.interlock
        self._answers = [settings.ordered(write) for write in interlock.answer] if interlock is not None else []
        self._memory.most_registers = settings.requests.max_registers
        self._memory.most_bits = settings.requests.max_bits
        self.faults: frozenset[Fault] = self._possible_faults()
        for placed in self._placed():
            self._memory.name(placed.table, range(placed.address, placed.address + placed.count))
        for block in blocks_of({str(n): placed for n, placed in enumerate(self._placed())}, None, settings.requests):
            self._memory.name(block.table, range(block.start, block.end))  # gaps that a station reads along

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start."""
        reached = await self._line.join()
        self._is_started = True
        self._memory.after_write.append(self._changed.set)
        self._memory.after_read.append(self._was_read)
        return reached

    async def stop(self) -> None:
        """See Simulator.stop."""
        if self._is_started:
            self._is_started = False
            self._memory.after_write.remove(self._changed.set)
            self._memory.after_read.remove(self._was_read)
            await self._line.leave()

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:
        """See Simulator.cycle. Raises ValueError for a value that its registers cannot hold."""
        trigger = self._settings.trigger
        presented = {**values}
        if trigger.on == "rising":
            await self._take_trigger_back()
            presented.setdefault(trigger.point, True)
        elif trigger.on == "value":
            await self._take_trigger_back()
            equals = trigger.equals
            presented.setdefault(trigger.point, equals[0] if isinstance(equals, tuple) else equals)
        try:
            if self._four_phase is not None:
                await self._shake_hands(self._four_phase, presented)
            elif self._write is not None:
                await self._until_written(self._write, presented, cycle_key)
            else:
                self.show(presented)
        finally:
            self._finish_writing()

    async def present(self, values: Mapping[str, RawValue | None]) -> None:
        """Make a result and do not wait for its acknowledgement. Raises ValueError."""
        self.show(values)

    def show(self, values: Mapping[str, RawValue | None]) -> None:
        """Put these values into the registers, the counter's and the trigger's last.

        A register with None cannot be read any more. Raises ValueError.
        """
        last = [self._settings.trigger.guard, self._settings.trigger.point]
        stamp = self._settings.source_timestamp
        if stamp is not None and stamp not in values:
            values = {stamp: (datetime.now(UTC) + self._clock_off).isoformat(), **values}
        self._before = self._held(self._points[self._settings.trigger.guard])
        for name in sorted(values, key=lambda name: last.index(name) if name in last else -1):
            value, point = values[name], self._points[name]
            if isinstance(value, list) or (value is None and point.is_bit):
                raise ValueError(f"machine {self._machine}, point {name}: {point} cannot hold {value}")
            self._values[name] = value
            places = {(point.table, point.address + place) for place in range(point.count)}
            if value is None:
                self._memory.unreadable |= places
                continue
            self._memory.unreadable -= places
            try:
                words = encode_point(point, value)
            except ValueError as error:
                raise ValueError(f"machine {self._machine}, point {name}: {error}") from error
            if point.bit is not None:  # the other bits of its register are other points'
                words = [
                    held & ~mask | word
                    for held, mask, word in zip(self._held(point), encode_point(point, True), words, strict=True)
                ]
            self._memory.put(point.table, point.address, words)

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        if fault not in self.faults:
            raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")
        if fault is Fault.DROP_LINK:
            await self._line.drop()
        elif fault is Fault.ANSWER_LATE:
            self._device.answer_late(self._settings.connect.timeout * _LATE)
        elif fault is Fault.NOISE:
            self._line.say(NOISE)
        elif fault is Fault.TEAR:
            self._will_tear = True
        elif fault is Fault.JUMP_CLOCK:
            self._clock_off = _CLOCK_RESET - datetime.now(UTC)

    async def plug(self) -> None:
        """Put the serial cable in (again)."""
        await self._line.plug()

    def unplug(self) -> None:
        """Pull the serial cable out: the station's port vanishes."""
        self._line.unplug()

    def _possible_faults(self) -> frozenset[Fault]:
        connect = self._settings.connect
        found = {Fault.ANSWER_LATE}
        if not isinstance(connect, UdpConnect):
            found.add(Fault.DROP_LINK)
        if not isinstance(connect, NUMBERED):
            found.add(Fault.NOISE)
        if len(blocks_of(self._points, self._settings.trigger.point, self._settings.requests)) > 1:
            found.add(Fault.TEAR)
        if self._settings.source_timestamp is not None:
            found.add(Fault.JUMP_CLOCK)
        return frozenset(found)

    def _placed(self) -> list[Placed]:
        placed: list[Placed] = list(self._points.values())
        if self._write is not None:
            placed.append(self._write)
        if self._four_phase is not None:
            placed.extend(self._four_phase.signals().values())
            if self._four_phase.echo is not None:
                placed.append(self._four_phase.echo)
        placed.extend(self._answers)
        return placed

    # -- requests, from the machine's side ---------------------------------------------------------------------------

    async def ask(self, values: Mapping[str, RawValue | None], timeout_s: float) -> Mapping[str, Scalar] | None:
        """See Asking. A flag is off for as long as a station needs to see that, before and afterwards."""
        interlock = self._settings.interlock
        assert interlock is not None, "the settings have no interlock"
        request, flag = interlock.request, self._answers[-1]
        asked = values[request.point]
        echoed = {"request": asked} if not isinstance(asked, list) and asked is not None else {}
        awaited = encode_answer(flag, echoed)
        if request.on == "rising":
            await self._lower(request.point)
        if awaited == self._held(flag):
            self._memory.put(flag.table, flag.address, [0] * flag.count)
        self.show({name: value for name, value in values.items() if name != request.point})
        self.show({request.point: asked})
        try:
            async with asyncio.timeout(timeout_s):
                await self._until(lambda: self._held(flag) == awaited)
        except TimeoutError:
            return None
        finally:
            if request.on == "rising":
                await self._lower(request.point)
        return {name: value for write in self._answers for name, value in self._answered(write)}

    def _answered(self, write: AnswerWrite) -> Iterator[tuple[str, Scalar]]:
        """What stands in a register of the answer, by the one name it stands for."""
        register = {name: getattr(write, name) for name in Register.model_fields}
        found = decode(ModbusPoint.model_construct(**register), self._held(write))
        if len(write.names) == 1 and found.value is not None and not isinstance(found.value, list):
            yield next(iter(write.names)), found.value

    async def _lower(self, point: str) -> None:
        flag = self._points[point]
        self._memory.put(flag.table, flag.address, [0] * flag.count)
        await asyncio.sleep(2 * self._settings.trigger.poll)

    # -- acknowledgements, from the machine's side -------------------------------------------------------------------

    async def _until_written(
        self, write: Write, values: Mapping[str, RawValue | None], cycle_key: Scalar | None
    ) -> None:
        is_flag = not isinstance(write.value, str)
        if is_flag:
            self._memory.put(write.table, write.address, [0] * write.count)
        self.show(values)
        try:
            awaited = encode_write(write, self._values, cycle_key)
        except KeyError as missing:
            raise ValueError(
                f"machine {self._machine}: the acknowledgement names {missing}, which has no value"
            ) from None
        await self._until(lambda: self._held(write) == awaited)
        if is_flag:  # it is the same for every result: this one's must not count for the next
            self._memory.put(write.table, write.address, [0] * write.count)
        if self._settings.trigger.on in ("rising", "value"):
            self._put_trigger_off()

    async def _shake_hands(self, four_phase: ModbusFourPhase, values: Mapping[str, RawValue | None]) -> None:
        await self._until(lambda: not self._is_on(four_phase.ack))
        if four_phase.busy is not None:
            self._set(four_phase.busy, True)
        ready = four_phase.ready
        its_own = {name for name, point in self._points.items() if _is_at(point, ready)}
        self.show({name: value for name, value in values.items() if name not in its_own})
        self._set(ready, True)
        if four_phase.busy is not None:
            self._set(four_phase.busy, False)
        await self._until(lambda: self._is_on(four_phase.ack))
        self._set(ready, False)
        await self._until(lambda: not self._is_on(four_phase.ack))

    async def _take_trigger_back(self) -> None:
        """A flag that comes on has to be off before, for as long as a station needs to see that.

        Where a counter beside it tells of the next result, the flag may go off and on between two looks.
        """
        trigger = self._settings.trigger
        self._put_trigger_off()
        if trigger.counter is None:
            await asyncio.sleep(2 * trigger.poll)

    def _put_trigger_off(self) -> None:
        point = self._points[self._settings.trigger.point]
        ones = encode_point(point, True) if point.bit is not None else [0xFFFF] * point.count
        off = [word & ~one for word, one in zip(self._held(point), ones, strict=True)]
        self._memory.put(point.table, point.address, off)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _held(self, placed: Placed) -> list[int]:
        return self._memory.get(placed.table, placed.address, placed.count)

    def _is_on(self, signal: SignalRegister) -> bool:
        return signal.is_on(self._held(signal)[0])

    def _set(self, signal: SignalRegister, on: bool) -> None:
        (word,) = self._held(signal)
        if signal.is_bit:
            word = int(on)
        elif signal.bit is not None:
            word = word | 1 << signal.bit if on else word & ~(1 << signal.bit)
        else:
            word = signal.on_value if on else signal.off_value
        self._memory.put(signal.table, signal.address, [word])

    # -- a torn result -----------------------------------------------------------------------------------------------

    def _was_read(self, table: Table, addresses: range) -> None:
        """The machine begins to write its result anew just after its counter was read, and is done a moment later."""
        guard = self._points[self._settings.trigger.guard]
        if guard.table != table or guard.address not in addresses:
            return
        if self._tearing is not None:
            self._finish_writing()
        elif self._will_tear and self._before is not None and self._held(guard) != self._before:
            self._will_tear = False
            self._tearing = {
                (point.table, point.address + place): word
                for point in self._points.values()
                for place, word in enumerate(self._held(point))
            }
            for at, address in self._tearing:
                self._memory.put(at, address, [0])
            self._memory.put(guard.table, guard.address, self._before)

    def _finish_writing(self) -> None:
        tearing, self._tearing = self._tearing, None
        for (table, address), word in (tearing or {}).items():
            self._memory.put(table, address, [word])


def _is_at(point: ModbusPoint, signal: SignalRegister) -> bool:
    """Whether a point shows this signal."""
    return (point.table, point.address, point.bit) == (signal.table, signal.address, signal.bit)
