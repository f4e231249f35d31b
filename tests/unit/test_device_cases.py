"""Devices of public manuals, connected in YAML alone: the manual's bytes in, measurements out.

Each folder of ``tests/cases/devices/`` is one, whatever its protocol:

- ``station.yaml``: what a technician writes. Its first machine is the device.
- ``wire.yaml``: ``manual`` names the source; ``exchanges`` are what the device ``says``, when it is ``asked`` or by
  itself, as hexadecimal bytes, or as text with ``form: text``.
- ``expected.yaml``: ``measurements`` by name, all of them; and whatever else of a parsed result the case is about
  (``serial_number``, ``machine_verdict``, ...).
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from agent.parsing import Parsed, parse
from agent.settings import load
from drivers.cable import PtyCable
from drivers.registry import protocols

CASES = Path(__file__).parents[1] / "cases" / "devices"
SAYS_AGAIN_S = 0.05
"""A device that speaks by itself goes on doing so: what it says before the station listens is lost."""
PATIENCE_S = 20.0


class Device:
    """Answers what it is asked by the book, and says the rest again and again."""

    def __init__(self, wire: dict[str, Any]) -> None:
        as_text = wire.get("form") == "text"
        bytes_of = (lambda text: text.encode("latin-1")) if as_text else bytes.fromhex
        self._answers: list[tuple[bytes, bytes]] = []
        self._unasked = b""
        for exchange in wire["exchanges"]:
            if "asked" in exchange:
                self._answers.append((bytes_of(exchange["asked"]), bytes_of(exchange["says"])))
            else:
                self._unasked += bytes_of(exchange["says"])
        self._heard = b""

    @property
    def unasked(self) -> bytes:
        """What it says by itself."""
        return self._unasked

    def hear(self, data: bytes) -> bytes:
        """What it answers to these bytes."""
        self._heard += data
        said = b""
        while found := min(
            ((self._heard.find(asked), asked, says) for asked, says in self._answers if asked in self._heard),
            default=None,
        ):
            place, asked, says = found
            self._heard = self._heard[place + len(asked) :]
            said += says
        return said


@asynccontextmanager
async def on_a_cable(device: Device) -> AsyncIterator[dict[str, str | int]]:
    """The device on a serial port."""
    loop = asyncio.get_running_loop()
    async with PtyCable() as cable:
        end = os.open(cable.b, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

        def heard() -> None:
            with suppress(BlockingIOError):
                os.write(end, device.hear(os.read(end, 4096)))

        async def speak() -> None:
            while True:
                os.write(end, device.unasked)
                await asyncio.sleep(SAYS_AGAIN_S)

        loop.add_reader(end, heard)
        speaking = asyncio.create_task(speak())
        try:
            yield {"connect.port": cable.a}
        finally:
            speaking.cancel()
            loop.remove_reader(end)
            os.close(end)


@asynccontextmanager
async def on_the_network(device: Device) -> AsyncIterator[dict[str, str | int]]:
    """The device behind a free TCP port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def speak() -> None:
            while True:
                writer.write(device.unasked)
                await asyncio.sleep(SAYS_AGAIN_S)

        speaking = asyncio.create_task(speak())
        try:
            while data := await reader.read(4096):
                writer.write(device.hear(data))
        finally:
            speaking.cancel()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield {"connect.host": "127.0.0.1", "connect.port": server.sockets[0].getsockname()[1]}


async def first_result(folder: Path) -> Parsed:
    """What a station with this device understands of its first result."""
    wire = YAML(typ="safe", pure=True).load((folder / "wire.yaml").read_text(encoding="utf-8"))
    assert wire["manual"], "a case names its manual"
    name, machine = next(iter(load(folder / "station.yaml").machines.items()))
    connect: Any = machine.protocol_settings.connect  # type: ignore[attr-defined]  # each protocol's own
    device = Device(wire)
    async with (on_a_cable if isinstance(connect.port, str) else on_the_network)(device) as reached:
        overrides = [f"machines.{name}.{key}={value}" for key, value in reached.items()]
        settings = load(folder / "station.yaml", overrides)
        machine = settings.machines[name]
        driver = protocols()[machine.protocol].driver(name, machine.protocol_settings)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await driver.open()
                reading = await driver.read(await driver.next_event())
        finally:
            await driver.close()
    return parse(machine, reading, settings.criteria_set())


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
async def test_a_device_of_a_manual_is_understood(case: str) -> None:
    expected = YAML(typ="safe", pure=True).load((CASES / case / "expected.yaml").read_text(encoding="utf-8"))
    parsed = await first_result(CASES / case)
    found = {
        measured.name: {
            key: getattr(measured, key) for key in ("value", "unit", "problem") if getattr(measured, key) is not None
        }
        for measured in parsed.measurements
    }
    assert found == expected.pop("measurements")
    assert {key: getattr(parsed, key) for key in expected} == expected
    assert not parsed.problems
