"""What the contract suite needs of a protocol: a machine to talk to, and ways to make its life hard."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from contracts.measurement import Scalar
from drivers.base import Driver, RawValue, Simulator


@dataclass(kw_only=True)
class Bench:
    """One protocol (or transport) under test. ``simulator`` is started; ``driver()`` makes a new, closed driver."""

    simulator: Simulator
    driver: Callable[[], Driver]
    cut: Callable[[], Awaitable[None]]
    """Break the link at once, as an unplugged cable or a crashed machine would."""
    restore: Callable[[], Awaitable[None]]
    """Make the machine reachable again, at the same address."""
    unreachable: Callable[[], Driver]
    """A driver whose machine is not there: open() fails with LinkError."""


@dataclass(kw_only=True)
class ResultBench(Bench):
    """A machine that makes results, counts them, and holds each until it is acknowledged."""

    values: Mapping[str, RawValue]
    """One good cycle, the counter's point left out."""
    other_values: Mapping[str, RawValue]
    """Another cycle: every point differs, so that a mixture of both shows."""
    cycle_key: str
    """Name of the counter's point."""
    present: Callable[[Mapping[str, RawValue]], Awaitable[None]]
    """Make a result once, the counter's value among its values, and do not wait for its acknowledgement."""
    unreadable: str
    """A point that the machine can fail to give by itself."""
    pushes: bool = False
    """The machine sends each result as a message, again and again until it is acknowledged; nothing stands there to
    be read at other times, and what has come can be read without the link."""
    asks_about: str = "ask_serial"
    """The point that says which unit a request is about; ``ask`` is its number."""
    tear: Callable[[Mapping[str, RawValue]], Awaitable[None]] | None = None
    """Arrange that these values, the counter's among them, appear in the middle of the next read, so that it is torn;
    None where the protocol delivers a result as one message and cannot tear it."""


@dataclass(kw_only=True)
class JobBench(Bench):
    """A machine that works on request."""

    job: Mapping[str, Scalar]
    done: Mapping[str, RawValue] = field(default_factory=dict)
    """What it reports of a job that went well."""
