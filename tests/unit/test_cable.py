"""The pseudo-terminal cable behaves like a cable: both ways, every byte, and it can be pulled out."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from drivers.cable import PtyCable


@contextmanager
def opened(path: str) -> Iterator[int]:
    end = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield end
    finally:
        os.close(end)


async def read_exactly(end: int, count: int) -> bytes:
    received = bytearray()
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        while len(received) < count:
            ready = loop.create_future()
            loop.add_reader(end, lambda ready=ready: ready.done() or ready.set_result(None))
            await ready
            loop.remove_reader(end)
            received += os.read(end, count - len(received))
    return bytes(received)


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


EVERY_BYTE = bytes(range(256))


async def test_every_byte_passes_both_ways_unchanged() -> None:
    async with PtyCable() as cable:
        with opened(cable.a) as a, opened(cable.b) as b:
            os.write(a, EVERY_BYTE)
            assert await read_exactly(b, 256) == EVERY_BYTE
            os.write(b, EVERY_BYTE[::-1])
            assert await read_exactly(a, 256) == EVERY_BYTE[::-1]


async def test_more_than_the_system_buffers_holds_the_writer_back_and_loses_nothing() -> None:
    message = EVERY_BYTE * 400
    async with PtyCable() as cable:
        with opened(cable.a) as a, opened(cable.b) as b:
            sent = 0
            refused = 0
            while sent < len(message) and refused < 50:
                try:
                    sent += os.write(a, message[sent:])
                    refused = 0
                except BlockingIOError:
                    refused += 1
                await asyncio.sleep(0)
            assert 0 < sent < len(message), "nobody reads: the writer has to be held back"
            assert await read_exactly(b, sent) == message[:sent]
            os.write(a, b"after")
            assert await read_exactly(b, 5) == b"after"


async def test_a_device_may_be_closed_and_opened_again_while_the_cable_stays() -> None:
    async with PtyCable() as cable:
        with opened(cable.b) as b:
            for round_ in (b"one", b"two"):
                with opened(cable.a) as a:
                    os.write(a, round_)
                    assert await read_exactly(b, 3) == round_


async def test_unplugging_ends_both_sides_and_takes_the_paths_away() -> None:
    cable = PtyCable()
    cable.plug()
    path_a, path_b = cable.a, cable.b
    with opened(path_a) as a, opened(path_b) as b:
        cable.unplug()
        assert not cable.plugged
        for end in (a, b):
            assert os.read(end, 1) == b""
            with pytest.raises(OSError, match="Input/output error"):
                os.write(end, b"x")
    for path in (path_a, path_b):
        with pytest.raises(FileNotFoundError):
            os.stat(path)
    with pytest.raises(RuntimeError, match="unplugged"):
        _ = cable.a
    cable.unplug()


async def test_pyserial_notices_the_unplugging() -> None:
    cable = PtyCable()
    cable.plug()
    with serial.Serial(cable.a, timeout=0.5) as port:
        cable.unplug()
        with pytest.raises(serial.SerialException):
            port.read(1)


async def test_a_lasting_name_leads_to_the_device_again_after_replugging(tmp_path: Path) -> None:
    link = tmp_path / "usb-scanner"
    cable = PtyCable(link_a=link)
    for message in (b"before", b"beyond"):
        cable.plug()
        cable.plug()
        assert cable.a == str(link)
        with opened(cable.a) as a, opened(cable.b) as b:
            os.write(a, message)
            assert await read_exactly(b, 6) == message
        cable.unplug()
        assert not link.is_symlink()


async def test_a_name_that_cannot_be_made_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_files()
    cable = PtyCable(link_b=tmp_path / "no such folder" / "usb")
    with pytest.raises(FileNotFoundError):
        cable.plug()
    assert not cable.plugged
    assert open_files() == before


async def test_nothing_stays_open() -> None:
    before = open_files()
    async with PtyCable() as cable:
        with opened(cable.a) as a:
            os.write(a, b"never read")
    assert open_files() == before
