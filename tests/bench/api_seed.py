"""A factory's past, written by PostgreSQL itself: LOTs of 100 units, each through the line, with the facts behind it.

Triggers and foreign keys are off meanwhile: rows of the audit trail would cost an hour and be asked for by nobody.
"""

from datetime import UTC, datetime

import psycopg

from central.store import Store
from contracts.record import canonical
from tests.support.records import record

UNITS_IN_LOT = 100
LOTS_A_DAY = 20
_SERIAL, _TIME = "WF-KR-261123D-001-0001", "2026-01-02T03:04:05"

_LOTS = """
INSERT INTO lots (lot_number, product_model_id, production_date, shift, created, target_quantity, status, short_closed,
                  actual_quantity, passed_quantity, failed_quantity, on_hold, holds, exceptions, created_at, updated_at)
SELECT 'WF-KR-' || to_char(day, 'YYMMDD') || 'D-' || lpad((1 + i %% %(a_day)s)::text, 3, '0'), 1, day, 'D', true,
       %(units)s, 'CLOSED', false, %(units)s, %(units)s, 0, false, '[]', '[]', day, day
FROM (SELECT i, (now() - interval '1 day' * (1 + i / %(a_day)s))::date AS day FROM generate_series(0, %(lots)s - 1) i) x
"""
_SERIALS = """
INSERT INTO serials (serial_number, lot_id, sequence_in_lot, product_model, status, final, scrapped, generation,
                     rework_count, passed_processes, last_process, on_hold, holds, exceptions, started_at,
                     last_record_at, completed_at, created_at, updated_at)
SELECT lot_number || '-' || lpad(n::text, 4, '0'), lots.id, n, 'M', 'PASSED', false, false, 0, 0, '[1,2,3,4,5,6,7,8]',
       8, false, '[]', '[]', at, at + interval '4 hours', at + interval '4 hours', at, at
FROM lots, generate_series(1, %(units)s) n, LATERAL (SELECT production_date + interval '4 minutes' * n AS at) x
"""
_PROCESS_DATA = """
INSERT INTO process_data (lot_id, serial_id, process_id, operator_id, data_level, part, result, outcome, measurements,
                          defects, started_at, completed_at, cycle_time_seconds, product_model, station, machine,
                          disagreement, stream_id, seq, record, created_at)
SELECT lot_id, serials.id, processes.id, %(operator)s, 'SERIAL', 'PRODUCT', 'PASS', 'PASS',
       '{"temperature": {"value": 60.0, "unit": "degC"}}', '[]', at - interval '1 minute', at, 60, 'M',
       'P0' || process_number || '-A', 'tester', false, md5(process_code), serials.id,
       replace(replace(%(record)s, %(serial)s, serial_number), %(time)s, to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS')), at
FROM serials, processes, LATERAL (SELECT started_at + interval '30 minutes' * (process_number - 1) AS at) x
"""
_FACTS = """
INSERT INTO facts (stream_id, seq, kind, digest, serial_number, lot_number, station, process_number, data_level, part,
                   outcome, completed_at, product_model, defects, machine, received_at)
SELECT md5(process_code), serials.id, 'record', md5(serial_number), serial_number, lot_number,
       'P0' || process_number || '-A', process_number, 'SERIAL', 'PRODUCT', 'PASS',
       serials.started_at + interval '30 minutes' * (process_number - 1), 'M', '[]', 'tester', now()
FROM serials JOIN lots ON lots.id = lot_id, processes
"""


def seed(store: Store, lots: int, operator_id: int) -> str:
    """Fill a migrated database; answers the serial number of a unit in it."""
    store.provide_months([datetime.now(UTC)])
    text = canonical(record(1).model_copy(update={"completed_at": datetime.fromisoformat(f"{_TIME}+00:00")})).decode()
    values = {
        "lots": lots,
        "units": UNITS_IN_LOT,
        "a_day": LOTS_A_DAY,
        "operator": operator_id,
        "record": text,
        "serial": _SERIAL,
        "time": _TIME,
    }
    address = store.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "INSERT INTO product_models (model_code, model_name, specifications, status, created_at, updated_at)"
            " VALUES ('M', 'M', '{}', 'ACTIVE', now(), now())"
        )
        for statement in (_LOTS, _SERIALS, _PROCESS_DATA, _FACTS):
            connection.execute(statement.encode(), values)
        found = connection.execute("SELECT serial_number FROM serials ORDER BY id LIMIT 1").fetchone()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    assert found is not None
    return str(found[0])
