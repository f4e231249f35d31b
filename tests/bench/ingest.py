"""Ingest from a real mosquitto on this machine into PostgreSQL, with every index, the fold and the audit trail on.

Stations as in the plant, eight of them, each with a stream of its own: a publisher keeps so many of their messages
under way as an agent does, and one more leaves when central's commit acknowledgement of one has come. Central is the
service itself, ``neurohub-central ingest``, sealer and all. Measured are:

- records a second, from the first publish to the last commit acknowledgement;
- for each message the time from its publish to the commit acknowledgement that covers it, at that rate (the queue is
  full then), and once more at a given rate below it;
- in the same run, as peers: COPY of the very rows central wrote into the same tables without triggers and foreign keys,
  and one-row inserts of them with everything on, each row its own transaction.

SQLite: records a second by the same way, and how long a reader that reads all the time keeps ingest waiting: the
slowest transaction with the reader beside the slowest without.
"""

import asyncio
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import psycopg
from psycopg import sql

from central.store import Store
from contracts.envelope import Commit, Numbered, RecordsMessage
from contracts.processes import PROCESSES
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.bench.figures import Spread, cpu_seconds, ms, table, times
from tests.bench.history import RECORDS_PER_UNIT, Sent, beginning, records, station_of, stream_of
from tests.bench.seed import arrivals
from tests.support.brokers import HOST, RunningBroker, mosquitto_broker
from tests.support.postgres import Cluster, running_cluster
from tests.support.processes import Process

SITE, LINE = "gimcheon", "KR01"
UNDER_WAY = 4
"""Messages of one station that are not committed yet, at most."""
BATCH = 50
"""Records in one message: what an agent sends of a backlog at once is of this order."""
ONE_BY_ONE = 300
PATIENCE_S = 120.0


@dataclass
class Station:
    """One station's messages, and when each was published."""

    topics: StationTopics
    waiting: deque[tuple[int, bytes]]
    under_way: deque[tuple[int, float]] = field(default_factory=deque)


@dataclass(frozen=True)
class Ingested:
    """What came of one way: records, seconds, and seconds from publish to commit of each message."""

    records: int
    seconds: float
    taken: Sequence[float]
    cpu: tuple[float, ...] = ()
    """Seconds of a processor: central, the database, the broker. They say what a busy machine's clock cannot."""

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


