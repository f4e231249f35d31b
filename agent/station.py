"""The composition root: the only place that builds the agent's objects, and the order they start and stop in."""

import asyncio
import signal
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from sdnotify import SystemdNotifier

from agent.clock import CentralClock
from agent.control import Control
from agent.conversation import CLOCK_NOTE
from agent.criteria import StationCriteria
from agent.dialogue.driver import DialogueDriver
from agent.disk import DISK_RETRY_S, within
from agent.history import History
from agent.interlock import Interlock
from agent.machines import Machines, ended
from agent.outbox import Outbox
from agent.reload import Reloading, Source
from agent.results import Results
from agent.scans import scans_of
from agent.settings import MachineSettings, StationSettings
from agent.settings.dialogues import tools_of
from agent.status import StationStatus
from agent.supervisor import Supervisor
from agent.uplink import Uplink
from contracts.errors import SetupError, StoreError
from drivers.base import Driver
from drivers.registry import protocols
from messaging.watchdog import feed_watchdog

if TYPE_CHECKING:
    from agent.central_api import CentralHttp

log = structlog.get_logger()

PRUNE_EVERY_S = 60.0


async def run_station(settings: StationSettings, source: Source) -> None:
    """Run the station until SIGTERM or SIGINT: what is in hand is finished, nothing is lost. ``source`` reads its file
    anew, for SIGHUP and ``neurohub-agent reload``.

    Raises SetupError where the station cannot run at all (outbox unusable, password file unreadable).
    """
    for warning in settings.warnings:
        log.warning("settings likely to be regretted", warning=str(warning))
    software = f"neurohub-edge {version('neurohub-edge')}"
    addresses = settings.broker.addresses(_password(settings))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    wanted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wanted.set)
    outbox = Outbox(settings.state_dir / "outbox.db", settings.outbox.limits())
    if not await _opened(outbox, stop):
        return
    try:
        clock = CentralClock()
        clock.recall(await outbox.note(CLOCK_NOTE))
        http = _central_http(settings)
        interlock = Interlock(settings, outbox, http)
        await interlock.open()
        criteria = StationCriteria(settings, clock)
        criteria.recall()
        uplink = Uplink(settings, addresses, outbox, software, clock, interlock, criteria)
        history = History(settings.state_dir)
        results = Results(history)
        parts = _Parts(criteria, outbox, uplink, software, clock, interlock, results)
        pressed = asyncio.Event()

        def heard() -> None:
            uplink.wake()
            pressed.set()

        outbox.heard = heard
        async with asyncio.TaskGroup() as tasks:
            machines = Machines(settings, parts.supervisors, tasks)
            reloading = Reloading(settings, source, machines, criteria)
            control = Control(StationStatus(machines, outbox, uplink, reloading, results, software), reloading, results)
            async with control.opened(settings.state_dir):
                machines.start()
                delivery = tasks.create_task(uplink.run())
                background = [
                    tasks.create_task(feed_watchdog(SystemdNotifier(), outbox.turn)),
                    tasks.create_task(interlock.run()),
                    tasks.create_task(_prune(outbox, settings.retention, pressed)),
                    tasks.create_task(history.run()),
                    tasks.create_task(_reload_when(wanted, reloading)),
                ]
                if http is not None:
                    background.insert(0, tasks.create_task(http.run()))
                log.info("station running", station=settings.station.id, machines=sorted(machines.supervisors))
                await stop.wait()
                log.info("station stopping")
                background.pop().cancel()
            await machines.stop()
            uplink.stop()
            await ended({"uplink": delivery})
            for task in background:
                task.cancel()
            await history.write()
    finally:
        outbox.close()
    log.info("station stopped")


async def _reload_when(wanted: asyncio.Event, reloading: Reloading) -> None:
    """With each SIGHUP."""
    while True:
        await wanted.wait()
        wanted.clear()
        await reloading.reload()


async def _opened(outbox: Outbox, stop: asyncio.Event) -> bool:
    """Open the outbox, as soon as the disk lets us. False when the station was stopped first. Raises SetupError."""
    told = ""
    while not stop.is_set():
        try:
            outbox.open()
        except StoreError as error:
            if told != str(error):
                log.error("outbox cannot be opened, machines are not acknowledged", error=str(error))
                told = str(error)
            await within(DISK_RETRY_S, stop)
        else:
            return True
    return False


@dataclass(frozen=True)
class _Parts:
    """What every machine's supervisor is built with."""

    criteria: StationCriteria
    outbox: Outbox
    uplink: Uplink
    software: str
    clock: CentralClock
    interlock: Interlock
    results: Results

    def supervisors(self, settings: StationSettings, names: Collection[str]) -> Mapping[str, Supervisor]:
        """Those of these machines; all that a machine holds on to are among them."""
        machines = {name: settings.machines[name] for name in names}
        built: dict[str, Supervisor] = {}
        scans = scans_of(machines, self.clock)
        drivers = _drivers(machines, self.outbox)
        tools = {
            tool: driver
            for name, driver in drivers.items()
            if isinstance(driver, DialogueDriver)
            for tool in tools_of({name: machines[name]})
        }
        # Companions first: whoever works for another has none of its own.
        for name, machine in sorted(machines.items(), key=lambda item: bool(item[1].companions)):
            companions = {wanted.machine: built[wanted.machine].companion for wanted in machine.companions}
            built[name] = Supervisor(
                machine,
                settings,
                self.criteria,
                drivers[name],
                self.outbox,
                self.software,
                companions,
                kept=self.uplink.wake,
                clock=self.clock,
                scans=scans.get(name),
                interlock=self.interlock,
                dialogue=tools.get(name),
                results=self.results,
            )
        return built


def _drivers(machines: Mapping[str, MachineSettings], outbox: Outbox) -> Mapping[str, Driver]:
    """The driver of each machine; around that of a scanner with a dialogue, the dialogue."""
    folders = protocols()
    found: dict[str, Driver] = {}
    for name, machine in machines.items():
        driver = folders[machine.protocol].driver(name, machine.wire)
        if machine.dialogue is not None:
            driver = DialogueDriver(name, machine.dialogue, machine.serial_form, driver, outbox)
        found[name] = driver
    return found


def _password(settings: StationSettings) -> str | None:
    given, path = settings.broker.password, settings.broker.password_file
    if given is not None:
        return given.get_secret_value()
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"broker.password_file {path} cannot be read: {error}") from error


def _central_http(settings: StationSettings) -> "CentralHttp | None":
    if settings.interlock.http is None or not any(
        machine.protocol_settings.asking() is not None for machine in settings.machines.values()
    ):
        return None
    from agent.central_api import CentralHttp  # noqa: PLC0415  # httpx costs memory

    return CentralHttp(settings.interlock.http)


async def _prune(outbox: Outbox, retention_s: float, pressed: asyncio.Event) -> None:
    """Delete what is past its time; at once, and before its time, when the outbox is pressed for room."""
    while True:
        pressed.clear()
        try:
            pruned = await outbox.prune(retention_s)
        except StoreError as error:
            log.warning("outbox not pruned", error=str(error))
        else:
            if pruned.aged:
                log.info("settled records past retention deleted", records=pruned.aged)
            if pruned.early:
                log.error(
                    "settled records deleted before their time, for want of room: central can no longer be rebuilt "
                    "from them",
                    records=pruned.early,
                )
        await within(PRUNE_EVERY_S, pressed)
