"""Rows of ``process_data``: one for each result, whoever gave it, and for what a person began and has not finished."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store import names
from central.store.rows import STARTED, Row, process_data_row, started_row, unit_decision, username_of
from central.store.statements import insert_all, rows_where
from central.store.tables import facts, process_data, processes, serials, users
from contracts.facts import ProcessStarted, RecordCorrected, RecordDeleted
from contracts.record import Part, ProcessRecord
from contracts.route_corrections import last_words
from contracts.route_model import FactKey, UnitDecision

_ITS_OWN = {"stream_id", "seq", "data_level", "part", "product_model", "station", "machine", "record", "entered_by"}
"""What stays as the record came, whatever is corrected."""
CORRECTIONS = ("record_corrected", "record_deleted")


def processes_by_code(connection: sa.Connection) -> tuple[dict[str, int], dict[str, int]]:
    """Ids and numbers of the processes by code."""
    columns = processes.c.process_code, processes.c.id, processes.c.process_number
    rows = connection.execute(sa.select(*columns)).all()
    return {code: row_id for code, row_id, _ in rows}, {code: number for code, _, number in rows}


def book(
    connection: sa.Connection,
    new: Mapping[FactKey, ProcessRecord],
    ids: names.Ids,
    process_ids: Mapping[str, int],
    now: datetime,
) -> None:
    """The rows of new records, after the fold: a unit's record belongs to the unit's LOT. What a person began becomes
    its result; what was corrected before it came is corrected at once."""
    if not new:
        return
    lot_of_serial = _lots_of(connection, sorted(ids.serials))
    rows: list[Row] = []
    for key, record in new.items():
        row = {
            **process_data_row(*key, record),
            **_belongs(record, record.part, ids, lot_of_serial),
            "process_id": process_ids.get(record.process),
            "operator_id": ids.users[username_of(record)],
        }
        if record.entered is not None and record.entered.started is not None:
            _replace(connection, (key[0], record.entered.started), row)
        else:
            rows.append({**row, "created_at": now})
    insert_all(connection, process_data, rows)
    correct(connection, new)


def begin(connection: sa.Connection, key: FactKey, started: ProcessStarted, ids: names.Ids, now: datetime) -> None:
    """The row of what a person began: without a result, until there is one."""
    process_ids, _ = processes_by_code(connection)
    row = {
        **started_row(*key, started),
        **_belongs(started, Part.PRODUCT, ids, _lots_of(connection, sorted(ids.serials))),
        "process_id": process_ids.get(started.process),
        "operator_id": ids.users[names.operator_of(started)],
    }
    if started.replaces is not None:
        _replace(connection, (key[0], started.replaces), row)
    else:
        connection.execute(sa.insert(process_data), [{**row, "created_at": now}])


def correct(connection: sa.Connection, keys: Iterable[FactKey]) -> None:
    """Let what people corrected or took away of these records stand in their rows."""
    decisions = _decided_about(connection, keys)
    if not decisions:
        return
    corrections, _ = last_words(decisions)
    user_ids = names.ids_of(connection, users.c.username_key, {username_of(one.record) for one in corrections.values()})
    for fact in decisions:
        about = fact.decision
        if isinstance(about, RecordDeleted):
            gone = {"deleted_at": about.decided_at}
            _change(connection, (about.stream_id, about.seq), gone, process_data.c.deleted_at.is_(None))
        elif isinstance(about, RecordCorrected) and corrections[about.stream_id, about.seq] == about:
            columns = process_data_row(about.stream_id, about.seq, about.record)
            change: Row = {name: value for name, value in columns.items() if name not in _ITS_OWN}
            change |= {"operator_id": user_ids[username_of(about.record)], "corrected_by_seq": fact.seq}
            _change(connection, (about.stream_id, about.seq), change)


def _decided_about(connection: sa.Connection, keys: Iterable[FactKey]) -> list[UnitDecision]:
    """Corrections of these records and their removal, in order."""
    by_stream: defaultdict[str, list[int]] = defaultdict(list)
    for stream_id, seq in keys:
        by_stream[stream_id].append(seq)
    about = sa.select(facts.c.stream_id, facts.c.seq, facts.c.body).where(facts.c.kind.in_(CORRECTIONS))
    found = [
        unit_decision(row)
        for stream_id, seqs in by_stream.items()
        for row in rows_where(connection, about.where(facts.c.about_stream_id == stream_id), facts.c.about_seq, seqs)
    ]
    return sorted(found, key=lambda fact: (fact.decision.decided_at, fact.key))


def _change(connection: sa.Connection, key: FactKey, change: Row, *conditions: sa.ColumnElement[bool]) -> None:
    mine = (process_data.c.stream_id == key[0], process_data.c.seq == key[1], *conditions)
    connection.execute(sa.update(process_data).where(*mine).values(**change))


def _replace(connection: sa.Connection, key: FactKey, row: Row) -> None:
    """The row of what was begun becomes that of what came of it: its id stays."""
    _change(connection, key, row, process_data.c.outcome == STARTED)


def _lots_of(connection: sa.Connection, numbers: list[str]) -> dict[str, int | None]:
    columns = sa.select(serials.c.serial_number, serials.c.lot_id)
    return {
        row["serial_number"]: row["lot_id"] for row in rows_where(connection, columns, serials.c.serial_number, numbers)
    }


def _belongs(
    of: ProcessRecord | ProcessStarted, part: Part, ids: names.Ids, lot_of_serial: Mapping[str, int | None]
) -> dict[str, Any]:
    serial_id = lot_id = None
    if part is Part.PRODUCT and of.serial_number is not None:
        serial_id, lot_id = ids.serials[of.serial_number], lot_of_serial[of.serial_number]
    elif part is Part.PRODUCT and of.lot_number is not None:
        lot_id = ids.lots[of.lot_number]
    return {"serial_id": serial_id, "lot_id": lot_id}
