"""Seals the audit trail while central runs, and keeps anchors of the chain where the database cannot reach them.

A thread and a connection of its own: no writer waits for it. Where several ingestors run, one of them seals.
"""

import asyncio
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import structlog

from central.anchors import AnchorFile
from central.store import Anchor, Seat, Store
from contracts.errors import LinkError, NeuroHubError, SetupError
from contracts.topics import audit
from messaging.broker import BrokerAddress
from messaging.lives import live_again_and_again
from messaging.session import Session

log = structlog.get_logger()

SEAL_EVERY_S = 5.0
ANCHOR_EVERY_S = 60.0
"""A line in the file and a message to the broker so often, at most."""


class AuditSealer:
    """Until it is cancelled. ``store`` is used by nobody else."""

    def __init__(
        self,
        store: Store,
        address: BrokerAddress,
        file: AnchorFile,
        *,
        seal_every_s: float = SEAL_EVERY_S,
        anchor_every_s: float = ANCHOR_EVERY_S,
    ) -> None:
        self._store = store
        self._address = address
        self._file = file
        self._seal_every_s = seal_every_s
        self._anchor_every_s = anchor_every_s
        self._seat = Seat(store.database, None, service="audit seals", patience_s=0)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit-sealer")
        self._anchored: Anchor | None = None
        self._anchored_at = -anchor_every_s
        self._new = asyncio.Event()
        self._told = ""
        self._away = False
        self.seals = 0

    def prepare(self) -> None:
        """Raises SetupError where anchors cannot be kept."""
        self._file.prepare()

    async def run(self) -> None:
        """Seal and anchor. A database, a disk or a broker that is away is tried again for ever."""
        publishing = asyncio.create_task(live_again_and_again(self._publishing, lost=self._lost))
        try:
            while True:
                await self._in_thread()
                await asyncio.sleep(self._seal_every_s)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            self._thread.shutdown(wait=True)
            self._seat.close()

    async def _in_thread(self) -> None:
        try:
            anchor = await asyncio.get_running_loop().run_in_executor(self._thread, self._pass)
        except NeuroHubError as error:
            if self._told != str(error):
                log.error("audit trail not sealed", error=str(error))
                self._told = str(error)
            return
        self._told = ""
        if anchor is not None:
            self._new.set()

    def _pass(self) -> Anchor | None:
        try:
            self._seat.take()
        except SetupError:
            return None  # another one seals
        self.seals += len(self._store.seals.seal())
        if time.monotonic() < self._anchored_at + self._anchor_every_s:
            return None
        anchor = self._store.seals.anchor()
        if anchor is None or anchor == self._anchored:
            return None
        self._file.add(anchor)
        self._anchored, self._anchored_at = anchor, time.monotonic()
        return anchor

    async def _publishing(self) -> None:
        session = Session(self._address, client_id=f"neurohub-audit-{uuid.uuid4().hex[:12]}")
        try:
            await session.open()
            self._away = False
            both = [asyncio.create_task(self._tell(session)), asyncio.create_task(session.lost())]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                ends = await asyncio.gather(*both, return_exceptions=True)
            for end in ends:
                if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                    raise end
        finally:
            await session.close()

    async def _tell(self, session: Session) -> None:
        """The newest anchor, and each one after it."""
        told: Anchor | None = None
        while True:
            self._new.clear()
            anchor = self._anchored
            if anchor is not None and anchor != told:
                payload = anchor.model_dump_json().encode()
                await (await session.publish(audit(anchor.epoch), payload, retain=True))
                told = anchor
            else:
                await self._new.wait()

    def _lost(self, error: LinkError) -> None:
        if not self._away:
            log.warning("anchors not published, the file has them", error=str(error))
        self._away = True


async def retained_anchor(address: BrokerAddress, epoch: str, *, patience_s: float) -> Anchor | None:
    """The anchor that the broker keeps of this database; None when it keeps none. Raises LinkError."""
    session = Session(address, client_id=f"neurohub-audit-{uuid.uuid4().hex[:12]}")
    try:
        await session.open([audit(epoch)])
        async with asyncio.timeout(patience_s):
            message = await session.next_message()
        session.acknowledge(message)
        return Anchor.model_validate_json(message.payload)
    except TimeoutError:
        return None
    finally:
        await session.close()
