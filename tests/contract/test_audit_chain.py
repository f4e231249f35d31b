"""The chain over the audit trail, attacked by whoever may do anything in the database; the anchors are out of reach."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from central.anchors import AnchorFile
from central.cli import app
from central.store import Anchor, Author, Store, TrailCheck, trail_check, trail_rows
from central.store.chain import Rows, next_seal
from central.store.sealing import AuditSeals, last_seal
from central.store.tables import audit_seals
from contracts.errors import SetupError, StoreError
from contracts.facts import LotCreated
from tests.support.postgres import Cluster
from tests.support.stores import LOT, MORNING, delivery, minutes, record

Attack = Callable[[str], None]
"""SQL as a superuser, or with the raw file: no trigger stands in the way."""


@pytest.fixture
def anchored(store: Store) -> dict[int, Anchor]:
    """Three seals of some rows each, every one anchored."""
    anchors = {}
    for part in range(3):
        store.ingest([delivery([(part * 3 + n, record(completed_at=minutes(part * 3 + n))) for n in (1, 2, 3)])])
        anchors |= anchor(store)
    assert found(store, anchors).told == []
    return anchors


@pytest.fixture
def attack(store: Store) -> Iterator[Attack]:
    url = store.database.url
    if store.database.sqlite:
        with closing(sqlite3.connect(str(url.database), isolation_level=None)) as raw:
            for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                raw.execute(f"DROP TRIGGER {name}")
            yield raw.execute
        return
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as raw:
        raw.execute("SET session_replication_role = replica")
        yield lambda statement: raw.execute(statement.encode())


def anchor(store: Store) -> dict[int, Anchor]:
    store.seals.seal()
    newest = store.seals.anchor()
    assert newest is not None
    return {newest.number: newest}


def found(store: Store, anchors: dict[int, Anchor]) -> TrailCheck:
    return store.seals.check(anchors, lambda *_: None)


def test_what_nobody_touched_is_as_it_was_sealed(store: Store, anchored: dict[int, Anchor]) -> None:
    store.ingest([delivery([(10, record(completed_at=minutes(10)))])])
    check = found(store, anchored)

    with store.reading() as connection:
        rows = connection.execute(sa.text("SELECT count(*) FROM audit_logs")).scalar_one()
    assert (check.wrong, check.seals, check.anchored, check.rows) == (0, 3, check.rows, rows - check.unsealed)
    assert check.unsealed > 0


ATTACKS = {
    "edit": ("UPDATE audit_logs SET author = 'nobody' WHERE id = 4", "row 4 was changed"),
    "edit of JSON": ("UPDATE audit_logs SET new_values = '{}' WHERE id = 2", "row 2 was changed"),
    "delete": ("DELETE FROM audit_logs WHERE id = 5", "row 5 was removed"),
    "insert": (
        "INSERT INTO audit_logs (id, entity_type, entity_id, action, recorded_at)"
        " VALUES (0, 'lots', 1, 'CREATE', '2026-11-02 08:00:00.000000')",
        "row 0 was inserted",
    ),
    "truncate": ("DELETE FROM audit_logs", "row 1 was removed"),
    "edit of a seal": ("UPDATE audit_seals SET rows = rows + 1 WHERE number = 2", "seal 2 was changed"),
    "delete of a seal": ("DELETE FROM audit_seals WHERE number = 2", "seal 2 is missing"),
    "all seals": ("DELETE FROM audit_seals", "its end was cut off"),
    "a seal's marks": ("UPDATE audit_seals SET marks = substr(marks, 2) WHERE number = 3", "seal 3 was changed"),
}


def test_every_attack_is_found(store: Store, anchored: dict[int, Anchor]) -> None:
    """Each in a transaction of its own, which sees what it did and is then rolled back."""
    for statement, says in ATTACKS.values():
        with store.database.engine.connect() as connection:
            without_triggers(connection)
            connection.exec_driver_sql(statement)
            check = trail_check.check(connection, store.epoch, anchored, lambda *_: None)
            connection.rollback()
        assert any(says in text for text in check.told), (statement, check.told)
    assert found(store, anchored).wrong == 0


def without_triggers(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        return
    for name in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all():
        connection.exec_driver_sql(f"DROP TRIGGER {name}")


def test_rows_that_changed_places_are_found(store: Store, anchored: dict[int, Anchor], attack: Attack) -> None:
    attack("UPDATE audit_logs SET id = -1 WHERE id = 3")
    attack("UPDATE audit_logs SET id = 3 WHERE id = 4")
    attack("UPDATE audit_logs SET id = 4 WHERE id = -1")

    told = found(store, anchored).told
    assert [text.split(" after")[0] for text in told] == ["row 3 was changed", "row 4 was changed"]


def test_a_row_put_into_a_gap_is_found(store: Store, anchored: dict[int, Anchor], attack: Attack) -> None:
    attack("UPDATE audit_logs SET id = 100000 WHERE id = 6")  # a gap, as a rolled back transaction leaves one
    anchors = resealed(store, attack)
    assert found(store, anchors).wrong == 0
    attack("UPDATE audit_logs SET id = 6 WHERE id = 100000")

    assert any("row 6 was inserted" in text for text in found(store, anchors).told)


def resealed(store: Store, attack: Attack) -> dict[int, Anchor]:
    """The chain made anew over what stands there now, as whoever knows the code can."""
    attack("DELETE FROM audit_seals")
    AuditSeals(store.database, lambda: store.epoch).seal()
    return anchor(store)


def test_a_chain_made_anew_is_found_by_the_anchors_alone(
    store: Store, anchored: dict[int, Anchor], attack: Attack
) -> None:
    attack("DELETE FROM audit_logs WHERE id = 5")
    new = resealed(store, attack)

    assert found(store, new).wrong == 0, "without the first anchors nothing tells the two chains apart"
    assert any("made anew" in text or "cut off" in text for text in found(store, anchored).told)


def test_a_chain_made_anew_from_its_middle_names_where(
    store: Store, anchored: dict[int, Anchor], attack: Attack
) -> None:
    first, second, third = anchored.values()
    attack(f"UPDATE audit_logs SET author = 'nobody' WHERE id = {first.last_id + 1}")
    chain = _remade(store, attack, from_number=2, ends=[second.last_id, third.last_id])

    told = found(store, anchored).told
    assert chain == 2
    assert [text.split(";")[0] for text in told] == ["seal 2 is not the one that was anchored: the chain was made anew"]
    assert f"ids from {first.last_id + 1} to {second.last_id}" in told[0]


def _remade(store: Store, attack: Attack, *, from_number: int, ends: list[int]) -> int:
    attack(f"DELETE FROM audit_seals WHERE number >= {from_number}")
    for end in ends:
        with store.reading() as connection:
            before = last_seal(connection)
            assert before is not None
            rows = Rows.of(trail_rows.lines(connection, before.last_id, end))
        seal = next_seal(before, store.epoch, rows, end, MORNING)
        with store.database.writing() as connection:
            connection.execute(sa.insert(audit_seals), [vars(seal)])
    return len(ends)


def test_a_tail_that_was_cut_is_found(store: Store, anchored: dict[int, Anchor], attack: Attack) -> None:
    last = list(anchored.values())[-2].last_id
    attack(f"DELETE FROM audit_logs WHERE id > {last}")
    attack("DELETE FROM audit_seals WHERE number > 2")

    [told] = found(store, anchored).told
    assert "the chain ends with seal 2, and seal 3 was anchored" in told


def test_another_database_does_not_fit_these_anchors(store: Store, anchored: dict[int, Anchor], attack: Attack) -> None:
    attack("UPDATE store_meta SET value = 'another' WHERE key = 'epoch'")
    other = Store(store.database.url.render_as_string(hide_password=False))
    try:
        assert any("seal 1 does not follow" in text for text in found(other, anchored).told)
    finally:
        other.close()


def test_seals_that_cannot_even_be_read_are_found(tmp_path: Path) -> None:
    """SQLite keeps any kind of value in any column."""
    store = Store(f"sqlite:///{tmp_path}/central.db")
    store.migrate()
    anchors = anchor(store)
    for change in ("marks = 'text'", "sealed_at = 'never'", "rows = 'many'", "digest = x'00'"):
        with store.database.engine.connect() as connection:
            without_triggers(connection)
            connection.exec_driver_sql(f"UPDATE audit_seals SET {change}")
            check = trail_check.check(connection, store.epoch, anchors, lambda *_: None)
            connection.rollback()
        assert check.wrong, change
    store.close()


def test_seals_cannot_be_changed_by_the_service(store: Store, anchored: dict[int, Anchor]) -> None:
    for statement in ("UPDATE audit_seals SET rows = 0", "DELETE FROM audit_seals", "TRUNCATE audit_seals"):
        with pytest.raises(StoreError), store.database.writing() as connection:
            connection.execute(sa.text(statement))


# -- transactions beside each other ---------------------------------------------------------------------------------


def test_a_row_is_not_sealed_around(postgres_url: str) -> None:
    """A lower id that commits after a higher one: nothing is sealed until it is there, and then both."""
    store = Store(postgres_url)
    store.migrate()
    anchors = anchor(store)
    begun = store.seals.anchor()
    with store.writing(Author(name="park")) as connection:
        connection.execute(sa.text("UPDATE processes SET description = 'early' WHERE process_number = 1"))
        decided(store, 1)  # commits with a higher id
        assert store.seals.seal() == []
        assert store.seals.anchor() == begun
    sealed = store.seals.seal()
    assert sum(seal.rows for seal in sealed) >= 2
    with store.reading() as connection:
        highest = connection.execute(sa.text("SELECT max(id) FROM audit_logs")).scalar_one()
    assert sealed[-1].last_id == highest
    assert found(store, anchors).wrong == 0
    store.close()


def test_what_is_rolled_back_is_a_gap(store: Store) -> None:
    with store.writing(Author(name="park")) as connection:
        connection.execute(sa.text("UPDATE processes SET description = 'never' WHERE process_number = 1"))
        connection.rollback()
    decided(store, 1)
    anchors = anchor(store)
    assert (found(store, anchors).wrong, store.seals.open()) == (0, False)


def test_two_sealers_make_one_chain(store: Store) -> None:
    other = AuditSeals(store.database, lambda: store.epoch)
    for number in range(1, 6):
        decided(store, number)
        (store.seals if number % 2 else other).seal()
    assert found(store, anchor(store)).wrong == 0


def decided(store: Store, number: int) -> None:
    lot = f"{LOT[:-3]}{number:03d}"
    store.add_decision(LotCreated(author="park", decided_at=MORNING, reason="r", lot_number=lot))


# -- two roles ------------------------------------------------------------------------------------------------------

REFUSED = [
    "UPDATE audit_logs SET author = 'x'",
    "DELETE FROM audit_logs",
    "TRUNCATE audit_logs",
    "UPDATE {month} SET author = 'x'",
    "DELETE FROM {month}",
    "TRUNCATE {month}",
    "INSERT INTO audit_logs (entity_type, entity_id, action, recorded_at) VALUES ('lots', 1, 'CREATE', now())",
    "INSERT INTO {month} (entity_type, entity_id, action, recorded_at) VALUES ('lots', 1, 'CREATE', now())",
    "ALTER TABLE audit_logs DISABLE TRIGGER ALL",
    "ALTER TABLE audit_logs DETACH PARTITION {month}",
    "DROP TABLE {month}",
    "ALTER TABLE lots DISABLE TRIGGER ALL",
    "DROP TRIGGER lots_audit ON lots",
    "TRUNCATE lots CASCADE",
    "CREATE OR REPLACE FUNCTION neurohub_audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "SET session_replication_role = replica",
    "UPDATE audit_seals SET rows = 0",
    "DELETE FROM audit_seals",
    "TRUNCATE audit_seals",
]


@pytest.fixture
def service(postgres_cluster: Cluster, postgres_url: str) -> Iterator[Store]:
    """The store as a role of its own that owns nothing."""
    owner = Store(postgres_url)
    owner.migrate()
    role = "service_" + postgres_url.rsplit("_", 1)[1]
    postgres_cluster.run(f"CREATE ROLE {role} LOGIN")
    owner.migrate(role)
    owner.migrate(role)
    url = owner.database.url.set(username=role).render_as_string(hide_password=False)
    owner.close()
    store = Store(url)
    try:
        yield store
    finally:
        store.close()
        with psycopg.connect(postgres_url, autocommit=True) as raw:
            raw.execute(f"DROP OWNED BY {role}".encode())
            raw.execute(f"DROP ROLE {role}".encode())


def test_the_service_works_without_owning_anything(service: Store) -> None:
    service.check_schema()
    service.begin_generation()
    service.ingest([delivery([(1, record(completed_at=MORNING.replace(year=2024)))])])
    decided(service, 1)
    assert found(service, anchor(service)).wrong == 0
    with service.reading() as connection:
        places = connection.execute(sa.text("SELECT DISTINCT tableoid::regclass::text FROM process_data")).scalars()
        assert list(places) == ["process_data_2024_11"]


def test_the_service_cannot_touch_the_trail(service: Store) -> None:
    decided(service, 1)
    with service.reading() as connection:
        month = connection.execute(sa.text("SELECT tableoid::regclass::text FROM audit_logs LIMIT 1")).scalar_one()
    for statement in REFUSED:
        with pytest.raises((SetupError, StoreError)) as raised, service.database.writing() as connection:
            connection.exec_driver_sql(statement.format(month=month))
        said = str(raised.value)
        assert any(says in said for says in ("permission denied", "must be owner", "append only")), (statement, said)


def test_a_table_of_its_own_does_not_take_the_trails_place(service: Store) -> None:
    with service.database.writing() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE audit_logs (LIKE public.audit_logs)")
        connection.exec_driver_sql("UPDATE processes SET description = 'unseen' WHERE process_number = 1")
        [seen] = connection.exec_driver_sql("SELECT count(*) FROM public.audit_logs WHERE action = 'UPDATE'").one()
    assert seen == 1


def test_a_role_that_owns_the_tables_is_refused(postgres_url: str) -> None:
    store = Store(postgres_url)
    with pytest.raises(SetupError, match="of its own"):
        store.migrate("postgres")
    with pytest.raises(SetupError, match="no role nobody-here"):
        store.migrate("nobody-here")
    store.close()


# -- what an administrator types ------------------------------------------------------------------------------------


def typed(store: Store, tmp_path: Path, *words: str) -> Result:
    url = store.database.url.render_as_string(hide_password=False)
    env = {"DATABASE_URL": url, "AUDIT_ANCHOR_FILE": str(tmp_path / "anchors.jsonl")}
    return CliRunner().invoke(app, ["audit", *words], env=env)


def test_the_commands_seal_and_verify(store: Store, tmp_path: Path, attack: Attack) -> None:
    assert "the audit trail is as it was sealed" in typed(store, tmp_path, "verify").stdout, "nothing sealed yet"
    sealed, verified = typed(store, tmp_path, "seal"), typed(store, tmp_path, "verify")
    assert (sealed.exit_code, verified.exit_code) == (0, 0)
    assert "rows sealed; anchor in" in sealed.stdout
    attack("UPDATE audit_logs SET author = 'nobody' WHERE id = 1")
    wrong = typed(store, tmp_path, "verify", "--json")
    assert (wrong.exit_code, json.loads(wrong.stdout)["wrong"]) == (1, 1)


def test_a_trail_without_anchors_is_not_called_good(store: Store, tmp_path: Path) -> None:
    typed(store, tmp_path, "seal")
    (tmp_path / "anchors.jsonl").unlink()
    said = typed(store, tmp_path, "verify")
    assert (said.exit_code, "there is no anchor of this database" in said.stdout) == (1, True)
    assert typed(store, tmp_path, "verify", "--anchors", str(tmp_path / "none")).exit_code == 2


def test_anchors_that_contradict_each_other_are_told(store: Store, tmp_path: Path) -> None:
    typed(store, tmp_path, "seal")
    file = tmp_path / "anchors.jsonl"
    line = json.loads(file.read_text())
    copy = tmp_path / "copy.jsonl"
    copy.write_text(json.dumps({**line, "hash": "0" * 64}) + "\n")
    said = typed(store, tmp_path, "verify", "--anchors", str(file), "--anchors", str(copy))
    assert (said.exit_code, "is anchored twice" in said.stdout) == (1, True)


def test_half_a_line_does_not_swallow_the_next_anchor(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "anchors.jsonl"
    typed(store, tmp_path, "seal")
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:40])
    decided(store, 1)
    typed(store, tmp_path, "seal")
    said = typed(store, tmp_path, "verify")
    assert "against 2 anchors" in said.stdout
    assert f"{file}:2: this line is no anchor" in said.stdout.replace("\n", "")
    assert said.exit_code == 0


def test_an_anchor_file_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="AUDIT_ANCHOR_FILE"):
        AnchorFile(tmp_path / "no" / "such" / "folder").prepare()
