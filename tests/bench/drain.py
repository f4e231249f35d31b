"""An outage of central with 100,000 records waiting in one station: how fast they are drained, and what it costs.

A real agent holds them in its outbox and is connected to its broker; a real central is started, and the agent's machine
makes results while the backlog drains. Measured are:

- records a second, from central's connection to the broker until its ledger has all that waited, beside the floor;
- the agent's resident memory with nothing waiting, with all of it waiting, and the most it held while draining;
- for each result made while the backlog drained: how many batches of the backlog were sent between its writing into
  the outbox and its own sending (both by the agent's clock), and how long it took until central began to write it.

The floor (``tests/bench/drain_floor.py``): the very batches of the backlog, as they came from the broker, are sent by a
minimal publisher through the same broker to a minimal ingestor, which commits the very rows that central wrote (the
audit trail's too) with bare SQL into an empty database of the same kind: the same tables and indexes, no triggers, one
transaction and one PUBACK for each message. It reads no JSON, asks the database for nothing and judges no route.

Two lines are measured: what the demo runs (SQLite, the embedded broker), and what a plant runs (PostgreSQL, mosquitto).
"""

import asyncio
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from agent.outbox import Outbox
from central.store import Store
from central.store.tables import facts
from contracts.errors import LinkError
from contracts.record import ProcessRecord
from contracts.topics import all_stations
from drivers.base import Simulator
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.bench.drain_floor import copy_rows, floor
from tests.bench.figures import Spread, memory, ms, peak_memory, reset_peak, table, times
from tests.bench.parts import MODBUS, counter_of, machines, serial_number
from tests.support.agents import agent, kept
from tests.support.brokers import RunningBroker, iotcore_broker, mosquitto_broker
from tests.support.postgres import running_cluster
from tests.support.processes import Process

EVERY_S = 0.1
"""The machine makes a result about so often."""
BEFORE = 20
"""Results before the outage: an agent at work."""
LOOK_S = 0.05
PATIENCE_S = 900.0
ROOM_MIB = 30
"""So much more than with nothing waiting the agent may hold."""


@dataclass(frozen=True)
class Sent:
    """A message of records as it came from the broker, and when it was sent, by the agent's clock."""

    payload: bytes
    at: datetime
    seqs: Sequence[int]


@dataclass(frozen=True)
class Fresh:
    """A result made while the backlog drained: batches of the backlog sent in between, seconds until it was sent,
    and until central began to write it."""

    batches: int
    sent: float
    taken: float


@dataclass(frozen=True)
class Drained:
    """What one line did: records that waited and batches they came in, seconds, MiB."""

    records: int
    batches: int
    seconds: float
    opening: float
    nothing_waiting: float
    all_waiting: float
    most: float
    fresh: Sequence[Fresh]


async def run(waiting: int) -> None:
    """Measure both lines and print them."""
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        folders = [Path(name) / "demo", Path(name) / "plant"]
        found = [await _line(folder, waiting, is_plant=folder.name == "plant") for folder in folders]
    _print(dict(zip(("SQLite, embedded broker", "PostgreSQL, mosquitto"), found, strict=True)), waiting)


async def _line(folder: Path, waiting: int, *, is_plant: bool) -> tuple[Drained, float]:
    """What one line did, and the seconds of its floor."""
    rows = folder / "floor"
    rows.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        urls = [f"sqlite:///{folder / name}.db" for name in ("central", "bare")]
        if is_plant:
            cluster = stack.enter_context(running_cluster(durable=True))
            urls = [stack.enter_context(cluster.database()) for _ in urls]
        for url in urls:
            with closing(Store(url)) as store:
                store.migrate()
        broker = await stack.enter_async_context(mosquitto_broker(folder) if is_plant else iotcore_broker())
        outage = Outage(folder, broker, urls[0])
        drained = await outage.measured(waiting)
        backlog = [sent for sent in outage.sent if sent.seqs[0] <= drained.records]
        message_of = {seq: number for number, sent in reversed(list(enumerate(backlog))) for seq in sent.seqs}
        await asyncio.to_thread(copy_rows, urls[0], rows, message_of, len(backlog))
        await broker.restart(wipe=True)
        return drained, await floor(rows, broker.port, urls[1], [sent.payload for sent in backlog])


