"""Tells the stations which criteria are in force and to come: retained, whenever that changes."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from central.heard import Heard
from central.store import CENTRAL, Claim, Store
from contracts import topics
from contracts.criteria import Publication
from contracts.errors import DataError, LinkError, RefusedError, StoreError
from messaging.session import Session

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
"""How long a new revision may take to leave for the stations."""


class CriteriaPublisher:
    """Over one connection: everything is published anew, then what changes. Several publishers tell the same.

    ``on_writer`` runs a function of the store in the thread that uses it.
    """

    def __init__(
        self,
        store: Store,
        session: Session,
        on_writer: Callable[[Callable[[], list[Publication]]], Awaitable[list[Publication]]],
        heard: Heard,
    ) -> None:
        self._store = store
        self._session = session
        self._on_writer = on_writer
        self._heard = heard
        self._told: dict[str, bytes] = {}
        self._failed = ""

    async def run(self) -> None:
        """Until it is cancelled. A database that is away is asked again. Raises LinkError when the broker is lost."""
        while True:
            for publication in await self._looked_up():
                await self._tell(publication)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _looked_up(self) -> list[Publication]:
        try:
            found = await self._on_writer(self._store.criteria.publications)
        except (LinkError, StoreError, DataError) as error:
            if self._failed != str(error):
                log.warning("criteria not looked up", error=str(error))
                self._failed = str(error)
            return []
        self._failed = ""
        return found

    async def _tell(self, publication: Publication) -> None:
        payload = publication.encoded()
        if self._told.get(publication.process) == payload:
            return
        topic = topics.criteria(publication.process)
        custody = await self._session.publish(topic, payload, retain=True)
        self._heard.watch(topic, custody, Claim(self._store.central_stream, CENTRAL))
        try:
            await custody
        except RefusedError:
            return  # tried again: whatever else central does goes on meanwhile
        self._told[publication.process] = payload
        revisions = [one.number for one in publication.revisions]
        log.info("criteria published", process=publication.process, revisions=revisions)
