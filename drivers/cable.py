"""A null-modem cable made of two pseudo-terminals, so that a machine made of software can sit on a serial port."""

import asyncio
import contextlib
import os
import tty
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["PtyCable"]

_CHUNK = 4096


class PtyCable:
    """What is written at the one end is read at the other; ``async with PtyCable() as cable``.

    ``cable.a`` and ``cable.b`` are the devices to open. They are new with every ``plug()``, unless ``link_a`` or
    ``link_b`` gives a lasting name: a symbolic link that is there while the cable is plugged in, as
    ``/dev/serial/by-id/...`` is. A writer is held back while the other end does not read; nothing is dropped.

    Needs a running event loop. Raises OSError when the system has no pseudo-terminal left or a link cannot be made.
    """

    def __init__(self, link_a: Path | None = None, link_b: Path | None = None) -> None:
        self._links = (link_a, link_b)
        self._ends: tuple[_End, _End] | None = None

    @property
    def a(self) -> str:
        """Path of the first end. RuntimeError while the cable is unplugged and has no lasting name there."""
        return self._path(0)

    @property
    def b(self) -> str:
        """Path of the second end, as ``a``."""
        return self._path(1)

    @property
    def plugged(self) -> bool:
        """True between ``plug()`` and ``unplug()``."""
        return self._ends is not None

    async def __aenter__(self) -> Self:
        self.plug()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    def plug(self) -> None:
        """Make both devices and join them. Does nothing when the cable is plugged in."""
        if self._ends is not None:
            return
        first = _End()
        try:
            second = _End()
        except OSError:
            first.close()
            raise
        self._ends = (first, second)
        try:
            for end, link in zip(self._ends, self._links, strict=True):
                if link is not None:
                    link.unlink(missing_ok=True)
                    link.symlink_to(end.path)
        except OSError:
            self.unplug()
            raise
        first.join(second)
        second.join(first)

    def unplug(self) -> None:
        """Pull it out, as when a USB adapter vanishes: whoever has an end open reads end-of-file and fails to write,

        the paths are gone, and what was on its way is lost. Does nothing when it is out already.
        """
        if self._ends is None:
            return
        ends, self._ends = self._ends, None
        for end, link in zip(ends, self._links, strict=True):
            end.close()
            if link is not None:
                with contextlib.suppress(OSError):  # somebody tidied up before us
                    link.unlink()

    def _path(self, which: int) -> str:
        link = self._links[which]
        if link is not None:
            return str(link)
        if self._ends is None:
            raise RuntimeError("the cable is unplugged: it has no device")
        return self._ends[which].path


class _End:
    """One pseudo-terminal in raw mode, and the bytes that wait to get into it."""

    def __init__(self) -> None:
        # The terminal side stays open here too: without it the controlling side would report a hang-up, without end,
        # whenever nobody has the device open.
        self._control, self._terminal = os.openpty()
        tty.setraw(self._terminal)
        os.set_blocking(self._control, False)
        self.path = os.ttyname(self._terminal)
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()

    def join(self, other: "_End") -> None:
        """Pass what is written into this device on to the other."""
        self._loop.add_reader(self._control, self._forward, other)

    def close(self) -> None:
        """The device vanishes for whoever has it open."""
        self._loop.remove_reader(self._control)
        self._loop.remove_writer(self._control)
        os.close(self._control)
        os.close(self._terminal)

    def _forward(self, other: "_End") -> None:
        try:
            data = os.read(self._control, _CHUNK)
        except BlockingIOError:  # woken for nothing
            return
        if not other._put(data, self):
            self._loop.remove_reader(self._control)

    def _put(self, data: bytes, source: "_End") -> bool:
        """Write, or keep for later what does not fit. False: it does not fit, the source has to wait."""
        self._waiting += data
        with contextlib.suppress(BlockingIOError):
            del self._waiting[: os.write(self._control, self._waiting)]
        if self._waiting:
            self._loop.add_writer(self._control, self._drain, source)
        return not self._waiting

    def _drain(self, source: "_End") -> None:
        if self._put(b"", source):
            self._loop.remove_writer(self._control)
            source.join(self)