class Outage:
    """A station, and central which is away at first. Use once."""

    def __init__(self, folder: Path, broker: RunningBroker, url: str) -> None:
        self._state = folder / "state"
        self._broker = broker
        self._url = url
        self._made = 0
        self.sent: list[Sent] = []

    async def measured(self, waiting: int) -> Drained:
        """All of it."""
        async with machines(MODBUS.file) as (simulators, reached_at):
            tester = simulators[MODBUS.machine]
            overrides = [*reached_at, f"machines.{MODBUS.machine}.trigger.poll=10ms"]
            async with self._agent(overrides) as process:
                for _ in range(BEFORE):
                    await self._one(tester)
                await process.line(f'"seq": {BEFORE},')
                nothing_waiting = memory(process.pid).rss
                await process.stop()
            opening = await self._fill(waiting)
            async with self._agent(overrides) as process, self._heard():
                all_waiting = memory(process.pid).rss
                reset_peak(process.pid)
                seconds, ended = await self._drain(tester, waiting + BEFORE)
                most = peak_memory(process.pid)
                await process.stop()
        return Drained(
            records=waiting + BEFORE,
            batches=sum(sent.seqs[0] <= waiting + BEFORE for sent in self.sent),
            seconds=seconds,
            opening=opening,
            nothing_waiting=nothing_waiting,
            all_waiting=all_waiting,
            most=most,
            fresh=self._fresh(waiting + BEFORE, ended),
        )

    @asynccontextmanager
    async def _agent(self, overrides: list[str]) -> AsyncIterator[Process]:
        async with agent(MODBUS.file, self._state, overrides, broker_url=self._broker.url) as process:
            await process.line("machine connected", timeout_s=60)
            await process.line("broker connected")
            yield process

    async def _one(self, tester: Simulator) -> None:
        self._made += 1
        result = MODBUS.result(self._made, counter_of(MODBUS))
        await tester.cycle({**result, "serial_number": f"SN-{self._made:06d}"}, self._made)

    async def _fill(self, waiting: int) -> float:
        """Records like those the agent has made, into its outbox; seconds to open that again."""
        like = ProcessRecord.model_validate_json(json.dumps(kept(self._state)[-1]))
        path = self._state / "outbox.db"
        with closing(Outbox(path)) as box:
            box.open()
            for begin in range(1, waiting + 1, 1000):
                records = [_another(like, number) for number in range(begin, min(begin + 1000, waiting + 1))]
                await asyncio.gather(*(box.append(record) for record in records))
        begun = time.perf_counter()
        with closing(Outbox(path)) as box:
            box.open()
            return time.perf_counter() - begun

    @asynccontextmanager
    async def _heard(self) -> AsyncIterator[None]:
        """Every message of records is noted as it comes from the broker."""
        session = Session(BrokerAddress("127.0.0.1", self._broker.port), client_id="bench-drain")
        await session.open([all_stations("records")])

        async def note() -> None:
            with suppress(LinkError):  # closed below
                while True:
                    message = await session.next_message()
                    payloads.append(message.payload)
                    session.acknowledge(message)

        payloads: list[bytes] = []
        noting = asyncio.create_task(note())
        try:
            yield
        finally:
            await session.close()
            await noting
        for payload in payloads:
            content = json.loads(payload)
            seqs = [item["seq"] for item in content["records"]]
            self.sent.append(Sent(payload, datetime.fromisoformat(content["sent_at"]), seqs))

    async def _drain(self, tester: Simulator, records: int) -> tuple[float, datetime]:
        """Start central; seconds until it had all that waited, and when that was. The machine works meanwhile."""
        with closing(sqlite3.connect(f"file:{self._state / 'outbox.db'}?mode=ro&immutable=1", uri=True)) as outbox:
            [(stream_id,)] = outbox.execute("SELECT stream_id FROM streams").fetchall()
        anchors = str(self._state / "audit-anchors.jsonl")
        environment = {"DATABASE_URL": self._url, "BROKER_URL": self._broker.url, "AUDIT_ANCHOR_FILE": anchors}
        stop = asyncio.Event()

        async def work() -> None:
            while not stop.is_set():
                await asyncio.sleep(random.uniform(0.5, 1.5) * EVERY_S)
                await self._one(tester)

        async with Process([sys.executable, "-m", "central", "ingest"], env=environment) as central:
            with closing(Store(self._url)) as store:
                await central.line("broker connected", timeout_s=60)
                begun = time.perf_counter()
                working = asyncio.create_task(work())
                await _committed(store, stream_id, records)
                seconds, ended = time.perf_counter() - begun, datetime.now().astimezone()
                stop.set()
                await working
                await _committed(store, stream_id, records + self._made - BEFORE)
            await central.stop()
        return seconds, ended

    def _fresh(self, records: int, ended: datetime) -> list[Fresh]:
        """What became of each result made while the backlog drained: what was there before is backlog itself."""
        with closing(sqlite3.connect(self._state / "outbox.db")) as outbox:
            rows = outbox.execute("SELECT seq, created_at FROM records WHERE seq > ?", (records,)).fetchall()
        with closing(Store(self._url)) as store, store.database.reading() as connection:
            new = sa.select(facts.c.seq, facts.c.received_at).where(facts.c.seq > records)
            taken = {row.seq: row.received_at for row in connection.execute(new)}
        backlog = [sent.at for sent in self.sent if sent.seqs[0] <= records]
        sent_at = {seq: sent.at for sent in reversed(self.sent) for seq in sent.seqs}
        written = {seq: datetime.fromisoformat(text) for seq, text in rows}
        return [
            Fresh(
                batches=sum(at < moment <= sent_at[seq] for moment in backlog),
                sent=(sent_at[seq] - at).total_seconds(),
                taken=(taken[seq] - at).total_seconds(),
            )
            for seq, at in written.items()
            if backlog[0] < at < ended
        ]


