"""One connection to one Modbus device, through pymodbus: requests in, registers out, every failure one of ours.

pymodbus's reconnecting and retrying are off: a link that failed is closed and connected again by its owner.
"""

import asyncio
import errno
import termios
from collections.abc import Awaitable, Callable, Mapping, Sequence

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ConnectionException
from pymodbus.pdu import ModbusPDU

from contracts.errors import LinkError, SetupError
from drivers.modbus.blocks import Block
from drivers.modbus.settings import Register, RtuConnect, TcpConnect

Client = AsyncModbusTcpClient | AsyncModbusSerialClient
_READ = {
    "holding_register": ModbusClientMixin.read_holding_registers,
    "input_register": ModbusClientMixin.read_input_registers,
    "coil": ModbusClientMixin.read_coils,
    "discrete_input": ModbusClientMixin.read_discrete_inputs,
}
_QUIET_S = 0.05
"""Silence that tells that nothing is on its way over a serial line; long for a line, short for a person."""
_QUIET_ATTEMPTS = 10
_BUSY: Mapping[int, str] = {
    ExcCodes.ACKNOWLEDGE: "still working on an earlier request",
    ExcCodes.DEVICE_BUSY: "busy",
    ExcCodes.GATEWAY_PATH_UNAVIABLE: "the gateway has no path to the device",
    ExcCodes.GATEWAY_NO_RESPONSE: "the device does not answer its gateway",
}
"""Exceptions that pass by themselves: the same request may be answered later."""
_REFUSED: Mapping[int, str] = {
    ExcCodes.ILLEGAL_FUNCTION: "the device does not know this kind of request",
    ExcCodes.ILLEGAL_ADDRESS: "the device has no such address",
    ExcCodes.ILLEGAL_VALUE: "the device refuses this value or number of registers",
    ExcCodes.DEVICE_FAILURE: "the device failed to do it",
}


class RefusedError(Exception):
    """The device understood the request and answered with an exception; the link is sound."""

    def __init__(self, where: Block | Register, code: int) -> None:
        told = _REFUSED.get(code, "see the device's manual")
        super().__init__(f"{where}: {told} (Modbus exception {code})")
        self.code = code


