"""A device node (serial port, USB printer) as one of asyncio's transports."""

import asyncio
import os
import select
from collections.abc import Callable

_CHUNK = 4096
_SILENCE_S = 0.05


class DeviceTransport(asyncio.Transport):
    """Reads and writes an open, non-blocking file descriptor for a protocol; ``release`` closes it at the end.

    ``pausing``: an empty read may mean that there is nothing just now (the kernel's usblp answers so for an empty USB
    packet); elsewhere it means that the device has hung up.
    """

    def __init__(
        self, protocol: asyncio.Protocol, device: int, release: Callable[[], None], *, pausing: bool = False
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._device = device
        self._release = release
        self._pausing = pausing
        self._waiting = bytearray()
        self._ending = False
        self._ended = False
        self._resume: asyncio.TimerHandle | None = None
        protocol.connection_made(self)
        self._loop.add_reader(device, self._readable)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As WriteTransport.write: what the device does not take at once waits."""
        if self._ending:
            return
        self._waiting += data
        self._writable()

    def get_write_buffer_size(self) -> int:
        """Bytes that the device has not taken yet."""
        return len(self._waiting)

    def is_closing(self) -> bool:
        """Whether close() or abort() was called, or the device is gone."""
        return self._ending

    def close(self) -> None:
        """Write what waits, then release the device."""
        self._ending = True
        if not self._waiting:
            self._end(None)

    def abort(self) -> None:
        """Release the device at once."""
        self._end(None)

    def _readable(self) -> None:
        try:
            data = os.read(self._device, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._protocol.data_received(data)
        elif self._pausing and not self._gone():
            self._loop.remove_reader(self._device)
            self._resume = self._loop.call_later(_SILENCE_S, self._loop.add_reader, self._device, self._readable)
        else:
            self._end(ConnectionResetError("the device has hung up"))

    def _gone(self) -> bool:
        poll = select.poll()
        poll.register(self._device, 0)  # hang-up and error are always told
        return bool(poll.poll(0))

    def _writable(self) -> None:
        try:
            del self._waiting[: os.write(self._device, self._waiting)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._end(error)
            return
        if self._waiting:
            self._loop.add_writer(self._device, self._writable)
            return
        self._loop.remove_writer(self._device)
        if self._ending:
            self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._ended:
            return
        self._ending = self._ended = True
        self._waiting.clear()
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._device)
        self._loop.remove_writer(self._device)
        self._release()
        self._loop.call_soon(self._protocol.connection_lost, error)
