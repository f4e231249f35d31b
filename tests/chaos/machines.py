"""The machines of a station, made of software on real protocols: they produce without end and write down what."""

import asyncio
import time
from pathlib import Path
from random import Random

from agent.settings import MachineSettings
from drivers.base import Simulator
from drivers.modbus.settings import ModbusSettings
from drivers.modbus.simulator import ModbusSimulator
from drivers.registry import protocols
from drivers.serial.settings import SerialSettings
from drivers.serial.simulator import SerialSimulator
from tests.chaos.history import Baseline, History, Made, values_of_a_cycle
from tests.support.relay import Relay

HELD_PAUSE_S = (0.05, 0.4)
COUNTED_PAUSE_S = (0.3, 1.0)
SETTLED_LIFE = 3
"""A machine that was restarted is not restarted again before it has made as many results: with one result, number 1,
before and one after, no counter could show the difference, and the station claims none."""


class Machine:
    """Makes one result after the other while it is switched on.

    ``reached_at`` are the settings that lead an agent to it; they stay the same over a restart. Its link is a cable
    (``cut``, ``mend``), or a relay that can also go silent.
    """

    def __init__(
        self,
        station: str,
        settings: MachineSettings,
        folder: Path,
        seed: int,
        history: History,
        clock: "Clock",
        copy: int = 0,
    ) -> None:
        self.station = station
        self.name = f"{station}.{settings.name}" + (f".{copy}" if copy else "")
        self.holds = getattr(settings.protocol_settings, "acknowledge", None) is not None
        self.reached_at: dict[str, str | int] = {}
        self.relay: Relay | None = None
        self._settings = settings
        self._copy = copy
        self._link = folder / f"{self.name}.port"
        self._random = Random(f"{seed} {self.name}")
        self._history = history
        self._clock = clock
        self._life = 0
        # A counter that has run for long: it wraps soon after the start.
        self._count = 65500 if settings.counter_modulus == 65536 and not self.holds else 0
        self._made_in_life = 0
        self._pending: Made | None = None
        self._last: Made | None = None
        self._working: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._simulator = self._new()

    @property
    def is_networked(self) -> bool:
        """True for a machine behind a relay, False for one on a serial line."""
        return self.relay is not None

    @property
    def last(self) -> Made | None:
        """The newest result."""
        return self._last

    def begin_at(self, baseline: Baseline) -> None:
        """Before the start: count on from here."""
        self._history.baselines[self.station, self._settings.name, self._copy] = baseline
        self._life, self._count = baseline.life, baseline.key

    async def start(self) -> None:
        """Switch it on, without any result yet."""
        await self._simulator_on()

    def work(self) -> None:
        """Begin to make results, or go on."""
        self._enough.clear()
        if self._working is None:
            self._working = asyncio.create_task(self._work())

    async def finish(self) -> None:
        """Make no further result; returns when the last one is acknowledged, where that is awaited."""
        self._enough.set()
        working, self._working = self._working, None
        if working is not None:
            await working

    async def restart(self, off_s: float) -> None:
        """Switch it off, and on again: its counter begins at 0, and a result nobody acknowledged is gone."""
        if self._made_in_life < SETTLED_LIFE or self._wraps_soon():
            return
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await self._simulator.stop()
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.ended = True
        self._life, self._count, self._made_in_life = self._life + 1, 0, 0
        await asyncio.sleep(off_s)
        self._simulator = self._new()
        await self._simulator_on()
        if not self._enough.is_set():
            self.work()

    async def cut(self) -> None:
        """Pull the cable out, or reset the connection and refuse new ones."""
        if self.relay is not None:
            await self.relay.cut()
        elif isinstance(self._simulator, SerialSimulator | ModbusSimulator):
            self._simulator.unplug()

    async def mend(self) -> None:
        """Put the cable in again."""
        if self.relay is not None:
            await self.relay.restore()
        elif isinstance(self._simulator, SerialSimulator):
            self._simulator.plug()
        elif isinstance(self._simulator, ModbusSimulator):
            await self._simulator.plug()

    async def stop(self) -> None:
        """Switch it off for good."""
        working, self._working = self._working, None
        if working is not None:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        await self._simulator.stop()
        if self.relay is not None:
            await self.relay.cut()

    def _wraps_soon(self) -> bool:
        """From above the middle of its range to 0: that is how a wrap looks, so a restart there cannot be told."""
        modulus = self._settings.counter_modulus
        return modulus is not None and self._count > modulus // 2

    @property
    def _counter(self) -> str:
        assert self._settings.cycle_key is not None
        return self._settings.cycle_key

    def _new(self) -> Simulator:
        name, settings = self._settings.name, self._settings.protocol_settings
        if isinstance(settings, ModbusSettings):
            return ModbusSimulator(name, settings, link=self._link)
        if isinstance(settings, SerialSettings):
            return SerialSimulator(name, settings, link=self._link)
        return protocols()[self._settings.protocol].simulator(name, settings)

    async def _simulator_on(self) -> None:
        at = dict(await self._simulator.start())
        if isinstance(self._simulator, ModbusSimulator):
            await self._simulator.present({self._counter: self._count})  # whatever its registers held before
        place = _network_place(at)
        if place is None:
            self.reached_at = at
            return
        if self.relay is None:
            self.relay = Relay(*place)
            await self.relay.restore()
            self.reached_at = _led_to(at, self.relay)
        self.relay.target = place

    async def _work(self) -> None:
        while not self._enough.is_set():
            await self._cycle()
            low, high = HELD_PAUSE_S if self.holds else COUNTED_PAUSE_S
            await asyncio.sleep(self._random.uniform(low, high))

    async def _cycle(self) -> None:
        self._count += 1
        modulus = self._settings.counter_modulus
        key = self._count if modulus is None else self._count % modulus
        self._count = key
        values, expected = values_of_a_cycle(self._random)
        serial = f"SN-{self.name.replace('.', '-')}-{self._life}-{key}-{self._random.getrandbits(24):06x}"
        made = Made(
            station=self.station,
            machine=self._settings.name,
            holds=self.holds,
            life=self._life,
            key=key,
            serial_number=serial,
            temperature=float(values["temperature"]),
            expected=expected,
            made_at_s=self._clock.now(),
            copy=self._copy,
        )
        if self._settings.protocol_settings.points["tof_i2c"].model_dump().get("holding_register") is not None:
            values["tof_i2c"] = int(values["tof_i2c"])
        self._history.made.append(made)
        self._pending = self._last = made
        self._made_in_life += 1
        await self._simulator.cycle({**values, "serial_number": serial, self._counter: key}, key)
        made.acknowledged = self.holds
        self._pending = None


class Clock:
    """Seconds since the run began."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def now(self) -> float:
        """Now, in seconds since the start."""
        return time.monotonic() - self._began


def _network_place(at: dict[str, str | int]) -> tuple[str, int] | None:
    """Where a simulator listens, if it is on a network."""
    if "connect.host" in at:
        return str(at["connect.host"]), int(at["connect.port"])
    if str(at.get("connect.url", "")).startswith("opc.tcp://"):
        host, port = str(at["connect.url"]).removeprefix("opc.tcp://").rstrip("/").split(":")
        return host, int(port)
    return None


def _led_to(at: dict[str, str | int], relay: Relay) -> dict[str, str | int]:
    """The same settings, through the relay."""
    if "connect.host" in at:
        return {**at, "connect.host": relay.host, "connect.port": relay.port}
    return {**at, "connect.url": f"opc.tcp://{relay.host}:{relay.port}/"}
