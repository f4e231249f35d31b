"""An OPC-UA machine behind a relay that can be cut. A Read of all its nodes is answered by one moment's values."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from asyncua.common.callback import Callback, CallbackService, CallbackType, ServerItemCallback

from drivers.base import RawValue
from drivers.opcua.driver import OpcUaDriver
from drivers.opcua.settings import OpcUaSettings
from drivers.opcua.simulator import OpcUaSimulator
from tests.contract.bench import ResultBench
from tests.support.opcua_standard import keep_standard_nodes
from tests.support.relay import Relay

keep_standard_nodes()

VALUES: Mapping[str, RawValue] = {
    "serial_number": "SN-241118-001",
    "temperature": 60.5,
    "force": 1.2,
    "attempts": 3,
    "sensor_ok": True,
    "curve": [0.5, 1.5, 2.5],
    "offset": -7,
}
OTHER_VALUES: Mapping[str, RawValue] = {
    "serial_number": "SN-241118-002",
    "temperature": 61.25,
    "force": 2.4,
    "attempts": 1,
    "sensor_ok": False,
    "curve": [3.5],
    "offset": 8,
}


def settings(url: str) -> OpcUaSettings:
    """A machine with nodes of every kind in two namespaces, and an acknowledgement."""
    return OpcUaSettings.model_validate(
        {
            "connect": {"url": url, "timeout": "2s"},
            "trigger": {"point": "n", "sampling": "10ms"},
            "points": {
                "serial_number": {"node_id": "ns=2;s=Tester.Serial"},
                "temperature": {"node_id": "ns=2;s=Tester.Temperature", "type": "double", "unit": "degC"},
                "force": {"node_id": "ns=3;s=Tester.Force", "type": "float", "unit": "kgf"},
                "n": {"node_id": "ns=2;i=7", "type": "uint32"},
                "attempts": {"node_id": "ns=2;s=Tester.Attempts", "type": "uint16"},
                "sensor_ok": {"node_id": "ns=2;s=Tester.SensorOk", "type": "boolean"},
                "curve": {"node_id": "ns=2;s=Tester.Curve", "type": "double", "array": True, "unit": "mm"},
                "offset": {"node_id": "ns=2;s=Tester.Offset", "type": "int64"},
                "ask": {"node_id": "ns=2;s=Tester.Ask", "type": "uint32"},
                "ask_serial": {"node_id": "ns=2;s=Tester.AskSerial"},
            },
            "interlock": {
                "request": {"point": "ask"},
                "serial_number": "ask_serial",
                "answer": [
                    {"node_id": "ns=2;s=Answer.Serial", "value": "{serial_number}"},
                    {"node_id": "ns=2;s=Answer.Attempt", "type": "uint16", "value": "{attempt}"},
                    {"node_id": "ns=2;s=Answer.Granted", "type": "boolean", "value": "{granted}"},
                    {"node_id": "ns=2;s=Answer.RejectLabel", "type": "boolean", "value": "{reject_label}"},
                    {"node_id": "ns=2;s=Answer.Code", "value": "{code}"},
                    {"node_id": "ns=2;s=Answer.Text", "value": "{text_ko}"},
                    {"node_id": "ns=2;s=Answer.Request", "type": "uint32", "value": "{request}"},
                ],
            },
            "acknowledge": {"write": {"node_id": "ns=2;s=Tester.Acknowledged"}},
        }
    )


class TearingSimulator(OpcUaSimulator):
    """Can put half of the next result into its nodes before a Read, and the other half, the trigger last, after it."""

    def __init__(self, machine: str, settings: OpcUaSettings) -> None:
        super().__init__(machine, settings)
        self._next: Mapping[str, RawValue] | None = None
        self._half_written = False

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start."""
        reached = await super().start()
        assert self._server is not None
        self._server.subscribe_server_callback(CallbackType.PreRead, self._before)
        self._server.subscribe_server_callback(CallbackType.PostRead, self._after)
        return reached

    async def tear(self, values: Mapping[str, RawValue]) -> None:
        """These values are there when the next reading has begun."""
        self._next = values

    async def _before(self, event: Callback, _service: CallbackService) -> None:
        if self._next is None or not isinstance(event, ServerItemCallback) or not event.is_external:
            return
        if len(event.request_params.NodesToRead) > 1:
            self._half_written = True
            await self.present(dict(list(self._next.items())[: len(self._next) // 2]))

    async def _after(self, event: Callback, _service: CallbackService) -> None:
        if self._next is not None and self._half_written:
            values, self._next, self._half_written = self._next, None, False
            await self.present(values)


@asynccontextmanager
async def opcua_bench(tmp_path: Path) -> AsyncIterator[ResultBench]:
    """A machine behind a relay that can be cut."""
    simulator = TearingSimulator("tester", settings("opc.tcp://127.0.0.1/"))
    reached = urlsplit(str((await simulator.start())["connect.url"]))
    try:
        async with Relay(str(reached.hostname), int(reached.port or 0)) as relay:
            here = settings(f"opc.tcp://{relay.host}:{relay.port}/")
            async with Relay(relay.host, relay.port) as closed:
                await closed.cut()
            absent = settings(f"opc.tcp://{closed.host}:{closed.port}/")
            yield ResultBench(
                simulator=simulator,
                driver=lambda: OpcUaDriver("tester", here),
                values=VALUES,
                other_values=OTHER_VALUES,
                cycle_key="n",
                present=simulator.present,
                unreadable="temperature",
                cut=relay.cut,
                restore=relay.restore,
                unreachable=lambda: OpcUaDriver("absent", absent),
                tear=simulator.tear,
            )
    finally:
        await simulator.stop()
