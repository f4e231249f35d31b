"""A label printer made of software: takes ZPL over TCP or at the far end of a cable, and answers what it is asked."""

import asyncio
import os
import re
import shutil
import tempfile
import tty
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from contracts.measurement import Scalar
from drivers.base import Fault, RawValue
from drivers.cable import PtyCable
from drivers.label.answers import (
    CANCEL_ALL,
    CONDITIONS,
    HOST_IDENTIFICATION,
    HOST_STATUS,
    LABEL_COUNT,
    PRINT_LENGTH,
    HostStatus,
    host_identification,
    host_status,
    label_count,
    print_length,
)
from drivers.label.device import DeviceTransport
from drivers.label.settings import LabelSettings, TcpConnect

_COMMAND = re.compile(rb"~HI|~HS|~HQOD|~JA|! U1 getvar \"[^\"]*\"\r\n|\^XA.*?\^XZ", re.DOTALL)
_START = b"^XA"
_LENGTH = re.compile(r"\^LL\s*(\d+)", re.IGNORECASE)
_DOTS_PER_CM = 80
IDENTIFICATION = ("NEUROHUB-SIM-200dpi", "V1.0.0Z")
"""Model and firmware."""
_NOISE = b"\x00\xff~#garbage\r\n"


class LabelSimulator:
    """Keeps what it printed in ``printed`` (the ZPL of each label) and tells ``on_printed`` of each.

    While something is wrong with it labels wait, as in a real one; they are printed when it is put right. A label
    takes ``print_s`` seconds.
    """

    settable = frozenset({*CONDITIONS, "label_waiting"})
    faults = frozenset({Fault.DROP_LINK, Fault.ANSWER_LATE, Fault.NOISE})

    def __init__(self, machine: str, settings: LabelSettings, print_s: float = 0.0, link: Path | None = None) -> None:
        self._machine = machine
        self._settings = settings
        self._print_s = print_s
        self._link = link
        self._server: asyncio.Server | None = None
        self._cable: PtyCable | None = None
        self._folder: str | None = None
        self._stations: set[_Station] = set()
        self._state = HostStatus()
        self._waiting: list[str] = []
        self._at_work: asyncio.TimerHandle | None = None
        self._dots = 0
        self._late = False
        self.printed: list[str] = []
        self.on_printed: Callable[[str], None] | None = None

    async def start(self) -> Mapping[str, str | int]:
        """See Simulator.start."""
        loop = asyncio.get_running_loop()
        if isinstance(self._settings.connect, TcpConnect):
            self._server = await loop.create_server(lambda: _Station(self), "127.0.0.1", 0)
            return {"connect.host": "127.0.0.1", "connect.port": self._server.sockets[0].getsockname()[1]}
        if self._link is None:
            self._folder = tempfile.mkdtemp(prefix="printer-")
            self._link = Path(self._folder) / self._machine
        self._cable = PtyCable(link_a=self._link)
        self.plug()
        return {f"connect.{'port' if self._settings.connect.transport == 'serial' else 'device'}": str(self._link)}

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:  # noqa: ARG002
        """Set what the printer says of itself: ``{"paper_out": True}`` takes the paper out. Returns at once.

        A name is that of a point or of a condition. Raises ValueError for what follows from printing.
        """
        changed: dict[str, bool] = {}
        for name, value in values.items():
            point = self._settings.points.get(name)
            field = point.status if point is not None else name
            if field not in CONDITIONS and field != "label_waiting":
                known = ", ".join(CONDITIONS)
                raise ValueError(f"machine {self._machine}: {name} cannot be set; what can is label_waiting, {known}")
            changed[field] = bool(value)
        self._state = replace(self._state, **changed)
        self._print()

    async def misbehave(self, fault: Fault) -> None:
        """See Simulator.misbehave."""
        if fault is Fault.ANSWER_LATE:
            self._late = True
        elif fault is Fault.NOISE:
            for station in list(self._stations):
                station.answer(_NOISE)
        elif fault is Fault.DROP_LINK:
            if self._cable is not None:
                self.unplug()
                self.plug()
            for station in list(self._stations):
                station.drop()
        else:
            raise ValueError(f"machine {self._machine}: {fault} is no fault of this machine")

    def plug(self) -> None:
        """Put the cable in (again). Only for a printer on a cable."""
        assert self._cable is not None
        self._cable.plug()
        end = os.open(self._cable.b, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(end)
        DeviceTransport(_Station(self), end, lambda: os.close(end))

    def unplug(self) -> None:
        """Pull the cable out: the station's device vanishes."""
        assert self._cable is not None
        for station in list(self._stations):
            station.drop()
        self._cable.unplug()

    async def stop(self) -> None:
        """See Simulator.stop."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self._cancel()
        if self._cable is not None:
            self.unplug()
        for station in list(self._stations):
            station.drop()
        while self._stations:
            await asyncio.sleep(0)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def obey(self, station: "_Station", received: bytes) -> bytes:
        """Do every command that is complete, in order; return what is not."""
        done = 0
        for command in _COMMAND.finditer(received):
            done = command.end()
            if command[0] == CANCEL_ALL:
                self._cancel()
            elif command[0].startswith(_START):
                self._waiting.append(command[0].decode("utf-8", errors="replace"))
                self._print()
            else:
                answer = self._answer(command[0], partial=_START in received[done:])
                if self._late:
                    self._late = False
                    late_s = self._settings.connect.timeout * 1.5
                    asyncio.get_running_loop().call_later(late_s, station.answer, answer)
                else:
                    station.answer(answer)
        return received[done:]

    def joined(self, station: "_Station") -> None:
        """A station is connected."""
        self._stations.add(station)

    def left(self, station: "_Station") -> None:
        """It is no more."""
        self._stations.discard(station)

    def _answer(self, question: bytes, *, partial: bool) -> bytes:
        if question == HOST_STATUS.sent:
            busy = len(self._waiting) if self._at_work is None else len(self._waiting) - 1
            remaining = 0 if self._at_work is None else 1
            return host_status(
                replace(self._state, formats_waiting=busy, labels_remaining=remaining, partial_format=partial)
            )
        if question == HOST_IDENTIFICATION.sent:
            return host_identification(*IDENTIFICATION)
        if question == PRINT_LENGTH.sent:
            return print_length(self._dots // _DOTS_PER_CM)
        return label_count(len(self.printed)) if question == LABEL_COUNT.sent else b'"?"'

    def _print(self) -> None:
        """Begin the next label, unless one is in work or something is wrong."""
        if self._at_work is not None or not self._waiting or self._state.conditions:
            return
        if self._print_s:
            self._at_work = asyncio.get_running_loop().call_later(self._print_s, self._finish)
        else:
            self._finish()

    def _cancel(self) -> None:
        self._waiting.clear()
        if self._at_work is not None:
            self._at_work.cancel()
            self._at_work = None

    def _finish(self) -> None:
        self._at_work = None
        if self._state.conditions:  # stopped half-way: this label is printed anew
            return
        label = self._waiting.pop(0)
        self.printed.append(label)
        length = _LENGTH.search(label)
        self._dots += int(length[1]) if length is not None else 0
        if self.on_printed is not None:
            self.on_printed(label)
        self._print()


class _Station(asyncio.Protocol):
    """One station that is connected to the printer."""

    def __init__(self, printer: LabelSimulator) -> None:
        self._printer = printer
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._printer.joined(self)

    def data_received(self, data: bytes) -> None:
        self._received = self._printer.obey(self, self._received + data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why a station went is its own affair
        self._printer.left(self)

    def answer(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def drop(self) -> None:
        if self._transport is not None:
            self._transport.abort()
