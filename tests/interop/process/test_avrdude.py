"""avrdude, as drivers/process/sample.yaml runs it, against a simulated chip with its real bootloader (simavr)."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from agent.settings import load
from drivers.base import Reading
from drivers.process.driver import ProcessDriver
from drivers.process.settings import ProcessSettings
from tests.support.processes import Process

HERE = Path(__file__).parent
SAMPLE = HERE.parents[2] / "drivers" / "process" / "sample.yaml"
BOOTLOADER = Path("/usr/share/arduino/hardware/arduino/avr/bootloaders/atmega/ATmegaBOOT_168_atmega328.hex")
PARTS = ["-I/usr/include/simavr", "-lsimavrparts", "-lsimavr"]
BAUDRATE = "57600"
IMAGE_BYTES = 1024
LARGE_IMAGE_BYTES = 16 * 1024
JOB = {"serial_number": "SN-241118-001", "product_model": "WR-100"}


@pytest.fixture(scope="module")
def device_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The simulated device, compiled."""
    program = tmp_path_factory.mktemp("device") / "device"
    subprocess.run(["gcc", "-O2", "-o", str(program), str(HERE / "device.c"), *PARTS], check=True)
    return program


@asynccontextmanager
async def device(program: Path, flash: Path) -> AsyncIterator[tuple[Process, str]]:
    """A device that waits for its firmware, and its port; at SIGUSR1 it shows its flash in a file."""
    async with Process([program, BOOTLOADER, flash]) as process:
        line = await process.line("device at ")
        yield process, line.removeprefix("device at ")


def image(folder: Path, size: int = IMAGE_BYTES) -> bytes:
    """A firmware image of that many random bytes; in the folder as Intel HEX."""
    data = Random(size).randbytes(size)
    lines = []
    for address in range(0, size, 16):
        record = bytes([16, address >> 8, address & 0xFF, 0]) + data[address : address + 16]
        lines.append(f":{record.hex().upper()}{-sum(record) & 0xFF:02X}")
    (folder / "WR-100-v1.2.3.hex").write_text("\n".join([*lines, ":00000001FF"]) + "\n")
    return data


def flasher(folder: Path, port: str, *overrides: str) -> ProcessDriver:
    """The flasher of the sample, at this port, with images from this folder."""
    avrdude = shutil.which("avrdude")
    machine = load(
        SAMPLE,
        [
            f"machines.flasher.run.program={avrdude}",
            f"machines.flasher.run.arguments.7={port}",
            f'machines.flasher.run.arguments.9="flash:w:{folder}/{{product_model}}-v1.2.3.hex:i"',
            "machines.flasher.retry.pause=0s",
            *(f"machines.flasher.{override}" for override in overrides),
        ],
    ).machines["flasher"]
    assert isinstance(machine.protocol_settings, ProcessSettings)
    assert machine.protocol_settings.run.arguments[5] == BAUDRATE
    return ProcessDriver("flasher", machine.protocol_settings)


def values(reading: Reading) -> dict[str, object]:
    return {name: point.value for name, point in reading.values.items()}


def avrdudes(port: str) -> Iterator[int]:
    """Process ids of every avrdude at this port."""
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0") if folder.name.isdigit() else []
        except OSError:
            continue
        if words and words[0].endswith(b"avrdude") and port.encode() in words:
            yield int(folder.name)


def written(pid: int) -> int:
    """Bytes a process has written so far."""
    found = re.search(r"^wchar: (\d+)$", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


async def test_a_device_is_written_and_verified(device_program: Path, tmp_path: Path) -> None:
    data = image(tmp_path)
    async with device(device_program, tmp_path / "flash") as (process, port):
        driver = flasher(tmp_path, port)
        await driver.open()
        found = values(await driver.perform(JOB))
        await driver.close()
        assert found["upload_result"] == "PASS"
        assert (found["verified"], found["firmware_version"], found["signature"]) == (1024, "v1.2.3", "0x1e950f")
        assert (found["attempts"], found["tried"], found["exits"]) == (1, ["PASS"], [0])
        os.kill(process.pid, signal.SIGUSR1)
        await process.line("flash shown")
        assert (tmp_path / "flash").read_bytes()[: len(data)] == data


async def test_a_device_of_another_part_fails_at_every_attempt(device_program: Path, tmp_path: Path) -> None:
    image(tmp_path)
    async with device(device_program, tmp_path / "flash") as (_, port):
        driver = flasher(tmp_path, port, "run.arguments.1=m8")
        await driver.open()
        reading = await driver.perform(JOB)
        await driver.close()
        found = values(reading)
        assert (found["upload_result"], found["tried"], found["exits"]) == ("FAIL", ["FAIL"] * 3, [1] * 3)
        assert (found["verified"], found["firmware_version"]) == (0, "none")
        assert b"signature" in (reading.raw or b"").lower()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "freezes"])
async def test_a_device_that_goes_in_the_middle_of_writing_is_a_fail_in_time(
    device_program: Path, tmp_path: Path, end: signal.Signals
) -> None:
    """avrdude by itself would try for minutes, and keep the port."""
    image(tmp_path, LARGE_IMAGE_BYTES)
    async with device(device_program, tmp_path / "flash") as (process, port):
        driver = flasher(tmp_path, port, "run.time_limit=6s", "retry.attempts=1")
        await driver.open()
        working = asyncio.create_task(driver.perform(JOB))
        async with asyncio.timeout(30):
            while not any(written(pid) > 2000 for pid in avrdudes(port)):
                assert not working.done()
                await asyncio.sleep(0.005)
            os.kill(process.pid, end)
            found = values(await working)
        await driver.close()
        assert found["upload_result"] == "FAIL"
        assert found["verified"] == 0
        assert not list(avrdudes(port))
