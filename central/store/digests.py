"""Which LOTs have changed since stations were told, by a number that rises in the transaction of the change.

Whoever writes facts calls ``changed``; whoever publishes looks at what has risen. So nothing is missed, whichever
service wrote it and whenever its transaction ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from central.store.statements import chunks, insert_once
from central.store.tables import lots, product_models, route_digests, serials
from contracts.route_model import LotStatus

RECENT = timedelta(days=60)
"""A LOT nobody has touched for so long is told no more when stations are told everything again."""


@dataclass(frozen=True)
class Changed:
    """A LOT whose stations have to be told, and the revision that says so."""

    lot_number: str
    revision: int


def changed(connection: sa.Connection, lot_numbers: Iterable[str]) -> None:
    """These LOTs, whose rows this transaction has locked, or their units are other than before."""
    for part in chunks(sorted(lot_numbers)):
        rows = [{"lot_number": number, "revision": 0, "published": 0} for number in part]
        insert_once(connection, route_digests, rows)
        connection.execute(
            sa.update(route_digests)
            .where(route_digests.c.lot_number.in_(part))
            .values(revision=route_digests.c.revision + 1)
        )


def model_changed(connection: sa.Connection, model_code: str) -> None:
    """The specifications of a product model are others: LOTs of it, or with units of it, are told anew."""
    its = sa.select(product_models.c.id).where(product_models.c.model_code == model_code).scalar_subquery()
    with_units = sa.select(serials.c.lot_id).where(serials.c.product_model == model_code)
    of_model = (lots.c.product_model_id == its) | lots.c.id.in_(with_units)
    still = sa.select(lots.c.lot_number).where(of_model, lots.c.status != LotStatus.CLOSED.value)
    changed(connection, connection.execute(still).scalars().all())


def to_publish(connection: sa.Connection, most: int) -> list[Changed]:
    """LOTs that have changed since they were published."""
    columns = route_digests.c.lot_number, route_digests.c.revision
    due = sa.select(*columns).where(route_digests.c.revision > route_digests.c.published)
    return [Changed(*row) for row in connection.execute(due.order_by(route_digests.c.lot_number).limit(most))]


def published(connection: sa.Connection, told: Changed) -> None:
    """Stations were told this revision."""
    connection.execute(
        sa.update(route_digests)
        .where(route_digests.c.lot_number == told.lot_number, route_digests.c.published < told.revision)
        .values(published=told.revision)
    )


def forget_published(connection: sa.Connection, now: datetime) -> None:
    """A broker may have lost what it retained: what still matters is published again."""
    still = sa.select(lots.c.lot_number).where(
        lots.c.status != LotStatus.CLOSED.value, lots.c.updated_at > now - RECENT
    )
    connection.execute(sa.update(route_digests).where(route_digests.c.lot_number.in_(still)).values(published=0))
