"""How a Modbus machine is described. No client library is imported here."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from contracts.duration import Duration
from drivers.base import NeededFile, ProtocolSettings, SharedLine, Strict
from drivers.handshake import FourPhase
from drivers.interlock import Interlock, check_flag, check_names, points_of
from drivers.manuals import MACHINE_KEYS, ORDER_KEYS, VALUE_TRIGGER, called
from drivers.modbus.connect import (
    AsciiConnect,
    Connect,
    RtuConnect,
    RtuOverTcpConnect,
    SerialConnect,
    TcpConnect,
    TlsConnect,
    UdpConnect,
)
from drivers.modbus.registers import (
    TIMES,
    AnswerWrite,
    ModbusPoint,
    Order,
    Register,
    SignalRegister,
    Write,
)

MAX_REGISTERS = 125
MAX_BITS = 2000
"""Most registers and bits in one answer (Modbus Application Protocol V1.1b3, 6.1 to 6.4)."""
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
R = TypeVar("R", bound=Register)


class Trigger(Strict):
    """What says that a result is there; looked at every ``poll``."""

    point: str
    """The point that is looked at."""
    on: Annotated[Literal["change", "rising", "value", "counter"], called(VALUE_TRIGGER)] = "change"
    """``change``: any change. ``rising``: it comes on. ``value``: it becomes ``equals``. ``counter``: a whole number

    that the machine counts up and writes last, after everything else of its result."""
    equals: Annotated[tuple[Scalar, ...], Field(min_length=1, strict=False)] | Scalar | None = None
    """The value, or the list of values, that means a result is there; for ``value`` only."""
    counter: str | None = None
    """A point that the machine changes with every result, written last: what was read counts only if it did not change

    meanwhile. By default the trigger's point."""
    poll: Annotated[Duration, Field(ge=0.01)] = 0.1
    """How often it is looked at."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.equals is None and self.on == "value":
            raise ValueError("on: which value? give equals, for example equals: 3")
        if self.equals is not None and self.on != "value":
            raise ValueError("equals: belongs to on: value")
        if self.on == "counter" and self.counter is not None:
            raise ValueError("counter: the trigger itself is the counter")
        return self

    @property
    def is_flag(self) -> bool:
        """It tells by what it shows whether a result is there, not by being another value than before."""
        return self.on in ("rising", "value")

    @property
    def guard(self) -> str:
        """The point that has to be the same before and after a snapshot."""
        return self.counter or self.point


class Requests(Strict):
    """What the device can take in one request."""

    max_registers: Annotated[int, Field(ge=1, le=MAX_REGISTERS)] = MAX_REGISTERS
    """Most registers it gives at once."""
    max_bits: Annotated[int, Field(ge=1, le=MAX_BITS)] = MAX_BITS
    """Most coils or discrete inputs it gives at once."""
    max_gap: Annotated[int, Field(ge=0, le=MAX_REGISTERS)] = 16
    """Registers between two points that are read along rather than asked around. 0 where it refuses what is not named

    in its manual; a device that refuses is then asked without gaps by itself."""
    pause: Annotated[Duration, Field(le=10)] = 0.0
    """How long it is left alone after each answer."""


class ModbusFourPhase(FourPhase[SignalRegister]):
    """The handshake ready, ack, ready off, ack off; its signals are coils, discrete inputs, registers or bits."""

    echo: Write | None = None
    """Written before ack is given: tells the machine which result is meant."""

    @model_validator(mode="after")
    def _ack_is_ours(self) -> Self:
        if not self.ack.is_writable:
            raise ValueError(f"ack: a {self.ack.table} cannot be written; it is a holding_register or a coil")
        return self

    def is_ready(self, point: ModbusPoint) -> bool:
        """Whether this point is the handshake's own ``ready``: it goes off with every result."""
        return (point.table, point.address, point.bit) == (self.ready.table, self.ready.address, self.ready.bit)


