"""A Modbus machine made of software: a pymodbus server on a free port, or on the far end of a serial cable."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.cable import PtyCable
from drivers.modbus.blocks import JOINED_GAP
from drivers.modbus.codec import encode_acknowledgement, encode_scaled
from drivers.modbus.settings import ModbusSettings, Register, RtuConnect, Table

_FUNCTION: Mapping[Table, int] = {"coil": 1, "discrete_input": 2, "holding_register": 3, "input_register": 4}
"""Function code that reads each table; pymodbus's device takes its tables in this order."""
_Tables = tuple[list[SimData], list[SimData], list[SimData], list[SimData]]


class ModbusSimulator:
    """Has the registers its settings speak of, and holds each result until the station has acknowledged it.

    ``link`` is a lasting name for the station's end of the serial cable, as ``/dev/serial/by-id/...`` is. What the
    registers hold outlives ``unplug()``.
    """

    faults: frozenset[Fault] = frozenset()

    def __init__(self, machine: str, settings: ModbusSettings, link: Path | None = None) -> None:
        self._machine = machine
        self._settings = settings
        self._link = link
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._cable: PtyCable | None = None
        self._server: ModbusTcpServer | ModbusSerialServer | None = None
        self._values: dict[str, RawValue | None] = {}
        self._written = asyncio.Event()

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start."""
        connect = self._settings.connect
        tables = cast(_Tables, tuple(self._memory(table) for table in _FUNCTION))
        device = SimDevice(connect.device_id, simdata=tables, action=self._accessed)
        if isinstance(connect, RtuConnect):
            self._folder = tempfile.TemporaryDirectory(prefix="neurohub-modbus-")
            far = Path(self._folder.name) / "machine"
            self._cable = PtyCable(link_a=self._link, link_b=far)
            # Other devices on the line are asked by the same wire: a device is silent when it is not meant.
            self._server = ModbusSerialServer(device, port=str(far), ignore_missing_devices=True)
            await self.plug()
            return {"connect.port": self._cable.a}
        self._server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await self._server.serve_forever(background=True)
        listening = cast(asyncio.Server, self._server.transport)
        return {"connect.host": "127.0.0.1", "connect.port": int(listening.sockets[0].getsockname()[1])}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:
        """See Simulator.cycle. Raises ValueError for a value that its registers cannot hold."""
        acknowledge = self._settings.acknowledge
        if acknowledge is None:
            await self.present(values)
            return
        write = acknowledge.write
        if not isinstance(write.value, str):
            await self._put(write, [0] * write.count)  # it is the same for every result: last time's must not count
        await self.present(values)
        try:
            awaited = encode_acknowledgement(write, self._values, cycle_key)
        except KeyError as missing:
            raise ValueError(
                f"machine {self._machine}: the acknowledgement names {missing}, which has no value"
            ) from None
        while await self._held(write) != awaited:
            self._written.clear()
            await self._written.wait()

    async def present(self, values: Mapping[str, RawValue | None]) -> None:
        """Put these values into the registers, the trigger's last. A register with None cannot be read any more."""
        trigger = self._settings.trigger.point
        for name in sorted(values, key=lambda name: name == trigger):
            value, point = values[name], self._settings.points[name]
            if isinstance(value, list) or (value is None and point.is_bit):
                raise ValueError(f"machine {self._machine}, point {name}: {point} cannot hold {value}")
            self._values[name] = value
            if value is not None:
                await self._put(point, encode_scaled(point, value))

    async def plug(self) -> None:
        """Put the serial cable in (again)."""
        if self._cable is not None and not self._cable.plugged:
            self._cable.plug()
            await self._running().serve_forever(background=True)
            await asyncio.sleep(0)  # the port begins to listen in the loop's next turn

    def unplug(self) -> None:
        """Pull the serial cable out: the station's port vanishes."""
        if self._cable is not None:
            self._running().close()
            self._cable.unplug()

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")

    async def stop(self) -> None:
        """See Simulator.stop."""
        server, self._server = self._server, None
        if server is not None:
            await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        cable, self._cable = self._cable, None
        if cable is not None:
            cable.unplug()
        if self._folder is not None:
            self._folder.cleanup()

    def _memory(self, table: Table) -> list[SimData]:
        """The registers the settings speak of, with the gaps that a station reads along; others are illegal."""
        known: list[Register] = list(self._settings.points.values())
        if self._settings.acknowledge is not None:
            known.append(self._settings.acknowledge.write)
        runs: list[range] = []
        for register in sorted((one for one in known if one.table == table), key=lambda one: one.address):
            end = register.address + register.count
            if runs and register.address <= runs[-1].stop + JOINED_GAP:
                runs[-1] = range(runs[-1].start, max(end, runs[-1].stop))
            else:
                runs.append(range(register.address, end))
        if table in ("coil", "discrete_input"):
            bits = [SimData(run.start, values=[False] * len(run), datatype=DataType.BITS) for run in runs]
            return bits or [SimData(0, values=[False], datatype=DataType.BITS)]
        words = [SimData(run.start, values=[0] * len(run), datatype=DataType.REGISTERS) for run in runs]
        return words or [SimData(0, values=[0], datatype=DataType.REGISTERS)]

    async def _accessed(
        self,
        function_code: int,
        _start: int,
        address: int,
        count: int,
        _registers: list[int],
        written: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Somebody reads or writes ``count`` registers from ``address``; an answer here is the device's exception."""
        if written is not None:
            self._written.set()
            return None
        for name, value in self._values.items():
            point = self._settings.points[name]
            asked = _FUNCTION[point.table] == function_code
            if value is None and asked and point.address < address + count and address < point.address + point.count:
                return ExcCodes.DEVICE_FAILURE
        return None

    async def _put(self, register: Register, words: list[int]) -> None:
        content = [bool(word) for word in words] if register.is_bit else words
        await self._running().async_setValues(self._device, _FUNCTION[register.table], register.address, content)

    async def _held(self, register: Register) -> list[int]:
        content = await self._running().async_getValues(
            self._device, _FUNCTION[register.table], register.address, register.count
        )
        return [int(word) for word in content]

    @property
    def _device(self) -> int:
        return self._settings.connect.device_id

    def _running(self) -> ModbusTcpServer | ModbusSerialServer:
        if self._server is None:
            raise RuntimeError(f"the simulator of {self._machine} is not started")
        return self._server
