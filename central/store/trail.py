"""The audit trail as a person reads it: who changed what, newest first, or one thing's history from its beginning."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store.tables import BUSINESS_TABLES, audit_logs, users

ENTITIES = tuple(table.name for table in BUSINESS_TABLES)
"""What the trail tells of."""

_USER = tuple(users.c[name].label(f"user_{name}") for name in ("username", "email", "full_name", "role", "is_active"))


def entity(name: str) -> str | None:
    """The table someone means: ``lots``, ``lot``, ``LOT`` and ``Product-Model`` are understood; None: there is none."""
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    return next((one for one in (plain, f"{plain}s", f"{plain}es") if one in ENTITIES), None)


def listing(*, oldest_first: bool = False) -> sa.Select[Any]:
    """Every entry, with the user who made it where it was one."""
    order = (audit_logs.c.recorded_at, audit_logs.c.id)
    statement = sa.select(audit_logs, *_USER).join_from(
        audit_logs, users, audit_logs.c.user_id == users.c.id, isouter=True
    )
    return statement.order_by(*(order if oldest_first else (column.desc() for column in order)))


def by_id(connection: sa.Connection, entry: int) -> sa.RowMapping | None:
    """One entry."""
    return connection.execute(listing().where(audit_logs.c.id == entry)).mappings().first()


def of_entity(entity_type: str, entity_id: int) -> sa.ColumnElement[bool]:
    """What happened to one thing."""
    return (audit_logs.c.entity_type == entity_type) & (audit_logs.c.entity_id == entity_id)


def of_user(user_id: int) -> sa.ColumnElement[bool]:
    """What a user did."""
    return audit_logs.c.user_id == user_id


def of_action(action: str) -> sa.ColumnElement[bool]:
    """Every CREATE, UPDATE or DELETE."""
    return audit_logs.c.action == action


def between(since: datetime, until: datetime) -> sa.ColumnElement[bool]:
    """What happened from one moment up to another."""
    return (audit_logs.c.recorded_at >= since) & (audit_logs.c.recorded_at < until)
