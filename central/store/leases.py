"""Leases: while one station has a permit for a unit, no other is given one.

A lease ends with the result, when the permit is returned, or after its time. It is no fact: the states of units do not
depend on it.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import sqlalchemy as sa

from central.store.rows import LARGEST
from central.store.statements import insert_once
from central.store.tables import leases
from contracts.record import ProcessRecord


def holder(connection: sa.Connection, serial_number: str, now: datetime) -> str | None:
    """The station that holds this unit now; the row is locked until the transaction ends."""
    mine = sa.select(leases.c.station, leases.c.expires_at).where(leases.c.serial_number == serial_number)
    row = connection.execute(mine.with_for_update()).one_or_none()
    return None if row is None or row.expires_at <= now else str(row.station)


def lease(
    connection: sa.Connection, serial_number: str, station: str, permit: int, now: datetime, seconds: float
) -> None:
    """Give the unit to this station, from now on for so long."""
    terms = {
        "station": station,
        "permit": permit,
        "granted_at": now,
        "expires_at": now + timedelta(seconds=seconds),
    }
    insert_once(connection, leases, [{"serial_number": serial_number, **terms}])
    connection.execute(sa.update(leases).where(leases.c.serial_number == serial_number).values(**terms))


def give_back(connection: sa.Connection, serial_number: str, station: str, permit: int) -> bool:
    """The permit came to nothing. False when the unit's lease is another one by now."""
    mine = (leases.c.serial_number == serial_number) & (leases.c.station == station) & (leases.c.permit == permit)
    return bool(connection.execute(sa.delete(leases).where(mine)).rowcount)


def end_leases(connection: sa.Connection, results: Iterable[ProcessRecord]) -> None:
    """A station's result ends its lease, if it is the result of that permit or of a later one; a result without a
    permit ends it too. A late result of an earlier permit does not."""
    ended = sorted(
        {
            (record.serial_number, record.station, None if (record.permit or 0) > LARGEST else record.permit)
            for record in results
            if record.serial_number is not None
        },
        key=lambda one: (one[0], one[1], one[2] or 0),
    )
    if not ended:
        return
    of_this = sa.bindparam("its_permit", type_=sa.BigInteger)
    connection.execute(
        sa.delete(leases).where(
            leases.c.serial_number == sa.bindparam("its_serial"),
            leases.c.station == sa.bindparam("its_station"),
            sa.or_(of_this.is_(None), leases.c.permit <= of_this),
        ),
        [{"its_serial": serial, "its_station": station, "its_permit": permit} for serial, station, permit in ended],
    )
