"""The least that keeping and sending one result can cost here: one fsync, one PUBACK, one SQLite commit, in a row."""

import os
import sqlite3
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

PAYLOAD = b"x" * 900
"""As long as a record of the line with its message."""
PUBACK_S = 10.0


@dataclass
class Steps:
    """Seconds each step took, one sample per chain."""

    fsync: list[float] = field(default_factory=list)
    puback: list[float] = field(default_factory=list)
    commit: list[float] = field(default_factory=list)
    chain: list[float] = field(default_factory=list)


class MinimalChain:
    """``with MinimalChain(folder, port) as chain``; each ``run()`` is one sample. Blocks: for a thread of its own."""

    def __init__(self, folder: Path, broker_port: int) -> None:
        self._file = (folder / "floor.log").open("ab", buffering=0)
        self._database = sqlite3.connect(folder / "floor.db", isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute("CREATE TABLE IF NOT EXISTS floor (id INTEGER PRIMARY KEY, body BLOB)")
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._port = broker_port
        self.steps = Steps()

    def __enter__(self) -> Self:
        connected = threading.Event()
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect("127.0.0.1", self._port)
        self._client.loop_start()
        if not connected.wait(PUBACK_S):
            raise TimeoutError("the broker does not answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._database.close()
        self._file.close()

    def run(self) -> None:
        """One chain; its times are added to ``steps``."""
        begun = time.perf_counter()
        self._file.write(PAYLOAD)
        os.fsync(self._file.fileno())
        synced = time.perf_counter()
        self._client.publish("bench/floor", PAYLOAD, qos=1).wait_for_publish(PUBACK_S)
        acknowledged = time.perf_counter()
        self._database.execute("INSERT INTO floor (body) VALUES (?)", (PAYLOAD,))
        committed = time.perf_counter()
        self.steps.fsync.append(synced - begun)
        self.steps.puback.append(acknowledged - synced)
        self.steps.commit.append(committed - acknowledged)
        self.steps.chain.append(committed - begun)
