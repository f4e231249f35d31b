"""Leases: while one station has a permit for a unit, no other is given one.

A lease ends with the result, when the permit is returned, or after its time. It is no fact: the states of units do not
depend on it. A permit that a station gave without central makes one too, as soon as central hears of it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from central.store.rows import LARGEST, RECORD
from central.store.statements import insert_once, rows_where
from central.store.tables import facts, leases, processes
from contracts.permit import PermitRecord
from contracts.record import Part, ProcessRecord, shifted
from contracts.route_model import FactKey

SHORTEST_LEASE_S = 600.0
LEASE_FACTOR = 2.0
"""A lease lasts so many times as long as the process takes, by what central knows of it."""
OFFLINE = 0
"""In place of a permit's number, where central gave none: any later permit of the station ends such a lease."""


def length_s(process_s: int | None, site_s: float | None) -> float:
    """How long a lease lasts; ``site_s`` is the site's own length, for every process."""
    return max(SHORTEST_LEASE_S, LEASE_FACTOR * (process_s or 0)) if site_s is None else site_s


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
    numbers = sorted({serial for serial, _, _ in ended})
    leased = {
        row["serial_number"]
        for row in rows_where(connection, sa.select(leases.c.serial_number), leases.c.serial_number, numbers)
    }
    ended = [one for one in ended if one[0] in leased]
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


def lease_offline(
    connection: sa.Connection, permits: Mapping[FactKey, PermitRecord], now: datetime, site_s: float | None
) -> None:
    """Give units to the stations that let them start without central, unless the result has come by then or the time
    is over. A unit that another station has by central's own word stays there."""
    given = [(key, one) for key, one in permits.items() if one.granted and one.offline and one.part is Part.PRODUCT]
    if not given:
        return
    columns = processes.c.process_code, processes.c.estimated_duration_seconds
    lengths_s = {code: length_s(seconds, site_s) for code, seconds in connection.execute(sa.select(*columns))}
    for (stream_id, seq), one in sorted(given, key=lambda entry: (entry[1].serial_number or "", entry[0])):
        begun = min(shifted(one.asked_at, one.clock_offset_seconds), now)
        ends = begun + timedelta(seconds=lengths_s.get(one.process, length_s(None, site_s)))
        if ends <= now or one.serial_number is None or _has_result(connection, stream_id, seq, one.serial_number):
            continue
        mine = leases.c.serial_number == one.serial_number
        held = connection.execute(sa.select(leases.c.station, leases.c.expires_at).where(mine).with_for_update())
        row = held.one_or_none()
        if row is None or row.expires_at <= now or (row.station == one.station and row.expires_at < ends):
            lease(connection, one.serial_number, one.station, OFFLINE, begun, (ends - begun).total_seconds())


def _has_result(connection: sa.Connection, stream_id: str, seq: int, serial_number: str) -> bool:
    later = (facts.c.stream_id == stream_id) & (facts.c.seq > seq) & (facts.c.kind == RECORD)
    its = sa.select(sa.exists().where(facts.c.serial_number == serial_number, later))
    return bool(connection.execute(its).scalar_one())