class Acknowledge(Strict):
    """How the machine is told that its result is kept: by one write, or by a handshake in four phases."""

    write: Write | None = None
    """The cycle's number, echoed; or a flag that the machine takes back by itself."""
    four_phase: ModbusFourPhase | None = None
    """A handshake with signals."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.write is None) == (self.four_phase is None):
            raise ValueError("give write or four_phase")
        return self


class ModbusInterlock(Interlock[Annotated[tuple[AnswerWrite, ...], Field(min_length=1, strict=False)]]):
    """What happens before a unit starts."""

    @model_validator(mode="after")
    def _answers(self) -> Self:
        for place, write in enumerate(self.answer):
            check_names(f"interlock.answer.{place}.value", write.names)
        check_flag(self.answer[-1].names, self.answer[-1].value)
        return self


class ModbusSettings(ProtocolSettings):
    """A machine's Modbus keys."""

    other_names = MACHINE_KEYS | ORDER_KEYS

    connect: Annotated[
        TcpConnect | RtuConnect | RtuOverTcpConnect | AsciiConnect | UdpConnect | TlsConnect,
        Field(discriminator="transport"),
    ]
    """How it is reached."""
    trigger: Trigger
    """What says that a result is there."""
    points: Annotated[Mapping[str, ModbusPoint], Field(min_length=1)]
    """Its signals, by name."""
    acknowledge: Acknowledge | None = None
    """How it is told that a result is kept; without it nothing is written."""
    word_order: Order = "big"
    """Which register comes first in this device's numbers of several registers; a point may say otherwise."""
    byte_order: Order = "big"
    """Which byte comes first in each of this device's registers; a point may say otherwise."""
    requests: Requests = Requests()
    """What the device can take in one request."""
    interlock: ModbusInterlock | None = None
    """For machines that ask before they start a unit. The request's point is looked at with the trigger's."""
    source_timestamp: str | None = None
    """The point (of type epoch, epoch_ms or bcd_time) that says when the machine made the result."""

    @model_validator(mode="after")
    def _points_fit(self) -> Self:
        for name, point in self.points.items():
            most = self.requests.max_bits if point.is_bit else self.requests.max_registers
            if point.count > most:
                raise ValueError(f"points.{name}: it takes {point.count} registers, more than requests.max_registers")
        trigger = self.points.get(self.trigger.point)
        if self.trigger.on == "counter" and trigger is not None and not trigger.is_whole:
            raise ValueError("trigger.point: a counter is a whole number, neither scaled nor with values")
        if self.interlock is not None and self.interlock.request.point in (self.trigger.point, self.trigger.counter):
            raise ValueError("interlock.request.point: the trigger tells of results; a request has a point of its own")
        stamp = self.points.get(self.source_timestamp or "")
        if stamp is not None and stamp.type not in TIMES:
            raise ValueError(f"source_timestamp: the point is none of {', '.join(TIMES)}")
        return self

    def referenced_points(self) -> Mapping[str, str]:
        wanted = {
            "trigger.point": self.trigger.point,
            "trigger.counter": self.trigger.counter,
            "source_timestamp": self.source_timestamp,
        }
        return {key: point for key, point in wanted.items() if point is not None} | points_of(self.interlock)

    @property
    def result_points(self) -> Mapping[str, ModbusPoint]:
        asks = set(points_of(self.interlock).values())
        return {name: point for name, point in self.points.items() if name not in asks}

    def warnings(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        flag_alone = self.trigger.on == "rising" and self.trigger.counter is None
        if flag_alone and self.acknowledge is not None and self.acknowledge.write is not None:
            found["trigger.on"] = (
                "a flag acknowledged by a single write may go off and on between two looks, and that result is never "
                "seen; give trigger.counter, or acknowledge by four_phase, if the machine has them"
            )
        looked_at = self.points.get(self.trigger.point)
        if isinstance(self.connect, SerialConnect) and looked_at is not None:
            look_s = self.connect.exchange_s(2 * looked_at.count)
            if look_s > self.trigger.poll:
                found["trigger.poll"] = (
                    f"one look takes {look_s * 1000:.0f} ms on this line ({self.connect.baudrate} baud), longer than "
                    "poll: the line is always busy; write a longer poll, or a higher baudrate if the machine has one"
                )
        return found

    @property
    def holds_results(self) -> bool:
        four_phase = None if self.acknowledge is None else self.acknowledge.four_phase
        trigger = self.points.get(self.trigger.point)
        return self.trigger.is_flag and trigger is not None and four_phase is not None and four_phase.is_ready(trigger)

    def needed_files(self) -> Mapping[str, NeededFile]:
        return self.connect.needed_files()

    def shared_line(self) -> SharedLine:
        return self.connect.line()

    def ordered(self, register: R) -> R:
        """This register with the device's orders where it has none of its own."""
        orders = {"word_order": self.word_order, "byte_order": self.byte_order}
        missing = {name: order for name, order in orders.items() if getattr(register, name) is None}
        return register.model_copy(update=missing) if missing else register


__all__ = ["Acknowledge", "Connect", "ModbusPoint", "ModbusSettings", "Requests", "Trigger", "Write"]
