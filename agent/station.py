"""The composition root: the only place that builds the agent's objects, and the order they start and stop in."""

import asyncio
import signal
from collections.abc import Mapping
from importlib.metadata import version

import structlog
from sdnotify import SystemdNotifier

from agent.clock import CentralClock
from agent.conversation import CLOCK_NOTE
from agent.criteria import StationCriteria
from agent.dialogue.driver import DialogueDriver
from agent.disk import DISK_RETRY_S, within
from agent.interlock import Interlock
from agent.outbox import Outbox
from agent.scans import scans_of
from agent.settings import StationSettings
from agent.settings.dialogues import tools_of
from agent.supervisor import Supervisor
from agent.uplink import Uplink
from contracts.errors import SetupError, StoreError
from drivers.base import Driver
from drivers.registry import protocols
from messaging.watchdog import feed_watchdog

log = structlog.get_logger()

PRUNE_EVERY_S = 60.0
FINISH_S = 5.0
"""What a machine has in hand at SIGTERM may take this long; a link to nowhere does not hold the station longer."""


async def run_station(settings: StationSettings) -> None:
    """Run the station until SIGTERM or SIGINT: what is in hand is finished, nothing is lost.

    Raises SetupError where the station cannot run at all (outbox unusable, password file unreadable).
    """
    for warning in settings.warnings:
        log.warning("settings likely to be regretted", warning=str(warning))
    software = f"neurohub-edge {version('neurohub-edge')}"
    addresses = settings.broker.addresses(_password(settings))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    outbox = Outbox(settings.state_dir / "outbox.db", settings.outbox.limits())
    if not await _opened(outbox, stop):
        return
    try:
        clock = CentralClock()
        clock.recall(await outbox.note(CLOCK_NOTE))
        interlock = Interlock(settings, outbox)
        await interlock.open()
        criteria = StationCriteria(settings, clock)
        criteria.recall()
        uplink = Uplink(settings, addresses, outbox, software, clock, interlock, criteria)
        supervisors = _supervisors(settings, criteria, outbox, uplink, software, clock, interlock)
        pressed = asyncio.Event()

        def heard() -> None:
            uplink.wake()
            pressed.set()

        outbox.heard = heard
        async with asyncio.TaskGroup() as tasks:
            machines = {name: tasks.create_task(supervisor.run()) for name, supervisor in supervisors.items()}
            delivery = tasks.create_task(uplink.run())
            background = [
                tasks.create_task(feed_watchdog(SystemdNotifier(), outbox.turn)),
                tasks.create_task(interlock.run()),
                tasks.create_task(_prune(outbox, settings.retention, pressed)),
            ]
            log.info("station running", station=settings.station.id, machines=sorted(supervisors))
            await stop.wait()
            log.info("station stopping")
            recording = [name for name, machine in settings.machines.items() if machine.records]
            # Companions last: the unit in hand may need them.
            for names in (recording, [name for name in machines if name not in recording]):
                for name in names:
                    supervisors[name].stop()
                await _ended({name: machines[name] for name in names})
            uplink.stop()
            await _ended({"uplink": delivery})
            for task in background:
                task.cancel()
    finally:
        outbox.close()
    log.info("station stopped")


async def _ended(running: Mapping[str, asyncio.Task[None]]) -> None:
    """Wait for these to end by themselves, for a while; then cancel what does not."""
    if running:
        await asyncio.wait(running.values(), timeout=FINISH_S)
    for name, task in running.items():
        if not task.done():
            log.warning("not ended in time, cancelled", what=name)
            task.cancel()


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


def _supervisors(
    settings: StationSettings,
    criteria: StationCriteria,
    outbox: Outbox,
    uplink: Uplink,
    software: str,
    clock: CentralClock,
    interlock: Interlock,
) -> Mapping[str, Supervisor]:
    built: dict[str, Supervisor] = {}
    scans = scans_of(settings.machines, clock)
    drivers = _drivers(settings, outbox)
    tools = {
        tool: driver
        for name, driver in drivers.items()
        if isinstance(driver, DialogueDriver)
        for tool in tools_of({name: settings.machines[name]})
    }
    # Companions first: whoever works for another has none of its own.
    for name, machine in sorted(settings.machines.items(), key=lambda item: bool(item[1].companions)):
        companions = {wanted.machine: built[wanted.machine].companion for wanted in machine.companions}
        built[name] = Supervisor(
            machine,
            settings,
            criteria,
            drivers[name],
            outbox,
            software,
            companions,
            kept=uplink.wake,
            clock=clock,
            scans=scans.get(name),
            interlock=interlock,
            dialogue=tools.get(name),
        )
    return built


def _drivers(settings: StationSettings, outbox: Outbox) -> Mapping[str, Driver]:
    """The driver of each machine; around that of a scanner with a dialogue, the dialogue."""
    folders = protocols()
    found: dict[str, Driver] = {}
    for name, machine in settings.machines.items():
        driver = folders[machine.protocol].driver(name, machine.wire)
        if machine.dialogue is not None:
            driver = DialogueDriver(name, machine.dialogue, machine.serial_form, driver, outbox)
        found[name] = driver
    return found


def _password(settings: StationSettings) -> str | None:
    path = settings.broker.password_file
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"broker.password_file {path} cannot be read: {error}") from error


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
