"""``python -m demo.broker``: what it prints, how it refuses, and that nothing stays behind however it ends."""

import asyncio
import os
import signal
import socket
import sys
import tomllib

import pytest

from demo.broker import CONFIG, configuration
from tests.support.processes import Process

BROKER = [sys.executable, "-m", "demo.broker"]


async def opens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def until_closed(port: int) -> None:
    async with asyncio.timeout(10):
        while await opens(port):
            await asyncio.sleep(0.02)


async def url_of(process: Process) -> tuple[str, int]:
    url = (await process.json(lambda line: "url" in line))["url"]
    return url, int(url.rsplit(":", 1)[1])


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
async def test_it_accepts_connections_when_it_says_so_and_ends_cleanly(ending: signal.Signals) -> None:
    async with Process([*BROKER, "--port", "0"]) as process:
        url, port = await url_of(process)
        assert url == f"mqtt://127.0.0.1:{port}"
        assert await opens(port)
        process.signal(ending)
        assert await process.ended() == 0
        assert not await opens(port)
        assert len(process.output) == 1


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with Process([*BROKER, "--port", str(port)]) as process:
            assert await process.ended() == 1
            assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in "\n".join(process.output)


async def test_a_host_name_is_refused_since_the_broker_listens_on_addresses() -> None:
    async with Process([*BROKER, "--host", "broker.line"]) as process:
        assert await process.ended() == 1
        assert process.output == ["broker: 'broker.line' does not appear to be an IPv4 or IPv6 address"]


async def test_it_listens_on_ipv6_as_well() -> None:
    async with Process([*BROKER, "--host", "::1", "--port", "0"]) as process:
        url, port = await url_of(process)
        assert url == f"mqtt://[::1]:{port}"


async def test_with_parent_it_ends_when_its_starter_is_killed() -> None:
    starter = (
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'demo.broker', '--with-parent', '--port', '0'])"
    )
    async with Process([sys.executable, "-c", starter]) as process:
        _, port = await url_of(process)
        os.kill(process.pid, signal.SIGKILL)  # the starter alone, not its group
        await until_closed(port)


def test_the_configuration_takes_the_address_and_the_packet_size_and_keeps_the_rest() -> None:
    template = CONFIG.read_text(encoding="utf-8")
    before, after = tomllib.loads(template), tomllib.loads(configuration(template, "127.0.0.2:4711", 2048))
    assert after["v5"]["1"].pop("listen") == "127.0.0.2:4711"
    assert after["v5"]["1"]["connections"].pop("max_payload_size") == 2048
    assert before["v5"]["1"].pop("listen") == "127.0.0.1:1883"
    assert before["v5"]["1"]["connections"].pop("max_payload_size") == 1024 * 1024
    assert after == before


def test_a_configuration_without_a_place_for_the_address_is_refused() -> None:
    with pytest.raises(ValueError, match="listen"):
        configuration("max_payload_size = 1", "127.0.0.1:1", 1024)
