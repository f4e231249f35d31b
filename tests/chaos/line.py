"""A small line of real programs: machines, agents, a broker, ingestors, a database, and every cable between them."""

import asyncio
import contextlib
import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agent.settings import StationSettings, load
from tests.chaos.database import OutboxRow
from tests.chaos.history import Baseline, History
from tests.chaos.kept_running import KeptRunning
from tests.chaos.machines import Clock, Machine
from tests.chaos.mqtt_packets import is_publish, split
from tests.chaos.repeater import Repeater
from tests.chaos.small_disk import SmallDisk, can_mount
from tests.support.brokers import RunningBroker, iotcore_broker, mosquitto_broker
from tests.support.postgres import Cluster
from tests.support.relay import Relay

STATIONS = Path(__file__).parent / "stations"
SMALL_DISKS = ("P03-R", "P04-S")
"""Stations whose outbox is on a file system of its own, where we may mount one."""
READY_S = 300.0


@dataclass(frozen=True)
class Parts:
    """Which broker and database, and how many ingestors."""

    broker: str = "mosquitto"
    database: str = "postgresql"
    ingestors: int = 1


@dataclass(frozen=True)
class Tools:
    """What every station of a run is made with."""

    folder: Path
    seed: int
    history: History
    clock: Clock
    faketime: Path | None


class Station:
    """One agent with its machines, its clock and its own cable to the broker.

    ``copy`` is the number of the copied outbox it runs on; 0 is the original.
    """

    def __init__(self, file: Path, tools: Tools, copy: int = 0) -> None:
        settings = load(file)
        self.id = settings.station.id
        self.name = f"{self.id}-copy-{copy}" if copy else self.id
        settings = load(file, _apart(settings, tools.folder / self.name))
        self.state_dir = tools.folder / self.name
        self.clock_file = tools.folder / f"{self.name}.clock"
        self.set_clock(0)
        self.machines = {
            name: Machine(self.id, one, tools.folder, tools.seed, tools.history, tools.clock, copy)
            for name, one in settings.machines.items()
        }
        self.to_broker: Relay
        self.disk: SmallDisk | None = None
        self.file = file
        self.agent = KeptRunning(
            f"{self.name} agent",
            self._command,
            _fake_clock(tools.faketime, self.clock_file),
            tools.folder / f"{self.name}-agent.log",
        )

    def set_clock(self, offset_s: int) -> None:
        """How far the agent's clock is from the true one, from now on."""
        written = self.clock_file.with_suffix(".new")
        written.write_text(f"{offset_s:+d}\n", encoding="ascii")
        written.replace(self.clock_file)

    def _command(self) -> Sequence[str | Path]:
        settings = {"broker.url": f"mqtt://{self.to_broker.host}:{self.to_broker.port}", "state_dir": self.state_dir}
        for name, machine in self.machines.items():
            settings |= {f"machines.{name}.{key}": value for key, value in machine.reached_at.items()}
        command: list[str | Path] = [sys.executable, "-m", "agent", "run", self.file]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        return command

    async def is_running(self) -> None:
        """Return once the agent is at work, whether its machines are there or not."""
        await self.agent.process.line("station running", timeout_s=READY_S)

    async def is_ready(self) -> None:
        """Return once every machine is connected. Raises AssertionError with the agent's words."""
        for name in self.machines:
            await self.agent.process.json(partial(_connected, name), timeout_s=READY_S)

    def outbox(self) -> list[OutboxRow]:
        """Every row of it. The agent has ended."""
        with self._opened() as outbox:
            rows = outbox.execute(
                "SELECT stream_id, seq, body, settled_at IS NULL FROM records JOIN streams ON streams.id = stream"
                " ORDER BY stream, seq"
            )
            return [OutboxRow(self.id, stream, seq, bytes(body), bool(waits)) for stream, seq, body, waits in rows]

    def given_up(self) -> dict[str, int]:
        """Stream -> how many records central has are no longer here. The agent has ended."""
        with self._opened() as outbox:
            return dict(outbox.execute("SELECT stream_id, absent FROM streams WHERE absent > 0").fetchall())

    def baseline(self, machine: str) -> Baseline:
        """Where the outbox saw a machine's counter last. The agent has ended."""
        with self._opened() as outbox:
            query = "SELECT cycle_key, epoch FROM cursors WHERE machine = ?"
            row = outbox.execute(query, (machine,)).fetchone() or (0, 0)
            return Baseline(0, int(row[0]), int(row[1]))

    def _opened(self) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(sqlite3.connect(self.state_dir / "outbox.db"))


