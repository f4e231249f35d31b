"""One TCP connection to a printer: bytes out, host status answers back in the order they were asked for."""

import asyncio
from collections import deque

from contracts.errors import DataError
from drivers.label.zpl import ETX, STATUS_QUERY, STATUS_STRINGS, HostStatus, parse_host_status

_STRING_END = ETX + b"\r\n"
_LONGEST_ANSWER = 4096


class PrinterConnection(asyncio.Protocol):
    """Knows at once when the link is lost: ``lost`` is done then, its result is the reason or None after close().

    A question that was given up still takes its answer off the line, so that the next one gets its own.
    """

    def __init__(self) -> None:
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._transport: asyncio.Transport | None = None
        self._asked: deque[asyncio.Future[HostStatus]] = deque()
        self._received = b""
        self._refused: DataError | None = None

    async def status(self, timeout_s: float) -> HostStatus:
        """Ask for the host status. Raises ConnectionError, TimeoutError, or DataError for an answer that is none."""
        answer: asyncio.Future[HostStatus] = asyncio.get_running_loop().create_future()
        self.send(STATUS_QUERY)
        self._asked.append(answer)
        async with asyncio.timeout(timeout_s):
            return await answer

    def send(self, data: bytes) -> None:
        """Hand bytes to the network. Raises ConnectionError when the link is lost already."""
        if self._transport is None or self.lost.done():
            raise ConnectionError("the printer has closed the connection")
        self._transport.write(data)

    async def close(self, grace_s: float) -> None:
        """Send what was handed over, at most for ``grace_s``, and release the socket. Never raises."""
        if self._transport is None:
            return
        self._transport.close()
        await asyncio.wait({self.lost}, timeout=grace_s)
        self._transport.abort()
        await asyncio.wait({self.lost})

    # -- asyncio's callbacks -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of an answer; three strings are one."""
        self._received += data
        while self._received.count(_STRING_END) >= STATUS_STRINGS:
            *strings, self._received = self._received.split(_STRING_END, STATUS_STRINGS)
            if not self._asked:
                self._refuse(DataError("the printer says what it was not asked"))
                return
            answer = self._asked.popleft()
            try:
                status = parse_host_status(_STRING_END.join([*strings, b""]))
            except DataError as error:
                if not answer.done():
                    answer.set_exception(error)
                continue
            if not answer.done():
                answer.set_result(status)
        if len(self._received) > _LONGEST_ANSWER:
            self._refuse(DataError(f"this is no host status: {self._received[:40]!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The link is gone: whoever waits is told."""
        reason = self._refused or exc
        if not self.lost.done():
            self.lost.set_result(reason)
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(reason or ConnectionError("the printer closed the connection"))
        self._asked.clear()

    def _refuse(self, error: DataError) -> None:
        self._refused = error
        if self._transport is not None:
            self._transport.abort()
