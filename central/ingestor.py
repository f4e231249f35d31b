"""MQTT -> validate -> one database transaction -> PUBACK and commit acknowledgement (design.md, Commit protocol).

One ordered worker: what waits is taken together, written in one transaction by one thread, and only then
acknowledged, in order of receipt, to the connection it came from.

Several ingestors share the records (a shared subscription); each hears every birth and answers it. That is more than
is needed and never wrong: an answer is what the ledger says, whoever reads it. What an ingestor had in hand when it
ended was not committed, so the station sends it again and another one takes it.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from central.heard import Heard
from central.publishing import CriteriaPublisher
from central.store import Alarm, Arrival, BirthAnswer, Claim, IngestResult, Seat, StationCommit, Store
from central.validate import ANY, stray, validate, validate_birth
from contracts.envelope import Birth
from contracts.errors import DataError, LinkError, StoreError
from contracts.serial_form import SerialForm
from contracts.topics import StationTopics, all_stations, parse, shared
from messaging.broker import BrokerAddress
from messaging.lives import live_again_and_again
from messaging.session import Message, Session

log = structlog.get_logger()

CLIENT_ID = "neurohub-ingestor"
GROUP = "neurohub-ingestors"
SESSION_EXPIRY_S = 30 * 86400
BATCH_MESSAGES = 100
BATCH_BYTES = 8 * 2**20
SQLITE_BATCH_BYTES = 256 * 1024
"""Of one transaction where there is one writer at a time: a permit waits for no more than that."""
DATABASE_RETRY_S = 1.0
MOST_REASONS, LONGEST_REASON = 5, 200
"""What the log tells of one transaction's quarantine; ``neurohub-central quarantine`` tells all of it."""

Done = TypeVar("Done")


@dataclass
class Counters:
    """What this ingestor has done since it started."""

    inserted: int = 0
    repeated: int = 0
    quarantined: int = 0
    conflicts: int = 0
    foreign: int = 0

    def add(self, result: IngestResult) -> None:
        """Count one transaction."""
        self.inserted += result.inserted
        self.repeated += result.repeated
        self.quarantined += result.quarantined
        self.conflicts += result.conflicts
        self.foreign += result.foreign


