"""The store: what central keeps, behind one interface for SQLite and PostgreSQL."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import sqlalchemy as sa

from central.store import (
    asking,
    digests,
    golden,
    permitting,
    reconciling,
    records,
    reports,
    rights,
    schema,
)
from central.store.alarms import AlarmRow, acknowledge_alarms, list_alarms, raise_alarms
from central.store.arrivals import Alarm, Arrival, BirthAnswer, Claim, Counts, IngestResult, Rejected, StationCommit
from central.store.asking import Asked, Standing
from central.store.births import keep_birth, keep_earlier
from central.store.contents import contents
from central.store.criteria import CriteriaRevisions
from central.store.database import Author, Database
from central.store.decisions import Decisions
from central.store.digests import Changed
from central.store.golden import GoldenRow
from central.store.incomplete import Incomplete, incomplete
from central.store.ingest import Ingestion
from central.store.leases import give_back
from central.store.ledger import Place, claim_streams, find, keep, may_own, read_opening
from central.store.listing import StreamStatus, stream_statuses
from central.store.months import Months
from central.store.numbering import SerialForm, reserve
from central.store.quarantined import Quarantined, QuarantinedWhole, listed, settle, whole
from central.store.reconciling import Period, Reconciliation
from central.store.reports import Booking, UnitRow
from central.store.rows import Row, started_at
from central.store.sealing import AuditSeals
from central.store.statements import insert_once
from central.store.stations import StationStatus, station_statuses
from central.store.tables import store_meta
from contracts.digest import RouteDigest
from contracts.envelope import Birth, Commit
from contracts.errors import DataError, SetupError
from contracts.facts import AnyDecision, HoldReleased
from contracts.interlock import NumbersAnswer, NumbersRequest, PermitAnswer, PermitRequest, PermitReturned
from contracts.permit import PermitRecord
from contracts.record import ProcessRecord, canonical
from contracts.route_model import RouteLimits
from contracts.topics import StationTopics

NO_COLUMN_HOLDS_IT = "a value that no column of the database can hold"


class Store:
    """Central's database. Every method is one transaction; use it from one thread at a time.

    Raises LinkError (unreachable, locked: try again), StoreError (disk full or damaged) and SetupError (address,
    rights or schema wrong). A password never stands in an error.
    """

    def __init__(
        self, url: str, *, echo: bool = False, limits: RouteLimits | None = None, lease_s: float | None = None
    ) -> None:
        self.database = Database(url, echo=echo)
        self.limits = limits or RouteLimits()
        self._lease_s = lease_s
        self._months = Months(self.database)
        self._meta: dict[str, str] = {}
        self.criteria = CriteriaRevisions(self.database, lambda: self.epoch)
        self.seals = AuditSeals(self.database, lambda: self.epoch)

    def migrate(self, service_role: str | None = None) -> None:
        """Bring the database to the schema of this version, from empty or from an earlier one.

        ``service_role``: the role of PostgreSQL that the service connects as, where that is not the owner. Raises
        SetupError for one that would be the owner, and on SQLite, which has none.
        """
        if service_role is not None and self.database.sqlite:
            raise SetupError("--service-role: SQLite has no roles, DATABASE_URL names SQLite")
        schema.migrate(self.database)
        if service_role is not None:
            with self.database.writing() as connection:
                rights.grant_to_service(connection, service_role)

    def check_schema(self) -> None:
        """Raises SetupError, with the command that helps, when the schema is not the one this version needs."""
        schema.check(self.database)

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self.database.close()

    @property
    def epoch(self) -> str:
        """Names this database: another one has another epoch."""
        return self._known("epoch")

    @property
    def central_stream(self) -> str:
        """The stream of people's decisions."""
        return self._known("central_stream")

    @contextmanager
    def writing(self, author: Author) -> Iterator[sa.Connection]:
        """One transaction of a person, named in the audit trail; all of it is kept, or nothing."""
        self._months.provide(())
        with self.database.writing(author) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction that reads one state of the database throughout."""
        with self.database.reading() as connection:
            yield connection

    def begin_generation(self) -> None:
        """Say that the database is open anew: what was said before of its ledgers is no word of this one.

        Called whenever an ingestor begins, and when the database was away: it may have been restored meanwhile.
        """
        row = {"key": "generation", "value": uuid4().hex}
        with self.database.writing() as connection:
            insert_once(connection, store_meta, [row])
            connection.execute(sa.update(store_meta).where(store_meta.c.key == row["key"]).values(value=row["value"]))

    def ingest(self, arrivals: Sequence[Arrival]) -> IngestResult:
        """Take these messages in, in one transaction: all of it is kept, or nothing.

        A record that the database itself refuses (DataError) must not stop its stream: the batch is then taken record
        by record, and that one goes to quarantine.
        """
        try:
            return self._ingest(arrivals)
        except DataError:
            return _added([self._ingest_alone(single) for single in _singles(arrivals)])

    def _ingest(self, arrivals: Sequence[Arrival]) -> IngestResult:
        records = (record for arrival in arrivals for _, record, _ in arrival.records)
        self._months.provide(started_at(record) for record in records if isinstance(record, ProcessRecord))
        with self.database.writing() as connection:
            opening = read_opening(connection)
            return Ingestion(connection, self.limits, opening, datetime.now(UTC), self._lease_s).run(arrivals)

    def _ingest_alone(self, arrival: Arrival) -> IngestResult:
        try:
            return self._ingest([arrival])
        except DataError:
            if not arrival.records:
                raise
            [(seq, record, _)] = arrival.records
            topic = StationTopics(arrival.site, arrival.line, arrival.station).records
            refused = Rejected(topic, arrival.stream_id, seq, seq, NO_COLUMN_HOLDS_IT, canonical(record))
            return self._ingest([replace(arrival, records=(), rejected=[refused])])

    def add_decision(self, decision: AnyDecision, author: Author | None = None) -> int:
        """Keep a person's decision as a fact of central's own stream and fold what it touches; answers its seq."""
        self._months.provide(())
        with self.database.writing(author or Author(name=decision.author)) as connection:
            return self.decisions(connection).keep(decision)

    def decisions(self, connection: sa.Connection) -> Decisions:
        """What people decide and enter in this transaction, which writes."""
        # Not by a second connection: a pool whose every connection waits for one more never moves again.
        stream_id = read_opening(connection).central_stream
        return Decisions(connection, stream_id, self.limits, datetime.now(UTC))

    def provide_months(self, moments: Iterable[datetime]) -> None:
        """Make what records of these moments need, before the transaction that keeps them begins."""
        self._months.provide(moments)

    # -- before a unit starts ----------------------------------------------------------------------------------------

    def answer_permit(self, question: PermitRequest) -> PermitAnswer:
        """May this unit start here? The answer is kept; where it is yes, no other station gets one for a while."""
        with self.database.writing(urgent=True) as connection:
            return permitting.answer(connection, question, self.limits, datetime.now(UTC), self._lease_s)

    def return_permit(self, returned: PermitReturned) -> bool:
        """A permit came to nothing: another station may have the unit. False when that was so already."""
        with self.database.writing(urgent=True) as connection:
            return give_back(connection, returned.serial_number, returned.station, returned.permit)

    def reserve_numbers(self, question: NumbersRequest, form: SerialForm) -> NumbersAnswer:
        """Serial numbers of a LOT for a station that gives units their number."""
        with self.database.writing(urgent=True) as connection:
            return reserve(connection, question, form, datetime.now(UTC))

    def route_digests(self, most: int = 20) -> list[tuple[Changed, RouteDigest]]:
        """What stations have to be told of LOTs that have changed; ``digest_published`` when they were."""
        epoch, now = self.epoch, datetime.now(UTC)
        with self.database.reading() as connection:
            return [
                (one, permitting.digest(connection, one, self.limits, epoch, now))
                for one in digests.to_publish(connection, most)
            ]

    def digest_published(self, told: Changed) -> None:
        """Stations were told."""
        with self.database.writing() as connection:
            digests.published(connection, told)

    def publish_again(self) -> None:
        """Every LOT that still matters is among ``route_digests`` again."""
        with self.database.writing() as connection:
            digests.forget_published(connection, datetime.now(UTC))

    def incomplete(self, station: str | None = None) -> list[Incomplete]:
        """Permits without a result, the oldest first."""
        with self.database.reading() as connection:
            return incomplete(connection, station)

    def golden(self, station: str | None = None) -> list[GoldenRow]:
        """The last check of every golden sample, and the failed ones that hold units still."""
        with self.database.reading() as connection:
            return golden.golden_rows(connection, station)

    def release(self, hold_id: str, author: str, reason: str) -> list[str]:
        """Release this hold on every unit that it holds, a decision for each; answers which those were."""
        with self.writing(Author(name=author)) as connection:
            decisions, units = self.decisions(connection), golden.held_by(connection, hold_id)
            for number in units:
                who = {"author": author, "decided_at": decisions.now, "reason": reason}
                decisions.keep(HoldReleased(hold_id=hold_id, serial_number=number, **who))
        return units

    # -- streams -----------------------------------------------------------------------------------------------------

    def commit_of(self, stream_id: str, station: str | None = None) -> Commit | None:
        """What has arrived of a stream, from its owner or from the station named; None when it is not known."""
        with self.database.reading() as connection:
            ledger = find(connection, stream_id, station)
            opening = read_opening(connection)
        return None if ledger is None else ledger.commit(opening, datetime.now(UTC)).commit

    def register_birth(self, birth: Birth, *, present: bool = True) -> BirthAnswer | None:
        """Keep what a station says of a stream, known from now on; answers what has arrived of it.

        ``present`` is False for a stream the station wrote before and still holds records of. It does not become its
        owner by that, and of another station's stream nothing is asked: None.
        """
        now = datetime.now(UTC)
        claim, place = Claim(birth.stream_id, birth.station), Place(birth.site, birth.line)
        with self.database.writing() as connection:
            if not present and not may_own(connection, claim):
                return None
            # A copied outbox holds another's stream, too: holding one makes nobody its owner, writing in it does.
            ledger = claim_streams(connection, {claim: place}, now, () if present else (claim,))[claim]
            alarms = keep_birth(connection, ledger, birth, now) if present else keep_earlier(connection, ledger, birth)
            keep(connection, [ledger], {claim: place}, now)
            raise_alarms(connection, alarms, now)
            told = ledger.commit(read_opening(connection), now)
            if birth.compare_from is not None:
                held = contents(connection, ledger, birth.compare_from)
                told = replace(told, commit=told.commit.model_copy(update={"contents": held}))
        return BirthAnswer(told, tuple(alarms))

    def streams(self, station: str | None = None) -> list[StreamStatus]:
        """The ledger of every station's streams, or of one station's."""
        with self.database.reading() as connection:
            return stream_statuses(connection, self.central_stream, station)

    def stations(self, since: datetime) -> list[StationStatus]:
        """Every station as last heard, with the machines that have a result since then."""
        with self.database.reading() as connection:
            return station_statuses(connection, stream_statuses(connection, self.central_stream), since)

    def ask_again(
        self, station: str, first: int | None = None, last: int | None = None, stream: str | None = None
    ) -> Asked:
        """Ask a station to send its present stream again, or an earlier one, by how its name begins. Raises SetupError,
        with the reason, where it cannot.

        The answer's acknowledgement has to be published: what it leaves out is sent again.
        """
        with self.database.writing() as connection:
            return asking.ask_again(connection, self.central_stream, station, first, last, datetime.now(UTC), stream)

    def withdraw(self, asked: Asked) -> StationCommit:
        """Ask no more for what has not come."""
        with self.database.writing() as connection:
            return asking.withdraw(connection, asked.claim, datetime.now(UTC))

    def standing(self, asked: Asked) -> Standing:
        """How far it has come."""
        with self.database.reading() as connection:
            return asking.standing(connection, self.central_stream, asked)

    def reconcile(self, shifts: Sequence[Period], station: str | None = None) -> Reconciliation:
        """Machines' counters against records, shift by shift, with the numbers that are missing."""
        with self.database.reading() as connection:
            return reconciling.reconcile(connection, self.central_stream, shifts, station)

    def raise_alarm(self, alarm: Alarm) -> None:
        """Keep something that someone has to look into."""
        with self.database.writing() as connection:
            raise_alarms(connection, [alarm], datetime.now(UTC))

    def alarms(self, *, acknowledged: bool = False) -> list[AlarmRow]:
        """What someone has to look into, newest first; with ``acknowledged`` also what was looked into."""
        with self.database.reading() as connection:
            return list_alarms(connection, acknowledged=acknowledged)

    def acknowledge_alarms(self, ids: Collection[int]) -> int:
        """Close these alarms; answers how many were open."""
        with self.database.writing() as connection:
            return acknowledge_alarms(connection, ids, datetime.now(UTC))

    def quarantined(
        self, station: str | None = None, limit: int = 100, skip: int = 0, *, settled: bool = False
    ) -> tuple[list[Quarantined], int]:
        """What is in quarantine, the newest first, ``limit`` of them after ``skip``; and how many there are. Of one
        station: by its topics. ``settled``: with those that people have settled."""
        with self.database.reading() as connection:
            return listed(connection, station, limit, skip, settled=settled)

    def settle_quarantined(self, entry: int, done: str, author: Author, reason: str) -> None:
        """A person retried or discarded it; it stays, whole. Raises DataError where that was said before."""
        with self.writing(author) as connection:
            settle(connection, entry, done, author.name or "", reason, datetime.now(UTC))

    def quarantined_whole(self, entry: int) -> QuarantinedWhole:
        """One of them with its bytes. Raises DataError where there is none of this id."""
        with self.database.reading() as connection:
            return whole(connection, entry)

    def record(self, stream_id: str, seq: int) -> ProcessRecord | None:
        """A committed record, exactly as it was sent; None when there is none or it is disputed."""
        with self.database.reading() as connection:
            return reports.record(connection, stream_id, seq)

    @contextmanager
    def records(
        self, since: datetime, until: datetime, process: str | None = None, station: str | None = None
    ) -> Iterator[Iterator[ProcessRecord]]:
        """The records that began between two moments, those of one unit together, read as they are taken."""
        with self.database.reading() as connection:
            yield records.stream(connection, since, until, process, station)

    def measured_by_machines(self, since: datetime, until: datetime, process: str) -> dict[tuple[str, str], set[str]]:
        """Station and machine -> what its records of a process hold."""
        with self.database.reading() as connection:
            return records.measured_by_machines(connection, since, until, process)

    def bookings(self, stream_ids: Collection[str]) -> list[Booking]:
        """The committed records of these streams, each with the unit and the process its row belongs to."""
        with self.database.reading() as connection:
            return reports.bookings(connection, stream_ids)

    def units(self, serial_numbers: Iterable[str]) -> dict[str, UnitRow]:
        """Where these units stand, by serial number; a unit that is not known is not there."""
        with self.database.reading() as connection:
            return reports.units(connection, serial_numbers)

    def permits(self, stream_ids: Collection[str]) -> list[PermitRecord]:
        """The committed permits and refusals of these streams, in the order of stream and seq."""
        with self.database.reading() as connection:
            return reports.permits(connection, stream_ids)

    def counts(self) -> Counts:
        """Rows for reconciliation."""
        with self.database.reading() as connection:
            return reports.counts(connection, self.central_stream)

    def canonical_rows(self) -> dict[str, list[Row]]:
        """The determined content: equal for two databases that hold the same facts, however they came."""
        with self.database.reading() as connection:
            return reports.canonical_rows(connection, self.central_stream)

    def _known(self, key: str) -> str:
        if key not in self._meta:
            with self.database.reading() as connection:
                rows = connection.execute(sa.select(store_meta.c.key, store_meta.c.value)).all()
            self._meta = {row.key: row.value for row in rows}
        if key not in self._meta:
            raise SetupError(f"the database has no {key}: it was not made by a migration of ours")
        return self._meta[key]


def _singles(arrivals: Iterable[Arrival]) -> Iterable[Arrival]:
    """The same content, each record and each reject by itself."""
    for one in arrivals:
        for record in one.records:
            yield replace(one, records=[record], rejected=())
        for rejected in one.rejected:
            yield replace(one, records=(), rejected=[rejected])


def _added(results: Sequence[IngestResult]) -> IngestResult:
    last: dict[tuple[str, str], StationCommit] = {}
    for told in (told for result in results for told in result.commits):
        key = told.commit.stream_id, told.station
        last[key] = told.after(last[key].commit) if key in last else told
    return IngestResult(
        commits=tuple(last.values()),
        inserted=sum(result.inserted for result in results),
        repeated=sum(result.repeated for result in results),
        refused=sum((Counter(result.refused) for result in results), Counter()),
        conflicts=sum(result.conflicts for result in results),
        foreign=sum(result.foreign for result in results),
        alarms=tuple(alarm for result in results for alarm in result.alarms),
    )