def _another(like: ProcessRecord, number: int) -> ProcessRecord:
    completed_at = like.completed_at + timedelta(milliseconds=number)
    return like.model_copy(update={"serial_number": serial_number(number), "completed_at": completed_at})


async def _committed(store: Store, stream_id: str, seq: int) -> None:
    """Until central has committed everything up to here."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            commit = await asyncio.to_thread(store.commit_of, stream_id)
            if commit is not None and commit.committed_seq >= seq:
                return
            await asyncio.sleep(LOOK_S)


def _print(found: Mapping[str, tuple[Drained, float]], waiting: int) -> None:
    print(f"drain: {waiting} records of one station wait for central; a result about every {EVERY_S:g} s meanwhile\n")
    rows = [
        [
            name,
            f"{one.seconds:.1f}",
            f"{one.records / one.seconds:.0f}",
            f"{least:.1f}",
            times(one.seconds, least),
            f"{one.batches}",
            f"{one.opening:.2f}",
        ]
        for name, (one, least) in found.items()
    ]
    print(table(["", "seconds", "records/s", "floor, s", "ratio", "batches", "outbox opened in, s"], rows))
    rows = [
        [
            name,
            f"{one.nothing_waiting:.1f}",
            f"{one.all_waiting:.1f}",
            f"{one.most:.1f}",
            f"{one.most - one.nothing_waiting:+.1f}",
        ]
        for name, (one, _) in found.items()
    ]
    head = ["", "agent's RSS MiB, nothing waiting", "all waiting", "most while draining", f"more (at most {ROOM_MIB})"]
    print(f"\n{table(head, rows)}")
    rows = []
    for name, (one, _) in found.items():
        sent, taken = Spread.of([each.sent for each in one.fresh]), Spread.of([each.taken for each in one.fresh])
        rows.append(
            [
                name,
                str(len(one.fresh)),
                str(max(each.batches for each in one.fresh)),
                f"{ms(sent.median)} / {ms(sent.largest)}",
                f"{ms(taken.median)} / {ms(taken.largest)}",
                ms(one.seconds / one.batches),
            ]
        )
    head = ["", "new results", "batches before one, most", "written to sent, ms", "to central", "a batch takes, ms"]
    print(f"\n{table(head, rows)}")
