"""The surface every protocol offers: four methods, and small protocols for machines that can do more.

A constructor does no I/O. Libraries' own reconnecting is off: a driver that loses its link raises ``LinkError`` and
is closed and opened again by its owner, the supervisor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from contracts.errors import LinkError, SetupError
from contracts.measurement import Quality, Scalar
from drivers.kinds import UNKNOWN, Kinds
from drivers.manuals import MACHINE_KEYS

if TYPE_CHECKING:
    from drivers.interlock import AnyInterlock

__all__ = [
    "DISPLAY_NAMES",
    "JOB_NAMES",
    "REJECT_LABEL",
    "Acknowledging",
    "Asking",
    "Certificate",
    "Conditioned",
    "Displaying",
    "Driver",
    "Fault",
    "LinkError",
    "MachineEvent",
    "MachineRequest",
    "Measuring",
    "NeededFile",
    "Outcomes",
    "Performing",
    "Permitting",
    "PointValue",
    "ProtocolSettings",
    "Reading",
    "Settable",
    "SetupError",
    "SharedLine",
    "Shown",
    "Simulator",
    "Trusting",
]

RawValue = Scalar | list[Scalar]

REJECT_LABEL = "reject_label"
JOB_NAMES = frozenset(
    {"serial_number", "lot_number", "product_model", "date", "firmware", "firmware_checksum", REJECT_LABEL}
)
"""What a job of ``Performing`` may hold. ``date`` is the day at the station, ``2026-11-24``; ``firmware`` and
``firmware_checksum`` are what the unit's permit says its product model wants; ``reject_label`` is true for a failed
unit, which gets a reject label and no other."""

DISPLAY_NAMES: Mapping[str, str] = {
    "text_ko": "what has happened and what is asked for next, in Korean",
    "text_en": "the same in English",
    "event": "ask, refused, wait, stopped, kept or cancelled: for a sound or a colour",
    "message": "the message's name, empty for a plain question",
    "step": "what is asked for: badge, serial_number, or the step's name",
    "serial_number": "the unit in hand, or the one the message is about",
    "number": "how many results this dialogue has made",
    "outcome": "of the record that was kept",
    "code": "why the unit may not start: LOT_NOT_FOUND, ...",
    "operator": "who is signed in",
}
"""What may stand in the text for an operator's display (docs/hand-stations.md), and what it means."""


class Strict(BaseModel):
    """Base of every settings model: unknown keys are refused, nothing is converted in silence."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
    other_names: ClassVar[Mapping[str, str]] = {}
    """Keys as manuals call them (``drivers.manuals``), and which key is meant."""


class PointSettings(Strict):
    """What every point may carry, beside its address in the protocol's own words."""

    unit: str | None = None
    """Unit of the value, as the criteria spell it (``degC``, ``mm``, ``kgf``)."""

    @property
    def kinds(self) -> Kinds:
        """What its values may be, as far as these settings tell; UNKNOWN is never held against a criterion."""
        return UNKNOWN


@dataclass(frozen=True)
class SharedLine:
    """A port or address that several machines may be reached by, ``name`` as the settings spell it.

    ``agreed`` are the keys of ``connect`` that are the line's, with their values: machines that share it agree on them.
    """

    name: str
    agreed: Mapping[str, object]


@dataclass(frozen=True)
class NeededFile:
    """A file, folder or device that the settings name, and what to do where this computer has none of that name."""

    path: Path
    remedy: str


class ProtocolSettings(Strict):
    """What every protocol's settings have in common. Each protocol adds connect, trigger, points, acknowledge."""

    other_names = MACHINE_KEYS

    points: Mapping[str, PointSettings]

    def referenced_points(self) -> Mapping[str, str]:
        """Key path -> name of the point it refers to, for references inside the protocol's own keys."""
        return {}

    def asking(self) -> "AnyInterlock | None":
        """How the machine asks before it starts a unit; None: it does not, or is not answered."""
        interlock: AnyInterlock | None = getattr(self, "interlock", None)
        return interlock if interlock is not None and interlock.enabled else None

    @property
    def result_points(self) -> Mapping[str, PointSettings]:
        """The points of a result: all but those by which the machine asks before it starts a unit."""
        return self.points

    def shared_line(self) -> SharedLine | None:
        """The line this machine may share with others of its protocol; None where it needs its port for itself."""
        return None

    @property
    def longest_job_s(self) -> float | None:
        """For a machine that works on request (``Performing``): how long one job may take by these settings."""
        return None

    @property
    def holds_results(self) -> bool:
        """The trigger is the ready signal of a handshake in four phases: while it is on, a result waits, with all of
        its points, also where the link was opened only then."""
        return False

    def needed_files(self) -> Mapping[str, NeededFile]:
        """Key path -> what has to be on the station's computer there; nothing is looked at here."""
        return {}

    def warnings(self) -> Mapping[str, str]:
        """Key path -> what is allowed there and likely to be regretted, with its remedy."""
        return {}


