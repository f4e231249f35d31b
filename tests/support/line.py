"""Stations and central as processes, with outboxes filled beforehand: for tests of delivery that need no machine."""

import asyncio
import os
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

from agent.outbox import Outbox
from central.store import Arrival, Store
from contracts.record import ProcessRecord, digest
from tests.support.agents import CONFIG, agent
from tests.support.brokers import free_port
from tests.support.processes import Process

PATIENCE_S = 60.0


def central(database_url: str, broker_url: str, *arguments: str) -> Process:
    """``neurohub-central ingest``, not started yet."""
    anchors = "" if database_url.startswith("sqlite") else f"{tempfile.gettempdir()}/anchors-{os.getpid()}.jsonl"
    environment = {"DATABASE_URL": database_url, "BROKER_URL": broker_url, "AUDIT_ANCHOR_FILE": anchors}
    return Process([sys.executable, "-m", "central", "ingest", *arguments], env=environment)


def permits(database_url: str, broker_url: str) -> Process:
    """``neurohub-central permits``, not started yet."""
    environment = {"DATABASE_URL": database_url, "BROKER_URL": broker_url}
    return Process([sys.executable, "-m", "central", "permits"], env=environment)


def station(name: str, folder: Path, broker_url: str) -> Process:
    """An agent whose machine is absent, not started yet: it delivers what its outbox in ``folder`` holds."""
    nowhere = f"machines.tester.connect.port={free_port()}"
    overrides = [f"station.id={name}", nowhere, "resend_after=1s"]
    return agent(CONFIG / "P03-A.yaml", folder, overrides, broker_url=broker_url)


async def fill(folder: Path, records: Sequence[ProcessRecord]) -> str:
    """Keep these records in the outbox of a station that does not run; answers the stream."""
    outbox = Outbox(folder / "outbox.db")
    outbox.open()
    try:
        await asyncio.gather(*(outbox.append(record) for record in records))
        return (await outbox.state()).stream_id
    finally:
        outbox.close()


def held(name: str, folder: Path) -> list[Arrival]:
    """Everything an outbox holds, as central would take it in, stream by stream; its agent may run."""
    arrivals: list[Arrival] = []
    with closing(sqlite3.connect(f"file:{folder}/outbox.db?mode=ro&immutable=1", uri=True)) as outbox:
        for number, stream_id in outbox.execute("SELECT id, stream_id FROM streams ORDER BY id").fetchall():
            found = outbox.execute("SELECT seq, body FROM records WHERE stream = ? ORDER BY seq", (number,))
            records = [(seq, ProcessRecord.model_validate_json(body)) for seq, body in found]
            numbered = [(seq, record, digest(record)) for seq, record in records]
            if numbered:
                arrivals.append(Arrival(stream_id, "gimcheon", "KR01", name, numbered))
    return arrivals


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """A migrated store on this database."""
    store = Store(url)
    store.migrate()
    try:
        yield store
    finally:
        store.close()


async def until(condition: Callable[[], Awaitable[bool]], *told: Process, every_s: float = 0.1) -> None:
    """Wait for this to be true. Raises AssertionError, with what these processes said, when it is not in time."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(every_s)
    except TimeoutError as error:
        said = "\n".join(line for process in told for line in ("--", *process.output[-40:]))
        raise AssertionError(f"not within {PATIENCE_S:g} s; what was said:\n{said}") from error
