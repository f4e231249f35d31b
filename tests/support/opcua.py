"""An OPC-UA machine made of software, and a driver that reaches it; and what tests do with the two."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any

from drivers.base import MachineEvent, Reading
from drivers.opcua.driver import OpcUaDriver
from drivers.opcua.settings import OpcUaSettings
from drivers.opcua.simulator import OpcUaSimulator
from tests.support.opcua_standard import keep_standard_nodes

keep_standard_nodes()

PATIENCE_S = 30.0
"""A test that hangs ends; nothing is measured by it."""


def settings(keys: Mapping[str, Any]) -> OpcUaSettings:
    """A machine's keys as a station's file has them."""
    return OpcUaSettings.model_validate_json(json.dumps(keys))


def changed(keys: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The keys with others in their place: ``{"connect.url": ...}``."""
    found = deepcopy(dict(keys))
    for path, value in changes.items():
        *above, last = path.split(".")
        inner = found
        for key in above:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return found


@asynccontextmanager
async def simulated(keys: Mapping[str, Any]) -> AsyncIterator[tuple[OpcUaSimulator, dict[str, Any]]]:
    """A simulator that runs, and the keys that lead to it."""
    simulator = OpcUaSimulator("marker", settings(keys))
    try:
        yield simulator, changed(keys, await simulator.start())
    finally:
        await simulator.stop()


@asynccontextmanager
async def opened(keys: Mapping[str, Any]) -> AsyncIterator[OpcUaDriver]:
    """A driver that is open."""
    driver = OpcUaDriver("marker", settings(keys))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await driver.open()
            yield driver
    finally:
        await driver.close()


async def take(driver: OpcUaDriver) -> tuple[MachineEvent, Reading]:
    """The next signal, and what stands there."""
    event = await driver.next_event()
    return event, await driver.read(event)


def values(reading: Reading) -> dict[str, Any]:
    """The values alone."""
    return {name: point.value for name, point in reading.values.items()}
