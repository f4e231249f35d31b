"""Tells a machine that its result is kept: by one write, or by a handshake in four phases."""

from collections.abc import Sequence

import structlog

from contracts.errors import SetupError
from contracts.measurement import Scalar
from drivers.base import Reading
from drivers.handshake import shake_hands, take_ack_back
from drivers.modbus.blocks import block_of, blocks_of
from drivers.modbus.codec import encode_write
from drivers.modbus.link import ModbusLink, RefusedError
from drivers.modbus.registers import ModbusPoint, SignalRegister, Write
from drivers.modbus.settings import ModbusFourPhase, ModbusSettings

log = structlog.get_logger()


class Acknowledger:
    """Does nothing where the settings have no ``acknowledge``."""

    def __init__(self, machine: str, settings: ModbusSettings, link: ModbusLink) -> None:
        self._machine = machine
        self._requests = settings.requests
        self._link = link
        acknowledge = settings.acknowledge
        self.four_phase: ModbusFourPhase | None = acknowledge.four_phase if acknowledge is not None else None
        """The handshake, where there is one."""
        write = acknowledge.write if acknowledge is not None else None
        echo = self.four_phase.echo if self.four_phase is not None else None
        self._write = settings.ordered(write) if write is not None else None
        self._echo = settings.ordered(echo) if echo is not None else None
        self._told_left = False

    async def begin(self) -> None:
        """Before the first result: an ack of an earlier life is taken back. Raises SetupError or LinkError."""
        if self.four_phase is None:
            return
        await self._read(list(self.four_phase.signals().values()))  # those the device does not have are told now
        if await take_ack_back(self.four_phase, self._read, self._set):
            log.warning("acknowledgement taken back that was left on", machine=self._machine)

    def is_ready_signal(self, point: ModbusPoint) -> bool:
        """Whether this point is the handshake's own ``ready``: it goes off with every result."""
        return self.four_phase is not None and self.four_phase.is_ready(point)

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> bool:
        """True where the machine took its ready back. Raises HandshakeError, LinkError or SetupError."""
        if self.four_phase is not None:
            return await self._shake_hands(self.four_phase, reading, cycle_key)
        if self._write is not None:
            await self._tell(self._write, "write", reading, cycle_key)
        return False

    async def _shake_hands(self, four_phase: ModbusFourPhase, reading: Reading, cycle_key: Scalar | None) -> bool:
        async def echo() -> None:
            assert self._echo is not None
            await self._tell(self._echo, "four_phase.echo", reading, cycle_key)

        where = f"machine {self._machine}"
        done = await shake_hands(four_phase, where, self._read, self._set, echo if self._echo is not None else None)
        if not done:
            log.warning("machine did not wait for its acknowledgement", machine=self._machine)
        return done

    async def _tell(self, write: Write, key: str, reading: Reading, cycle_key: Scalar | None) -> None:
        where = f"machine {self._machine}, acknowledge.{key} ({write})"
        values = {name: point.value for name, point in reading.values.items()}
        try:
            words = encode_write(write, values, cycle_key)
            if not isinstance(write.value, str):
                await self._look_whether_left(write, words)
            await self._link.write(write, words)
        except KeyError as missing:
            log.warning("machine not acknowledged", machine=self._machine, missing=missing.args[0])
        except ValueError as error:
            raise SetupError(f"{where}: {error}; choose a type that holds every value") from error
        except RefusedError as error:
            raise SetupError(f"{where}: {error}; check the register in the machine's manual") from error

    async def _look_whether_left(self, write: Write, words: Sequence[int]) -> None:
        """A flag that the machine does not take back acknowledges its next result before that is kept."""
        if self._told_left:
            return
        found = await self._link.read(block_of("", write))
        if list(found[: write.count]) == list(words):
            self._told_left = True
            log.warning(
                "acknowledgement still set from the last result: the machine has to take it back; use four_phase",
                machine=self._machine,
                register=str(write),
            )

    # -- signals -----------------------------------------------------------------------------------------------------

    async def _read(self, signals: Sequence[SignalRegister]) -> Sequence[bool]:
        wanted = {str(place): signal for place, signal in enumerate(signals)}
        on: dict[str, bool] = {}
        for block in blocks_of(wanted, None, self._requests):
            try:
                words = await self._link.read(block)
            except RefusedError as error:
                raise self._no_signal(error) from error
            for name in block.names:
                on[name] = wanted[name].is_on(words[wanted[name].address - block.start])
        return [on[name] for name in wanted]

    async def _set(self, signal: SignalRegister, on: bool) -> None:
        try:
            await self._link.write_signal(signal, on)
        except RefusedError as error:
            raise self._no_signal(error) from error

    def _no_signal(self, error: RefusedError) -> SetupError:
        return SetupError(
            f"machine {self._machine}, acknowledge.four_phase: {error}; check the register in the machine's manual"
        )
