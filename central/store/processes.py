"""The processes of the line. Their criteria are revisions (``criteria``); the row shows the one in force."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store.criteria import add_revision, shown
from central.store.errors import ALREADY_EXISTS, IN_USE, ClashError
from central.store.tables import criteria_revisions, facts, process_data, processes
from contracts.criteria import Criteria

NAMES = ("process_number", "process_code")
"""Unique, and what records name a process by."""


def listing(*, active: bool = False, in_sequence: bool = False) -> sa.Select[Any]:
    """The processes, all or the active ones, in the order of their ids or of the line."""
    order = (processes.c.sort_order, processes.c.process_number) if in_sequence else (processes.c.id,)
    statement = sa.select(processes).order_by(*order)
    return statement.where(processes.c.is_active) if active else statement


def by_id(connection: sa.Connection, process_id: int) -> sa.RowMapping | None:
    """The process of this id."""
    return _find(connection, processes.c.id == process_id)


def by_number(connection: sa.Connection, process_number: int) -> sa.RowMapping | None:
    """The process of this number."""
    return _find(connection, processes.c.process_number == process_number)


def by_code(connection: sa.Connection, process_code: str) -> sa.RowMapping | None:
    """The process of this code."""
    return _find(connection, processes.c.process_code == process_code)


def _find(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> sa.RowMapping | None:
    return connection.execute(sa.select(processes).where(condition)).mappings().one_or_none()


def create(
    connection: sa.Connection, values: Mapping[str, Any], criteria: Criteria | None, author: str, now: datetime
) -> sa.RowMapping:
    """Add one with its first criteria. Raises ClashError."""
    _free(connection, values)
    row = {**values, "quality_criteria": {}, "created_at": now, "updated_at": now}
    made = connection.execute(sa.insert(processes).values(row).returning(processes.c.id)).scalar_one()
    if criteria is not None:
        _revise(connection, made, criteria, author, "criteria of a new process", now)
    return _there(connection, made)


def update(
    connection: sa.Connection,
    process_id: int,
    values: Mapping[str, Any],
    criteria: Criteria | None,
    author: str,
    now: datetime,
) -> sa.RowMapping | None:
    """Change these columns, and write a revision where the criteria are others; None where there is no such process.

    Raises ClashError: a number or code that is taken, or that records and revisions name.
    """
    locked = sa.select(processes).where(processes.c.id == process_id).with_for_update()
    before = connection.execute(locked).mappings().one_or_none()
    if before is None:
        return None
    _free(connection, values, besides=process_id)
    renamed = [name for name in NAMES if name in values and values[name] != before[name]]
    if renamed and _used(connection, before):
        raise ClashError(
            IN_USE, f"{renamed[0]} {before[renamed[0]]} stands in records or criteria: it stays", renamed[0]
        )
    connection.execute(sa.update(processes).where(processes.c.id == process_id).values({**values, "updated_at": now}))
    if criteria is not None and not _same(before["quality_criteria"], criteria):
        _revise(connection, process_id, criteria, author, "changed with the process", now)
    return _there(connection, process_id)


def delete(connection: sa.Connection, process_id: int) -> bool:
    """Delete one that nothing names; False where there is none. Raises ClashError."""
    locked = sa.select(processes).where(processes.c.id == process_id).with_for_update()
    before = connection.execute(locked).mappings().one_or_none()
    if before is None:
        return False
    if _used(connection, before):
        raise ClashError(IN_USE, f"records or criteria name {before['process_code']}: make it inactive instead")
    connection.execute(sa.delete(processes).where(processes.c.id == process_id))
    return True


def _used(connection: sa.Connection, process: sa.RowMapping) -> bool:
    uses = (
        sa.exists().where(process_data.c.process_id == process["id"]),
        sa.exists().where(criteria_revisions.c.process_id == process["id"]),
        sa.exists().where(facts.c.process_number == process["process_number"]),
    )
    return any(connection.execute(sa.select(use)).scalar_one() for use in uses)


def _revise(
    connection: sa.Connection, process_id: int, criteria: Criteria, author: str, reason: str, now: datetime
) -> None:
    revision = add_revision(connection, criteria, author, reason)
    change = sa.update(processes).where(processes.c.id == process_id)
    connection.execute(change.values(quality_criteria=shown(revision), updated_at=now))


def _same(stands: Mapping[str, Any], criteria: Criteria) -> bool:
    body = {name: value for name, value in stands.items() if name in ("process", "criteria", "variants")}
    return bool(body) and Criteria.model_validate(body) == criteria


def _there(connection: sa.Connection, process_id: int) -> sa.RowMapping:
    return connection.execute(sa.select(processes).where(processes.c.id == process_id)).mappings().one()


def _free(connection: sa.Connection, values: Mapping[str, Any], besides: int = 0) -> None:
    """The unique keys hold what comes between this look and the write."""
    for name in NAMES:
        if name in values:
            wanted = sa.select(processes.c.id).where(processes.c[name] == values[name])
            other = connection.execute(wanted).scalar_one_or_none()
            if other is not None and other != besides:
                raise ClashError(ALREADY_EXISTS, f"{name} {values[name]} is in use", name)
