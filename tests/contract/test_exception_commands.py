"""Exceptions and quarantine as an administrator settles them: by facts and words, and nothing is deleted."""

import json

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from central.cli import app
from central.store import Store
from central.validate import validate
from contracts.envelope import Numbered, RecordsMessage
from contracts.facts import ExceptionClosed, LotCreated
from contracts.serial_form import SerialForm
from contracts.topics import StationTopics
from messaging.session import Message
from tests.support.stores import LOT, MORNING, STREAM, NewDatabase, delivery, minutes, record, reject

TOPICS = StationTopics("gimcheon", "KR01", "P03-A")


def typed(store: Store, *words: str, form: str = "") -> Result:
    url = store.database.url.render_as_string(hide_password=False)
    return CliRunner().invoke(app, words, env={"DATABASE_URL": url, "USER": "park", "SERIAL_FORM": form})


def listed(store: Store, *words: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(typed(store, "exceptions", "list", "--json", *words).stdout)
    return found


def skipped(store: Store) -> str:
    """A unit whose first two processes are missing; the id of the exception."""
    store.ingest([delivery([(1, record())])])
    [one] = listed(store, "--code", "PREVIOUS_PROCESS_NOT_COMPLETED")
    return str(one["id"])


def test_an_exception_is_closed_by_a_fact_and_stays(store: Store) -> None:
    name = skipped(store)
    before = store.canonical_rows()["serials"][0]["status"]
    closed = typed(store, "exceptions", "close", name[:6], "--reason", "seen, it was made by hand")

    assert (closed.exit_code, closed.stdout) == (0, f"exception {name} is closed\n")
    assert listed(store, "--code", "PREVIOUS_PROCESS_NOT_COMPLETED") == []
    [one] = listed(store, "--code", "PREVIOUS_PROCESS_NOT_COMPLETED", "--all")
    assert (one["id"], one["closed_by"], one["closed_because"]) == (name, "park", "seen, it was made by hand")
    assert store.canonical_rows()["serials"][0]["status"] == before, "it moves nothing"
    assert "closed by park: seen" in typed(store, "exceptions", "show", name).stdout
    again = typed(store, "exceptions", "close", name, "--reason", "r")
    assert (again.exit_code, "was closed by park" in again.output) == (2, True)
    with store.reading() as connection:
        trail = sa.text("SELECT author FROM audit_logs WHERE entity_type = 'serials' ORDER BY id DESC LIMIT 1")
        assert connection.execute(trail).scalar_one() == "park"


def test_closing_depends_on_no_order(new_database: NewDatabase) -> None:
    found = []
    for order in (1, -1):
        store = Store(new_database())
        store.migrate()
        facts = [("record", 1), ("close", 0), ("record", 2)]
        for kind, seq in facts[::order]:
            if kind == "record":
                store.ingest([delivery([(seq, record(completed_at=minutes(seq)))])])
            else:
                name = found[0][1] if found else str(listed(store)[0]["id"])
                store.add_decision(
                    ExceptionClosed(
                        author="kim", decided_at=MORNING, reason="r", exception_id=name, serial_number="SN-261102-001"
                    )
                )
        found.append((store.canonical_rows()["serials"], name))
        store.close()
    assert found[0][0] == found[1][0]
    assert {one.get("closed_by") for one in found[0][0][0]["exceptions"]} == {"kim", None}


def test_a_lots_exception_is_closed_until_it_is_another(store: Store) -> None:
    for _ in range(2):
        store.add_decision(LotCreated(author="kim", decided_at=MORNING, reason="r", lot_number=LOT))
    [one] = listed(store)
    assert typed(store, "exceptions", "close", str(one["id"]), "--reason", "by mistake").exit_code == 0
    assert listed(store) == []
    store.add_decision(LotCreated(author="kim", decided_at=minutes(1), reason="r", lot_number=LOT))
    assert len(listed(store)) == 1
    assert "exceptions have ids that begin with" in typed(store, "exceptions", "show", "").output
    assert typed(store, "exceptions", "show", "zz").exit_code == 2


# -- quarantine -----------------------------------------------------------------------------------------------------


def refused(store: Store, form: SerialForm) -> int:
    """A message of two records, of which the form refuses one; what quarantine calls it."""
    records = [record(), record(serial_number="XX-1", completed_at=minutes(1))]
    message = RecordsMessage(
        site="gimcheon",
        line="KR01",
        station="P03-A",
        stream_id=STREAM,
        sent_at=MORNING,
        records=tuple(Numbered(seq=seq, record=one) for seq, one in enumerate(records, start=1)),
    )
    payload = message.model_dump_json(exclude_none=True).encode()
    store.ingest([validate(Message(TOPICS.records, payload, False, {}, 0, 0), TOPICS, form)])
    [[one], _] = store.quarantined()
    return one.id


def test_what_a_wrong_setting_refused_is_taken_in_its_place(store: Store) -> None:
    entry = refused(store, SerialForm("SN-.*"))
    still = typed(store, "quarantine", "retry", str(entry), form="SN-.*")
    assert (still.exit_code, "would be refused again: serial number" in still.output) == (2, True)
    assert store.counts().records == 1

    taken = typed(store, "quarantine", "retry", str(entry), "--reason", "the form is right now")
    assert (taken.exit_code, taken.stdout) == (0, "1 taken, 0 had been taken before\n"), taken.output
    kept = store.record(STREAM, 2)
    assert kept is not None
    assert kept.serial_number == "XX-1"
    assert typed(store, "quarantine", "list").stdout == "nothing is in quarantine\n"
    assert "RETRIED by park" in typed(store, "quarantine", "list", "--all").stdout
    assert "the form is right now" in typed(store, "quarantine", "show", str(entry)).stdout
    assert typed(store, "quarantine", "retry", str(entry)).exit_code == 2


def test_a_record_that_the_store_refused_is_taken_by_its_number(store: Store) -> None:
    payload = record().model_dump_json(exclude_none=True).encode()
    store.ingest([delivery([], rejected=[reject(payload, first=4)])])
    [[one], _] = store.quarantined()
    assert typed(store, "quarantine", "retry", str(one.id)).exit_code == 0
    assert store.record(STREAM, 4) == record()


@pytest.mark.parametrize("payload", [b"\xff", b"[1]", b'{"v": 2}'])
def test_what_cannot_be_read_stays(store: Store, payload: bytes) -> None:
    store.ingest([delivery([], rejected=[reject(payload, first=4)])])
    [[one], _] = store.quarantined()
    said = typed(store, "quarantine", "retry", str(one.id))
    assert (said.exit_code, "would be refused again" in said.output) == (2, True)


def test_two_contents_under_one_number_are_for_people(store: Store) -> None:
    for outcome in ("PASS", "FAIL"):
        store.ingest([delivery([(1, record(outcome=outcome))])])
    found, _ = store.quarantined()
    assert "no rule says which is right" in typed(store, "quarantine", "retry", str(found[0].id)).output


def test_what_nobody_needs_is_discarded_with_a_reason_and_kept(store: Store) -> None:
    entry = refused(store, SerialForm("SN-.*"))
    assert typed(store, "quarantine", "discard", str(entry)).exit_code == 2, "a reason is needed"
    assert typed(store, "quarantine", "discard", str(entry), "--reason", "a test").exit_code == 0
    assert store.quarantined()[1] == 0
    whole = store.quarantined_whole(entry)
    assert (whole.settled_as, whole.settled_by, whole.settled_because) == ("DISCARDED", "park", "a test")
    assert whole.payload
    with store.reading() as connection:
        trail = sa.text("SELECT author FROM audit_logs WHERE entity_type = 'quarantine' AND action = 'UPDATE'")
        assert connection.execute(trail).scalars().all() == ["park"]
