"""One ingest transaction: every record once, what is wrong to quarantine, what is touched folded, ledgers moved."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from central.store import golden, names
from central.store.alarms import raise_alarms
from central.store.arrivals import Alarm, AlarmKind, Arrival, Claim, IngestResult, StationCommit
from central.store.booking import book, processes_by_code
from central.store.folding import WrongPermit, named_by, refold
from central.store.leases import end_leases, lease_offline
from central.store.ledger import Ledger, Opening, Place, claim_streams, keep
from central.store.quarantined import OTHER_CONTENT, Entry, in_quarantine, quarantine_once
from central.store.rows import PERMIT, Row, fact_columns, fact_row, impossible, tombstone
from central.store.spans import told, union
from central.store.statements import insert_all, rows_where
from central.store.tables import facts, process_data
from contracts.envelope import COMMIT_RANGES, Range, ranges_of
from contracts.permit import PermitRecord, StationRecord
from contracts.record import ProcessRecord, canonical
from contracts.route_model import FactKey, RouteLimits
from contracts.topics import StationTopics


@dataclass(frozen=True)
class Offer:
    """A record that came under a number, and from whom. ``sender`` is the agent's process, where it says so."""

    topic: str
    claim: Claim
    record: StationRecord
    sender: str | None


Offers = dict[str, Offer]
"""What came under one (stream, seq), by digest: more than one content is a conflict."""


