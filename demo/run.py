"""One run of the line: start everything, move the units, reconcile, stop everything."""

import asyncio
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from central.store import Counts, Store
from contracts.errors import LinkError, NeuroHubError, SetupError
from contracts.identity import lot_of_serial
from demo.children import Child, ChildError, cancelled, keep_running
from demo.line import STATIONS, LineError, Made, Station, move
from demo.progress import Progress
from demo.reconcile import Reconciliation, reconcile
from demo.refusals import open_lot, refuse_for_every_cause
from demo.scenario import LARGEST_LOT, LAST_LOT, Unit, units_of_today
from messaging.broker import BrokerAddress, parse_broker_url
from messaging.session import Session

CONFIG = Path(__file__).resolve().parent.parent / "config" / "stations"
SETTLE_TIMEOUT_S = 60.0
HEARD_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    units: int
    seconds: float | None
    postgres: str | None
    broker: str | None
    keep: bool
    seed: int
    refusals: bool = False


class Demo:
    """The broker, central and the stations as child processes, and the units between them."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._begun_at = datetime.now(UTC)
        self._folder = Path(tempfile.mkdtemp(prefix="neurohub-demo-"))
        self._database_url = options.postgres or f"sqlite:///{self._folder / 'central.db'}"
        self._broker_url = ""
        self._children: list[Child] = []
        self._watching: list[asyncio.Task[None]] = []
        self._started: list[Unit] = []
        self._made: list[Made] = []
        self._progress = Progress(self._made, options.units)
        self._say = self._progress.say

    async def run(self) -> bool:
        """True when every figure agrees. What went wrong is said; logs and data stay when something did."""
        right = False
        try:
            right = await self._run()
        except* (NeuroHubError, ChildError) as group:
            for error in group.exceptions:
                self._say(f"the demo ends: {error}")
        finally:
            await self._stop_all()
            if right and not self._options.keep:
                shutil.rmtree(self._folder, ignore_errors=True)
            else:
                self._say(f"logs and data: {self._folder}")
        return right

    async def _run(self) -> bool:
        if self._options.broker is not None:
            await _reached(self._options.broker)
        store = Store(self._database_url)
        try:
            self._broker_url = self._options.broker or await self._start_broker()
            await self._start_central(store.database.shown)
            before = store.counts()
            units = self._new_units(store)
            for lot_number in sorted({lot for unit in units for lot in _lots_of(unit)}):
                open_lot(store, lot_number)
            line = await self._start_stations(self._broker_url)
            await self._move_all(units, line, store, before)
            refused = await self._refuse_all(line, store, before) if self._options.refusals else True
            if self._options.keep:
                await self._wait_for_interrupt(store.database.shown)
            await self._stop_all()
            outboxes = [station.outbox for station in line.values()]
            answers = [answer for station in line.values() for answer in station.answers]
            result = reconcile(self._started, self._made, outboxes, store, before, answers)
        finally:
            store.close()
        self._report(result, store.database.shown)
        return result.right and refused

    async def _refuse_all(self, line: dict[str, Station], store: Store, before: Counts) -> bool:
        """One unit refused for each cause. False when one was not."""
        try:
            for code, answer in await refuse_for_every_cause(line, store, self._made):
                self._say(f"refused {code:<31} {answer.station} {answer.serial_number}")
        except LineError as error:
            self._say(f"the line stands: {error}")
            return False
        async with asyncio.timeout(SETTLE_TIMEOUT_S):
            while self._progress.committed < len(self._made):
                await asyncio.sleep(0.2)
                await self._count(store, before)
        return True

    # -- processes ---------------------------------------------------------------------------------------------------

    async def _start_broker(self) -> str:
        broker = await self._start(Child("broker", ["demo.broker", "--port", "0"], self._folder / "broker.log"))
        return str((await broker.first_line())["url"])

    async def _start_central(self, database: str) -> None:
        log = self._folder / "central.log"
        environment = {
            **os.environ,
            "DATABASE_URL": self._database_url,
            "BROKER_URL": self._broker_url,
            "AUDIT_ANCHOR_FILE": str(self._folder / "audit-anchors.jsonl"),
        }
        migrating = Child("central migrate", ["central", "migrate"], log, environment=environment)
        await migrating.start()
        if await migrating.ended() != 0:
            raise ChildError(f"the database {database} could not be set up.\n{migrating.last_words()}")
        self._watch(await self._start(Child("central", ["central", "ingest"], log, environment=environment)))
        permits = Child("permits", ["central", "permits"], self._folder / "permits.log", environment=environment)
        self._watch(await self._start(permits))

    async def _start_stations(self, broker_url: str) -> dict[str, Station]:
        names = [name for names in STATIONS.values() for name in names]
        line = {name: Station(name, CONFIG, self._folder, broker_url) for name in names}
        await asyncio.gather(*(station.start_machines() for station in line.values()))
        for station in line.values():
            self._children.append(station.machines)
            assert station.agent is not None
            self._watch(await self._start(station.agent))
        pids = ", ".join(f"{child.name} {child.pid}" for child in self._children)
        self._say(f"{len(line)} stations, broker {broker_url}, pids: {pids}")
        return line

    async def _start(self, child: Child) -> Child:
        await child.start()
        self._children.append(child)
        return child

    def _watch(self, child: Child) -> None:
        async def died(dead: Child, code: int) -> None:
            self._say(f"{dead.name} ended with {code}; started again\n{dead.last_words(1)}")

        self._watching.append(asyncio.create_task(keep_running(child, died)))

    async def _stop_all(self) -> None:
        await cancelled(self._watching)
        self._watching.clear()
        for child in reversed(self._children):
            await child.stop()

    def _last_words(self) -> str:
        return "\n".join(f"{child.name}:\n{child.last_words(2)}" for child in self._children if child.log.exists())

    # -- units -------------------------------------------------------------------------------------------------------

    def _new_units(self, store: Store) -> list[Unit]:
        """Units the database does not know, in the next free LOTs of today: an earlier run's are not told apart."""
        today = datetime.now(UTC).date()
        lots = -(-self._options.units // LARGEST_LOT)
        for first_lot in range(1, LAST_LOT - lots + 2):
            units = units_of_today(self._options.units, today, self._options.seed, first_lot)
            if not store.units(unit.serial_number for unit in units):
                return units
        raise SetupError(f"no LOT numbers of today are left for {self._options.units} units: use a new database")

    async def _all_heard_of(self, names: Collection[str], store: Store) -> None:
        """Until central has heard of every station, which then knows central's time. Raises ChildError."""
        deaf = set(names)
        try:
            async with asyncio.timeout(HEARD_TIMEOUT_S):
                while deaf:
                    await asyncio.sleep(0.1)
                    for stream in await asyncio.to_thread(store.streams):
                        if stream.present and stream.born_at is not None and stream.born_at >= self._begun_at:
                            deaf.discard(stream.station)
        except TimeoutError:
            raise ChildError(
                f"central has not heard of {', '.join(sorted(deaf))} through the broker within "
                f"{HEARD_TIMEOUT_S:.0f} s.\n{self._last_words()}"
            ) from None

    async def _move_all(self, units: Sequence[Unit], line: dict[str, Station], store: Store, before: Counts) -> None:
        """Until every unit is through and central has committed what the machines made, or time is up."""
        showing = asyncio.create_task(self._keep_showing(store, before))
        try:
            with self._progress.shown():
                await self._all_heard_of(line, store)
                try:
                    await self._start_units(units, line)
                except* LineError as group:
                    for error in group.exceptions:
                        self._say(f"the line stands: {error}")
                async with asyncio.timeout(SETTLE_TIMEOUT_S):
                    while self._progress.committed < len(self._made):
                        await asyncio.sleep(0.2)
                        await self._count(store, before)
        except TimeoutError:
            self._say(f"central has not committed everything within {SETTLE_TIMEOUT_S:.0f} s.\n{self._last_words()}")
        finally:
            await cancelled([showing])

    async def _start_units(self, units: Sequence[Unit], line: dict[str, Station]) -> None:
        seconds = self._options.seconds
        begun = self._progress.seconds
        async with asyncio.TaskGroup() as moving:
            for turn, unit in enumerate(units):
                if seconds is not None and self._progress.seconds - begun > seconds:
                    break
                self._started.append(unit)
                moving.create_task(move(self._started, turn, line, self._made)).add_done_callback(self._one_finished)
                if seconds is not None:
                    await asyncio.sleep(seconds / len(units))

    def _one_finished(self, moved: "asyncio.Task[None]") -> None:
        if not moved.cancelled() and moved.exception() is None:
            self._progress.finished += 1

    async def _keep_showing(self, store: Store, before: Counts) -> None:
        while True:
            await asyncio.sleep(1.0)
            await self._count(store, before)
            self._progress.tick()

    async def _count(self, store: Store, before: Counts) -> None:
        self._progress.committed = (await asyncio.to_thread(store.counts)).records - before.records

    async def _wait_for_interrupt(self, database: str) -> None:
        self._say("\nrunning; end with Ctrl-C, and it is reconciled. The commands, to start each by hand:")
        central = f"DATABASE_URL={shlex.quote(database)} BROKER_URL={self._broker_url} "
        for child in self._children:
            words = list(child.arguments)
            if child.name == "broker":
                words[-1] = str(parse_broker_url(self._broker_url)[1])
            self._say("  " + (central if child.name in ("central", "permits") else "") + shlex.join(words))
        self._say(f"logs and data: {self._folder}")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    # -- the end -----------------------------------------------------------------------------------------------------

    def _report(self, result: Reconciliation, database: str) -> None:
        _each(self._say, "LOST", result.lost)
        _each(self._say, "DOUBLED", result.doubled)
        _each(self._say, "NO PERMIT", result.without_permit)
        _each(self._say, "MISJUDGED", [f"{made}: {outcome}" for made, outcome in result.misjudged])
        _each(self._say, "MISPLACED", [f"{made}: stands under {place}" for made, place in result.misplaced])
        _each(self._say, "UNFINISHED", result.unfinished)
        _each(self._say, "ASTRAY", [f"{unit.serial_number}, {unit.fate}: {why}" for unit, why in result.astray])
        if result.quarantined:
            kept = f"{result.quarantined} that central could not take, and so the run fails; they are told by:"
            see = f"DATABASE_URL={shlex.quote(database)} neurohub-central quarantine list"
            _each(self._say, "QUARANTINED", [f"{kept} {see}"])
        self._say(f"time {self._progress.seconds:.1f} s, restarts {sum(child.deaths for child in self._children)}")
        self._say(
            f"machine cycles {result.cycles}, outbox rows {result.outbox_rows}, "
            f"committed rows {result.committed_rows}, quarantined {result.quarantined}"
        )
        self._say(
            f"units started {result.units}, finished {result.finished}, under another unit or process "
            f"{len(result.misplaced)}, in another state than they should be {len(result.astray)}"
        )
        self._say(
            f"answers at machines {result.answers}, outbox permits {result.outbox_permits}, "
            f"committed permits {result.committed_permits}, refused {result.refused}, "
            f"results without a permit {len(result.without_permit)}"
        )
        self._say(
            f"units {result.finished}, cycles {result.cycles}, lost {len(result.lost)}, "
            f"doubled {len(result.doubled)}, misjudged {len(result.misjudged)}"
        )


async def _reached(broker_url: str) -> None:
    """Raises SetupError where that is no broker's URL, or no MQTT 5 broker answers there."""
    try:
        session = Session(BrokerAddress(*parse_broker_url(broker_url)), client_id="neurohub-demo")
        await session.open([])
        await session.close()
    except (ValueError, LinkError) as error:  # the URL as it was typed may hold a password
        raise SetupError(f"--broker: {error}") from error


def _lots_of(unit: Unit) -> Iterator[str]:
    """The LOT its number is made of."""
    inside = lot_of_serial(unit.serial_number)
    if inside is not None:
        yield inside[0]


def _each(say: Callable[[str], None], what: str, items: Sequence[object]) -> None:
    for item in items:
        say(f"{what:<10}  {item}")
