"""People's facts, kept in central's own stream: what they decided, and the results they entered.

``Decisions`` is the work of one writing transaction. Its first step locks central's stream, so that two people's
changes follow each other and each is checked as things then stand. Order of locks: central's stream, names (users,
product models, LOTs, serials), then serials and LOTs as in ``folding``.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from hashlib import sha256

import sqlalchemy as sa

from central.store import names, permitting
from central.store.alarms import raise_alarms
from central.store.arrivals import Claim
from central.store.booking import begin, book, correct, processes_by_code
from central.store.folding import fold_units, named_by, refold
from central.store.ingest import wrong_permit_alarms
from central.store.leases import end_leases
from central.store.ledger import Place, claim_streams, keep
from central.store.rows import CENTRAL, Row, fact_row, hold_of
from central.store.statements import rows_where
from central.store.tables import facts, lots, serials
from contracts.facts import AnyDecision, HoldReleased, ProcessStarted, RecordCorrected, RecordDeleted
from contracts.record import ProcessRecord, digest
from contracts.route_model import FactKey, LotState, RouteLimits, UnitState

_CLAIM = Place(CENTRAL, CENTRAL)


class Decisions:
    """One person's changes in one transaction. ``now`` is when they are made: never before an earlier one of them."""

    def __init__(self, connection: sa.Connection, central_stream: str, limits: RouteLimits, now: datetime) -> None:
        self.connection = connection
        self.limits = limits
        self.stream_id = central_stream
        self._claim = Claim(central_stream, CENTRAL)
        self._ledger = claim_streams(connection, {self._claim: _CLAIM}, now)[self._claim]
        mine = (facts.c.stream_id == central_stream) & (facts.c.seq == self._ledger.highest)
        last = connection.execute(sa.select(facts.c.received_at).where(mine)).scalar_one_or_none()
        self.now = now if last is None or last < now else last + timedelta(microseconds=1)

    # -- as things stand ---------------------------------------------------------------------------------------------

    def unit(self, serial_number: str) -> UnitState:
        """The unit, folded from its facts; its row is locked, and made where it is new."""
        mine = sa.select(serials.c.id).where(serials.c.serial_number == serial_number).with_for_update()
        if self.connection.execute(mine).one_or_none() is None:
            self._make(serial_number, None)
            self.connection.execute(mine)
        return fold_units(self.connection, [serial_number], self.limits)[serial_number]

    def lock_units(self, serial_numbers: Sequence[str]) -> None:
        """Lock the rows of units that are there, in the order every transaction takes them."""
        locking = sa.select(serials.c.id, serials.c.serial_number).order_by(serials.c.serial_number).with_for_update()
        list(rows_where(self.connection, locking, serials.c.serial_number, sorted(serial_numbers)))

    def lock_lots(self, lot_numbers: Collection[str]) -> None:
        """The same of LOTs, once the units are locked."""
        locking = sa.select(lots.c.id, lots.c.lot_number).order_by(lots.c.lot_number).with_for_update()
        list(rows_where(self.connection, locking, lots.c.lot_number, sorted(lot_numbers)))

    def lot(self, lot_number: str) -> LotState:
        """The LOT as it was folded last; its row is locked, and made where it is new. Lock its units before it."""
        mine = sa.select(lots.c.id).where(lots.c.lot_number == lot_number).with_for_update()
        if self.connection.execute(mine).one_or_none() is None:
            self._make(None, lot_number)
            self.connection.execute(mine)
        row = permitting.lot_row(self.connection, lot_number)
        assert row is not None, "it was made"
        return permitting.lot_state(row)

    def _make(self, serial_number: str | None, lot_number: str | None) -> None:
        named = names.Names()
        named.of_unit(self._next_key(), serial_number, lot_number)
        names.make(self.connection, named, self.now)

    def permit(self) -> int:
        """The number of a permit that is given now: the place of its result among the unit's others."""
        return permitting.next_number(self.connection, self.now)

    # -- keeping -----------------------------------------------------------------------------------------------------

    def keep(self, decision: AnyDecision) -> int:
        """Keep a decision as a fact, fold what it touches, and let it stand in the rows; answers its seq."""
        self.keep_all([decision])
        return self._ledger.highest

    def keep_all(self, decisions: Sequence[AnyDecision]) -> None:
        """Keep these as facts, one after the other, and fold what they touch once."""
        named = names.Names()
        keys = [(self.stream_id, self._ledger.highest + place) for place, _ in enumerate(decisions, start=1)]
        rows = [self._row(key, decision, named) for key, decision in zip(keys, decisions, strict=True)]
        ids = names.make(self.connection, named, self.now)
        self._settle(rows, named)
        for key, decision in zip(keys, decisions, strict=True):
            if isinstance(decision, ProcessStarted):
                begin(self.connection, key, decision, ids, self.now)
            elif isinstance(decision, RecordCorrected | RecordDeleted):
                correct(self.connection, [(decision.stream_id, decision.seq)])

    def _row(self, key: FactKey, decision: AnyDecision, named: names.Names) -> Row:
        serial_number, lot_number = _about(self.connection, decision)
        named.of_decision(key, decision, serial_number, lot_number)
        body = decision.model_dump_json()
        about = decision if isinstance(decision, RecordCorrected | RecordDeleted) else None
        return {
            "stream_id": key[0],
            "seq": key[1],
            "kind": decision.kind,
            "digest": sha256(body.encode()).hexdigest(),
            "serial_number": serial_number,
            "lot_number": lot_number,
            "hold_id": hold_of(decision),
            "body": body,
            "received_at": self.now,
            "about_stream_id": None if about is None else about.stream_id,
            "about_seq": None if about is None else about.seq,
        }

    def keep_record(self, record: ProcessRecord) -> int:
        """Keep a result that a person entered: the same kind of row as a station's; answers its seq."""
        assert record.entered is not None, "a person entered it"
        key = self._next_key()
        named = names.Names()
        named.of_record(key, record)
        ids = names.make(self.connection, named, self.now)
        process_ids, numbers = processes_by_code(self.connection)
        self._settle([{**fact_row(*key, record, digest(record), numbers), "received_at": self.now}], named)
        book(self.connection, {key: record}, ids, process_ids, self.now)
        end_leases(self.connection, [record])
        return key[1]

    def fold_again(self, lot_number: str) -> None:
        """Fold a LOT anew from its facts and its units'."""
        mine = sa.select(serials.c.serial_number).join_from(serials, lots).where(lots.c.lot_number == lot_number)
        key = self.stream_id, self._ledger.highest
        units = dict.fromkeys(self.connection.execute(mine).scalars(), key)
        self._refold(units, {lot_number: key})

    def _next_key(self) -> FactKey:
        return self.stream_id, self._ledger.highest + 1

    def _settle(self, rows: Sequence[Row], named: names.Names) -> None:
        self.connection.execute(sa.insert(facts), rows)
        units, touched = named_by(rows)
        self._refold({**named.serials, **units}, {**named.lots, **touched})
        self._ledger.settle([(rows[0]["seq"], rows[-1]["seq"])], self.now)
        keep(self.connection, [self._ledger], {self._claim: _CLAIM}, self.now)

    def _refold(self, units: dict[str, FactKey], lot_numbers: dict[str, FactKey]) -> None:
        wrong = refold(self.connection, units, lot_numbers, self.limits, self.now)
        raise_alarms(self.connection, wrong_permit_alarms(self.connection, wrong), self.now)


def _about(connection: sa.Connection, decision: AnyDecision) -> tuple[str | None, str | None]:
    """The serial and the LOT a decision is about; a release that names neither is about what was put on hold."""
    serial_number: str | None = getattr(decision, "serial_number", None)
    lot_number: str | None = getattr(decision, "lot_number", None)
    if isinstance(decision, HoldReleased) and serial_number is None and lot_number is None:
        placed = sa.select(facts.c.serial_number, facts.c.lot_number).where(
            facts.c.hold_id == hold_of(decision), facts.c.kind == "hold_placed"
        )
        row = connection.execute(placed.order_by(facts.c.seq).limit(1)).one_or_none()
        return (None, None) if row is None else (row.serial_number, row.lot_number)
    return serial_number, lot_number