@dataclass(frozen=True)
class PointValue:
    """One point of a reading.

    ``value`` is None when there is none; ``problem`` then says why in a technician's words. A value that is not a
    finite number is ``value=None`` with its text in ``original``. The timestamps and the status code are the machine's
    own, however wrong its clock is (see ``contracts.measurement.Measurement``).
    """

    value: RawValue | None
    quality: Quality = Quality.GOOD
    source_timestamp: datetime | None = None
    server_timestamp: datetime | None = None
    status_code: str | None = None
    original: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class MachineEvent:
    """The machine signalled: a result is there to be read.

    ``first`` is True for the state found when listening began: it may be a result that waited, one that was already
    taken, or none; its owner decides, by the last cycle key it kept. ``key`` is the trigger's value (a counter or
    flag), None where the event itself is the message. ``payload`` is that message, for protocols that push.
    ``gap`` is True when signals before this one are lost, or may be: the link was down, or a queue ran over.
    ``maybe_again`` is True when it may be a result that was told before, and its number alone can tell: the machine was
    asked, whether it had a new one or not; a point changed, whichever way; or an earlier life of the link told it.
    """

    signalled_at: datetime
    key: Scalar | None = None
    payload: bytes | None = None
    first: bool = False
    gap: bool = False
    maybe_again: bool = False


@dataclass(frozen=True)
class MachineRequest(MachineEvent):
    """The machine asks whether it may start a unit, and waits. ``key`` is the number of its request (0 is none), or
    its flag.

    ``first``: it stood there when listening began, and may have been answered before.
    """


@dataclass(frozen=True)
class Reading:
    """One consistent snapshot of a machine's points. ``raw`` is what came over the wire, where that is bytes;
    ``words`` where it is registers, by the place they begin at."""

    taken_at: datetime
    values: Mapping[str, PointValue] = field(default_factory=dict)
    raw: bytes | None = None
    words: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def plain(self) -> dict[str, RawValue | None]:
        """The values alone, by point."""
        return {name: point.value for name, point in self.values.items()}


class Driver(Protocol):
    """One machine on one link."""

    async def open(self) -> None:
        """Connect and get ready to listen. Opening an open driver is an error of the caller: RuntimeError.

        Raises LinkError (cannot connect just now) or SetupError (the configuration cannot work).
        """

    async def next_event(self) -> MachineEvent:
        """Wait for the machine's next signal. May be cancelled at any time without losing one.

        The first call after open() reports the present state as an event with ``first=True`` where the machine has
        one (a counter that stands). Raises LinkError.
        """

    async def read(self, event: MachineEvent) -> Reading:
        """Take one consistent snapshot for this event. A torn read is read again. Of a MachineRequest: the points
        that its settings name.

        A point that fails by itself is a PointValue with a ``problem``; the others are still read. Raises LinkError.
        """

    async def close(self) -> None:
        """Release everything. Never raises; may be called at any time, also twice and after a failed open."""


@runtime_checkable
class Acknowledging(Protocol):
    """A machine that waits to be told that its result is kept."""

    async def acknowledge(self, reading: Reading, cycle_key: Scalar | None) -> None:
        """Tell the machine. Called only when the result is on disk; repeating it does no harm.

        ``cycle_key`` fills ``{cycle_key}`` in the settings' value; other ``{point}`` names come from the reading.
        Does nothing when the settings have no ``acknowledge``. Raises LinkError.
        """


@runtime_checkable
class Permitting(Protocol):
    """A machine that asks before it starts a unit: its requests come among its events, as MachineRequest."""

    async def answer(self, values: Mapping[str, Scalar]) -> None:
        """Write the answer: what the settings say, in their order, the last value last. ``values`` are those of
        ``drivers.interlock.ANSWER_NAMES``. Repeating it does no harm. Raises LinkError, or SetupError where the
        machine takes no such value."""


@runtime_checkable
class Displaying(Protocol):
    """A machine with a display for its operator."""

    async def display(self, values: Mapping[str, Scalar]) -> None:
        """Show a text made of these values, those of ``DISPLAY_NAMES``. Does nothing when the settings have no
        ``display``. Raises LinkError."""


@runtime_checkable
class Outcomes(Protocol):
    """A machine whose operator is told what became of the result."""

    def outcome(self, outcome: str) -> None:
        """The record's outcome, once it is on disk and before ``acknowledge``."""


@runtime_checkable
class Measuring(Protocol):
    """A driver that knows how well its link does."""

    def figures(self) -> Mapping[str, float]:
        """What it measured since open(), by names that end in their unit (``poll_interval_seconds``)."""


