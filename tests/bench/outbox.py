"""How fast results are kept: the agent's outbox with 1, 10 and 100 machines at once, beside bare sqlite3.

A machine makes its next result as soon as the last one is on the disk, so that as many wait for a commit as there are
machines. The agent's side is all that lies between a judged record and its machine's acknowledgement: its bytes, the
way to the writer thread and back, admission, check sum, group commit with fsync.

The floor is sqlite3 alone, in one thread, with the same tables, indexes and pragmas (WAL, synchronous=FULL): one
result and one cursor of each machine in a commit, their bytes made beforehand. It commits the largest groups there can
be. Both take turns, so that a disk or a processor that is busy for a while is so for both; the CPU time of this process
is printed as well, since two threads wait longer for a busy processor than one does.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlite_utils import Database

from agent.cycles import Cursor
from agent.outbox import Outbox, streams
from agent.outbox import file as outbox_file
from agent.outbox.schema import migrations
from contracts.record import ProcessRecord, canonical
from tests.bench.figures import Spread, ms, table, times
from tests.support.records import record
from tests.support.stores import MORNING


@dataclass
class Side:
    """Results a second and CPU seconds a result, one figure a round, and the seconds each result waited."""

    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @contextmanager
    def round(self) -> Iterator[list[float]]:
        """One round; its waits go into the list."""
        waits: list[float] = []
        begun, spent = time.perf_counter(), time.process_time()
        yield waits
        self.rates.append(len(waits) / (time.perf_counter() - begun))
        self.costs.append((time.process_time() - spent) / len(waits))
        self.waits += waits

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rates)

    @property
    def cost(self) -> float:
        """The median."""
        return statistics.median(self.costs)


async def run(machines_of: Sequence[int], seconds: float, rounds: int) -> None:
    """Measure with each of these numbers of machines, then while settled results are cleaned away; print all."""
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="neurohub-bench-") as name:
        for count in machines_of:
            folder = Path(name) / str(count)
            folder.mkdir()
            ours, least = await _both(folder, count, seconds, rounds)
            rows.append(_row(f"outbox, {count} machines", ours, least))
            rows.append(_row(f"sqlite3, {count} in a commit", least, least))
            if count == machines_of[-1]:
                cleaning = await _while_cleaning(folder / "outbox.db", count, seconds)
                rows.append(_row(f"outbox, {count} machines, cleaned meanwhile", cleaning, least))
    print(f"outbox: {rounds} rounds of {seconds:g} s, each result on the disk before the next; wait in milliseconds\n")
    print(table(["", "results/s", "of sqlite3's", "CPU us a result", "ratio", "wait, median", "p99", "longest"], rows))


async def _both(folder: Path, machines: int, seconds: float, rounds: int) -> tuple[Side, Side]:
    ours, least = Side(), Side()
    bare = Bare(folder / "bare.db", machines)
    with closing(bare), closing(Outbox(folder / "outbox.db")) as box:
        box.open()
        for _ in range(rounds):
            with least.round() as waits:
                await asyncio.to_thread(bare.work, seconds, waits)
            with ours.round() as waits:
                await _work(box, machines, seconds, waits)
    return ours, least


async def _work(box: Outbox, machines: int, seconds: float, waits: list[float]) -> None:
    """Keep results; how long each waited."""
    begun = time.perf_counter()

    async def one(machine: int) -> None:
        result, number = _result(machine), 0
        while (asked := time.perf_counter()) < begun + seconds:
            number += 1
            await box.append(result, Cursor(result.machine, number))
            waits.append(time.perf_counter() - asked)

    async with asyncio.TaskGroup() as tasks:
        for machine in range(machines):
            tasks.create_task(one(machine))


async def _while_cleaning(path: Path, machines: int, seconds: float) -> Side:
    """The same while everything that was kept so far is settled and past its time."""
    side = Side()
    with closing(Outbox(path)) as box:
        box.open()
        last = box.last_seq
        await box.settle(box.stream_id, [(1, last)])
        box.central_at = datetime.now(UTC)
        cleaning = asyncio.create_task(box.prune(0.0))
        with side.round() as waits:
            await _work(box, machines, seconds, waits)
        pruned = await cleaning
        assert pruned.aged >= min(last, 1), "nothing was cleaned away meanwhile"
    return side


class Bare:
    """sqlite3 alone. Blocks: for a thread of its own."""

    def __init__(self, path: Path, machines: int) -> None:
        self._database = outbox_file.connect(path)
        migrations.apply(Database(self._database))
        self._stream = streams.begin(self._database)
        self._bodies = [canonical(_result(machine)) for machine in range(machines)]
        self._seq = 0

    def work(self, seconds: float, waits: list[float]) -> None:
        """Keep results; how long each waited."""
        begun = time.perf_counter()
        while (asked := time.perf_counter()) < begun + seconds:
            self._commit()
            waits += [time.perf_counter() - asked] * len(self._bodies)

    def _commit(self) -> None:
        database, moment = self._database, MORNING.isoformat()
        database.execute("BEGIN")
        for machine, body in enumerate(self._bodies):
            self._seq += 1
            name = f"tester-{machine}"
            database.execute(
                "INSERT INTO records (stream, seq, machine, created_at, body, crc) VALUES (?, ?, ?, ?, ?, ?)",
                (self._stream.stream, self._seq, name, moment, body, 0),
            )
            database.execute(
                "INSERT INTO cursors (machine, key_type, cycle_key, epoch) VALUES (?, 'int', ?, 0) ON CONFLICT"
                " (machine) DO UPDATE SET cycle_key = excluded.cycle_key",
                (name, str(self._seq)),
            )
        database.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _result(machine: int) -> ProcessRecord:
    return record().model_copy(update={"machine": f"tester-{machine}"})


def _row(name: str, side: Side, least: Side) -> list[str]:
    wait = Spread.of(side.waits)
    return [
        name,
        f"{side.rate:.0f}",
        f"{side.rate / least.rate:.2f}",
        f"{side.cost * 1e6:.0f}",
        times(side.cost, least.cost),
        ms(wait.median),
        ms(wait.p99),
        ms(wait.largest),
    ]