class Ingestion:
    """The work of one transaction. Use once."""

    def __init__(
        self,
        connection: sa.Connection,
        limits: RouteLimits,
        opening: Opening,
        now: datetime,
        lease_s: float | None = None,
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._opening = opening
        self._now = now
        self._lease_s = lease_s
        self._ledgers: dict[Claim, Ledger] = {}
        self._names = names.Names()
        self._entries: list[Entry] = []
        self._counted: Counter[str] = Counter()
        self._touched: list[Row] = []
        self._disputed: defaultdict[str, set[int]] = defaultdict(set)
        self._alarmed: defaultdict[tuple[AlarmKind, Claim], list[int]] = defaultdict(list)

    def run(self, arrivals: Sequence[Arrival]) -> IngestResult:
        """Do all of it."""
        places = _places(arrivals)
        self._ledgers = claim_streams(self._connection, places, self._now, _unproved(arrivals))
        new = self._compare(self._sorted_out(arrivals))

        ids = names.make(self._connection, self._names, self._now)
        process_ids, numbers = processes_by_code(self._connection)
        rows = [fact_row(*key, record, digest, numbers) for key, (digest, record) in new.items()]
        self._keep_facts(rows)
        units, lots = named_by([*self._touched, *rows])
        for number, key in self._names.serials.items():
            units.setdefault(number, key)
        for number, key in self._names.lots.items():
            lots.setdefault(number, key)
        for number, key in golden.worked_on(self._connection, [*self._touched, *rows]).items():
            units.setdefault(number, key)
        wrong = refold(self._connection, units, lots, self._limits, self._now)
        results = {key: record for key, (_, record) in new.items() if isinstance(record, ProcessRecord)}
        book(self._connection, results, ids, process_ids, self._now)
        end_leases(self._connection, results.values())
        permits = {key: record for key, (_, record) in new.items() if isinstance(record, PermitRecord)}
        lease_offline(self._connection, permits, self._now, self._lease_s)

        quarantined = quarantine_once(self._connection, self._entries, self._now)
        taken = _taken(arrivals)
        for claim, by_sender in taken.items():
            self._ledgers[claim].settle(union(*by_sender.values()), self._now)
        self._note_senders(arrivals)
        touched = [self._ledgers[claim] for claim in sorted(places)]
        keep(self._connection, touched, places, self._now)
        failed = golden.failed_alarms(rows)
        alarms = (*self._alarms(), *wrong_permit_alarms(self._connection, wrong), *failed)
        raise_alarms(self._connection, alarms, self._now)
        return IngestResult(
            commits=tuple(self._commit(ledger, taken.get(ledger.claim, {})) for ledger in touched),
            inserted=len(new),
            repeated=self._counted["repeated"],
            refused=Counter((entry.topic, entry.reason) for entry in quarantined),
            conflicts=self._counted["conflicts"],
            foreign=self._counted["foreign"],
            alarms=alarms,
        )

    def _commit(self, ledger: Ledger, taken: Mapping[str | None, Sequence[Range]]) -> StationCommit:
        """The acknowledgement, with what of whom this transaction has taken."""
        told = ledger.commit(self._opening, self._now)
        said = {
            "taken": {sender: union(ranges)[:COMMIT_RANGES] for sender, ranges in taken.items() if sender is not None},
            "disputed": ranges_of(sorted(self._disputed[ledger.claim.stream_id]))[:COMMIT_RANGES],
        }
        return replace(told, commit=told.commit.model_copy(update=said))

    def _sorted_out(self, arrivals: Sequence[Arrival]) -> dict[FactKey, Offers]:
        """Records by number; what is wrong in itself goes to quarantine.

        Who was seen first with a stream decides nothing about a record, only who is told to begin another one.
        """
        owners = {ledger.claim.stream_id: ledger.claim.station for ledger in self._ledgers.values() if ledger.owner}
        offered: defaultdict[FactKey, Offers] = defaultdict(dict)
        for arrival in arrivals:
            topic = StationTopics(arrival.site, arrival.line, arrival.station).records
            for rejected in arrival.rejected:
                self._entries.append(
                    Entry(
                        rejected.topic,
                        rejected.stream_id,
                        rejected.first_seq,
                        rejected.last_seq,
                        rejected.reason,
                        rejected.payload,
                    )
                )
            for seq, record, digest in arrival.records:
                assert arrival.stream_id is not None, "records come with their stream"
                claim = Claim(arrival.stream_id, arrival.station)
                reason = impossible(record)
                if owners.get(arrival.stream_id, arrival.station) != arrival.station:
                    self._counted["foreign"] += 1
                    self._alarm(AlarmKind.FOREIGN_STREAM, claim, seq, arrival.instance)
                if arrival.stream_id == self._opening.central_stream:
                    reason = "the stream is central's own"
                if reason is not None:
                    self._refuse(topic, (arrival.stream_id, seq), record, reason)
                    continue
                offers = offered[arrival.stream_id, seq]
                self._counted["repeated"] += digest in offers
                offers.setdefault(digest, Offer(topic, claim, record, arrival.instance))
        return offered

    def _refuse(self, topic: str, key: FactKey, record: StationRecord, reason: str) -> Entry:
        stream_id, seq = key
        entry = Entry(topic, stream_id, seq, seq, reason, canonical(record))
        self._entries.append(entry)
        return entry

    def _compare(self, offered: Mapping[FactKey, Offers]) -> dict[FactKey, tuple[str, StationRecord]]:
        """What is new, in order of number; repeats are counted, and a number with two contents is disputed."""
        ledgers: defaultdict[str, list[Ledger]] = defaultdict(list)
        for ledger in self._ledgers.values():
            ledgers[ledger.claim.stream_id].append(ledger)
        known = self._known([key for key in offered if any(ledger.has(key[1]) for ledger in ledgers[key[0]])])
        new: dict[FactKey, tuple[str, StationRecord]] = {}
        disputed: dict[FactKey, Offers] = {}
        for key in sorted(offered):
            contents = offered[key]
            for offer in contents.values():
                self._names.of_record(key, offer.record)
            there = known.get(key)
            if there is not None and contents.keys() == {there["digest"]}:
                self._counted["repeated"] += 1
            elif there is None and len(contents) == 1:
                [(digest, offer)] = contents.items()
                new[key] = digest, offer.record
            else:
                disputed[key] = contents
        self._dispute(disputed, known)
        return new

    def _known(self, keys: Sequence[FactKey]) -> dict[FactKey, Row]:
        by_stream: defaultdict[str, list[int]] = defaultdict(list)
        for stream_id, seq in keys:
            by_stream[stream_id].append(seq)
        thin = sa.select(*(facts.c[name] for name in fact_columns()))
        return {
            (stream_id, row["seq"]): dict(row)
            for stream_id, seqs in by_stream.items()
            for row in rows_where(self._connection, thin.where(facts.c.stream_id == stream_id), facts.c.seq, seqs)
        }

    def _dispute(self, disputed: Mapping[FactKey, Offers], known: Mapping[FactKey, Row]) -> None:
        """Two contents under one number: both to quarantine, the number itself takes no part in anything.

        So it is also where two stations write in one stream: both are right, and nothing says whose the number is.
        Who sent the later one has to begin a new stream: its next numbers would be disputed too.
        """
        for key, offers in disputed.items():
            self._disputed[key[0]].add(key[1])
            there = known.get(key)
            committed = None if there is None else there["digest"]
            keys = {
                digest: self._refuse(offer.topic, key, offer.record, OTHER_CONTENT).key
                for digest, offer in offers.items()
            }
            again = {committed} & keys.keys()
            if there is not None and committed is None:
                kept = in_quarantine(self._connection, keys.values())
                again = {digest for digest, entry_key in keys.items() if entry_key in kept}
            fresh = [digest for digest in keys if digest not in again]
            self._counted["repeated"] += len(again)
            self._counted["conflicts"] += len(fresh)
            for digest in fresh if there is not None else fresh[1:]:
                self._alarm(AlarmKind.OTHER_CONTENT, offers[digest].claim, key[1], offers[digest].sender)
            if there is None:
                self._connection.execute(sa.insert(facts), [{**tombstone(*key), "received_at": self._now}])
            elif committed is not None:
                self._touched.append(there)
                self._withdraw(there)

    def _withdraw(self, there: Row) -> None:
        key = there["stream_id"], there["seq"]
        place = self._ledgers[Claim(there["stream_id"], there["station"])].place
        topic = StationTopics(place.site, place.line, there["station"]).records
        text = there["body"] if there["kind"] == PERMIT else None  # a result stands in process_data
        mine = (process_data.c.stream_id == key[0]) & (process_data.c.seq == key[1])
        if text is None:
            text = self._connection.execute(sa.select(process_data.c.record).where(mine)).scalar_one_or_none()
        if text is not None:  # a row taken out by hand must not stop the stream
            self._entries.append(Entry(topic, key[0], key[1], key[1], OTHER_CONTENT, text.encode()))
        self._connection.execute(sa.delete(process_data).where(mine))
        empty = {name: value for name, value in tombstone(*key).items() if name not in ("stream_id", "seq")}
        self._connection.execute(
            sa.update(facts).where(facts.c.stream_id == key[0], facts.c.seq == key[1]).values(**empty)
        )

    def _alarm(self, kind: AlarmKind, claim: Claim, seq: int, sender: str | None) -> None:
        self._alarmed[kind, claim].append(seq)
        if sender is not None:
            self._ledgers[claim].tell_to_mint(sender)

    def _alarms(self) -> Iterable[Alarm]:
        for (kind, claim), seqs in self._alarmed.items():
            others = sorted(
                ledger.claim.station
                for ledger in self._ledgers.values()
                if ledger.claim.stream_id == claim.stream_id and ledger.claim != claim
            )
            whose = f"; {', '.join(others)} writes in this stream too" if others else ""
            yield Alarm(kind, claim, f"seq {told(ranges_of(sorted(set(seqs))))}{whose}", len(seqs))

    def _note_senders(self, arrivals: Sequence[Arrival]) -> None:
        """What the messages say of their stations beside the records."""
        for arrival in arrivals:
            if arrival.stream_id is None:
                continue
            ledger = self._ledgers[Claim(arrival.stream_id, arrival.station)]
            if arrival.last_seq is not None:
                ledger.last_seq = max(ledger.last_seq or 0, arrival.last_seq)
            offsets = [record.clock_offset_seconds for _, record, _ in arrival.records]
            ledger.clock_offset_seconds = next(
                (offset for offset in reversed(offsets) if offset is not None), ledger.clock_offset_seconds
            )

    def _keep_facts(self, rows: Sequence[Row]) -> None:
        insert_all(self._connection, facts, [{**row, "received_at": self._now} for row in rows])


def wrong_permit_alarms(connection: sa.Connection, wrong: Sequence[WrongPermit]) -> list[Alarm]:
    """One alarm for each stream that a wrong permit came in; ``about`` names a fact, which names its station."""
    found: defaultdict[Claim, list[WrongPermit]] = defaultdict(list)
    for one in wrong:
        mine = (facts.c.stream_id == one.about[0]) & (facts.c.seq == one.about[1])
        station = connection.execute(sa.select(facts.c.station).where(mine)).scalar_one()
        found[Claim(one.about[0], station)].append(one)
    return [
        Alarm(AlarmKind.OFFLINE_PERMIT_WRONG, claim, some[-1].detail.replace("\x00", "\ufffd"), len(some))
        for claim, some in found.items()
    ]


def _places(arrivals: Sequence[Arrival]) -> dict[Claim, Place]:
    """Who writes in which stream, and where it stands."""
    places: dict[Claim, Place] = {}
    for arrival in arrivals:
        for stream_id in {arrival.stream_id, *(rejected.stream_id for rejected in arrival.rejected)}:
            if stream_id is not None:
                places[Claim(stream_id, arrival.station)] = Place(arrival.site, arrival.line)
    return places


def _unproved(arrivals: Sequence[Arrival]) -> set[Claim]:
    """Claims by nothing but what cannot be read: anybody can write a stream's name beside it."""
    proved = {
        Claim(one.stream_id, one.station) for one in arrivals if one.stream_id and (one.records or not one.rejected)
    }
    return _places(arrivals).keys() - proved


def _taken(arrivals: Sequence[Arrival]) -> dict[Claim, dict[str | None, list[Range]]]:
    """What arrived of each stream, records and quarantine alike, by the agent's process that sent it."""
    taken: defaultdict[Claim, defaultdict[str | None, list[Range]]] = defaultdict(lambda: defaultdict(list))
    for arrival in arrivals:
        if arrival.stream_id is not None:
            taken[Claim(arrival.stream_id, arrival.station)][arrival.instance] += arrival.seqs
    return {claim: dict(by_sender) for claim, by_sender in taken.items()}
