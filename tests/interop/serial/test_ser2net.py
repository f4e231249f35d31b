"""Interoperation with ser2net, a serial server we did not write: raw TCP and RFC 2217, in front of a pseudo-terminal.

The machine is the simulator at the far end of the line; between it and the station stands the server.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import LinkError
from drivers.serial.driver import SerialDriver
from drivers.serial.settings import SerialSettings
from drivers.serial.simulator import SerialSimulator
from tests.support.agents import agent, kept
from tests.support.brokers import free_port
from tests.support.processes import Process

pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name)\\(\\) is deprecated:DeprecationWarning")
"""pyserial's client of RFC 2217 calls them."""
PATIENCE_S = 30.0
RESTARTS = int(os.environ.get("SERIAL_RESTARTS", "6"))
"""The proof asks for 20: SERIAL_RESTARTS=20."""
RAW = "socket://127.0.0.1:{port}"
RFC2217 = "rfc2217://127.0.0.1:{port}?ign_set_control"  # a pseudo-terminal has no control lines
BANNER = r"\r\nser2net port \p device \d [\B] (Debian GNU/Linux)\r\n\r\n"
"""What Debian's own /etc/ser2net.yaml says to whoever connects."""
POINTS = {"n": {"key": "n", "type": "int"}, "serial_number": {"key": "code"}, "torque": {"key": "t", "type": "float"}}
STATION = """
station: {{id: P02-X, site: gimcheon, line: KR01, process: P02_LMA_ASSEMBLY}}
broker: {{url: "mqtt://127.0.0.1:1883"}}
state_dir: /var/lib/neurohub/P02-X
product_model: WR-100
machines:
  driver:
    protocol: serial
    connect: {connect}
    points:
      n: {{key: n, type: int}}
      serial_number: {{key: code}}
      torque: {{key: t, type: float, unit: Nm}}
    cycle_key: n
    acknowledge: {{send: "ACK {{cycle_key}}\\r\\n"}}
    reconnect: {{initial: 20ms, max: 100ms}}
criteria:
  torque: {{lower: 0.8, upper: 1.2, unit: Nm, defect: ASSEMBLY_ERROR}}
"""


