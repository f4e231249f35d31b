"""A Modbus machine made of software: a pymodbus server on a free port, or on the far end of a serial cable."""

import asyncio
from collections.abc import Mapping
from typing import cast

from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from contracts.measurement import Scalar
from drivers.base import RawValue
from drivers.cable import PtyCable
from drivers.modbus.codec import encode, unscaled
from drivers.modbus.settings import ModbusPoint, ModbusSettings, Register, RtuConnect, Table, plain
from drivers.template import render

_FUNCTION: Mapping[Table, int] = {"coil": 1, "discrete_input": 2, "holding_register": 3, "input_register": 4}
_Tables = tuple[list[SimData], list[SimData], list[SimData], list[SimData]]
_ACKNOWLEDGED_EVERY_S = 0.005


class ModbusSimulator:
    """Holds each result until the station has acknowledged it, where the settings say so."""

    def __init__(self, machine: str, settings: ModbusSettings) -> None:
        self._machine = machine
        self._settings = settings
        self._cable: PtyCable | None = None
        self._server: ModbusTcpServer | ModbusSerialServer | None = None

    async def start(self) -> Mapping[str, str | int]:
        connect = self._settings.connect
        device = SimDevice(connect.device_id, simdata=cast(_Tables, tuple(self._table(table) for table in _FUNCTION)))
        if isinstance(connect, RtuConnect):
            self._cable = PtyCable()
            self._cable.plug()
            self._server = ModbusSerialServer(device, port=self._cable.b, baudrate=connect.baudrate)
            await self._server.serve_forever(background=True)
            return {"connect.port": self._cable.a}
        self._server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await self._server.serve_forever(background=True)
        listening = cast(asyncio.Server, self._server.transport)
        port = int(listening.sockets[0].getsockname()[1])
        return {"connect.host": "127.0.0.1", "connect.port": port}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:
        trigger = self._settings.trigger.point
        for name in sorted(values, key=lambda name: name == trigger):
            value = values[name]
            if value is None or isinstance(value, list):
                raise ValueError(f"{self._machine}.{name}: a Modbus point has one value")
            point = self._settings.points[name]
            await self._write(point, value)
        if self._settings.acknowledge is None:
            return
        write = self._settings.acknowledge.write
        wanted = write.value
        if isinstance(wanted, str):
            scalars = {
                name: value for name, value in values.items() if value is not None and not isinstance(value, list)
            }
            if cycle_key is not None:
                scalars["cycle_key"] = cycle_key
            wanted = render(wanted, scalars, plain)
        raw = [int(wanted not in ("0", False, ""))] if write.is_bit else encode(write, wanted)
        while await self._read(write) != raw:
            await asyncio.sleep(_ACKNOWLEDGED_EVERY_S)

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it untyped
        cable, self._cable = self._cable, None
        if cable is not None:
            cable.unplug()

    def _table(self, table: Table) -> list[SimData]:
        """The registers the settings speak of, from the lowest to the highest; all others are illegal addresses."""
        known: list[Register] = list(self._settings.points.values())
        if self._settings.acknowledge is not None:
            known.append(self._settings.acknowledge.write)
        mine = [register for register in known if register.table == table]
        first = min((register.address for register in mine), default=0)
        count = max((register.address + register.count for register in mine), default=1) - first
        if table in ("coil", "discrete_input"):
            return [SimData(first, values=[False] * count, datatype=DataType.BITS)]
        return [SimData(first, values=[0] * count, datatype=DataType.REGISTERS)]

    async def _write(self, point: ModbusPoint, value: Scalar) -> None:
        words = [int(bool(value))] if point.is_bit else encode(point, unscaled(point, value))
        content = [bool(word) for word in words] if point.is_bit else words
        await self._running().async_setValues(self._device, _FUNCTION[point.table], point.address, content)

    async def _read(self, register: Register) -> list[int]:
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
