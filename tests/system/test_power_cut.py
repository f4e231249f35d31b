"""Power cuts, kills and failing disks at every moment of a real agent's life: what was acknowledged is kept.

The agent's writes, syncs and sends are written down in their order (tests/support/disklog.py); the disk is made again
as a cut at that moment leaves it, and opened. A SIGKILL at an instruction leaves what a kill between two of these
operations leaves: nothing else that a process does outlives it.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.outbox import Outbox
from agent.settings import load
from central.ingestor import Ingestor
from central.store import Store
from drivers.base import Simulator
from drivers.registry import protocols
from messaging.broker import BrokerAddress
from tests.support.agents import CONFIG, addresses, kept
from tests.support.brokers import iotcore_broker
from tests.support.disklog import Disk, DiskLog, Entry
from tests.support.processes import Process

FILE = CONFIG / "P03-A.yaml"
CYCLES = 40
ACKNOWLEDGED_IN = 50
"""The register a tester waits for."""
NO_BROKER = "broker.url=mqtt://127.0.0.1:1"
_WITH = "import agent.outbox.file as file; file.SYNCHRONOUS = {!r}; from agent.cli import app; app()"


@dataclass(frozen=True)
class Cut:
    """Where a life was cut, and how."""

    at: int
    how: str


@asynccontextmanager
async def sensor_tester() -> AsyncIterator[tuple[Simulator, list[str]]]:
    simulator = protocols()["modbus"].simulator("tester", load(FILE).machines["tester"].protocol_settings)
    overrides = [*addresses("tester", await simulator.start()), "machines.tester.trigger.poll=10ms"]
    try:
        yield simulator, overrides
    finally:
        await simulator.stop()


def agent(log: DiskLog, overrides: Sequence[str], *, synchronous: str = "FULL") -> Process:
    """An agent whose every write is written down. Its -wal begins anew often, so that the file is written too."""
    file = log.folder.with_name("P03-A.yaml")
    file.write_text(f"{FILE.read_text(encoding='utf-8')}\noutbox: {{reserve: 200kB}}\n", encoding="utf-8")
    settings = [f"state_dir={log.folder}", *overrides]
    words = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-c", _WITH.format(synchronous), "run", str(file), *words]
    return Process(command, env={**log.environment(), "COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""})


async def cycles(simulator: Simulator, numbers: range) -> None:
    """Results, each acknowledged before the next is made."""
    for number in numbers:
        values = {
            "result_counter": number,
            "serial_number": f"WF-KR-261123D-001-{number:04d}",
            "temperature": 60.5,
            "tof_i2c": True,
            "judgement": 1,
        }
        await asyncio.wait_for(simulator.cycle(values, number), 20)


def acknowledged(entry: Entry) -> int | None:
    """The cycle that is acknowledged by what is sent here (Modbus TCP: write single or multiple registers)."""
    frame = entry.data
    if entry.operation != "N" or len(frame) < 12 or frame[7] not in (6, 16):
        return None
    return int.from_bytes(frame[-2:], "big") if int.from_bytes(frame[8:10], "big") == ACKNOWLEDGED_IN else None


def cuts(entries: Sequence[Entry], chance: random.Random, count: int) -> Iterator[tuple[Cut, Mapping[str, bytes], int]]:
    """The life cut at each acknowledgement, as it is on its way, and at moments by chance; and what it had
    acknowledged by then."""
    others = set(chance.sample(range(len(entries)), min(count, len(entries))))
    disk = Disk()
    last = 0
    for at, entry in enumerate(entries):
        number = acknowledged(entry)
        last = number or last
        if number is not None:
            yield Cut(at, "nothing unsynced is left"), disk.cut(), last
        if number is not None or at in others:
            yield Cut(at, "some unsynced is left"), disk.cut(chance), last
            yield Cut(at, "killed"), disk.kill(), last
        disk.apply(entry)


def lives_on(left: Mapping[str, bytes], folder: Path) -> list[int] | None:
    """Open what is left; the cycles that are in it, or None when it was found damaged."""
    folder.mkdir()
    for name, content in left.items():
        if name.endswith((".db", "-wal", "-journal", ".new")):
            (folder / Path(name).name).write_bytes(content)
    with closing(Outbox(folder / "outbox.db")) as box:
        box.open()
        if box.troubles():
            return None
    return [record["cycle_key"] for record in kept(folder)]


def lost(entries: Sequence[Entry], folder: Path, *, count: int = 0, seed: int = 1) -> list[tuple[Cut, str]]:
    """Every cut after which something acknowledged is missing, something is there twice, or the file is damaged.

    How many there were is printed: ``pytest -rP`` shows it.
    """
    found = []
    checked = number = 0
    for number, (cut, left, last) in enumerate(cuts(entries, random.Random(seed), count), start=1):
        checked += last
        keys = lives_on(left, folder / str(number))
        if keys is None:
            found.append((cut, "damaged"))
        elif keys != list(range(1, len(keys) + 1)) or len(keys) < last:
            found.append((cut, f"{last} acknowledged, {keys} kept"))
    print(f"cuts {number}, acknowledged cycles looked for {checked}, cuts with something wrong {len(found)}")
    return found


async def test_what_is_acknowledged_survives_a_power_cut_and_a_kill_at_any_moment(tmp_path: Path) -> None:
    log = DiskLog(tmp_path / "state", tmp_path / "log")
    store = Store(f"sqlite:///{tmp_path / 'central.db'}")
    store.migrate()
    async with AsyncExitStack() as stack:
        stack.callback(store.close)
        # Central settles what it has: that, too, is written between the results.
        broker = await stack.enter_async_context(iotcore_broker())
        ingestor = Ingestor(store, BrokerAddress("127.0.0.1", broker.port))
        ingesting = asyncio.create_task(ingestor.run())
        stack.push_async_callback(asyncio.wait, [ingesting])
        stack.callback(ingestor.stop)
        simulator, overrides = await stack.enter_async_context(sensor_tester())
        async with agent(log, [*overrides, f"broker.url={broker.url}"]) as process:
            await cycles(simulator, range(1, CYCLES + 1))
            await process.kill()
    entries = log.entries()
    assert [number for number in map(acknowledged, entries) if number] == list(range(1, CYCLES + 1))
    assert sum(entry.operation == "W" and entry.path.endswith(".db") for entry in entries) > CYCLES, "checkpoints"
    assert not lost(entries, tmp_path, count=60)


@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
async def test_with_less_than_full_synchronous_it_would_be_lost(tmp_path: Path, synchronous: str) -> None:
    log = DiskLog(tmp_path / "state", tmp_path / "log")
    async with (
        sensor_tester() as (simulator, overrides),
        agent(log, [*overrides, NO_BROKER], synchronous=synchronous) as process,
    ):
        await cycles(simulator, range(1, 11))
        await process.kill()
    found = lost(log.entries(), tmp_path)
    assert any(cut.how == "nothing unsynced is left" for cut, _ in found), "the test sees nothing"
    assert not [cut for cut, _ in found if cut.how == "killed"], "a kill alone loses nothing"


async def test_a_disk_that_cannot_sync_is_believed_and_nothing_it_may_have_dropped_is_acknowledged(
    tmp_path: Path,
) -> None:
    log = DiskLog(tmp_path / "state", tmp_path / "log")
    async with (
        sensor_tester() as (simulator, overrides),
        agent(log, [*overrides, NO_BROKER]) as process,
    ):
        for first, what in ((1, "sync"), (7, "write"), (13, "sync")):
            await cycles(simulator, range(first, first + 5))
            said = len(process.output)
            log.refuse(what, True)
            waiting = asyncio.create_task(cycles(simulator, range(first + 5, first + 6)))
            await process.line("disk refuses, machine not acknowledged", since=said)
            done, _ = await asyncio.wait({waiting}, timeout=1.5)
            assert not done, "acknowledged, and on no disk"
            log.refuse(what, False)
            await waiting
            await process.line("disk keeps results again", since=said)
            assert process.returncode is None
        await cycles(simulator, range(19, 24))
        await process.kill()
    entries = log.entries()
    assert sum(entry.operation == "E" for entry in entries) >= 2
    assert not lost(entries, tmp_path, count=40)