class Server:
    """One ser2net in front of one device. ``url`` is where the station finds it."""

    def __init__(self, folder: Path, device: str, url: str, *, banner: bool = False, kick: bool = False) -> None:
        self.port = free_port()
        self.url = url.format(port=self.port)
        accepter = f"{'telnet(rfc2217),' if url is RFC2217 else ''}tcp,127.0.0.1,{self.port}"
        options = f"banner: '{BANNER}'" if banner else "kickolduser: true" if kick else ""
        self._file = folder / "ser2net.yaml"
        self._file.write_text(
            f"%YAML 1.1\n---\nconnection: &line\n  accepter: {accepter}\n  options: {{{options}}}\n"
            f"  connector: serialdev,{device},9600n81,local\n",
            encoding="utf-8",
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        """The process, listening."""
        async with Process(["ser2net", "-n", "-u", "-c", self._file]) as process:
            async with asyncio.timeout(PATIENCE_S):
                while not self._listens():
                    assert process.returncode is None, process.output
                    await asyncio.sleep(0.01)
            yield process

    def _listens(self) -> bool:
        """Asked of the system: a connection would take the line."""
        with open("/proc/net/tcp", encoding="ascii") as table:
            return any(line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "0A" for line in table)


def settings(url: str, **keys: Any) -> SerialSettings:
    written = {"points": POINTS, "acknowledge": {"send": "ACK {n}\r\n"}, **keys}
    return SerialSettings.model_validate({"connect": {"url": url}, **written})


@asynccontextmanager
async def machine(folder: Path, **keys: Any) -> AsyncIterator[SerialSimulator]:
    """A machine on a cable with a lasting name."""
    written = {"points": POINTS, "acknowledge": {"send": "ACK {n}\r\n"}, **keys}
    here = SerialSettings.model_validate({"connect": {"port": str(folder / "line")}, **written})
    simulator = SerialSimulator("driver", here, resend=0.1, link=folder / "line")
    await simulator.start()
    try:
        yield simulator
    finally:
        await simulator.stop()


def cycle(number: int) -> dict[str, Any]:
    return {"n": number, "serial_number": f"SN-{number}", "torque": 1.0}


@pytest.mark.parametrize("url", [RAW, RFC2217], ids=["raw", "rfc2217"])
async def test_results_and_acknowledgements_pass_through_the_server(url: str, tmp_path: Path) -> None:
    async with machine(tmp_path) as made, asyncio.timeout(PATIENCE_S):
        server = Server(tmp_path, str(tmp_path / "line"), url)
        async with server.running():
            driver = SerialDriver("driver", settings(server.url))
            await driver.open()
            try:
                for number in range(1, 6):
                    making = asyncio.create_task(made.cycle(cycle(number), number))
                    while True:
                        reading = await driver.read(await driver.next_event())
                        if reading.values["n"].value == number:
                            break
                    assert reading.values["serial_number"].value == f"SN-{number}"
                    assert not making.done()
                    await driver.acknowledge(reading, number)
                    await making
            finally:
                await driver.close()


@pytest.mark.parametrize("url", [RAW, RFC2217], ids=["raw", "rfc2217"])
async def test_a_machine_is_asked_through_the_server(url: str, tmp_path: Path) -> None:
    request = {"request": {"send": "?\r\n", "every": "10ms"}, "trigger": {"point": "n"}}
    async with machine(tmp_path, **request) as made, asyncio.timeout(PATIENCE_S):
        server = Server(tmp_path, str(tmp_path / "line"), url)
        async with server.running():
            driver = SerialDriver("driver", settings(server.url, **request))
            await driver.open()
            try:
                assert (await driver.next_event()).first
                for number in (1, 2, 3):
                    making = asyncio.create_task(made.cycle(cycle(number), number))
                    reading = await driver.read(await driver.next_event())
                    assert reading.values["n"].value == number
                    await driver.acknowledge(reading, number)
                    await making
            finally:
                await driver.close()


SCANNER = {"message": {"format": "whole"}, "points": {"code": {"whole": True}}, "acknowledge": None}
"""Every line is a code: whatever the server says of itself would be one."""


async def told_why(driver: SerialDriver) -> None:
    """The server takes the connection before it refuses the line."""
    await driver.open()
    await driver.next_event()


async def test_a_line_that_another_client_holds_is_told_and_gives_no_result(tmp_path: Path) -> None:
    async with machine(tmp_path, **SCANNER), asyncio.timeout(PATIENCE_S):
        server = Server(tmp_path, str(tmp_path / "line"), RAW)
        async with server.running():
            with socket.create_connection(("127.0.0.1", server.port)):
                driver = SerialDriver("scanner", settings(server.url, **SCANNER))
                try:
                    with pytest.raises(LinkError, match="Port already in use"):
                        await told_why(driver)
                finally:
                    await driver.close()


@pytest.mark.parametrize("url", [RAW, RFC2217], ids=["raw", "rfc2217"])
async def test_the_servers_banner_is_no_result(url: str, tmp_path: Path) -> None:
    async with machine(tmp_path, **SCANNER) as made, asyncio.timeout(PATIENCE_S):
        server = Server(tmp_path, str(tmp_path / "line"), url, banner=True)
        async with server.running():
            driver = SerialDriver("scanner", settings(server.url, **SCANNER))
            await driver.open()
            try:
                waiting = asyncio.create_task(driver.next_event())
                await asyncio.sleep(0.2)  # the banner is there by now
                assert not waiting.done()
                made.send(b"SN-1\r\n")
                assert (await driver.read(await waiting)).values["code"].value == "SN-1"
            finally:
                await driver.close()


async def test_a_station_that_is_kicked_off_the_line_has_no_result_of_it(tmp_path: Path) -> None:
    async with machine(tmp_path, **SCANNER), asyncio.timeout(PATIENCE_S):
        server = Server(tmp_path, str(tmp_path / "line"), RAW, kick=True)
        async with server.running():
            driver = SerialDriver("scanner", settings(server.url, **SCANNER))
            await driver.open()
            try:
                waiting = asyncio.create_task(driver.next_event())
                await asyncio.sleep(0.1)
                with socket.create_connection(("127.0.0.1", server.port)), pytest.raises(LinkError):
                    await waiting
            finally:
                await driver.close()


async def test_a_device_that_is_gone_behind_the_server_is_told(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        server = Server(tmp_path, str(tmp_path / "nothing"), RAW)
        async with server.running():
            driver = SerialDriver("scanner", settings(server.url, **SCANNER))
            try:
                with pytest.raises(LinkError, match="Device open failure"):
                    await told_why(driver)
            finally:
                await driver.close()


# -- restarted under load ----------------------------------------------------------------------------------------------


async def made_until(stop: asyncio.Event, made: SerialSimulator, done: list[int]) -> None:
    """Cycle after cycle, each until the station has acknowledged it."""
    while not stop.is_set():
        number = len(done) + 1
        await made.cycle(cycle(number), number)
        done.append(number)


async def grown(done: list[int], by: int) -> None:
    wanted = len(done) + by
    while len(done) < wanted:
        await asyncio.sleep(0.002)


def judged(folder: Path) -> list[tuple[int | None, str, str | None]]:
    return [(record["cycle_key"], record["outcome"], record["serial_number"]) for record in kept(folder)]


@pytest.mark.parametrize("url", [RAW, RFC2217], ids=["raw", "rfc2217"])
async def test_a_server_restarted_under_load_costs_no_cycle(url: str, tmp_path: Path) -> None:
    """Every cycle is kept once, whenever the server dies."""
    async with machine(tmp_path) as made, asyncio.timeout(PATIENCE_S + 3 * RESTARTS):
        server = Server(tmp_path, str(tmp_path / "line"), url)
        file = tmp_path / "P02-X.yaml"
        file.write_text(STATION.format(connect=f'{{url: "{server.url}"}}'), encoding="utf-8")
        done: list[int] = []
        stop = asyncio.Event()
        making = asyncio.create_task(made_until(stop, made, done))
        async with agent(file, tmp_path / "state", []) as station:
            for _ in range(RESTARTS):
                async with server.running() as process:
                    await grown(done, 3)
                    await process.kill()
            async with server.running():
                await grown(done, 1)
                stop.set()
                await making
                assert await station.stop() == 0
    assert judged(tmp_path / "state") == [(number, "PASS", f"SN-{number}") for number in done]


async def test_a_cable_pulled_under_load_costs_no_cycle(tmp_path: Path) -> None:
    """The adapter vanishes and comes back under its lasting name; at any moment of a cycle."""
    async with machine(tmp_path) as made, asyncio.timeout(PATIENCE_S + 3 * RESTARTS):
        file = tmp_path / "P02-X.yaml"
        file.write_text(STATION.format(connect=f"{{port: {tmp_path / 'line'}}}"), encoding="utf-8")
        done: list[int] = []
        stop = asyncio.Event()
        making = asyncio.create_task(made_until(stop, made, done))
        async with agent(file, tmp_path / "state", []) as station:
            for _ in range(RESTARTS):
                await grown(done, 2)
                made.unplug()
                await asyncio.sleep(0.02)
                made.plug()
            await grown(done, 1)
            stop.set()
            await making
            assert await station.stop() == 0
    assert judged(tmp_path / "state") == [(number, "PASS", f"SN-{number}") for number in done]