class Ingestor:
    """Takes every station's stream into the store, until stop().

    With an ``instance`` it is one of several on one database, which share the work; the broker forgets it when it
    goes, and gives its share to the others.
    """

    def __init__(
        self, store: Store, address: BrokerAddress, *, instance: str | None = None, serial_form: SerialForm = ANY
    ) -> None:
        self._store = store
        self._address = address
        self._instance = instance
        self._serial_form = serial_form
        self._seat = Seat(store.database, instance)
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self._stopping = asyncio.Event()
        self._told = ""
        self._heard = Heard(self._raise)
        self.counters = Counters()

    async def run(self) -> None:
        """Ingest until stop(). A lost broker or database is tried again for ever.

        Raises SetupError when the seat is taken: another ingestor of this name, or on this SQLite database, runs.
        """
        try:
            await live_again_and_again(self._life, lost=self._lost)
        finally:
            self._writer.shutdown(wait=True)
            self._seat.close()

    def stop(self) -> None:
        """Finish the transaction in hand, then return from run()."""
        self._stopping.set()

    async def turn(self) -> None:
        """Return once the writer thread has turned (systemd's watchdog asks)."""
        await asyncio.get_running_loop().run_in_executor(self._writer, lambda: None)

    async def _life(self) -> None:
        if not await self._begin():
            return
        session, records = self._session()
        # Births come over a session that is always new: not every broker gives what is retained to a resumed one.
        births = Session(self._address, client_id=f"{session.client_id}-births")
        try:
            await session.open([records])
            await births.open([all_stations("state")])
            log.info("broker connected", broker=str(self._address))
            self._told = ""
            publisher = CriteriaPublisher(self._store, session, self._on_writer, self._heard)
            working = [asyncio.create_task(self._work(heard, session)) for heard in (session, births)]
            working.append(asyncio.create_task(publisher.run()))
            stopping = asyncio.create_task(self._stopping.wait())
            try:
                await asyncio.wait({*working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # Each finishes what it has in hand: a transaction that has begun is told of.
                for task in (*working, stopping):
                    task.cancel()
                ends = await asyncio.gather(*working, stopping, return_exceptions=True)
            for end in ends:
                if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                    raise end
        finally:
            await births.close()
            await session.close()

    async def _begin(self) -> bool:
        """Sit down, and open the database anew: it may have been restored. False when stop() came first."""
        while not self._stopping.is_set():
            try:
                await asyncio.get_running_loop().run_in_executor(self._writer, self._open_database)
            except (LinkError, StoreError) as error:
                self._tell_no_database(error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(DATABASE_RETRY_S):
                        await self._stopping.wait()
            else:
                return True
        return False

    async def _on_writer(self, work: Callable[[], Done]) -> Done:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def _open_database(self) -> None:
        self._seat.take()
        self._store.begin_generation()

    def _in_our_seat(self, work: Callable[[], Done]) -> Done:
        """A pool of connections would go on with a database that was restored meanwhile, as if nothing had been."""
        self._seat.check()
        return work()

    def _session(self) -> tuple[Session, str]:
        """A session, and the filter it hears the records by."""
        if self._instance is None:
            alone = Session(self._address, client_id=CLIENT_ID, clean_start=False, session_expiry_s=SESSION_EXPIRY_S)
            return alone, all_stations("records")
        # One of several keeps no session: what it would find there on its return, others could have taken long ago.
        member = Session(self._address, client_id=f"{CLIENT_ID}-{self._instance}")
        return member, shared(all_stations("records"), GROUP)

    async def _work(self, heard: Session, session: Session) -> None:
        while True:
            batch = [await heard.next_message()]
            batch += heard.messages_waiting()
            most = SQLITE_BATCH_BYTES if self._store.database.sqlite else BATCH_BYTES
            for part in _parts(batch, most):
                in_hand = asyncio.create_task(self._take(heard, session, part))
                try:
                    await asyncio.shield(in_hand)
                except asyncio.CancelledError:
                    await asyncio.gather(in_hand, return_exceptions=True)
                    raise

    async def _take(self, heard: Session, session: Session, batch: Sequence[Message]) -> None:
        """Write a run of messages in one transaction, then acknowledge each and tell the stations."""
        arrivals: list[Arrival] = []
        births: list[Birth] = []
        for message in batch:
            found = parse(message.topic)
            if found is None:
                arrivals.append(stray(message))
                continue
            topics, leaf = found
            if leaf == "records":
                arrivals.append(validate(message, topics, self._serial_form))
            elif message.payload:  # a state without content is one that was taken back
                birth = validate_birth(message, topics)
                if isinstance(birth, Birth):
                    births.append(birth)
                else:
                    arrivals.append(birth)
        commits: list[StationCommit] = []
        if arrivals:
            result = await self._kept(arrivals)
            self.counters.add(result)
            commits += result.commits
            self._report(result)
        answers: dict[tuple[str, str], StationCommit] = {}
        for birth in births:
            # The present stream last: a topic retains one message.
            for stream in reversed(birth.of_each_stream()):
                answer = await self._registered(stream, present=stream.stream_id == birth.stream_id)
                if answer is not None and birth.online:
                    key = stream.stream_id, birth.station
                    answers.pop(key, None)
                    answers[key] = answer.told_to(birth.at)
        for message in batch:
            heard.acknowledge(message)
        for station in (*commits, *answers.values()):
            topics = StationTopics(station.site, station.line, station.station)
            payload = station.commit.model_dump_json().encode()
            custody = await session.publish(topics.commits, payload, retain=True)
            self._heard.watch(topics.commits, custody, Claim(station.commit.stream_id, station.station))

    async def _kept(self, arrivals: Sequence[Arrival]) -> IngestResult:
        """Ingest. Where the database does not take it nothing is acknowledged, and this connection ends: it is asked
        anew what it knows."""
        try:
            return await self._on_writer(partial(self._in_our_seat, partial(self._store.ingest, arrivals)))
        except (LinkError, StoreError) as error:
            self._tell_no_database(error)
            raise LinkError(str(error)) from error

    async def _registered(self, birth: Birth, *, present: bool) -> BirthAnswer | None:
        register = partial(self._store.register_birth, birth, present=present)
        try:
            answer = await self._on_writer(partial(self._in_our_seat, register))
        except DataError as error:
            log.error("birth not registered", station=birth.station, error=str(error))
            return None
        except (LinkError, StoreError) as error:
            self._tell_no_database(error)
            raise LinkError(str(error)) from error
        if answer is not None:
            self._alarm(answer.alarms)
        return answer

    def _tell_no_database(self, error: LinkError | StoreError) -> None:
        if self._told != str(error):
            log.error("database does not take records, stations keep them", error=str(error))
            self._told = str(error)

    def _report(self, result: IngestResult) -> None:
        most = Counter(result.refused).most_common(MOST_REASONS)
        for (topic, reason), count in most:
            log.warning(
                "messages quarantined",
                topic=topic[:LONGEST_REASON],
                reason=reason[:LONGEST_REASON],
                count=count,
                total=self.counters.quarantined,
            )
        others = result.quarantined - sum(count for _, count in most)
        if others:
            log.warning("more messages quarantined", count=others, total=self.counters.quarantined)
        self._alarm(result.alarms)

    def _alarm(self, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            log.error(
                alarm.kind.value, station=alarm.claim.station, stream_id=alarm.claim.stream_id, detail=alarm.detail
            )

    def _raise(self, alarm: Alarm) -> None:
        """Keep an alarm of our own, behind whatever the writer has in hand."""

        def keep() -> None:
            try:
                self._store.raise_alarm(alarm)
            except (LinkError, StoreError, DataError) as error:
                log.warning("alarm not kept", alarm=alarm.kind.value, error=str(error))

        self._writer.submit(keep)

    def _lost(self, error: LinkError) -> None:
        if self._told != str(error):
            log.warning("broker link lost", error=str(error))
            self._told = str(error)


def _parts(batch: Sequence[Message], most_bytes: int) -> list[list[Message]]:
    """A batch in runs small enough for one transaction."""
    parts: list[list[Message]] = [[]]
    size = 0
    for message in batch:
        if parts[-1] and (len(parts[-1]) >= BATCH_MESSAGES or size + len(message.payload) > most_bytes):
            parts.append([])
            size = 0
        parts[-1].append(message)
        size += len(message.payload)
    return parts
