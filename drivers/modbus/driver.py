"""A machine that speaks Modbus TCP or RTU, through pymodbus. Its reconnecting and retrying are off."""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from contracts.measurement import Scalar
from drivers.base import LinkError, MachineEvent, PointValue, Reading, SetupError
from drivers.modbus.blocks import Block, blocks_of
from drivers.modbus.codec import decode, encode
from drivers.modbus.settings import ModbusPoint, ModbusSettings, RtuConnect, plain
from drivers.template import render

TORN_READS = 5
_EXCEPTIONS = {1: "illegal function", 2: "illegal address", 3: "illegal value", 4: "device failure", 6: "busy"}

# pymodbus tells every lost link and timeout itself; ours is the one who tells, once.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class _RefusedError(Exception):
    """The device answered with an exception code."""


class ModbusDriver:
    """Polls the trigger point and reads one snapshot a result."""

    def __init__(self, machine: str, settings: ModbusSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._trigger = settings.points[settings.trigger.point]
        self._trigger_block = blocks_of([(settings.trigger.point, self._trigger)])[0]
        self._blocks = blocks_of(settings.points.items())
        self._last: Scalar | None = None
        self._heard = False
        self._next_poll = 0.0
        self._snapshot: tuple[MachineEvent, Reading] | None = None

    async def open(self) -> None:
        if self._client is not None:
            raise RuntimeError(f"{self._machine} is open already")
        self._heard, self._last, self._snapshot = False, None, None
        connect = self._settings.connect
        if isinstance(connect, RtuConnect):
            where = f"{connect.port} at {connect.baudrate} baud"
            self._client = AsyncModbusSerialClient(
                connect.port,
                framer=FramerType.RTU,
                baudrate=connect.baudrate,
                bytesize=connect.bytesize,
                parity=connect.parity,
                stopbits=connect.stopbits,
                timeout=connect.timeout,
                retries=0,
                reconnect_delay=0,
            )
        else:
            where = f"{connect.host}:{connect.port}"
            self._client = AsyncModbusTcpClient(
                connect.host, port=connect.port, timeout=connect.timeout, retries=0, reconnect_delay=0
            )
        try:
            connected = await self._client.connect()
        except (OSError, ModbusException) as error:
            raise LinkError(f"machine {self._machine}: {where} cannot be reached: {error}") from error
        if not connected:
            raise LinkError(f"machine {self._machine}: {where} cannot be reached; check cable, address and power")
        if isinstance(connect, RtuConnect):
            await self._quiet(connect)
        try:
            await self._fetch(self._trigger_block)
        except _RefusedError as error:
            raise SetupError(
                f"machine {self._machine}, trigger point {self._settings.trigger.point} ({self._trigger}): {error}; "
                "check the register in the machine's manual"
            ) from error

    async def next_event(self) -> MachineEvent:
        while True:
            await self._until_next_poll()
            event = await self._poll()
            if event is not None:
                return event

    async def _until_next_poll(self) -> None:
        """At the poll's own rhythm; a poll that took too long does not make the next ones hurry."""
        now = asyncio.get_running_loop().time()
        wait = self._next_poll - now
        if wait > 0:
            await asyncio.sleep(wait)
        self._next_poll = max(self._next_poll, now) + self._settings.trigger.poll

    async def _poll(self) -> MachineEvent | None:
        name = self._settings.trigger.point
        whole = len(self._blocks) == 1
        try:
            data = await self._fetch(self._blocks[0] if whole else self._trigger_block)
        except _RefusedError as error:
            raise LinkError(f"machine {self._machine}, trigger point {name} ({self._trigger}): {error}") from error
        block = self._blocks[0] if whole else self._trigger_block
        found = self._value(block, data, name)
        if isinstance(found.value, list) or found.value is None:
            return None
        value = found.value
        first, before = not self._heard, self._last
        self._heard, self._last = True, value
        if self._settings.trigger.on == "rising":
            signalled = bool(value) and (first or not before)
        else:
            signalled = first or value != before
        if not signalled:
            return None
        event = MachineEvent(datetime.now(UTC), key=value, first=first)
        if whole:
            self._snapshot = (event, self._reading({block: data}))
        return event

    async def read(self, event: MachineEvent) -> Reading:
        if self._snapshot is not None and self._snapshot[0] is event:
            return self._snapshot[1]
        name = self._settings.trigger.point
        key: Scalar | None = event.key
        for _ in range(TORN_READS):
            answers: dict[Block, list[int] | str] = {}
            for block in self._blocks:
                try:
                    answers[block] = await self._fetch(block)
                except _RefusedError:
                    answers |= await self._one_by_one(block)
            reading = self._reading(answers)
            standing = reading.values[name].value
            after = self._value(self._trigger_block, await self._fetch_trigger(), name).value
            if standing == after and (standing == key or self._settings.trigger.on == "change"):
                if not isinstance(after, list):
                    self._last = after
                return reading
            key = after if not isinstance(after, list) else key
        raise LinkError(f"machine {self._machine}: results follow each other faster than they can be read")

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        if self._settings.acknowledge is None:
            return
        write = self._settings.acknowledge.write
        text = write.value
        if isinstance(text, str):
            values = {name: point.value for name, point in reading.values.items()}
            scalars = {
                name: value for name, value in values.items() if value is not None and not isinstance(value, list)
            }
            if cycle_key is not None:
                scalars["cycle_key"] = cycle_key
            try:
                text = render(text, scalars, plain)
            except KeyError as error:
                raise LinkError(
                    f"machine {self._machine}: nothing to acknowledge with: {error} has no value"
                ) from error
        client = self._connected()
        try:
            if write.is_bit:
                answer = await client.write_coil(write.address, text not in ("0", False, ""), device_id=self._device)
            else:
                answer = await client.write_registers(write.address, encode(write, text), device_id=self._device)
        except (OSError, ModbusException) as error:
            raise LinkError(f"machine {self._machine}: no answer to the acknowledgement ({write}): {error}") from error
        except ValueError as error:
            raise SetupError(f"machine {self._machine}, acknowledge ({write}): {error}") from error
        if answer.isError():
            raise SetupError(
                f"machine {self._machine}, acknowledge ({write}): {_told(answer)}; check the register in the manual"
            )

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()
            # The transport closes in the loop's next turns; a serial one removes its reader there.
            await asyncio.sleep(0)

    # -- requests ----------------------------------------------------------------------------------------------------

    @property
    def _device(self) -> int:
        return self._settings.connect.device_id

    def _connected(self) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        if self._client is None or not self._client.connected:
            raise LinkError(f"machine {self._machine}: connection lost")
        return self._client

    async def _fetch(self, block: Block) -> list[int]:
        client = self._connected()
        try:
            answer: ModbusPDU
            if block.table == "holding_register":
                answer = await client.read_holding_registers(block.start, count=block.count, device_id=self._device)
            elif block.table == "input_register":
                answer = await client.read_input_registers(block.start, count=block.count, device_id=self._device)
            elif block.table == "coil":
                answer = await client.read_coils(block.start, count=block.count, device_id=self._device)
            else:
                answer = await client.read_discrete_inputs(block.start, count=block.count, device_id=self._device)
        except (OSError, ModbusException) as error:
            raise LinkError(
                f"machine {self._machine}: device {self._device} does not answer: {error}; "
                "check device id, cable and power"
            ) from error
        if answer.isError():
            raise _RefusedError(_told(answer))
        data = (
            [int(bit) for bit in answer.bits] if block.table in ("coil", "discrete_input") else list(answer.registers)
        )
        if len(data) < block.count:
            raise LinkError(f"machine {self._machine}: {len(data)} values instead of {block.count}")
        return list(data)

    async def _fetch_trigger(self) -> list[int]:
        try:
            return await self._fetch(self._trigger_block)
        except _RefusedError as error:
            raise LinkError(f"machine {self._machine}, trigger ({self._trigger}): {error}") from error

    async def _one_by_one(self, block: Block) -> dict[Block, list[int] | str]:
        """A refused request again, point by point: who is wrong is named, the others are read."""
        answers: dict[Block, list[int] | str] = {}
        for name in block.points:
            single = blocks_of([(name, self._settings.points[name])])[0]
            try:
                answers[single] = await self._fetch(single)
            except _RefusedError as error:
                answers[single] = f"{self._settings.points[name]}: {error}"
        return answers

    def _reading(self, answers: Mapping[Block, list[int] | str]) -> Reading:
        values: dict[str, PointValue] = {}
        for block, data in answers.items():
            for name in block.points:
                values[name] = (
                    PointValue(None, problem=data) if isinstance(data, str) else self._value(block, data, name)
                )
        return Reading(datetime.now(UTC), values)

    def _value(self, block: Block, data: list[int], name: str) -> PointValue:
        point: ModbusPoint = self._settings.points[name]
        place = point.address - block.start
        if point.is_bit:
            return PointValue(bool(data[place]))
        return decode(point, data[place : place + point.count])

    async def _quiet(self, connect: RtuConnect) -> None:
        """Let a late answer to somebody's earlier request pass: RTU answers carry no number to tell them apart."""
        await asyncio.sleep(max(0.02, 40.0 / connect.baudrate))
        transport = getattr(self._connected().ctx, "transport", None)
        port = getattr(transport, "sync_serial", None)
        if port is not None:
            port.reset_input_buffer()


def _told(answer: ModbusPDU) -> str:
    code = int(answer.exception_code)
    return f"the device answers exception {code} ({_EXCEPTIONS.get(code, 'see the manual')})"
