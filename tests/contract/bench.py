"""What the contract suite needs of a protocol: a machine to talk to, and ways to make its life hard."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from drivers.base import Driver, RawValue, Simulator


@dataclass
class Bench:
    """One protocol (or transport) under test. ``simulator`` is started; ``driver()`` makes a new, closed driver."""

    simulator: Simulator
    driver: Callable[[], Driver]
    values: Mapping[str, RawValue]
    """One good cycle, the counter's point left out."""
    cycle_key: str
    """Name of the counter's point."""
    cut: Callable[[], Awaitable[None]]
    """Break the link at once, as an unplugged cable or a crashed machine would."""
    restore: Callable[[], Awaitable[None]]
    """Make the machine reachable again, at the same address."""
    unreachable: Callable[[], Driver]
    """A driver whose machine is not there: open() fails with LinkError."""
    tear: Callable[[Mapping[str, RawValue], int], Awaitable[None]] | None = None
    """Arrange that these values and counter appear in the middle of the next read, so that it is torn; None where
    the protocol delivers a result as one message and cannot tear it."""
