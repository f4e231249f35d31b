"""Process data as people see it: results of stations and of people, what was corrected as it counts."""

from typing import Any

import sqlalchemy as sa

from central.store.refusing import NotThereError
from central.store.tables import facts, lots, process_data, processes, serials, users
from contracts.facts import RecordCorrected, decision_adapter
from contracts.record import ProcessRecord

_PROCESS = ("process_number", "process_code", "process_name_en", "process_name_ko")
_OPERATOR = ("username", "full_name", "role")


def listing() -> sa.Select[Any]:
    """Every result and every start that is not taken away, in the order of their ids."""
    return (
        sa.select(
            *(column for column in process_data.c if column.name != "record"),
            *(processes.c[name] for name in _PROCESS),
            *(users.c[name] for name in _OPERATOR),
            serials.c.serial_number,
            lots.c.lot_number,
        )
        .select_from(
            process_data.outerjoin(processes)
            .outerjoin(users)
            .outerjoin(serials, process_data.c.serial_id == serials.c.id)
            .outerjoin(lots, process_data.c.lot_id == lots.c.id)
        )
        .where(process_data.c.deleted_at.is_(None))
        .order_by(process_data.c.id)
    )


def by_id(connection: sa.Connection, entry_id: int) -> sa.RowMapping:
    """The one of this id."""
    row = connection.execute(listing().where(process_data.c.id == entry_id)).mappings().one_or_none()
    if row is None:
        raise NotThereError("PROCESS_DATA_NOT_FOUND", f"no process data {entry_id}")
    return row


def last_of(
    connection: sa.Connection, serial_id: int, process_id: int, *conditions: sa.ColumnElement[bool]
) -> sa.RowMapping:
    """A unit's latest one at a process."""
    mine = (process_data.c.serial_id == serial_id) & (process_data.c.process_id == process_id)
    latest = (
        listing()
        .order_by(None)
        .where(mine, *conditions)
        .order_by(process_data.c.started_at.desc(), process_data.c.id.desc())
    )
    row = connection.execute(latest.limit(1)).mappings().one_or_none()
    if row is None:
        raise NotThereError("PROCESS_DATA_NOT_FOUND", f"nothing of unit {serial_id} at process {process_id}")
    return row


def operator_name(connection: sa.Connection, user_id: int) -> str:
    """The name of the user who did it."""
    name: str | None = connection.execute(sa.select(users.c.username).where(users.c.id == user_id)).scalar_one_or_none()
    if name is None:
        raise NotThereError("USER_NOT_FOUND", f"no user {user_id}")
    return name


def process_code(connection: sa.Connection, process_id: int) -> str:
    """The code of a process."""
    mine = sa.select(processes.c.process_code).where(processes.c.id == process_id)
    code: str | None = connection.execute(mine).scalar_one_or_none()
    if code is None:
        raise NotThereError("PROCESS_NOT_FOUND", f"no process {process_id}")
    return code


def counting(connection: sa.Connection, row: sa.RowMapping) -> ProcessRecord:
    """The record that counts: as it came, or as it was corrected last."""
    if row["corrected_by_seq"] is not None:
        mine = (facts.c.kind == "record_corrected") & (facts.c.seq == row["corrected_by_seq"])
        about = (facts.c.about_stream_id == row["stream_id"]) & (facts.c.about_seq == row["seq"])
        body = connection.execute(sa.select(facts.c.body).where(mine, about)).scalar_one()
        decision = decision_adapter.validate_json(body)
        assert isinstance(decision, RecordCorrected), "its kind says so"
        return decision.record
    return ProcessRecord.model_validate_json(kept(connection, row))


def kept(connection: sa.Connection, row: sa.RowMapping) -> str:
    """The text of the record, or of the start, as it came."""
    text: str = connection.execute(sa.select(process_data.c.record).where(process_data.c.id == row["id"])).scalar_one()
    return text
