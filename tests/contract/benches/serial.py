"""A machine that sends its result as one frame: on a serial cable with a lasting name, and behind a serial server."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from drivers.base import RawValue
from drivers.serial.driver import OnDemandDriver, SerialDriver
from drivers.serial.settings import SerialSettings
from drivers.serial.simulator import SerialSimulator
from tests.contract.bench import JobBench, ResultBench
from tests.support.relay import Relay

RESEND_S = 0.05
VALUES: Mapping[str, RawValue] = {
    "serial_number": "SN-241118-001",
    "temperature": 60.5,
    "attempts": 3,
    "sensor_ok": True,
}
OTHER_VALUES: Mapping[str, RawValue] = {
    "serial_number": "SN-241118-002",
    "temperature": -1.25,
    "attempts": 70_000,
    "sensor_ok": False,
}


def settings(connect: Mapping[str, object]) -> SerialSettings:
    """A machine with points of every type, and an acknowledgement."""
    return SerialSettings.model_validate(
        {
            "connect": connect,
            "frame": {"start": "\x02", "end": "\x03"},
            "points": {
                "n": {"key": "n", "type": "int"},
                "serial_number": {"key": "code"},
                "temperature": {"key": "temp", "type": "float", "unit": "degC"},
                "attempts": {"key": "attempts", "type": "int"},
                "sensor_ok": {"key": "sensor", "type": "boolean"},
                "ask": {"key": "ask", "type": "int"},
            },
            "interlock": {
                "request": {"point": "ask"},
                "serial_number": "serial_number",
                "answer": {
                    "send": "PERMIT {request};{granted};{serial_number};{attempt};{reject_label};{code};{text_ko}\r\n"
                },
            },
            "acknowledge": {"send": "ACK {cycle_key}\r\n"},
        }
    )


class ListenedSimulator(SerialSimulator):
    """Knows when somebody is at the other end: what is sent before is lost, as on a real line."""

    async def heard_by_a_station(self) -> None:
        """Returns once a station's connection has come through the relay."""
        while not self.far_end.stations:
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serial_cable_bench(tmp_path: Path) -> AsyncIterator[ResultBench]:
    """A machine on a cable of pseudo-terminals; its station's end keeps its name."""
    link = tmp_path / "machine"
    here = settings({"port": str(link)})
    absent = settings({"port": str(tmp_path / "absent")})
    simulator = SerialSimulator("tester", here, resend=RESEND_S, link=link)

    async def once(values: Mapping[str, RawValue]) -> None:
        simulator.send(b"".join(simulator.frames(values)))

    async def cut() -> None:
        simulator.unplug()

    async def restore() -> None:
        simulator.plug()

    await simulator.start()
    try:
        yield ResultBench(
            simulator=simulator,
            driver=lambda: SerialDriver("tester", here),
            values=VALUES,
            other_values=OTHER_VALUES,
            cycle_key="n",
            present=once,
            unreadable="temperature",
            cut=cut,
            restore=restore,
            unreachable=lambda: SerialDriver("absent", absent),
            pushes=True,
            asks_about="serial_number",
        )
    finally:
        await simulator.stop()


@asynccontextmanager
async def serial_socket_bench(tmp_path: Path) -> AsyncIterator[ResultBench]:
    """A machine behind a serial server that passes bytes on over TCP, behind a relay that can be cut."""
    simulator = ListenedSimulator("tester", settings({"url": "socket://127.0.0.1:1"}), resend=RESEND_S)
    url = str((await simulator.start())["connect.url"])
    try:
        async with Relay("127.0.0.1", int(url.rpartition(":")[2])) as relay:
            here = settings({"url": f"socket://{relay.host}:{relay.port}"})

            async def once(values: Mapping[str, RawValue]) -> None:
                await simulator.heard_by_a_station()
                simulator.send(b"".join(simulator.frames(values)))

            async with Relay(relay.host, relay.port) as closed:
                await closed.cut()
            absent = settings({"url": f"socket://{closed.host}:{closed.port}"})
            yield ResultBench(
                simulator=simulator,
                driver=lambda: SerialDriver("tester", here),
                values=VALUES,
                other_values=OTHER_VALUES,
                cycle_key="n",
                present=once,
                unreadable="temperature",
                cut=relay.cut,
                restore=relay.restore,
                unreachable=lambda: SerialDriver("absent", absent),
                pushes=True,
                asks_about="serial_number",
            )
    finally:
        await simulator.stop()


@asynccontextmanager
async def serial_on_demand_bench(tmp_path: Path) -> AsyncIterator[JobBench]:
    """A gauge behind a serial server that is asked once for each unit of another machine."""

    def asked(url: str) -> SerialSettings:
        points = {"force": {"key": "force", "type": "float", "unit": "N"}, "unit_of": {"key": "code"}}
        request = {"send": "MEASURE {serial_number}\r\n", "timeout": "100ms"}
        return SerialSettings.model_validate({"connect": {"url": url}, "points": points, "request": request})

    simulator = SerialSimulator("gauge", asked("socket://127.0.0.1:1"))
    url = str((await simulator.start())["connect.url"])
    measured = asyncio.create_task(simulator.cycle({"force": 12.5, "unit_of": "SN-1"}, None))
    try:
        async with Relay("127.0.0.1", int(url.rpartition(":")[2])) as relay:
            here = asked(f"socket://{relay.host}:{relay.port}")
            async with Relay(relay.host, relay.port) as closed:
                await closed.cut()
            absent = asked(f"socket://{closed.host}:{closed.port}")
            yield JobBench(
                simulator=simulator,
                driver=lambda: OnDemandDriver("gauge", here),
                job={"serial_number": "SN-1", "date": "2026-11-25"},
                done={"force": 12.5, "unit_of": "SN-1"},
                cut=relay.cut,
                restore=relay.restore,
                unreachable=lambda: OnDemandDriver("absent", absent),
            )
    finally:
        measured.cancel()
        await asyncio.wait({measured})
        await simulator.stop()
