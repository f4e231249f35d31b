"""``python -m tests.bench.minimal BROKER_PORT DATABASE POLL_S PORT...``: the least a station can be.

One asyncio loop that polls Modbus machines with raw frames, keeps each result with a group commit (SQLite, WAL,
synchronous=FULL), publishes it (paho, QoS 1) and acknowledges the machine. The same requests, fsyncs and publishes as
the agent's for a P03 tester, and nothing else: no parsing, no judging, no settling, no second start.
"""

import asyncio
import queue
import socket
import sqlite3
import struct
import sys
import threading
from typing import Any, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

REGISTERS = struct.pack(">BBHH", 1, 3, 0, 41)
"""Holding registers 0 to 40: counter, serial number, temperature, judgement."""
BIT = struct.pack(">BBHH", 1, 2, 4, 1)
ACKNOWLEDGE = 50
BODY = b"x" * 900


class Machine(asyncio.Protocol):
    """One Modbus TCP connection with one request on its way."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._number = 0
        self._heard = b""
        self._answer: asyncio.Future[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if len(self._heard) >= 6 and len(self._heard) == 6 + int.from_bytes(self._heard[4:6], "big"):
            heard, self._heard = self._heard, b""
            self._answer.set_result(heard[7:])

    async def ask(self, request: bytes) -> bytes:
        """The answer, from its function code on."""
        self._number = (self._number + 1) & 0xFFFF
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(struct.pack(">HHH", self._number, 0, len(request)) + request)
        return await self._answer


class Keeper:
    """A writer thread; what waits shares one commit."""

    def __init__(self, path: str) -> None:
        self._queue: queue.SimpleQueue[tuple[int, int, asyncio.Future[None]]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, body BLOB)")
        self._database.execute("CREATE TABLE IF NOT EXISTS cursors (machine INTEGER PRIMARY KEY, cycle INTEGER)")
        threading.Thread(target=self._write, daemon=True).start()

    async def keep(self, machine: int, cycle: int) -> None:
        """Return when it is on disk."""
        kept = self._loop.create_future()
        self._queue.put((machine, cycle, kept))
        await kept

    def _write(self) -> None:
        while True:
            group = [self._queue.get()]
            while not self._queue.empty():
                group.append(self._queue.get())
            self._database.execute("BEGIN")
            for machine, cycle, _ in group:
                self._database.execute("INSERT INTO records (body) VALUES (?)", (BODY,))
                self._database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (machine, cycle))
            self._database.execute("COMMIT")
            self._loop.call_soon_threadsafe(_tell, group)


def _tell(group: list[tuple[int, int, "asyncio.Future[None]"]]) -> None:
    for _, _, kept in group:
        kept.set_result(None)


def publisher(port: int) -> paho.Client:
    """A connected client, driven by the running loop."""
    loop = asyncio.get_running_loop()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bench-minimal", protocol=MQTTProtocolVersion.MQTTv5)

    def writable(_client: paho.Client, _data: Any, sock: Any) -> None:
        loop.add_writer(sock, client.loop_write)

    def written(_client: paho.Client, _data: Any, sock: Any) -> None:
        loop.remove_writer(sock)

    client.max_inflight_messages_set(0)
    client.on_socket_register_write = writable
    client.on_socket_unregister_write = written
    client.connect("127.0.0.1", port, keepalive=60)
    loop.add_reader(cast(socket.socket, client.socket()), client.loop_read)
    return client


async def follow(number: int, port: int, poll_s: float, keeper: Keeper, client: paho.Client) -> None:
    """Poll one machine for ever; keep, publish and acknowledge each of its results."""
    loop = asyncio.get_running_loop()
    _, machine = await loop.create_connection(Machine, "127.0.0.1", port)
    seen, due = b"", loop.time()
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        due = max(due, loop.time()) + poll_s
        registers = await machine.ask(REGISTERS)
        if (counter := registers[2:4]) == seen:
            continue
        await machine.ask(BIT)
        if (await machine.ask(REGISTERS))[2:4] != counter:
            continue
        if seen:
            await keeper.keep(number, int.from_bytes(counter, "big"))
            client.publish("bench/minimal", BODY, qos=1)
        await machine.ask(struct.pack(">BBHHB", 1, 16, ACKNOWLEDGE, 1, 2) + counter)
        seen = counter


async def main(broker_port: int, database: str, poll_s: float, ports: list[int]) -> None:
    """Run until killed."""
    client, keeper = publisher(broker_port), Keeper(database)
    followed = [follow(number, port, poll_s, keeper, client) for number, port in enumerate(ports)]
    async with asyncio.TaskGroup() as tasks:
        for one in followed:
            tasks.create_task(one)
        print("running", flush=True)
        while True:
            client.loop_misc()
            await asyncio.sleep(1.0)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), [int(port) for port in sys.argv[4:]]))
