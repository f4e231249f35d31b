"""A replay: central asks a station for records again, and says how it went.

The asking is the acknowledgement itself: it leaves out what is wanted, and the station sends it as it sends everything
that is not committed. So it needs no courage: whoever is killed meanwhile, it goes on; what central has already it
recognises by stream, seq and content.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from central.store import Asked, Standing, StationCommit, Store
from central.store.spans import Spans, count
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from messaging.session import Session

LOOK_S = 0.2
"""How often the ledger is looked at."""


@dataclass(frozen=True)
class Outcome:
    """What came of it, in records. ``stored`` is what central had lost, ``open`` what has not come."""

    asked: int
    came: int
    stored: int
    disputed: int
    open: Spans
    online: bool

    @property
    def complete(self) -> bool:
        """True when everything came."""
        return not self.open


async def replay(
    store: Store,
    address: BrokerAddress,
    station: str,
    first: int | None,
    last: int | None,
    *,
    stream: str | None = None,
    patience_s: float,
    progress: Callable[[Asked, Standing], None],
) -> Outcome:
    """Ask for the present stream or for the one named, and wait until everything has come or nothing more does for
    ``patience_s``; then ask no more.

    Where the station went offline meanwhile the asking stands: it sends the rest when it is back. Raises SetupError
    when it cannot be asked, LinkError when the broker cannot be reached (nothing is asked then).
    """
    session = Session(address, client_id=f"neurohub-central-{uuid.uuid4().hex[:12]}")
    await session.open()
    try:
        asked = store.ask_again(station, first, last, stream)
        await _say(session, asked.told)
        now = await _watched(store, asked, patience_s, progress)
        if now.open and now.online:
            await _say(session, store.withdraw(asked))
    finally:
        await session.close()
    came = count(asked.spans) - count(now.open)
    return Outcome(
        count(asked.spans), came, now.records - asked.records, now.disputed - asked.disputed, now.open, now.online
    )


async def _watched(
    store: Store, asked: Asked, patience_s: float, progress: Callable[[Asked, Standing], None]
) -> Standing:
    now = store.standing(asked)
    moved_at = time.monotonic()
    while now.open and now.online and time.monotonic() < moved_at + patience_s:
        progress(asked, now)
        await asyncio.sleep(LOOK_S)
        before, now = now, store.standing(asked)
        if now.open != before.open:
            moved_at = time.monotonic()
    progress(asked, now)
    return now


async def _say(session: Session, told: StationCommit) -> None:
    """To the station, and retained as every acknowledgement is."""
    topics = StationTopics(told.site, told.line, told.station)
    await (await session.publish(topics.commits, told.commit.model_dump_json().encode(), retain=True))