class Line:
    """All of it: ``start()``, then break it, then ``stop()``, whatever happened."""

    def __init__(self, folder: Path, parts: Parts, seed: int) -> None:
        self.folder = folder
        self.parts = parts
        self.clock = Clock()
        self.history = History()
        self.faketime = find_faketime()
        self._tools = Tools(folder, seed, self.history, self.clock, self.faketime)
        stations = [Station(file, self._tools) for file in sorted(STATIONS.glob("*.yaml"))]
        self.stations = {station.id: station for station in stations}
        self.copies: list[Station] = []
        self.machines = {one.name: one for station in stations for one in station.machines.values()}
        self.ingestors: dict[str, KeptRunning] = {}
        self.from_broker: dict[str, Relay] = {}
        self.cluster: Cluster | None = None
        self.database_url = ""
        self.broker: RunningBroker
        self.broker_ends: list[str] = []
        self.repeater: Repeater
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Start everything; returns when every agent has every machine."""
        self.broker = await self._stack.enter_async_context(
            iotcore_broker() if self.parts.broker == "iotcore" else mosquitto_broker(self.folder)
        )
        self.database_url = await asyncio.to_thread(self._start_database)
        await self._start_central()
        for station in self.stations.values():
            station.state_dir.mkdir()
            if station.id in SMALL_DISKS and can_mount():
                station.disk = SmallDisk(station.state_dir)
                station.disk.mount()
                self._stack.callback(station.disk.unmount)
            station.to_broker = await self._relay()
            await self._switch_on(station)
        self.repeater = Repeater("127.0.0.1", self.broker.port)
        self.repeater.start()
        self._stack.push_async_callback(self.repeater.stop)
        await asyncio.gather(*(station.is_ready() for station in self.stations.values()))

    async def stop(self) -> None:
        """End everything that still runs, and free what it holds. The outboxes stay in the folder."""
        for station in self.stations.values():
            if station.disk is not None:
                await station.agent.kill()
                station.disk.keep_content()
        await self._stack.aclose()

    def targets(self) -> Mapping[str, Sequence[str]]:
        """What faults can happen to, by the names the schedule uses."""
        return {
            "station": sorted(self.stations),
            "small disk": [name for name in SMALL_DISKS if can_mount()],
            "machine": sorted(self.machines),
            "networked machine": sorted(name for name, one in self.machines.items() if one.is_networked),
            "ingestor": sorted(self.ingestors),
            "broker": ["broker"],
            "database": ["database"] if self.cluster is not None else [],
        }

    async def copy(self, original: Station, *, as_image: bool) -> Station:
        """A second station of the same name, on a copy of the outbox as it is on the disk now, with its own machines.

        The original's agent is killed for it, and started again. ``as_image``: as an image of a whole disk, which does
        not know that it is a copy; both go on in one stream then, until central tells them.
        """
        station = Station(original.file, self._tools, copy=len(self.copies) + 1)
        self.copies.append(station)
        station.to_broker = await self._relay()
        await original.agent.is_running()
        await original.agent.kill()
        station.state_dir.mkdir()
        for file in original.state_dir.glob("outbox.db*"):
            await asyncio.to_thread(shutil.copy2, file, station.state_dir)
        if as_image:
            await asyncio.to_thread(_forget_the_copying, station.state_dir / "outbox.db")
        await original.agent.start()
        for name, machine in station.machines.items():
            machine.begin_at(station.baseline(name))
        await self._switch_on(station)
        return station

    async def _switch_on(self, station: Station) -> None:
        for machine in station.machines.values():
            await machine.start()
            self._stack.push_async_callback(machine.stop)
        await station.agent.start()
        self._stack.push_async_callback(station.agent.kill)

    def everything_kept_running(self) -> list[KeptRunning]:
        """Agents and ingestors."""
        agents = [station.agent for station in (*self.stations.values(), *self.copies)]
        return [*agents, *self.ingestors.values()]

    async def broker_runs(self) -> None:
        """Start a broker that ended by itself again. Call while nothing else breaks it."""
        process = self.broker.process
        if process.returncode is not None:
            said = next((line for line in reversed(process.output) if line.strip()), "nothing")
            self.broker_ends.append(f"the broker ended by itself with {process.returncode}: {said}")
            await self.broker.restart()

    async def _relay(self) -> Relay:
        relay = Relay("127.0.0.1", self.broker.port, split=split, may_be_overtaken=is_publish)
        return await self._stack.enter_async_context(relay)

    def _start_database(self) -> str:
        if self.parts.database == "sqlite":
            return f"sqlite:///{self.folder}/central.db"
        folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a unix socket's path is bounded
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        self.cluster = Cluster(folder)
        self._stack.callback(self.cluster.stop)
        self.cluster.start()
        self.cluster.run("CREATE DATABASE chaos")
        return self.cluster.url("chaos")

    async def _start_central(self) -> None:
        environment = {**os.environ, "DATABASE_URL": self.database_url}
        migrate = [sys.executable, "-m", "central", "migrate"]
        await asyncio.to_thread(subprocess.run, migrate, env=environment, check=True, capture_output=True)
        for number in range(1, self.parts.ingestors + 1):
            name = f"ingestor-{number}"
            relay = self.from_broker[name] = await self._relay()
            variables = {
                "DATABASE_URL": self.database_url,
                "BROKER_URL": f"mqtt://{relay.host}:{relay.port}",
                "AUDIT_ANCHOR_FILE": str(self.folder / "audit-anchors.jsonl"),
            }
            # Every other one tells stations what it holds ten numbers at a time, as if there were very many.
            module = "central" if number % 2 else "tests.chaos.central_in_small_pages"
            command = [sys.executable, "-m", module, "ingest"]
            if self.parts.ingestors > 1:
                command += ["--instance", name]
            ingestor = KeptRunning(name, partial(list[str | Path], command), variables, self.folder / f"{name}.log")
            self.ingestors[name] = ingestor
            await ingestor.start()
            self._stack.push_async_callback(ingestor.kill)


def _forget_the_copying(outbox: Path) -> None:
    """Let a copied outbox be where it was, as far as it knows: an image of a disk keeps the place of every file."""
    with contextlib.closing(sqlite3.connect(outbox)) as connection, connection:
        (place,) = connection.execute("SELECT value FROM notes WHERE name = 'place'").fetchone()
        here = f"{place.partition(':')[0]}:{outbox.stat().st_ino}"
        connection.execute("UPDATE notes SET value = ? WHERE name = 'place'", (here,))


def find_faketime() -> Path | None:
    """The library that gives a process another clock (Debian's package faketime), or None."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def _fake_clock(library: Path | None, file: Path) -> dict[str, str]:
    if library is None:
        return {}
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


_places = itertools.count(20001)


def _apart(settings: StationSettings, folder: Path) -> list[str]:
    """An address of its own for every machine of the run: simulators of one address are machines on one line.

    Where each listens in the end it chooses itself, and says when it is started.
    """
    overrides = []
    for name, machine in settings.machines.items():
        connect = machine.protocol_settings.model_dump()["connect"]
        if machine.protocol == "opcua":
            overrides.append(f"machines.{name}.connect.url=opc.tcp://127.0.0.1:{next(_places)}")
        elif connect.get("transport") == "tcp":
            overrides.append(f"machines.{name}.connect.port={next(_places)}")
        else:
            overrides.append(f"machines.{name}.connect.port={folder}.{name}")
    return overrides


def _connected(machine: str, told: Mapping[str, Any]) -> bool:
    return told.get("event") == "machine connected" and told.get("machine") == machine