class ModbusLink:
    """``connect()``, then ``read()`` and ``write()`` one after the other, then ``close()``; and again.

    After a LinkError the link answers every request with the same error until it is closed and connected again.
    A request may be cancelled.
    """

    def __init__(self, machine: str, connect: TcpConnect | RtuConnect) -> None:
        self._connect = connect
        self._where = f"machine {machine}: {connect}"
        self._client: Client | None = None
        self._lost: str | None = None
        self._asked: asyncio.Task[ModbusPDU] | None = None
        self._expecting = False
        self._silencing = False
        self._timed_out = False
        self._heard_at = 0.0

    async def connect(self) -> None:
        """Raises LinkError, or SetupError where the port may not be used; the link is closed then."""
        self._lost = None
        client = self._client = self._new_client()
        try:
            async with asyncio.timeout(self._connect.timeout):
                # What client.connect() does; but that answers False, and the reason is lost.
                client.ctx.transport, _ = await client.ctx.call_create()
                await asyncio.sleep(0)  # a serial port begins to listen in the loop's next turn
            if isinstance(self._connect, RtuConnect):
                await self._silence()
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError | ValueError | termios.error):
                raise self._open_error(error) from error
            raise

    async def close(self) -> None:
        """Release everything. Never raises; may be called at any time."""
        client, self._client = self._client, None
        if client is None:
            return
        client.close()
        self._fail(client, "closed")
        if self._asked is not None:
            await asyncio.wait({self._asked})
            self._asked = None
        await asyncio.sleep(0)  # the transport lets go of its socket in the loop's next turn

    async def read(self, block: Block) -> Sequence[int]:
        """The registers, or bits as 0 and 1, of a block. Raises RefusedError or LinkError."""
        read = _READ[block.table]
        answer = await self._ask(
            block, lambda client: read(client, block.start, count=block.count, device_id=self._connect.device_id)
        )
        if block.table in ("holding_register", "input_register"):
            words: Sequence[int] = answer.registers
            fits = len(words) == block.count
        else:
            words = [int(bit) for bit in answer.bits]
            fits = len(words) == (block.count + 7) // 8 * 8  # bits come in whole bytes
        if not fits:
            raise self._failed(f"the answer to {block} has {len(words)} values instead of {block.count}")
        return words

    async def write(self, register: Register, words: Sequence[int]) -> None:
        """Put these registers, or one bit, into the device. Raises RefusedError or LinkError."""
        to, device_id = register.address, self._connect.device_id
        if register.is_bit:
            await self._ask(register, lambda client: client.write_coil(to, bool(words[0]), device_id=device_id))
            return
        try:
            await self._ask(register, lambda client: client.write_registers(to, list(words), device_id=device_id))
        except RefusedError as refused:
            if refused.code != ExcCodes.ILLEGAL_FUNCTION or len(words) > 1:
                raise
            # Small devices know only the request that writes a single register.
            await self._ask(register, lambda client: client.write_register(to, words[0], device_id=device_id))

    def _new_client(self) -> Client:
        connect = self._connect
        if isinstance(connect, TcpConnect):
            return AsyncModbusTcpClient(
                connect.host,
                port=connect.port,
                timeout=connect.timeout,
                retries=0,
                reconnect_delay=0,
                trace_connect=self._on_connection,
            )
        return AsyncModbusSerialClient(
            connect.port,
            baudrate=connect.baudrate,
            bytesize=connect.bytesize,
            parity=connect.parity,
            stopbits=connect.stopbits,
            timeout=connect.timeout,
            retries=0,
            reconnect_delay=0,
            trace_connect=self._on_connection,
            trace_packet=self._on_packet,
        )

    # -- one request -------------------------------------------------------------------------------------------------

    def _connected(self) -> Client:
        if self._client is None:
            raise LinkError(f"{self._where}: not connected")
        if self._lost is not None:
            raise LinkError(f"{self._where}: {self._lost}")
        return self._client

    async def _ask(self, what: Block | Register, request: Callable[[Client], Awaitable[ModbusPDU]]) -> ModbusPDU:
        """Raises RefusedError or LinkError.

        An RTU answer carries no number: the answer to a request that was given up would be taken for the next one's.
        So a request that was sent is heard to its end, also when nobody waits for it any more.
        """
        if self._asked is not None:
            await asyncio.wait({self._asked})
        asked = self._asked = asyncio.create_task(self._heard_out(what, request, self._connected()))
        asked.add_done_callback(lambda task: task.exception())  # nobody may be waiting
        await asyncio.wait({asked})
        return asked.result()

    async def _heard_out(
        self, what: Block | Register, request: Callable[[Client], Awaitable[ModbusPDU]], client: Client
    ) -> ModbusPDU:
        self._expecting = True
        try:
            answer = await request(client)
        except ConnectionException as error:
            raise self._failed("connection lost") from error
        except ModbusException as error:
            self._timed_out = True
            raise self._failed(
                f"device {self._connect.device_id} gave no answer to {what} within {self._connect.timeout:g} s; "
                "check its power, the cable and device_id"
            ) from error
        except OSError as error:
            raise self._failed(str(error)) from error
        finally:
            self._expecting = False
        if not answer.isError():
            return answer
        code = int(answer.exception_code)
        if code in _BUSY:
            raise self._failed(f"{what}: {_BUSY[code]} (Modbus exception {code})")
        raise RefusedError(what, code)

    def _failed(self, reason: str) -> LinkError:
        self._lost = self._lost or reason
        return LinkError(f"{self._where}: {self._lost}")

    # -- pymodbus's callbacks ----------------------------------------------------------------------------------------

    def _on_connection(self, made: bool) -> None:
        """pymodbus lets whoever waits for an answer wait on when the connection ends."""
        if not made and self._client is not None:
            self._fail(self._client, "connection lost; check the cable and the machine's power")

    def _fail(self, client: Client, reason: str) -> None:
        self._lost = self._lost or reason
        waiting = client.ctx.response_future
        if not waiting.done():
            waiting.set_exception(ConnectionException(reason))
            waiting.exception()  # nobody may be waiting

    def _on_packet(self, sending: bool, data: bytes) -> bytes:
        """Bytes on the serial line. What comes unasked is an answer that was late: the next would be taken wrongly."""
        if sending or self._expecting:
            return data
        self._heard_at = asyncio.get_running_loop().time()
        if not self._silencing:
            self._lost = self._lost or "an answer came that nobody waited for; if this repeats, set a longer timeout"
        return b""

    # -- opening -----------------------------------------------------------------------------------------------------

    async def _silence(self) -> None:
        """Let a late answer pass: one to a request of ours that had no answer in time, or to another program's."""
        loop = asyncio.get_running_loop()
        quiet_s = max(_QUIET_S, self._connect.timeout) if self._timed_out else _QUIET_S
        self._heard_at = loop.time()
        given_up_at = self._heard_at + quiet_s * _QUIET_ATTEMPTS
        self._silencing = True
        try:
            while (wait := self._heard_at + quiet_s - loop.time()) > 0:
                if loop.time() > given_up_at:
                    raise self._failed("the line is never quiet; does another device or program talk on it?")
                await asyncio.sleep(wait)
        finally:
            self._silencing = False
        self._timed_out = False

    def _open_error(self, error: OSError | ValueError | termios.error) -> LinkError | SetupError:
        if isinstance(self._connect, TcpConnect):
            if isinstance(error, TimeoutError):
                told = f"no connection within {self._connect.timeout:g} s"
            else:
                told = f"no connection: {error.strerror or error}" if isinstance(error, OSError) else str(error)
            return LinkError(f"{self._where}: {told}; check host and port, the cable and the machine's power")
        cause = error.__context__ if isinstance(error.__context__, termios.error) else error
        code = cause.args[0] if cause.args else None
        if code in (errno.EACCES, errno.EPERM):
            return SetupError(
                f"{self._where} may not be used: permission denied; add the agent's user to the group dialout "
                "(usermod -aG dialout USER) and start the agent again"
            )
        if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            return LinkError(
                f"{self._where} is not there: check that the adapter is plugged in and that connect.port is right; "
                "ls -l /dev/serial/by-id shows the ports there are"
            )
        if code in (errno.EAGAIN, errno.EBUSY):
            return LinkError(f"{self._where} is in use: close the other program on it")
        if code in (errno.ENOTTY, errno.EISDIR, errno.EINVAL) or isinstance(error, ValueError):
            return SetupError(
                f"{self._where} is no serial port, or cannot work with these line settings: {error}; check connect"
            )
        return LinkError(f"{self._where} cannot be opened: {error}")
