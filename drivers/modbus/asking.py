"""A machine that asks before it starts a unit: the request is looked at beside the trigger, answered in registers."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from contracts.errors import LinkError, SetupError
from contracts.measurement import Scalar
from drivers.base import MachineRequest, Reading
from drivers.modbus.blocks import block_of
from drivers.modbus.codec import encode_answer
from drivers.modbus.link import ModbusLink, RefusedError
from drivers.modbus.reader import PointReader, Raw
from drivers.modbus.registers import AnswerWrite
from drivers.modbus.settings import ModbusInterlock, ModbusSettings, Trigger
from drivers.modbus.watching import Watch

LONGEST_WRITE = 123
"""Registers in one request (Modbus Application Protocol V1.1b3, 6.12)."""
TORN_READS = 5


class Asking:
    """One life of a link: ``check()`` once, then ``look()`` again and again."""

    def __init__(self, machine: str, settings: ModbusSettings, interlock: ModbusInterlock, link: ModbusLink) -> None:
        self._where = f"machine {machine}, interlock"
        self._link = link
        self._request = interlock.request
        wanted = {self._request.point, interlock.serial_number, interlock.lot_number} - {None}
        points = {name: settings.ordered(point) for name, point in settings.points.items() if name in wanted}
        self._points = points
        self._reader = PointReader(machine, points, self._request.point, settings.requests)
        self._writes = [settings.ordered(write) for write in interlock.answer]
        self._watch = self._new_watch()

    def forget(self) -> None:
        """Another life of the link begins."""
        self._reader.forget()
        self._watch = self._new_watch()

    async def check(self) -> None:
        """Raises SetupError where the device does not have a register of a request, or LinkError."""
        await self._reader.check(self._link)

    async def look(self) -> MachineRequest | None:
        """The machine's request, where there is a new one; number 0 is none. Raises LinkError."""
        raw = await self._reader.read(self._link, block_of(self._request.point, self._points[self._request.point]))
        value = self._value(raw)
        first = self._watch.first
        if not self._watch.sees(value) or not value:
            return None
        return MachineRequest(datetime.now(UTC), key=value, first=first)

    async def read(self) -> Reading:
        """The request that stands now: what it is about, and its number the same before and after. Raises LinkError."""
        name = self._request.point
        for _ in range(TORN_READS):
            raw: dict[str, Raw] = {}
            for block in self._reader.blocks:
                raw |= await self._reader.read(self._link, block)
            if len(self._reader.blocks) > 1:
                after = await self._reader.read(self._link, block_of(name, self._points[name]))
                if after[name] != raw[name]:
                    continue
            self._value(raw)
            return Reading(datetime.now(UTC), {name: self._reader.value(name, one) for name, one in raw.items()})
        raise LinkError(f"{self._where}: point {name} changed {TORN_READS} times while one request was read")

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        """See Permitting. Neighbours are written together, the last value alone and last."""
        for first, words in self._parts(values):
            try:
                await self._link.write(first, words)
            except RefusedError as error:
                raise SetupError(
                    f"{self._where}.answer: {error}; check the register in the machine's manual"
                ) from error

    def _parts(self, values: Mapping[str, Scalar]) -> list[tuple[AnswerWrite, list[int]]]:
        """What is written together, by its first register."""
        parts: list[tuple[AnswerWrite, list[int]]] = []
        last = len(self._writes) - 1
        for place, write in enumerate(self._writes):
            try:
                words = encode_answer(write, values)
            except KeyError as error:
                raise LinkError(f"{self._where}.answer.{place} ({write}): {error} has no value") from error
            except ValueError as error:
                raise SetupError(
                    f"{self._where}.answer.{place} ({write}): {error}; choose a type that holds every value"
                ) from error
            if parts and place < last and _joins(*parts[-1], write, words):
                parts[-1][1].extend(words)
            else:
                parts.append((write, words))
        return parts

    def _value(self, raw: Mapping[str, Raw]) -> Scalar:
        found = self._reader.value(self._request.point, raw[self._request.point])
        if found.value is None or isinstance(found.value, list):
            raise LinkError(f"{self._where}.request: point {self._request.point}: {found.problem}")
        return found.value

    def _new_watch(self) -> Watch:
        return Watch(Trigger(point=self._request.point, on=self._request.on))


def _joins(first: AnswerWrite, words: Sequence[int], following: AnswerWrite, its_words: Sequence[int]) -> bool:
    """Whether the following register is the next one, and one request takes both."""
    is_next = first.table == following.table and first.address + len(words) == following.address
    return is_next and not first.is_bit and len(words) + len(its_words) <= LONGEST_WRITE
