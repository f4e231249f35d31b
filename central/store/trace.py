"""The whole life of a unit: every record with what was measured, every decision, every permit, in their order.

``as_of`` a past moment: what central knew then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store.folding import fold_units
from central.store.rows import PERMIT, RECORD, unit_decision
from central.store.tables import facts, permits, process_data, serials, users
from contracts.facts import AnyDecision
from contracts.permit import PermitRecord
from contracts.record import ProcessRecord
from contracts.route_corrections import last_words
from contracts.route_model import Attempt, FactKey, RouteLimits, UnitDecision, UnitState


@dataclass(frozen=True)
class TracedRecord:
    """A record: as it came, and as it counts (the last correction in its place). ``attempt``: its place in the route;
    none where it is no product's, was taken away, or came after all that is folded."""

    key: FactKey
    entry_id: int
    received_at: datetime
    process_number: int
    username: str
    came: ProcessRecord
    counts: ProcessRecord
    corrected_by: AnyDecision | None
    deleted: bool
    attempt: Attempt | None
    passes: bool


@dataclass(frozen=True)
class TracedDecision:
    """A decision, and its place in central's stream."""

    key: FactKey
    received_at: datetime
    decision: AnyDecision


@dataclass(frozen=True)
class TracedPermit:
    """A permit or a refusal. ``key``: its place in the station's stream; none: only central's own answer is known."""

    key: FactKey | None
    number: int | None
    station: str
    machine: str
    process: str
    granted: bool
    refusal: str | None
    decided_by: str
    asked_at: datetime


@dataclass(frozen=True)
class Trace:
    """All of it. Records in the order in which they count, those that do not at the end."""

    unit: UnitState
    records: tuple[TracedRecord, ...]
    decisions: tuple[TracedDecision, ...]
    permits: tuple[TracedPermit, ...]


def trace(
    connection: sa.Connection, serial_number: str, limits: RouteLimits, as_of: datetime | None = None
) -> Trace | None:
    """The life of this unit; None where nobody knew it."""
    known = sa.select(serials.c.created_at).where(serials.c.serial_number == serial_number)
    since = connection.execute(known).scalar_one_or_none()
    if since is None or (as_of is not None and since > as_of):
        return None
    unit = fold_units(connection, [serial_number], limits, as_of)[serial_number]
    decisions = _decisions(connection, serial_number, as_of)
    return Trace(
        unit,
        tuple(_records(connection, unit, decisions, as_of)),
        tuple(decisions),
        tuple(_permits(connection, serial_number, as_of)),
    )


def _known(as_of: datetime | None) -> sa.ColumnElement[bool]:
    return sa.true() if as_of is None else facts.c.received_at <= as_of


def _decisions(connection: sa.Connection, serial_number: str, as_of: datetime | None) -> list[TracedDecision]:
    wanted = sa.select(facts.c.stream_id, facts.c.seq, facts.c.body, facts.c.received_at).where(
        facts.c.serial_number == serial_number, facts.c.kind.not_in((RECORD, PERMIT)), _known(as_of)
    )
    found = [
        TracedDecision((row["stream_id"], row["seq"]), row["received_at"], unit_decision(row).decision)
        for row in connection.execute(wanted).mappings()
    ]
    return sorted(found, key=lambda one: (one.decision.decided_at, one.key))


def _records(
    connection: sa.Connection, unit: UnitState, decisions: list[TracedDecision], as_of: datetime | None
) -> list[TracedRecord]:
    same = (process_data.c.stream_id == facts.c.stream_id) & (process_data.c.seq == facts.c.seq)
    columns = (
        facts.c.stream_id, facts.c.seq, facts.c.process_number, facts.c.received_at, process_data.c.id,
        process_data.c.record, users.c.username,
    )  # fmt: skip
    wanted = (
        sa.select(*columns)
        .select_from(facts.join(process_data, same).join(users))
        .where(facts.c.serial_number == unit.serial_number, facts.c.kind == RECORD, _known(as_of))
    )
    said = [UnitDecision(stream_id=one.key[0], seq=one.key[1], decision=one.decision) for one in decisions]
    corrections, deleted = last_words(said)
    place = {attempt.record: (number, attempt) for number, attempt in enumerate(unit.attempts)}
    passes = set(unit.passed.values())
    found = []
    for row in connection.execute(wanted).mappings():
        key = row["stream_id"], row["seq"]
        came = ProcessRecord.model_validate_json(row["record"])
        correction = corrections.get(key)
        found.append(
            TracedRecord(
                key=key,
                entry_id=row["id"],
                received_at=row["received_at"],
                process_number=row["process_number"],
                username=row["username"],
                came=came,
                counts=came if correction is None else correction.record,
                corrected_by=correction,
                deleted=key in deleted,
                attempt=place[key][1] if key in place else None,
                passes=key in passes,
            )
        )
    last = len(place)
    return sorted(found, key=lambda one: (place.get(one.key, (last, None))[0], one.came.completed_at, one.key))


def _permits(connection: sa.Connection, serial_number: str, as_of: datetime | None) -> list[TracedPermit]:
    """Those that stations reported, and of central's own answers those that no report came of."""
    wanted = sa.select(facts.c.stream_id, facts.c.seq, facts.c.body).where(
        facts.c.serial_number == serial_number, facts.c.kind == PERMIT, _known(as_of)
    )
    found = []
    for row in connection.execute(wanted).mappings():
        said = PermitRecord.model_validate_json(row["body"])
        found.append(
            TracedPermit(
                key=(row["stream_id"], row["seq"]),
                number=said.permit,
                station=said.station,
                machine=said.machine,
                process=said.process,
                granted=said.granted,
                refusal=None if said.refusal is None else str(said.refusal),
                decided_by=str(said.decided_by),
                asked_at=said.asked_at,
            )
        )
    told = {one.number for one in found}
    mine = sa.select(permits).where(permits.c.serial_number == serial_number)
    if as_of is not None:
        mine = mine.where(permits.c.answered_at <= as_of)
    found += [_answered(row) for row in connection.execute(mine).mappings() if row["number"] not in told]
    return sorted(found, key=lambda one: (one.asked_at, one.number or 0))


def _answered(row: Mapping[str, Any] | sa.RowMapping) -> TracedPermit:
    return TracedPermit(
        key=None,
        number=row["number"],
        station=row["station"],
        machine=row["machine"],
        process=row["process_code"],
        granted=row["refusal"] is None,
        refusal=row["refusal"],
        decided_by="CENTRAL",
        asked_at=row["answered_at"],
    )
