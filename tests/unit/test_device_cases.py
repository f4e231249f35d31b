"""Devices of public manuals, connected in YAML alone: the manual's bytes in, measurements out.

Each folder of ``tests/cases/devices/`` is one, whatever its protocol:

- ``station.yaml``: what a technician writes. Its first machine is the device.
- ``wire.yaml``: ``manual`` names the source; ``exchanges`` are what the device ``says``, when it is ``asked`` or, once
  the station listens, by itself, as hexadecimal bytes, or as text with ``form: text``. Asked the same again, it says
  what comes next in the list, and in the end the same again. ``jobs`` are what a device that works on request is given,
  one for each result.
- ``expected.yaml``: ``measurements`` by name, all of them; and whatever else of a parsed result the case is about
  (``serial_number``, ``machine_verdict``, ...). A list of such is one for each result. ``hears`` is what the device is
  told after the last one was acknowledged, in the form of ``wire.yaml``.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from agent.judging import criteria_for
from agent.parsing import Parsed, cycle_key_of, parse
from agent.settings import load
from drivers.base import Acknowledging, Performing
from drivers.cable import PtyCable
from drivers.registry import protocols

CASES = Path(__file__).parents[1] / "cases" / "devices"
LISTENS_S = 0.05
"""A device that speaks the moment its line is opened may have begun before: the station could not know."""
PATIENCE_S = 20.0
Send = Callable[[bytes], None]


class Device:
    """Answers what it is asked by the book, and says the rest by itself, one after the other."""

    def __init__(self, wire: dict[str, Any]) -> None:
        self.bytes_of = (lambda text: text.encode("latin-1")) if wire.get("form") == "text" else bytes.fromhex
        self._answers: dict[bytes, list[bytes]] = defaultdict(list)
        self._unasked: list[bytes] = []
        for exchange in wire["exchanges"]:
            says = self.bytes_of(exchange["says"])
            if "asked" in exchange:
                self._answers[self.bytes_of(exchange["asked"])].append(says)
            else:
                self._unasked.append(says)
        self._heard = b""
        self.told = b""
        """Everything it was told."""
        self.send: Send = lambda _: None

    def hear(self, data: bytes) -> None:
        """Answer, where these bytes finish a question."""
        self._heard += data
        self.told += data
        while found := min(
            ((self._heard.find(asked), asked) for asked in self._answers if asked in self._heard), default=None
        ):
            place, asked = found
            self._heard = self._heard[place + len(asked) :]
            answers = self._answers[asked]
            self.send(answers.pop(0) if len(answers) > 1 else answers[0])

    async def speak(self) -> None:
        """What it says by itself."""
        await asyncio.sleep(LISTENS_S)
        for says in self._unasked:
            self.send(says)


@asynccontextmanager
async def on_a_cable(device: Device) -> AsyncIterator[dict[str, str | int]]:
    """The device on a serial port."""
    loop = asyncio.get_running_loop()
    async with PtyCable() as cable:
        end = os.open(cable.b, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

        def heard() -> None:
            with suppress(BlockingIOError):
                device.hear(os.read(end, 4096))

        device.send = lambda data: [os.write(end, data)].clear()
        loop.add_reader(end, heard)
        try:
            yield {"connect.port": cable.a}
        finally:
            loop.remove_reader(end)
            os.close(end)


@asynccontextmanager
async def on_the_network(device: Device) -> AsyncIterator[dict[str, str | int]]:
    """The device behind a free TCP port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        device.send = writer.write
        try:
            while data := await reader.read(4096):
                device.hear(data)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield {"connect.host": host, "connect.port": port, "connect.url": f"socket://{host}:{port}"}


async def results(folder: Path, number: int, hears: str) -> list[Parsed]:
    """What a station with this device understands of its first results."""
    wire = YAML(typ="safe", pure=True).load((folder / "wire.yaml").read_text(encoding="utf-8"))
    assert wire["manual"], "a case names its manual"
    name, machine = next(iter(load(folder / "station.yaml").machines.items()))
    connect: Any = machine.protocol_settings.connect  # type: ignore[attr-defined]  # each protocol's own
    device = Device(wire)
    found: list[Parsed] = []
    async with (on_a_cable if isinstance(connect.port, str) else on_the_network)(device) as reached:
        written = connect.model_dump()
        overrides = [f"machines.{name}.{key}={value}" for key, value in reached.items() if key[8:] in written]
        settings = load(folder / "station.yaml", [one for one in overrides if written[one.split(".")[3].split("=")[0]]])
        machine = settings.machines[name]
        driver = protocols()[machine.protocol].driver(name, machine.protocol_settings)
        speaking: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                await driver.open()
                speaking = asyncio.create_task(device.speak())
                for place in range(number):
                    if isinstance(driver, Performing):
                        reading = await driver.perform(wire["jobs"][place])
                    else:
                        reading = await driver.read(await driver.next_event())
                    criteria = criteria_for(machine, settings, settings.criteria_set())
                    found.append(parse(machine, reading, criteria))
                    if isinstance(driver, Acknowledging):
                        await driver.acknowledge(reading, cycle_key_of(machine, reading))
                while not device.told.endswith(device.bytes_of(hears)):
                    await asyncio.sleep(0.001)
        finally:
            if speaking is not None:
                await asyncio.wait({speaking})
            await driver.close()
    return found


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
async def test_a_device_of_a_manual_is_understood(case: str) -> None:
    expected = YAML(typ="safe", pure=True).load((CASES / case / "expected.yaml").read_text(encoding="utf-8"))
    wanted = expected if isinstance(expected, list) else [expected]
    hears = wanted[-1].pop("hears", "")
    for parsed, result in zip(await results(CASES / case, len(wanted), hears), wanted, strict=True):
        found = {
            measured.name: {
                key: getattr(measured, key)
                for key in ("value", "unit", "problem")
                if getattr(measured, key) is not None
            }
            for measured in parsed.measurements
        }
        assert found == result.pop("measurements")
        assert list(parsed.problems) == result.pop("problems", [])
        assert {key: getattr(parsed, key) for key in result} == result
