"""``/audit-logs``: who changed what. Read only: the database itself writes it, with each change."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

import sqlalchemy as sa
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from central.api.current import CurrentService, Service, needs
from central.api.errors import ApiError, answers, not_found
from central.api.models import Out
from central.api.paging import Id, Page
from central.api.periods import Between
from central.store import trail
from central.store.users import Role

router = APIRouter(prefix="/audit-logs", tags=["audit-logs"], responses=answers(), dependencies=[needs(Role.ADMIN)])


class Action(StrEnum):
    """What happened to a row."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


class AuditUser(BaseModel):
    """The user of an entry, as it is now."""

    id: int
    username: str
    email: str
    full_name: str
    role: Role
    is_active: bool


class AuditOut(Out):
    """One change. ``author`` is a user's name or a service's; ``stream_id`` and ``seq`` name the record behind it."""

    id: int
    entity_type: Annotated[str, Field(examples=["lots"])]
    entity_id: int
    action: Action
    old_values: dict[str, Any] | None
    new_values: dict[str, Any] | None
    user_id: int | None
    author: str | None
    stream_id: str | None
    seq: int | None
    ip_address: str | None
    user_agent: str | None
    recorded_at: datetime
    created_at: datetime
    user: AuditUser | None

    @classmethod
    def of(cls, row: sa.RowMapping) -> Self:
        """From an entry with the columns of its user."""
        user = None
        if row["user_username"] is not None:
            names = AuditUser.model_fields.keys() - {"id"}
            user = {"id": row["user_id"], **{name: row[f"user_{name}"] for name in names}}
        return cls.model_validate({**row, "created_at": row["recorded_at"], "user": user})


class Changed(BaseModel):
    """One column before and after."""

    old: Any
    new: Any


class HistoryOut(AuditOut):
    """One change, with the columns that are others since."""

    changes: dict[str, Changed]

    @classmethod
    def of(cls, row: sa.RowMapping) -> Self:
        """From an entry with the columns of its user."""
        old, new = row["old_values"] or {}, row["new_values"] or {}
        changes = {
            name: {"old": old.get(name), "new": new.get(name)}
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name) and name != "updated_at"
        }
        whole = AuditOut.of(row)
        return cls.model_validate({**whole.model_dump(), "changes": changes})


def _listed(service: Service, page: Page, condition: sa.ColumnElement[bool] | None = None) -> list[AuditOut]:
    statement = trail.listing()
    if condition is not None:
        statement = statement.where(condition)
    with service.store.reading() as connection:
        return AuditOut.many(page.of(connection, statement))


def _entity(entity_type: str) -> str:
    found = trail.entity(entity_type)
    if found is None:
        detail = f"nothing of the kind {entity_type[:50]} is audited; one of {', '.join(trail.ENTITIES)} is needed"
        raise ApiError(404, "NOT_FOUND", detail)
    return found


@router.get("")
def list_audit_logs(service: CurrentService, page: Page) -> list[AuditOut]:
    """Every change, the newest first."""
    return _listed(service, page)


@router.get("/date-range")
def list_between(service: CurrentService, page: Page, between: Between) -> list[AuditOut]:
    """Those of some days."""
    return _listed(service, page, trail.between(between.since, between.until))


@router.get("/entity/{entity_type}/{entity_id}", responses=answers(404))
def list_of_entity(
    entity_type: Annotated[str, Path(examples=["lots"])], entity_id: Id, service: CurrentService, page: Page
) -> list[AuditOut]:
    """Those of one thing, the newest first."""
    return _listed(service, page, trail.of_entity(_entity(entity_type), entity_id))


@router.get("/entity/{entity_type}/{entity_id}/history", responses=answers(404))
def history(
    entity_type: Annotated[str, Path(examples=["lots"])], entity_id: Id, service: CurrentService, page: Page
) -> list[HistoryOut]:
    """One thing from its beginning, each time with what changed."""
    statement = trail.listing(oldest_first=True).where(trail.of_entity(_entity(entity_type), entity_id))
    with service.store.reading() as connection:
        return HistoryOut.many(page.of(connection, statement))


@router.get("/user/{user_id}")
def list_of_user(user_id: Id, service: CurrentService, page: Page) -> list[AuditOut]:
    """What a user did."""
    return _listed(service, page, trail.of_user(user_id))


@router.get("/action/{action}")
def list_of_action(action: Action, service: CurrentService, page: Page) -> list[AuditOut]:
    """Every creation, update or deletion."""
    return _listed(service, page, trail.of_action(action.value))


@router.get("/{id}", responses=answers(404))
def audit_log(id: Id, service: CurrentService) -> AuditOut:
    """One change."""
    with service.store.reading() as connection:
        row = trail.by_id(connection, id)
    if row is None:
        raise not_found("audit entry", id)
    return AuditOut.of(row)
