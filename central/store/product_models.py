"""Product models: what is made. One that LOTs use is never deleted, only marked."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from central.store.digests import model_changed
from central.store.errors import ALREADY_EXISTS, ClashError
from central.store.tables import lots, product_models

_THERE = product_models.c.deleted_at.is_(None)


def listing(*, status: str | None = None, category: str | None = None) -> sa.Select[Any]:
    """The product models that are not deleted, in the order of their ids."""
    statement = sa.select(product_models).where(_THERE).order_by(product_models.c.id)
    if status is not None:
        statement = statement.where(product_models.c.status == status)
    if category is not None:
        statement = statement.where(product_models.c.category == category)
    return statement


def by_id(connection: sa.Connection, model_id: int) -> sa.RowMapping | None:
    """The product model of this id, unless it is deleted."""
    return connection.execute(listing().where(product_models.c.id == model_id)).mappings().one_or_none()


def by_code(connection: sa.Connection, model_code: str) -> sa.RowMapping | None:
    """The product model of this code, unless it is deleted."""
    return connection.execute(listing().where(product_models.c.model_code == model_code)).mappings().one_or_none()


def create(connection: sa.Connection, values: Mapping[str, Any], now: datetime) -> sa.RowMapping:
    """Add one. Raises ClashError, also where the code was that of a deleted one: its LOTs still name it."""
    _free(connection, values)
    row = {**values, "created_at": now, "updated_at": now}
    made = connection.execute(sa.insert(product_models).values(row).returning(product_models)).mappings()
    return made.one()


def update(connection: sa.Connection, model_id: int, values: Mapping[str, Any], now: datetime) -> sa.RowMapping | None:
    """Change these columns; None where there is no such product model. Raises ClashError."""
    _free(connection, values, besides=model_id)
    change = sa.update(product_models).where(product_models.c.id == model_id, _THERE)
    made = connection.execute(change.values({**values, "updated_at": now}).returning(product_models)).mappings()
    row = made.one_or_none()
    if row is not None:
        model_changed(connection, row["model_code"])
    return row


def delete(connection: sa.Connection, model_id: int, now: datetime) -> bool:
    """Delete one, or mark it where LOTs use it; False where there is none."""
    there = product_models.c.id == model_id, _THERE
    if connection.execute(sa.select(product_models.c.id).where(*there).with_for_update()).first() is None:
        return False
    if connection.execute(sa.select(sa.exists().where(lots.c.product_model_id == model_id))).scalar_one():
        connection.execute(sa.update(product_models).where(*there).values(deleted_at=now, updated_at=now))
    else:
        connection.execute(sa.delete(product_models).where(*there))
    return True


def _free(connection: sa.Connection, values: Mapping[str, Any], besides: int = 0) -> None:
    """The unique key holds what comes between this look and the write."""
    if "model_code" in values:
        wanted = sa.select(product_models.c.id).where(product_models.c.model_code == values["model_code"])
        other = connection.execute(wanted).scalar_one_or_none()
        if other is not None and other != besides:
            raise ClashError(ALREADY_EXISTS, f"model_code {values['model_code']} is in use", "model_code")