def messages(sent: Sequence[Sent], batch: int = BATCH) -> dict[str, list[tuple[int, bytes]]]:
    """Station -> its messages in order: the last seq of each, and its bytes."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    ordered = sorted(sent, key=lambda one: (one.station, one.seq))
    for station, own in groupby(ordered, key=lambda one: one.station):
        every = list(own)
        found[station] = []
        for start in range(0, len(every), batch):
            part = every[start : start + batch]
            message = RecordsMessage(
                site=SITE,
                line=LINE,
                station=station,
                stream_id=part[0].stream_id,
                sent_at=beginning(),
                instance="a" * 32,
                last_seq=every[-1].seq,
                records=tuple(Numbered(seq=one.seq, record=one.record) for one in part),
            )
            found[station].append((part[-1].seq, message.model_dump_json(exclude_none=True).encode()))
    return found


async def send(broker: RunningBroker, sent: Sequence[Sent], rate: float | None = None) -> Ingested:
    """Publish it all, and wait until it is committed. ``rate``: records a second; without it as fast as it is taken."""
    made = messages(sent, BATCH if rate is None else 5)
    stations = {name: Station(StationTopics(SITE, LINE, name), deque(waiting)) for name, waiting in made.items()}
    session = Session(BrokerAddress(HOST, broker.port), client_id="bench-stations", receive_maximum=1000)
    await session.open([one.topics.commits for one in stations.values()])
    taken: list[float] = []
    begun = time.monotonic()
    published = 0
    per_message = BATCH if rate is None else 5
    try:
        async with asyncio.timeout(PATIENCE_S + len(sent) / 100):
            hearing = asyncio.create_task(_hear(session, stations, taken))
            while not hearing.done():
                moved = False
                for one in stations.values():
                    if not one.waiting or (rate is None and len(one.under_way) >= UNDER_WAY):
                        continue
                    if rate is not None and published * per_message / rate > time.monotonic() - begun:
                        break
                    last, payload = one.waiting.popleft()
                    one.under_way.append((last, time.monotonic()))
                    await session.publish(one.topics.records, payload)
                    published += 1
                    moved = True
                await asyncio.sleep(0 if moved else 0.001)
            await hearing
    finally:
        await session.close()
    return Ingested(len(sent), time.monotonic() - begun, taken)


async def _hear(session: Session, stations: dict[str, Station], taken: list[float]) -> None:
    """Take commit acknowledgements until everything is committed."""
    while any(one.waiting or one.under_way for one in stations.values()):
        message = await session.next_message()
        now = time.monotonic()
        session.acknowledge(message)
        commit = Commit.model_validate_json(message.payload)
        one = stations[message.topic.split("/")[4]]
        while one.under_way and one.under_way[0][0] <= commit.committed_seq:
            taken.append(now - one.under_way.popleft()[1])


@asynccontextmanager
async def central(url: str, broker: RunningBroker, folder: Path) -> AsyncIterator[Process]:
    """The service, on a migrated database."""
    with closing(Store(url)) as store:
        store.migrate()
    environment = {
        "DATABASE_URL": url,
        "BROKER_URL": broker.url,
        "AUDIT_ANCHOR_FILE": str(folder / f"anchors-{time.monotonic_ns()}.jsonl"),
    }
    async with Process([sys.executable, "-m", "central", "ingest"], env=environment) as process:
        await process.line("broker connected")
        yield process
        await process.stop()


async def run(seconds: float, *, expected: float = 2000.0) -> None:
    """Measure and print. ``seconds``: about so long, at ``expected`` records a second."""
    units = max(20, int(seconds * expected / RECORDS_PER_UNIT))
    seqs: dict[int, int] = {}
    sent = list(records("bench", 0, units, seqs))
    few = max(10, units // 10)
    paced = list(records("bench", units + 100, few, seqs))
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        folder = Path(name)
        async with AsyncExitStack() as stack:
            cluster = stack.enter_context(running_cluster(durable=True))
            url = stack.enter_context(cluster.database())
            broker = await stack.enter_async_context(mosquitto_broker(folder))
            async with central(url, broker, folder) as process:
                before = _cpu(process, cluster, broker)
                full = await send(broker, sent)
                after = _cpu(process, cluster, broker)
                full = replace(full, cpu=tuple(now - then for now, then in zip(after, before, strict=True)))
                below = await send(broker, paced, rate=full.rate / 2)
            bare = stack.enter_context(cluster.database())
            copied = await asyncio.to_thread(_copied, url, bare)
            alone = await asyncio.to_thread(_one_by_one, url)
            await broker.restart(wipe=True)
            quick = sent[: len(sent) // 4]
            async with central(f"sqlite:///{folder}/central.db", broker, folder):
                embedded = await send(broker, quick)
            alone_ms, read_ms = await asyncio.to_thread(_beside_a_reader, f"sqlite:///{folder}/central.db", paced)
    rows = [
        [what, f"{one.records}", f"{one.rate:.0f}", *_spread(one.taken), times(full.rate, one.rate)]
        for what, one in (
            ("PostgreSQL, as fast as it takes it", full),
            ("PostgreSQL, at half that rate", below),
            ("COPY of the same rows, no rules", copied),
            ("one row a transaction, all rules", alone),
            ("SQLite, as fast as it takes it", embedded),
        )
    ]
    print(f"ingest: {units} units, {BATCH} records a message, {UNDER_WAY} messages of each of the {len(PROCESSES)}")
    print(table(["", "records", "records/s", "p50 ms", "p99 ms", "ingest is"], rows))
    each = [f"{what} {seconds / full.records * 1e6:.0f}" for what, seconds in zip(_WHO, full.cpu, strict=True)]
    print(f"processor time of a record in us: {', '.join(each)}")
    print(
        f"SQLite, transactions of {_FEW} records: slowest {ms(alone_ms)} ms alone, {ms(read_ms)} ms beside a reader"
        " that reads every row again and again"
    )


_WHO = ("central", "PostgreSQL", "broker")


def _cpu(process: Process, cluster: Cluster, broker: RunningBroker) -> tuple[float, ...]:
    return (
        cpu_seconds(process.pid),
        sum(cpu_seconds(pid) for pid in cluster.processes()),
        cpu_seconds(broker.process.pid),
    )


def _spread(taken: Sequence[float]) -> list[str]:
    if not taken:
        return ["", ""]
    spread = Spread.of(taken)
    return [ms(spread.median), ms(spread.p99)]


_FEW = 20


def _beside_a_reader(url: str, sent: Sequence[Sent]) -> tuple[float, float]:
    """The slowest of many small ingest transactions, alone and beside a reader that never stops; seconds."""
    ended = threading.Event()

    def read() -> None:
        with closing(Store(url)) as store:
            while not ended.is_set():
                with store.reading() as connection:
                    for table_name in ("audit_logs", "process_data", "facts"):
                        for _ in connection.exec_driver_sql(f"SELECT * FROM {table_name}"):
                            if ended.is_set():
                                return

    parts = [list(sent[start : start + _FEW]) for start in range(0, len(sent), _FEW)]
    half = len(parts) // 2
    slowest: list[float] = []
    with closing(Store(url)) as store:
        for own, beside in ((parts[:half], False), (parts[half:], True)):
            reader = threading.Thread(target=read)
            if beside:
                reader.start()
            spent = []
            for part in own:
                begun = time.monotonic()
                store.ingest(arrivals(part))
                spent.append(time.monotonic() - begun)
            if beside:
                ended.set()
                reader.join()
            slowest.append(max(spent))
    return slowest[0], slowest[1]


COPIED = ("users", "product_models", "lots", "serials", "facts", "process_data", "audit_logs")


def _copied(url: str, bare: str) -> Ingested:
    """The very rows into empty tables of the same form, indexes and all, without triggers and foreign keys."""
    with closing(Store(bare)) as store:
        store.migrate()
        store.provide_months([beginning()])
    seconds = 0.0
    with psycopg.connect(url) as there, psycopg.connect(bare) as here:
        here.execute("SET session_replication_role = replica")
        for name in COPIED:
            rows = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT").format(sql.Identifier(name))
            with there.cursor() as cursor, cursor.copy(rows) as copy:
                content = b"".join(bytes(part) for part in copy)
            if name in ("users", "product_models", "audit_logs"):
                here.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
            begun = time.monotonic()
            with here.cursor() as cursor:
                with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))) as copy:
                    copy.write(content)
                here.commit()
            seconds += time.monotonic() - begun
        [(count,)] = here.execute("SELECT count(*) FROM process_data").fetchall()
    return Ingested(count, seconds, ())


def _one_by_one(url: str) -> Ingested:
    """Rows of process_data alone, each inserted by itself with triggers and keys, as one that begins does it."""
    with psycopg.connect(url, autocommit=True) as connection:
        names = "lot_id, serial_id, process_id, operator_id, data_level, part, result, outcome, measurements, defects,"
        names += " started_at, completed_at, station, machine, disagreement, stream_id, seq, record, created_at"
        found = connection.execute(f"SELECT {names} FROM process_data LIMIT {ONE_BY_ONE}".encode()).fetchall()
        places = ", ".join(["%s"] * len(found[0]))
        statement = f"INSERT INTO process_data ({names}) VALUES ({places})".encode()
        begun = time.monotonic()
        for number, row in enumerate(found):
            values = [psycopg.types.json.Jsonb(one) if isinstance(one, dict | list) else one for one in row]
            values[15:17] = [stream_of("alone", 1), number + 1]
            connection.execute(statement, values)
        return Ingested(len(found), time.monotonic() - begun, ())


__all__ = ["run", "station_of"]
