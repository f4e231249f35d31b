"""A disk that refuses: the machine waits, and nothing is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from contracts.errors import LinkError, StoreError

log = structlog.get_logger()

Kept = TypeVar("Kept")

DISK_RETRY_S = 1.0


class PatientDisk:
    """Keeps what a machine said, as soon as the disk takes it. ``stopping`` ends the patience."""

    def __init__(self, machine: str, stopping: asyncio.Event) -> None:
        self._machine = machine
        self._stopping = stopping
        self._log = log.bind(machine=machine)

    async def keep(self, work: Callable[[], Awaitable[Kept]]) -> Kept:
        """Until the disk takes it: a full disk stops acknowledging the machine and loses nothing.

        Raises LinkError where the station is stopped while the disk refuses.
        """
        told = False
        while True:
            try:
                kept = await work()
            except StoreError as error:
                if not told:
                    self._log.error("disk refuses, machine not acknowledged", error=str(error))
                    told = True
                if self._stopping.is_set():
                    raise LinkError(f"{self._machine}: stopped while the disk refused a result") from error
                await within(DISK_RETRY_S, self._stopping)
            else:
                if told:
                    self._log.info("disk keeps results again")
                return kept


async def within(seconds: float, event: asyncio.Event) -> None:
    """Until the event, or for so long."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
