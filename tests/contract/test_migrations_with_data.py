"""A database of any earlier revision, with records in it, comes up to this version, and can go back again."""

import json

from alembic.script import ScriptDirectory

from central.store import Author, Store, schema
from central.store.tables import NOT_AUDITED, process_data
from contracts.facts import HoldPlaced, LotCreated, ReworkAuthorised
from contracts.processes import PROCESSES
from tests.support.stores import LOT, MORNING, delivery, minutes, permit, record, reject, rows

KEPT = ("facts", "process_data", "serials", "lots", "users", "product_models", "processes")
UNIT = "SN-261102-001"


def _filled(store: Store) -> None:
    """A LOT with a unit that failed, was repaired and is on hold, and something in quarantine."""
    who = {"author": "kim", "reason": "r"}
    store.ingest([delivery([(1, record(outcome="FAIL", product_model="WR-1")), (2, record(completed_at=minutes(2)))])])
    store.ingest([delivery([(3, permit(asked_at=minutes(3), answered_at=minutes(3)))])])
    store.ingest([delivery([], rejected=[reject(b"torn", first=4)])])
    store.add_decision(LotCreated(**who, decided_at=MORNING, lot_number=LOT, target_quantity=7))
    store.add_decision(ReworkAuthorised(**who, decided_at=minutes(4), serial_number=UNIT, return_to=PROCESSES[1].code))
    store.add_decision(HoldPlaced(**who, decided_at=minutes(5), serial_number=UNIT, hold_id="h"))


def _ids(store: Store) -> dict[str, list[object]]:
    """What names each row that must outlive every migration."""
    names = {"facts": "digest", "process_data": "record", "serials": "serial_number", "lots": "lot_number"}
    names |= {"users": "username", "product_models": "model_code", "processes": "process_code"}
    return {table: sorted(str(row[names[table]]) for row in rows(store, table)) for table in KEPT}


def test_data_of_every_earlier_revision_come_up_and_go_down(store: Store) -> None:
    _filled(store)
    before, states = _ids(store), store.canonical_rows()["serials"]
    script = ScriptDirectory.from_config(schema._config())
    revisions = [one.revision for one in script.walk_revisions()]
    assert revisions[-1] == "0001"
    for number, revision in enumerate(revisions[1:], start=5):
        schema.migrate(store.database, revision)
        store.database.close()  # plans and pragmas of the other revision
        store.migrate()
        store.check_schema()
        assert _ids(store) == before, f"up from {revision}"
        assert [row["on_hold"] for row in store.canonical_rows()["serials"]] == [row["on_hold"] for row in states]
        # What is written next is written as if nothing had happened, the trail too.
        taken = store.ingest([delivery([(number, record(serial_number=f"SN-{number:03d}", completed_at=minutes(9)))])])
        assert taken.inserted == 1, f"up from {revision}"
        latest = [row for row in rows(store, "audit_logs") if row["entity_type"] == "process_data"][-1]
        values = json.loads(latest["new_values"]) if store.database.sqlite else latest["new_values"]
        assert set(values) == {column.name for column in process_data.columns} - NOT_AUDITED
        store.seals.seal()
        assert store.seals.open() is False
        with store.writing(Author(name="kim")) as connection:
            connection.exec_driver_sql("UPDATE lots SET target_quantity = target_quantity + 1")
        before, states = _ids(store), store.canonical_rows()["serials"]
