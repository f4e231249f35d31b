"""One machine's way to its registers, over a line it may share: every failure names the register and what to do."""

from collections.abc import Mapping, Sequence

from contracts.errors import LinkError, SetupError
from drivers.modbus.addresses import Address
from drivers.modbus.blocks import Block
from drivers.modbus.connect import Connect
from drivers.modbus.line import Line, NoAnswerError
from drivers.modbus.registers import SignalRegister
from drivers.modbus.requests import Request, bits_in, exception_in, words_in
from drivers.modbus.wire import Wire

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS = 1, 2
_PASSING: Mapping[int, str] = {
    5: "still working on an earlier request",
    6: "busy",
    10: "the gateway has no path to the device; check device_id",
    11: "the device does not answer its gateway; check its power, the cable and device_id",
}
"""Exceptions that pass by themselves: the same request may be answered later."""
_LASTING: Mapping[int, str] = {
    ILLEGAL_FUNCTION: "the device does not know this kind of request",
    ILLEGAL_ADDRESS: "the device has no such register",
    3: "the device refuses this value or number of registers",
    4: "the device failed to do it",
    7: "the device cannot do it",
    8: "the device's memory has an error",
}
"""Modbus Application Protocol V1.1b3, 7."""


class RefusedError(Exception):
    """The device understood the request and answered with an exception; the link is sound."""

    def __init__(self, where: Block | Address, code: int) -> None:
        told = _LASTING.get(code, "see the device's manual")
        super().__init__(f"{where}: {told} (Modbus exception {code})")
        self.code = code


class ModbusLink:
    """``connect()``, then ``read()`` and ``write()`` one after the other, then ``close()``; and again.

    After a LinkError the link answers every request with the same error until it is closed and connected again.
    A request may be cancelled.
    """

    def __init__(self, machine: str, connect: Connect, pause_s: float, known: Sequence[Block]) -> None:
        self._connect = connect
        self._where = f"machine {machine}: {connect}"
        self._pause_s = pause_s
        self._line = Line.of(connect)
        self._wire: Wire | None = None
        self._lost: str | None = None
        self.device_id = connect.device_id
        self.probes: Sequence[Request] = [Request.read(block.table, block.start, 1) for block in known]

    async def connect(self) -> None:
        """Raises LinkError, or SetupError where the line may not be used; the link is closed then."""
        self._lost = None
        try:
            self._wire = await self._line.join(self, self._connect)
        except BaseException as error:
            await self.close()
            if isinstance(error, LinkError | SetupError):
                raise type(error)(f"{self._where}: {error}") from error
            raise

    async def close(self) -> None:
        """Leave the line. Never raises; may be called at any time."""
        self._wire = None
        await self._line.leave(self)

    async def read(self, block: Block) -> Sequence[int]:
        """The registers, or bits as 0 and 1, of a block. Raises RefusedError or LinkError."""
        answer = await self._ask(block, Request.read(block.table, block.start, block.count))
        return bits_in(answer) if block.is_bits else words_in(answer)

    async def write(self, to: Address, words: Sequence[int]) -> None:
        """Put these registers, or one bit, into the device. Raises RefusedError or LinkError."""
        if to.is_bit:
            await self._ask(to, Request.write_coil(to.address, bool(words[0])))
            return
        try:
            await self._ask(to, Request.write_registers(to.address, words))
        except RefusedError as refused:
            if refused.code != ILLEGAL_FUNCTION or len(words) > 1:
                raise
            # Small devices know only the request that writes a single register.
            await self._ask(to, Request.write_register(to.address, words[0]))

    async def write_signal(self, signal: SignalRegister, on: bool) -> None:
        """Set a signal of a handshake. Raises RefusedError or LinkError.

        The other bits of its register stay; where the device cannot change single bits they are read and written
        back, so nobody else may change them meanwhile.
        """
        if signal.is_bit:
            await self.write(signal, [int(on)])
        elif signal.bit is None:
            await self.write(signal, [signal.on_value if on else signal.off_value])
        else:
            bit = 1 << signal.bit
            try:
                await self._ask(signal, Request.write_bits(signal.address, 0xFFFF ^ bit, bit if on else 0))
            except RefusedError as refused:
                if refused.code != ILLEGAL_FUNCTION:
                    raise
                (word,) = await self.read(Block(signal.table, signal.address, 1, ()))
                await self.write(signal, [word | bit if on else word & ~bit])

    async def _ask(self, what: Block | Address, request: Request) -> bytes:
        if self._wire is None:
            raise LinkError(f"{self._where}: not connected")
        if self._lost is not None:
            raise LinkError(f"{self._where}: {self._lost}")
        try:
            answer = await self._line.ask(self, self._wire, request, self._connect.timeout, self._pause_s)
        except NoAnswerError as error:
            raise self._failed(f"{error} to {what}; check its power, the cable and device_id") from error
        except LinkError as error:
            raise self._failed(f"{what}: {error}") from error
        code = exception_in(answer)
        if code is None:
            return answer
        if code in _PASSING:
            raise self._failed(f"{what}: {_PASSING[code]} (Modbus exception {code})")
        raise RefusedError(what, code)

    def _failed(self, reason: str) -> LinkError:
        self._lost = reason
        return LinkError(f"{self._where}: {reason}")