@runtime_checkable
class Performing(Protocol):
    """A machine that works on request (a label printer)."""

    async def perform(self, job: Mapping[str, Scalar]) -> Reading:
        """Do one job with these values (``serial_number``, ...) and report how it went. Raises LinkError."""


@runtime_checkable
class Conditioned(Protocol):
    """A machine that says what keeps it from working: paper out, head open, a door."""

    def watch_conditions(self, told: Callable[[Mapping[str, str]], None]) -> None:
        """Call ``told`` from now on with every condition that stands, each time the machine has said how it is.

        Each has a fixed name (``paper_out``) and a text: what is wrong, and what to do. No condition: an empty
        mapping. Over a lost link nothing is told: what was heard last stands until the machine is heard again.
        """


@dataclass(frozen=True)
class Certificate:
    """What a machine shows to prove who it is, for a person to compare with what stands at the machine."""

    subject: str
    issuer: str
    valid_from: datetime
    valid_until: datetime
    fingerprint: str
    """SHA-256 over the DER form, in pairs of hexadecimal digits with colons."""
    thumbprint: str
    """SHA-1 over the DER form, as OPC-UA tools show it."""
    der: bytes


@runtime_checkable
class Trusting(Protocol):
    """A machine that proves who it is by a certificate, which somebody has to trust once."""

    def make_own_certificate(self) -> Certificate | None:
        """The station's own certificate and key, where the settings say; None where both are there already.

        Raises SetupError, also where the machine is set up without certificates.
        """

    async def shown_certificate(self) -> tuple[Certificate, str | None]:
        """What the machine shows, and why it is not trusted; None: it is. Raises LinkError or SetupError."""

    def trust(self, certificate: Certificate) -> str:
        """Trust it from now on. Where that is written down. Raises SetupError."""


class Fault(StrEnum):
    """What goes wrong with real machines and their wires. Each happens once, now or in the cycle that comes next."""

    DROP_LINK = "drop_link"
    """The connection ends in the middle; the machine can be reached again at once."""
    ANSWER_LATE = "answer_late"
    """The next answer comes when the station has stopped waiting for it."""
    TEAR = "tear"
    """The next snapshot changes while it is read."""
    LOSE_SUBSCRIPTION = "lose_subscription"
    """The machine forgets who listens, and tells nobody."""
    NOISE = "noise"
    """Bytes of no meaning on the wire, between results."""
    JUMP_CLOCK = "jump_clock"
    """The machine's own clock is in another year from now on."""
    REUSE_COUNTER = "reuse_counter"
    """The machine restarts: its counter begins anew. Made by whoever counts, above the simulator."""


@runtime_checkable
class Asking(Protocol):
    """A simulator of a machine that asks before it starts a unit."""

    async def ask(self, values: Mapping[str, RawValue | None], timeout_s: float) -> Mapping[str, Scalar] | None:
        """Ask: set these points, the request's last, and wait for the answer, by the names it stands under.

        ``values`` holds the request's point too. None: no answer in time; one that comes later is not taken.
        """


@runtime_checkable
class Shown(Protocol):
    """A simulator of a machine with a display."""

    async def shown(self, timeout_s: float) -> Mapping[str, str] | None:
        """The next text that is shown, by the names it is made of (``DISPLAY_NAMES``). None: nothing in time."""


class Simulator(Protocol):
    """A machine made of software that speaks the real protocol, from the same settings as the driver."""

    faults: frozenset[Fault]
    """What this simulator can be told to do wrong."""

    async def misbehave(self, fault: Fault) -> None:
        """Arrange for a fault. Raises ValueError for one that is not in ``faults``."""

    async def start(self) -> Mapping[str, str | int]:
        """Listen on a free port. Returns the settings that reach it: ``{"connect.host": "127.0.0.1", ...}``."""

    async def cycle(self, values: Mapping[str, RawValue | None], cycle_key: Scalar | None) -> None:
        """Make one result: set the points (the trigger's last), signal, and return once the station acknowledged it.

        The caller counts: ``values`` holds the counter's point too, ``cycle_key`` its value. A result that is not
        acknowledged stays presented (a pushing machine repeats it). A machine without handshake returns as soon as
        it has signalled. None makes a point unreadable, where the protocol can say so. Cycles of one machine follow
        each other. Points that are not given keep their last value.
        """

    async def stop(self) -> None:
        """Stop listening and release everything. Never raises."""


@runtime_checkable
class Settable(Protocol):
    """A simulator whose machine has more to be set than its points (a printer without paper)."""

    settable: frozenset[str]
    """Names beside those of its points that ``cycle()`` takes."""
