"""The floor of a drain: the same messages, by the same kind of broker, as the same rows into the same kind of database.

``python -m tests.bench.drain_floor publish PORT FOLDER`` sends the messages in FOLDER (one file each, in the order of
their names), 20 of them on their way at a time. ``python -m tests.bench.drain_floor ingest PORT FOLDER URL`` commits,
for each message that comes, the rows that FOLDER has for it, and only then acknowledges it. Nothing is read, checked
or reckoned.
"""

import pickle
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing
from itertools import groupby
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from psycopg import sql

from central.store import Store
from central.store.audit import drop_trail
from central.store.tables import BUSINESS_TABLES
from tests.support.processes import Process

UNDER_WAY = 20
PATIENCE_S = 300.0
RECORDS, COMMITTED = "bench/floor/records", "bench/floor/committed"
_KEYED = {
    "users": "SELECT 1, t.* FROM users t WHERE cause_seq IS NOT NULL",
    "product_models": "SELECT 1, t.* FROM product_models t WHERE cause_seq IS NOT NULL",
    "lots": (
        "SELECT coalesce((SELECT min(seq) FROM process_data p WHERE p.lot_id = t.id), 0), t.* FROM lots t ORDER BY 1"
    ),
    "serials": (
        "SELECT coalesce((SELECT min(seq) FROM process_data p WHERE p.serial_id = t.id), 0), t.* FROM serials t"
        " ORDER BY 1"
    ),
    "facts": "SELECT seq, t.* FROM facts t ORDER BY 1",
    "process_data": "SELECT seq, t.* FROM process_data t ORDER BY 1",
    "audit_logs": "SELECT seq, t.* FROM audit_logs t WHERE seq IS NOT NULL ORDER BY 1, t.id",
}
"""Each table's rows behind the seq whose message they are committed with; what is referred to comes first.

Users and product models are few, and any record may have named them first: they come with the first message.
"""


def copy_rows(url: str, folder: Path, message_of: Mapping[int, int], messages: int) -> None:
    """Put the rows that central wrote into a file for each message: the rows of the seqs it carried, and no others."""
    for number in range(messages):
        (folder / f"{number:06d}.rows").touch()
    read = _read_sqlite if url.startswith("sqlite") else _read_postgresql
    for table, query in _KEYED.items():
        carried = (row for row in read(url, query) if row[0] in message_of)
        for number, rows in groupby(carried, key=lambda row: message_of[row[0]]):
            with (folder / f"{number:06d}.rows").open("ab") as file:
                pickle.dump((table, [row for _, row in rows]), file)


def _read_sqlite(url: str, query: str) -> Iterator[tuple[int, Any]]:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        for seq, *row in connection.execute(query):
            yield seq, row


def _read_postgresql(url: str, query: str) -> Iterator[tuple[int, Any]]:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        statement = sql.SQL("COPY ({}) TO STDOUT").format(sql.SQL(query))  # type: ignore[arg-type]  # from this module
        with cursor.copy(statement) as copy:
            for line in copy:
                seq, _, row = bytes(line).partition(b"\t")
                yield int(seq), row


async def floor(folder: Path, port: int, url: str, payloads: Sequence[bytes]) -> float:
    """Seconds from the first message's sending to the last one's commit. ``folder`` holds the rows already."""
    store = Store(url)
    with closing(store), store.database.writing() as connection:
        drop_trail(connection, {table.name: {} for table in BUSINESS_TABLES})
    for number, payload in enumerate(payloads):
        (folder / f"{number:06d}.message").write_bytes(payload)
    module = [sys.executable, "-m", "tests.bench.drain_floor"]
    async with AsyncExitStack() as stack:
        ingest = await stack.enter_async_context(Process([*module, "ingest", str(port), folder, url]))
        await ingest.line("listening")
        publish = await stack.enter_async_context(Process([*module, "publish", str(port), folder]))
        begun = await publish.line("begun ")
        ended = await ingest.line("ended ", timeout_s=PATIENCE_S)
    return float(ended.split()[1]) - float(begun.split()[1])


def publish(port: int, folder: Path) -> None:
    """Send every message."""
    room = threading.Semaphore(UNDER_WAY)
    client = _client(port, COMMITTED, 0, lambda _: room.release())
    client.loop_start()
    messages = [file.read_bytes() for file in sorted(folder.glob("*.message"))]
    print(f"begun {time.time()}", flush=True)
    for message in messages:
        room.acquire()
        client.publish(RECORDS, message, qos=1)
    for _ in range(UNDER_WAY):
        room.acquire()


def ingest(port: int, folder: Path, url: str) -> None:
    """Commit the rows of each message."""
    files = sorted(folder.glob("*.rows"))
    waiting = iter(files)
    commit = _SQLite(url) if url.startswith("sqlite") else _PostgreSQL(url)
    ended = False

    def take(message: paho.MQTTMessage) -> None:
        nonlocal ended
        file = next(waiting)
        commit(_rows(file))
        client.ack(message.mid, message.qos)
        client.publish(COMMITTED, b"", qos=0)
        ended = file == files[-1]

    client = _client(port, RECORDS, 1, take)
    print("listening", flush=True)
    while not ended:
        client.loop()
    print(f"ended {time.time()}", flush=True)
    client.loop()  # the last word to the publisher


class _SQLite:
    def __init__(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")

    def __call__(self, rows: Iterator[tuple[str, list[Any]]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for table, values in rows:
            marks = ", ".join("?" * len(values[0]))
            self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
        self._connection.execute("COMMIT")


class _PostgreSQL:
    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def __call__(self, rows: Iterator[tuple[str, list[Any]]]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            for table, lines in rows:
                with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                    copy.write(b"".join(lines))


def _rows(file: Path) -> Iterator[tuple[str, list[Any]]]:
    with file.open("rb") as content:
        while True:
            try:
                yield pickle.load(content)
            except EOFError:
                return


def _client(port: int, topic: str, qos: int, heard: Any) -> paho.Client:
    """Connected and subscribed; ``heard`` is called with each message."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
    client.max_inflight_messages_set(UNDER_WAY)
    client.connect("127.0.0.1", port)
    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _client, _data, message: heard(message)
    client.subscribe(topic, qos=qos)
    while not subscribed.is_set():
        client.loop()
    return client


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["publish", port, folder]:
            publish(int(port), Path(folder))
        case ["ingest", port, folder, url]:
            ingest(int(port), Path(folder), url)
