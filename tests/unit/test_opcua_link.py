"""A link to an OPC-UA server whose library does not let go."""

import asyncio
from unittest.mock import patch

import pytest

from contracts.errors import LinkError
from drivers.opcua import link as linking
from drivers.opcua.connect import Connect
from drivers.opcua.link import OpcUaLink


class Deaf:
    """What asyncua does when a cancellation reaches it while it waits for a task of its own: it goes on."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def work(self) -> None:
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue


@pytest.mark.parametrize("deaf", ["connect", "disconnect"])
async def test_a_library_that_takes_a_cancellation_for_its_own_does_not_keep_the_link(deaf: str) -> None:
    one = Deaf()
    link = OpcUaLink(
        "tester", Connect.model_validate({"url": "opc.tcp://127.0.0.1:9", "timeout": "20ms"}), lambda: None
    )
    with (
        patch.object(linking.SecureClient, deaf, lambda _: one.work()),
        patch.object(linking, "CLOSE_TIMEOUT_S", 0.02),
        patch.object(linking, "_GRACE_S", 0.02),
    ):
        async with asyncio.timeout(10):
            with pytest.raises(LinkError, match=r"tester: opc\.tcp://127\.0\.0\.1:9 cannot be reached"):
                await link.open()
            await link.close()
        one.let_go.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
