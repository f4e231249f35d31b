"""One open serial line: a thread that opens, reads and closes the port, and hands its frames to the event loop.

The only importer of pyserial. One thread owns the port from open to close, so that a port is never closed under a
read, and an open that is given up half-way still closes what it opened.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import serial

from drivers.serial.framing import Frame, Framer
from drivers.serial.parity import ParityMarks, Received, mark_wrong_bytes
from drivers.serial.settings import SerialSettings

_POLL_S = 0.1
"""How often the reader looks whether it should end, and whether the line fell silent."""
_MIDWAY_S = 0.02
"""What comes within this time of opening may have begun before it."""
_WRITE_TIMEOUT_S = 5.0
_BACKLOG = 1000
"""Frames nobody took yet; with this many the reader stops reading, so that flow control can hold the machine."""


class Line:
    """``opened()`` once, then ``write()`` at will, then ``close()``. The callbacks run in the event loop."""

    def __init__(
        self,
        settings: SerialSettings,
        name: str,
        backlog: Callable[[], int],
        on_frame: Callable[[Frame, datetime], None],
        on_lost: Callable[[Exception], None],
    ) -> None:
        self._settings = settings
        self._backlog = backlog
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._stop = threading.Event()
        self._port: serial.Serial | None = None
        self._using_port = threading.Lock()
        self._writing = asyncio.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._heard_at = time.monotonic()
        self._is_pending = False
        self._is_written = False

    @property
    def silent_s(self) -> float:
        """How long nothing has come; 0 while a frame is under way."""
        return 0.0 if self._is_pending else time.monotonic() - self._heard_at

    async def opened(self) -> None:
        """Open the port and begin to read. Raises what pyserial raises: OSError, ValueError or termios.error."""
        self._thread.start()
        await self._opened

    async def write(self, data: bytes) -> None:
        """Send it all. Raises OSError."""
        async with self._writing:  # the threads of a pool would take turns as they like
            await asyncio.to_thread(self._write, data)

    async def close(self) -> None:
        """End the thread; the port is free afterwards. Never raises."""
        self._stop.set()
        if self._thread.ident is not None:
            await self._ended.wait()
            self._thread.join()

    def _write(self, data: bytes) -> None:
        with self._using_port:
            if self._port is None:
                raise serial.PortNotOpenError
            self._is_written = True
            self._port.write(data)

    def _run(self) -> None:
        error: Exception | None = None
        port: serial.Serial | None = None
        try:
            port = _open(self._settings)
            with self._using_port:
                self._port = port
            self._tell(self._report_open)
            self._listen(port)
        except Exception as failure:  # noqa: BLE001 - a thread has nobody above it: the loop is told, and raises it
            error = failure
        finally:
            with self._using_port:
                self._port = None
                if port is not None:
                    _close(port)
            self._tell(self._report_end, error)

    def _listen(self, port: serial.Serial) -> None:
        settings = self._settings
        controls = settings.handshake.controls if settings.handshake is not None else b""
        framer = Framer(settings.frame, controls=controls, notices=settings.connect.url is not None)
        marks = ParityMarks() if _is_checked(settings) else None

        def fed(data: bytes, *, midway: bool = False) -> list[Frame]:
            received = Received(data) if marks is None else marks.undone(data)
            return framer.feed(received.data, wrong=received.wrong, midway=midway)

        silence_s = settings.frame.idle or settings.frame.timeout
        opened = self._heard_at = time.monotonic()
        reason = "the station closed the port"
        try:
            while not self._stop.is_set():
                if first := port.read(1):
                    self._is_pending = True
                    self._heard_at = time.monotonic()
                    unasked = self._heard_at - opened < _MIDWAY_S and not self._is_written
                    self._hand_on(fed(first, midway=unasked))
                    self._hand_on(fed(port.read(port.in_waiting)))
                elif framer.pending and time.monotonic() - self._heard_at >= silence_s:
                    self._hand_on(framer.silence(f"silence for {silence_s:g} s"))
                self._is_pending = framer.pending
                while self._backlog() >= _BACKLOG and not self._stop.wait(_POLL_S):
                    self._heard_at = time.monotonic()
        except OSError:
            reason = "the link was lost in the middle of it"
            raise
        finally:
            self._hand_on(framer.silence(reason))

    def _hand_on(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            self._tell(self._on_frame, frame, datetime.now(UTC))

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _report_open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _report_end(self, error: Exception | None) -> None:
        self._ended.set()
        if error is None:
            return
        if self._opened.done():
            self._on_lost(error)
        else:
            self._opened.set_exception(error)


def _is_checked(settings: SerialSettings) -> bool:
    """Whether this computer's own port checks the parity; over a network only the far end could."""
    return settings.connect.port is not None and settings.connect.parity != "N"


def _open(settings: SerialSettings) -> serial.Serial:
    connect = settings.connect
    port: serial.Serial = serial.serial_for_url(connect.address, do_not_open=True)
    port.baudrate = connect.baudrate
    port.bytesize = connect.bytesize
    port.parity = connect.parity
    port.stopbits = connect.stopbits
    port.xonxoff = connect.flow_control == "xonxoff"
    port.rtscts = connect.flow_control == "rtscts"
    port.dsrdtr = connect.flow_control == "dsrdtr"
    if connect.dtr is not None:
        port.dtr = connect.dtr
    if connect.rts is not None:
        port.rts = connect.rts
    port.timeout = min(_POLL_S, settings.frame.idle or settings.frame.timeout)
    if not connect.address.startswith("rfc2217:"):  # pyserial has no write timeout there
        port.write_timeout = _WRITE_TIMEOUT_S
    if connect.port is not None:
        port.exclusive = True
    if connect.address.startswith("socket:"):
        # Nothing on a new connection is old: what pyserial would throw away is why a serial server refuses the line.
        port.reset_input_buffer = lambda: None  # type: ignore[method-assign]  # pyserial has no option for it
    try:
        port.open()
        if _is_checked(settings):
            mark_wrong_bytes(port.fileno())
    except BaseException:
        _close(port)  # over RFC 2217 the connection stands before the server refuses
        raise
    return port


def _close(port: serial.Serial) -> None:
    # pyserial's socket:// leaves its socket to the garbage collector when the other side has gone first.
    connection = getattr(port, "_socket", None)
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: its reader of RFC 2217 never started
        port.close()
    if connection is not None:
        connection.close()
