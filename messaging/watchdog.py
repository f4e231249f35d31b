"""systemd's watchdog, fed while the event loop turns and a writer answers: nothing absent starves it."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from sdnotify import SystemdNotifier

from contracts.errors import StoreError


async def feed_watchdog(notifier: SystemdNotifier, turn: Callable[[], Awaitable[None]]) -> None:
    """Say READY, then feed the watchdog at half of systemd's interval, each time after ``turn`` has returned.

    ``turn`` proves that the thread that keeps results is alive. A disk that refuses is told elsewhere; the process
    is alive then, and restarting it would not help.
    """
    await turn()
    notifier.notify("READY=1")
    interval_us = int(os.environ.get("WATCHDOG_USEC", "0"))
    while interval_us > 0:
        await asyncio.sleep(interval_us / 2_000_000)
        try:
            await turn()
        except StoreError:
            notifier.notify("STATUS=the outbox cannot write")
        notifier.notify("WATCHDOG=1")
