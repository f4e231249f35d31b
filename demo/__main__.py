"""``python -m demo``: the eight-process line on one machine, from the machines to the database.

Everything it starts can be started by hand; the commands are printed with --keep.
"""

import asyncio
import os
import shlex
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from central.store import Store
from demo.children import Child, cancelled, keep_running
from demo.line import STATIONS, Made, Station, move
from demo.reconcile import Reconciliation, reconcile
from demo.scenario import units_of_today

CONFIG = Path(__file__).resolve().parent.parent / "config" / "stations"
SETTLE_TIMEOUT_S = 60.0


def main(
    units: Annotated[int, typer.Option(help="Units that go through the line.", min=1)] = 20,
    seconds: Annotated[
        float | None, typer.Option(help="Start no more units after this time; default: until all are through.")
    ] = None,
    postgres: Annotated[
        str | None, typer.Option(help="A PostgreSQL URL instead of SQLite (an empty database).")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="The URL of a running MQTT 5 broker.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running at the end, and print where everything is.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Makes the same values again.")] = 1,
) -> None:
    """Run the line and reconcile. Exit code 0 when nothing is lost, doubled or misjudged; else 1."""
    demo = Demo(units, seconds, postgres, broker, keep, seed)
    try:
        right = asyncio.run(demo.run())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    raise typer.Exit(0 if right else 1)


class Demo:
    """One run of the line."""

    def __init__(
        self, units: int, seconds: float | None, postgres: str | None, broker: str | None, keep: bool, seed: int
    ) -> None:
        self._units = units_of_today(units, datetime.now(UTC).date(), seed)
        self._seconds = seconds
        self._broker_url = broker
        self._keep = keep
        self._folder = Path(tempfile.mkdtemp(prefix="neurohub-demo-"))
        self._database_url = postgres or f"sqlite:///{self._folder / 'central.db'}"
        self._children: list[Child] = []
        self._watching: list[asyncio.Task[None]] = []
        self._made: list[Made] = []
        self._finished = 0
        self._started_at = time.monotonic()

    async def run(self) -> bool:
        """Start everything, move the units, reconcile, stop everything."""
        line: dict[str, Station] = {}
        store = Store(self._database_url)
        try:
            say(f"logs and data: {self._folder}")
            if self._broker_url is None:
                broker = await self._start(Child("broker", ["demo.broker"], self._folder / "broker.log"))
                self._broker_url = str((await broker.first_line())["url"])
            environment = {**os.environ, "DATABASE_URL": self._database_url, "BROKER_URL": self._broker_url}
            migrating = Child("migrate", ["central", "migrate"], self._folder / "central.log", environment=environment)
            await migrating.start()
            if await migrating.ended() != 0:
                say(f"the database could not be set up; see {self._folder / 'central.log'}")
                return False
            central = Child("central", ["central", "run"], self._folder / "central.log", environment=environment)
            self._watch(await self._start(central))
            line = {
                name: Station(name, CONFIG, self._folder, self._broker_url)
                for names in STATIONS.values()
                for name in names
            }
            await asyncio.gather(*(station.start_machines() for station in line.values()))
            for station in line.values():
                self._children.append(station.machines)
                assert station.agent is not None
                self._watch(await self._start(station.agent))
            say(f"{len(line)} stations, broker {self._broker_url}, pids: {self._pids()}")
            await self._move_all(line)
            await self._settled(store)
            if self._keep:
                await self._wait_for_interrupt()
            await cancelled(self._watching)
            for child in reversed(self._children):
                await child.stop()
            result = reconcile(self._made, [station.state_dir / "outbox.db" for station in line.values()], store)
            self._report(result)
            return result.right
        finally:
            await cancelled(self._watching)
            for child in reversed(self._children):
                await child.stop()
            store.close()

    async def _start(self, child: Child) -> Child:
        await child.start()
        self._children.append(child)
        return child

    def _watch(self, child: Child) -> None:
        async def died(dead: Child, code: int) -> None:
            say(f"{dead.name} ended with {code}; started again")

        self._watching.append(asyncio.create_task(keep_running(child, died)))

    async def _move_all(self, line: dict[str, Station]) -> None:
        progress = asyncio.create_task(self._progress())
        begun = time.monotonic()
        try:
            async with asyncio.TaskGroup() as moving:
                for turn, unit in enumerate(self._units):
                    if self._seconds is not None and time.monotonic() - begun > self._seconds:
                        break
                    moving.create_task(move(unit, line, self._made, turn)).add_done_callback(self._one_finished)
                    if self._seconds is not None:
                        await asyncio.sleep(self._seconds / len(self._units))
        finally:
            await cancelled([progress])

    def _one_finished(self, _task: "asyncio.Task[None]") -> None:
        self._finished += 1

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            seconds = time.monotonic() - self._started_at
            say(f"{seconds:5.0f} s   units finished {self._finished}/{len(self._units)}   cycles {len(self._made)}")

    async def _settled(self, store: Store) -> None:
        """Until central has committed what the machines made, or time is up."""
        until = time.monotonic() + SETTLE_TIMEOUT_S
        while (await asyncio.to_thread(store.counts)).records < len(self._made) and time.monotonic() < until:
            await asyncio.sleep(0.2)

    async def _wait_for_interrupt(self) -> None:
        say("\nrunning; end with Ctrl-C. The commands, to start each by hand:")
        for child in self._children:
            say("  " + shlex.join(child.arguments))
        say(f"database: {self._database_url if '@' not in self._database_url else 'as given'}")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    def _pids(self) -> str:
        return ", ".join(f"{child.name} {child.pid}" for child in self._children)

    def _report(self, result: Reconciliation) -> None:
        for item in result.lost:
            say(f"LOST       {item}")
        for item in result.doubled:
            say(f"DOUBLED    {item}")
        for item, outcome in result.misjudged:
            say(f"MISJUDGED  {item}: {outcome}")
        took = time.monotonic() - self._started_at
        say(f"time {took:.1f} s, restarts {sum(child.deaths for child in self._children)}")
        say(
            f"machine cycles {result.cycles}, outbox rows {result.outbox_rows}, "
            f"committed rows {result.committed_rows}, quarantined {result.quarantined}"
        )
        say(
            f"units {self._finished}, cycles {result.cycles}, lost {len(result.lost)}, "
            f"doubled {len(result.doubled)}, misjudged {len(result.misjudged)}"
        )


def say(line: str) -> None:
    """A line for the person who watches, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)
