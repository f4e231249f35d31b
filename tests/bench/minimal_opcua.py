"""``python -m tests.bench.minimal_opcua BROKER_PORT DATABASE NODE,... URL...``: the least an OPC-UA station can be.

As ``tests.bench.minimal``, with asyncua: a subscription to the counter, the last of the nodes, signals; one Read takes
the snapshot, another one sees whether it was torn. No types, no times, no judging, no settling.
"""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from asyncua import Client, Node, ua

from tests.bench.minimal import Keeper, publisher

BODY = b"x" * 20_000
"""A hundred judged measurements."""
SAMPLING_MS = 50


class Changes:
    """asyncua's handler: the counter's values in their order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[int] = asyncio.Queue()

    def datachange_notification(self, _node: Node, value: Any, _data: Any) -> None:
        self.queue.put_nowait(value)


async def follow(number: int, url: str, names: Sequence[str], keeper: Keeper, client: paho.Client) -> None:
    """Serve one machine for ever; keep, publish and acknowledge each of its results."""
    async with Client(url) as opcua:
        nodes = [opcua.get_node(f"ns=2;s={name}") for name in names]
        acknowledge = opcua.get_node("ns=2;s=ack")
        changes = Changes()
        subscription = await opcua.create_subscription(SAMPLING_MS, changes)
        await subscription.subscribe_data_change(nodes[-1])
        while True:
            counter = await changes.queue.get()
            await opcua.read_values(nodes)
            if (await opcua.read_values(nodes[-1:])) != [counter]:
                continue
            await keeper.keep(number, counter)
            client.publish("bench/minimal", BODY, qos=1)
            await acknowledge.write_value(counter, ua.VariantType.UInt32)


async def main(broker_port: int, database: str, names: Sequence[str], urls: Sequence[str]) -> None:
    """Run until killed."""
    client, keeper = publisher(broker_port), Keeper(database)
    async with asyncio.TaskGroup() as tasks:
        for number, url in enumerate(urls):
            tasks.create_task(follow(number, url, names, keeper, client))
        print("running", flush=True)
        while True:
            client.loop_misc()
            await asyncio.sleep(1.0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3].split(","), sys.argv[4:]))
